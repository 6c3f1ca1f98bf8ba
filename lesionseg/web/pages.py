"""A network -> the page that outlines lesions in a browser: one HTML file, or a folder for a host.

The modules in `static/` are joined by leaving out their imports: no bundler, no build. ONNX Runtime
Web lies in `runtime/`; see the README there.
"""

import base64
import gzip
import hashlib
import json
import lzma
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from lesionseg import files, store
from lesionseg.errors import CheckpointError, LesionsegError
from lesionseg.network.provenance import DEFAULT_THRESHOLD
from lesionseg.network.runtime import (
    EXPORTED,
    SOURCE,
    OnnxNetwork,
    advice_on_exported,
    checksum,
    is_exported,
)
from lesionseg.version import __version__

RUNTIME = "1.30.0"  # of ONNX Runtime Web
STATIC = Path(__file__).parent / "static"
VENDORED = Path(__file__).parent / "runtime"
MODULES = (  # in an order in which each stands after those that it imports
    *("errors", "resize", "postprocess", "quality", "measurements", "outline", "masks", "png"),
    *(
        "table",
        "photo",
        "camera",
        "assets",
        "network",
        "segmenter",
        "texts",
        "view",
        "gallery",
        "app",
    ),
)
WASM = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
WEBGPU = (
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
INDEX = "index.html"  # of a folder
NETWORK, NOTICES = "network.onnx", "notices.txt"  # names in the page
_GENERATOR = b'<meta name="generator" content="lesionseg">'  # in page.html
_PACKED = ".bin"  # not .gz, which some servers unpack on the way
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./[\w-]+\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) )", re.MULTILINE)
_LETTERS = bytes.maketrans(b"<>", b",.")  # so that no text ends a script


@dataclass(frozen=True)
class PageNetwork:
    """A network as the page carries it.

    Attributes:
        content: an ONNX file that stands alone, its kernels in int8.
        size: side of its square input in pixels.
        source: SHA-256 of the checkpoint it was made from, in hexadecimal.
        threshold: of the checkpoint, 0 to 1.
    """

    content: bytes
    size: int
    source: str
    threshold: float = DEFAULT_THRESHOLD


def load_network(checkpoint: Path) -> PageNetwork:
    """Load the network of a checkpoint for the page.

    Bundled weights come as int8; any other checkpoint is exported, and of what it carries
    nothing is kept but its checksum: a page is given away.

    Raises:
        LesionsegError: not a checkpoint, or the packages for the export are not installed.
    """
    if is_exported(checkpoint):
        raise CheckpointError(
            f"{checkpoint}: a page is made from a checkpoint (.pt), not from an exported network; "
            f"{advice_on_exported(checkpoint)}"
        )
    ready = checkpoint.with_suffix(EXPORTED)
    if store.bundled_name(checkpoint) and ready.is_file():
        network = OnnxNetwork(ready, fast_start=True)
        if network.source == checksum(checkpoint):
            return _page_network(ready.read_bytes(), network)
    from lesionseg.network.export import export

    with TemporaryDirectory() as folder:
        path = export(checkpoint, Path(folder) / NETWORK, kernels="int8").path
        network = OnnxNetwork(path, fast_start=True)
        import onnx

        model = onnx.load(path)
        kept = [entry for entry in model.metadata_props if entry.key == SOURCE]
        del model.metadata_props[:]
        model.metadata_props.extend(kept)
        content: bytes = model.SerializeToString()
    return _page_network(content, network)


def _page_network(content: bytes, network: OnnxNetwork) -> PageNetwork:
    described = network.provenance
    return PageNetwork(content, described.model.image_size, network.source, described.threshold)


def write_file(path: Path, network: PageNetwork) -> int:
    """Write the page as one HTML file that works from a disk, and return its size in bytes.

    Raises:
        LesionsegError: the file cannot be written, or the installation is damaged.
    """
    script, style = f"\n{joined_modules()}", f"\n{_static('page.css')}"
    scripts = "".join(
        f'<script type="text/plain" id="{name}">{_letters(_packed(content))}</script>\n'
        for name, content in _assets(network, WASM).items()
    )
    policy = {
        "script-src": f"{_hash(script)} 'wasm-unsafe-eval' blob:",
        "style-src": _hash(style),
        "img-src": "blob:",
        "worker-src": "blob:",
    }
    html = _page(
        policy,
        head=f"<style>{style}</style>",
        body=f'{scripts}{_settings(network)}<script type="module">{script}</script>',
    ).encode()
    files.write(path, html)
    return len(html)


def write_folder(folder: Path, network: PageNetwork) -> int:
    """Write the page as a folder for a web host, and return its size in bytes.

    Files of the folder that have other names stay. The page itself comes last.

    Raises:
        LesionsegError: a file cannot be written, the folder holds another web page, or the
            installation is damaged.
    """
    check_folder(folder)
    assets = {
        f"{name}{_PACKED}": _packed(content)
        for name, content in _assets(network, WASM + WEBGPU).items()
    }
    modules = {f"{name}.js": _static(f"{name}.js").encode() for name in (*MODULES, "register")}
    links = "".join(
        f'<link id="{name.removesuffix(_PACKED)}" rel="asset" href="{name}">\n' for name in assets
    )
    policy = {
        "script-src": "'self' 'wasm-unsafe-eval' blob:",
        "style-src": "'self'",
        "img-src": "'self' blob:",
        "connect-src": "'self'",
        "worker-src": "'self' blob:",
        "manifest-src": "'self'",
    }
    page = _page(
        policy,
        head='<link rel="stylesheet" href="page.css">\n<link rel="manifest" href="manifest.json">\n'
        '<link rel="icon" href="icon.svg">',
        body=f'{links}{_settings(network)}<script type="module" src="app.js"></script>\n'
        '<script type="module" src="register.js"></script>',
    )
    contents: dict[str, bytes] = {
        **assets,
        **modules,
        "page.css": _static("page.css").encode(),
        "manifest.json": _static("manifest.json").encode(),
        "icon.svg": _static("icon.svg").encode(),
        INDEX: page.encode(),
    }
    version = hashlib.sha256(b"".join(contents.values())).hexdigest()[:16]
    worker = _static("service-worker.js")
    worker = worker.replace("{{ version }}", version)
    worker = worker.replace("{{ files }}", json.dumps(["./", *contents]))
    for name, content in {"service-worker.js": worker.encode(), **contents}.items():
        files.write(folder / name, content)
    return len(worker.encode()) + sum(map(len, contents.values()))


def check_folder(folder: Path) -> None:
    """Refuse a file, and a folder whose index.html is not a page written by this module.

    Raises:
        LesionsegError: the folder cannot take the page.
    """
    if folder.exists() and not folder.is_dir():
        raise LesionsegError(f"cannot write {folder}: it is a file; name a folder, or FILE.html")
    index = folder / INDEX
    if index.exists() and not (index.is_file() and _GENERATOR in index.read_bytes()):
        raise LesionsegError(
            f"{index}: another web page, which would be replaced; name a folder of its own"
        )


def joined_modules() -> str:
    """Join the page's modules into one script, without their imports and exports."""
    parts = (_EXPORT.sub("", _IMPORT.sub("", _static(f"{name}.js"))) for name in MODULES)
    return "\n".join(parts)


def runtime_file(name: str) -> bytes:
    """Read a file of ONNX Runtime Web, unpacked.

    Raises:
        LesionsegError: it is not what the npm package holds.
    """
    path = VENDORED / name
    try:
        content = path.read_bytes() if path.is_file() else _unxz(VENDORED / f"{name}.xz")
    except (OSError, lzma.LZMAError) as error:
        raise LesionsegError(f"{path}: cannot read it: {error}; install lesionseg again") from error
    if hashlib.sha256(content).hexdigest() != _checksums()[name]:
        raise LesionsegError(f"{path}: damaged, its checksum differs; install lesionseg again")
    return content


def _unxz(path: Path) -> bytes:
    return lzma.decompress(path.read_bytes())


@cache
def _checksums() -> dict[str, str]:
    lines = (VENDORED / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def _assets(network: PageNetwork, runtime: tuple[str, ...]) -> dict[str, bytes]:
    """Return what the page loads besides its own modules, by name."""
    licence = (VENDORED / "LICENSE.txt").read_bytes()
    notices = (VENDORED / "ThirdPartyNotices.txt").read_bytes()
    return {
        NETWORK: network.content,
        **{name: runtime_file(name) for name in runtime},
        NOTICES: licence + b"\n" + notices,
    }


def _packed(content: bytes) -> bytes:
    return gzip.compress(content, 9, mtime=0)


def _letters(content: bytes) -> str:
    return base64.b85encode(content).translate(_LETTERS).decode()


def _static(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _settings(network: PageNetwork) -> str:
    settings = {
        "size": network.size,
        "threshold": network.threshold,
        "version": __version__,
        "runtime": RUNTIME,
        "network": network.source[:12],
    }
    return f'<script type="application/json" id="settings">{json.dumps(settings)}</script>\n'


def _page(policy: Mapping[str, str], head: str, body: str) -> str:
    """Return the page with its policy: nothing is loaded or sent but as it says."""
    rules = {"default-src": "'none'", **policy, "base-uri": "'none'", "form-action": "'none'"}
    parts = {
        "policy": "; ".join(f"{rule} {value}" for rule, value in rules.items()),
        "head": head,
        "body": body,
    }
    template = _static("page.html")
    return re.sub(r"\{\{ (\w+) \}\}", lambda match: parts[match[1]], template)
