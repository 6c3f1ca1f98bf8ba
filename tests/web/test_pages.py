"""The page as it is written: one file or a folder, from the bundled weights or a run."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from helpers import SIZE, Command, begun

from lesionseg import store
from lesionseg.errors import LesionsegError
from lesionseg.network import checkpoint as checkpoints
from lesionseg.network.runtime import EXPORTED, SOURCE, checksum
from lesionseg.segmentation.segmenter import load
from lesionseg.web import pages

pytestmark = pytest.mark.usefixtures("packed_once")

SMALL = pages.PageNetwork(b"no network", 32, "0" * 64)


def test_the_runtime_is_that_of_the_npm_package() -> None:
    names = {*pages.WASM, *pages.WEBGPU}
    listed = (pages.VENDORED / "SHA256SUMS").read_text().split()
    assert set(listed[1::2]) == names
    for name in names:
        content = pages.runtime_file(name)
        assert hashlib.sha256(content).hexdigest() == listed[listed.index(name) - 1]
        if name.startswith("ort."):
            assert f"ONNX Runtime Web v{pages.RUNTIME}".encode() in content[:200]
    assert "MIT License" in (pages.VENDORED / "LICENSE.txt").read_text()
    assert (pages.VENDORED / "ThirdPartyNotices.txt").stat().st_size > 100_000


def test_a_damaged_runtime_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = pages.WASM[0]
    (tmp_path / name).write_bytes(pages.runtime_file(name) + b" ")
    monkeypatch.setattr(pages, "VENDORED", tmp_path)
    with pytest.raises(LesionsegError, match="damaged, its checksum differs"):
        pages.runtime_file(name)
    (tmp_path / name).unlink()
    with pytest.raises(LesionsegError, match=r"cannot read it.*install lesionseg again"):
        pages.runtime_file(name)


def test_every_module_is_joined_after_what_it_imports() -> None:
    present = {path.stem for path in pages.STATIC.glob("*.js")}
    assert present == {*pages.MODULES, "register", "service-worker"}
    seen: set[str] = set()
    for name in pages.MODULES:
        text = (pages.STATIC / f"{name}.js").read_text()
        for names, module in re.findall(r'^import \{([^}]*)\} from "\./(.*)\.js";$', text, re.M):
            assert module in seen, f"{name} imports {module}"
            exported = (pages.STATIC / f"{module}.js").read_text()
            for word in re.findall(r"\w+", names):
                assert re.search(
                    rf"^export (async )?(function|class|const) {word}\b", exported, re.M
                )
        seen.add(name)
    joined = pages.joined_modules()
    assert not re.search(r"^\s*(import|export)\s", joined, re.M)
    declared = re.findall(r"^(?:async )?(?:function|class|const|let) (\w+)", joined, re.M)
    assert len(declared) == len(set(declared))  # they share one scope


def test_every_text_is_in_the_table() -> None:
    table = (pages.STATIC / "texts.js").read_text()
    keys = re.findall(r"^  (\w+):", table, re.M)
    assert len(keys) == len(set(keys))
    html = (pages.STATIC / "page.html").read_text()
    scripts = pages.joined_modules()
    used = {*re.findall(r'data-(?:text|label)="(\w+)"', html)}
    used |= {*re.findall(r'\b(?:text|say|complain|PageError)\("(\w+)"', scripts)}
    assert used <= set(keys)
    assert len(used) > 40
    left = re.sub(r"<[^>]*>|\{\{.*?\}\}", " ", re.sub(r"(?s)<noscript>.*?</noscript>", "", html))
    assert left.split() == ["Lesion", "outline"]  # the title, until the table is there


def test_no_sentence_stands_outside_of_the_table() -> None:
    sentences = []
    for name in {*pages.MODULES, "register"} - {"texts"}:
        code = re.sub(r"//.*|/\*\*.*", "", (pages.STATIC / f"{name}.js").read_text())
        literals = re.findall(r'"([^"\n]*)"', code) + re.findall(r"`([^`]*)`", code)
        sentences += [words for words in literals if re.search(r"[a-z]{2} [a-z]{2}", words)]
    assert sentences == ["too slow"]  # which the page says to itself


def test_one_file(tmp_path: Path) -> None:
    size = pages.write_file(tmp_path / "a.html", SMALL)
    html = (tmp_path / "a.html").read_text()
    assert size == (tmp_path / "a.html").stat().st_size
    policy = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)[0]
    assert policy.startswith("default-src 'none';")
    assert "connect-src" not in policy
    assert "http" not in policy
    assert not re.search(r"<(?:script|link|img)[^>]*(?:src|href)=", html)
    settings = json.loads(re.findall(r'id="settings">(.*?)</script>', html)[0])
    assert settings["size"] == 32
    for name in (*pages.WASM, pages.NETWORK, pages.NOTICES):
        assert f'id="{name}"' in html
    blocks = re.findall(r'type="text/plain"[^>]*>([^\n]*)</script>', html)
    assert len(blocks) == 5
    assert not any("<" in block or ">" in block for block in blocks)


def test_the_bundled_page_fits_into_sixteen_megabytes(tmp_path: Path) -> None:
    network = pages.load_network(store.BUNDLED_FILE)
    assert network.source == checksum(store.BUNDLED_FILE)
    assert pages.write_file(tmp_path / "a.html", network) < 16e6


def test_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    size = pages.write_folder(folder, SMALL)
    names = {path.name for path in folder.iterdir()}
    assert size == sum(path.stat().st_size for path in folder.iterdir())
    html = (folder / "index.html").read_text()
    for link in re.findall(r'(?:src|href)="([^"]*)"', html):
        assert link in names
    policy = re.findall(r'content="(default-src[^"]*)"', html)[0]
    assert "http" not in policy
    worker = (folder / "service-worker.js").read_text()
    files = json.loads(re.findall(r"const FILES = (.*);", worker)[0])
    assert set(files) == {"./", *names} - {"service-worker.js"}
    assert "{{" not in worker
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["icons"][0]["src"] in names
    assert "not a medical device" in manifest["description"]
    before = worker
    pages.write_folder(folder, pages.PageNetwork(b"another", 32, "1" * 64))
    assert (folder / "service-worker.js").read_text() != before  # so that browsers fetch it


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "site").write_text("mine")
    with pytest.raises(LesionsegError, match=r"it is a file; name a folder, or FILE\.html"):
        pages.write_folder(tmp_path / "site", SMALL)
    assert (tmp_path / "site").read_text() == "mine"


def test_the_page_of_another_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<h1>mine</h1>")
    with pytest.raises(LesionsegError, match=r"index\.html: another web page, which would be"):
        pages.write_folder(tmp_path, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_a_run_gives_away_nothing_but_its_network(tmp_path: Path) -> None:
    source = tmp_path / "a.pt"
    start = begun(48, seed=3, poolings=1)  # a short graph is converted sooner
    checkpoints.save(replace(start, threshold=0.42), source)
    network = pages.load_network(source)
    assert network.threshold == 0.42
    assert '"threshold": 0.42' in pages._settings(network)
    model = onnx.load_from_string(network.content)
    assert (network.size, network.source) == (SIZE, checksum(source))
    assert {entry.key: entry.value for entry in model.metadata_props} == {SOURCE: network.source}
    assert any(node.op_type == "DequantizeLinear" for node in model.graph.node)


@pytest.mark.parametrize("name", [None, *store.BUNDLED_FILES])
def test_the_command(lesionseg: Command, tmp_path: Path, name: str | None) -> None:
    target = tmp_path / "new" / "lesion.html"
    ended = lesionseg("page", "-o", target, *(("-c", name) if name else ()))
    assert (ended.status, ended.out) == (0, f"{target}\n")
    size, file = target.stat().st_size, store.BUNDLED_FILES[name or store.BUNDLED]
    assert ended.err == f"page with {file}: one file, {size / 1e6:.1f} MB\n"
    settings = json.loads(re.findall(r'id="settings">(.*?)</script>', target.read_text())[0])
    assert settings["size"] == load(file).checkpoint.model.image_size


def test_the_small_network_makes_a_smaller_page(lesionseg: Command, tmp_path: Path) -> None:
    file = store.BUNDLED_FILES["bundled-small"]
    network = pages.load_network(file)
    assert (network.size, network.source) == (128, checksum(file))
    assert pages.write_file(tmp_path / "a.html", network) < 10e6
    ended = lesionseg("page", "-o", tmp_path / "site", "-c", "bundled-small")
    assert (ended.status, ended.out) == (0, f"{tmp_path / 'site'}\n")
    assert sum(path.stat().st_size for path in (tmp_path / "site").iterdir()) < 15e6


@pytest.mark.parametrize("name", store.BUNDLED_FILES)
def test_an_exported_network_is_refused(lesionseg: Command, tmp_path: Path, name: str) -> None:
    network = store.BUNDLED_FILES[name].with_suffix(EXPORTED)
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(network.read_bytes())
    for exported in (network, copy):
        ended = lesionseg("page", "-o", tmp_path / "a.html", "-c", exported)
        assert (ended.status, ended.out) == (1, "")
        assert "a page is made from a checkpoint (.pt)" in ended.err
        assert ended.err.endswith(f"give the checkpoint that it was exported from: {name}\n")
    assert not (tmp_path / "a.html").exists()


@pytest.mark.parametrize(
    ("words", "said"), [([], "--output"), (["-o", "-"], "name it, such as -o lesion.html")]
)
def test_without_a_place_to_write_to(lesionseg: Command, words: list[str], said: str) -> None:
    ended = lesionseg("page", *words)
    assert ended.status == 2
    assert said in ended.err
