"""Segment every file of a folder, whatever it holds, and count what becomes of the files.

    python benchmarks/corpus.py FOLDER [--batch 40] [--seconds 120]
    python benchmarks/corpus.py --generate FOLDER [--seed 0] [--mutations 40]

Files are handed to `lesionseg segment` by name, a batch to a process; checkpoints (.pt, .onnx) and
labels (.json, .xml) are tried as `-c` and as `--truth` of `lesionseg eval`, one to a process, the
labels against drafts of photo.png of 64x48 pixels. The table counts:

- masks: results that can be read, and labels that were scored;
- refused: files that a line on standard error names;
- silent: files with neither;
- extra lines: what else is written to standard error, but for the tally and notes;
- tracebacks, hangs (killed after the time limit), and the most memory of any process.

The status is 1 where anything is silent, crashes or hangs.
"""

import argparse
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from PIL import Image

from lesionseg import store

NETWORKS, LABELS = frozenset({".pt", ".onnx"}), frozenset({".json", ".xml"})
# What is said besides a refusal: which network, how many, what a mask is worth.
_SAID = re.compile(
    r"(photos: \d|no lesion found|of one colour|warning: |note: |checkpoint |using |left out)"
)


@dataclass
class Table:
    """What became of the files of a folder; `memory` is in MB."""

    files: int = 0
    masks: int = 0
    refused: int = 0
    silent: int = 0
    extra_lines: int = 0
    tracebacks: int = 0
    hangs: int = 0
    memory: int = 0

    @property
    def sound(self) -> bool:
        """Whether every file was read or refused."""
        return not (self.silent or self.tracebacks or self.hangs)


@dataclass(frozen=True)
class Ended:
    """What a process wrote to standard error, its peak memory (MB), and whether it was killed."""

    status: int
    err: str
    memory: int
    killed: bool


def run(words: Sequence[object], seconds: float) -> Ended:
    """Run `lesionseg`, at most so long."""
    command = [sys.executable, "-m", "lesionseg", *map(str, words)]
    with tempfile.TemporaryFile() as err:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=err)
        killed = threading.Event()

        def stop() -> None:
            killed.set()
            process.kill()

        timer = threading.Timer(seconds, stop)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        err.seek(0)
        text = err.read().decode(errors="replace")
    return Ended(process.returncode, text, usage.ru_maxrss // 1024, killed.is_set())


def examine(
    folder: Path, batch: int, seconds: float, checkpoint: str | Path = store.BUNDLED
) -> Table:
    """Try every file right in a folder; photos with this checkpoint."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    table = Table(files=len(files))
    photos = [path for path in files if path.suffix not in NETWORKS | LABELS]
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        sound = place / "sound.png"
        Image.fromarray(np.full((64, 64, 3), 200, np.uint8)).save(sound)
        drafts = place / "drafts"
        drafts.mkdir()
        Image.new("L", (64, 48), 255).save(drafts / "photo.png")
        for start in range(0, len(photos), batch):
            part = photos[start : start + batch]
            # Two files may not share a name without its suffix: each gets one of its own.
            links = [place / f"{index:04}-{path.name}" for index, path in enumerate(part, start)]
            for link, path in zip(links, part, strict=True):
                shutil.copy(path, link)
            masks = place / "masks"
            words = ("segment", *links, "-o", masks, "-c", checkpoint)
            ended = run(words, seconds)
            results = [masks / f"{link.stem}_segmentation.png" for link in links]
            _count(table, ended, links, [_is_mask(path) for path in results])
            shutil.rmtree(masks, ignore_errors=True)
            for link in links:
                link.unlink()
        for path in files:
            if path.suffix in NETWORKS:
                ended = run(("segment", sound, "-o", place / "mask.png", "-c", path), seconds)
                _count(table, ended, [path], [_is_mask(place / "mask.png")])
                (place / "mask.png").unlink(missing_ok=True)
            elif path.suffix in LABELS:
                ended = run(("eval", "--truth", path, "--predictions", drafts), seconds)
                _count(table, ended, [path], [ended.status == 0])
    return table


def _count(table: Table, ended: Ended, files: Sequence[Path], done: Sequence[bool]) -> None:
    """Add what a process did of its files, of which some have results; show what is extra."""
    table.memory = max(table.memory, ended.memory)
    table.hangs += ended.killed
    table.tracebacks += ended.err.count("Traceback (most recent call last)")
    table.tracebacks += ended.status < 0 and not ended.killed
    lines = [line for line in ended.err.splitlines() if line.strip()]
    refusals = [line for line in lines if _refuses(line)]
    extra = [line for line in lines if not _refuses(line) and not _SAID.match(line)]
    for path, has_result in zip(files, done, strict=True):
        own = [line for line in refusals if path.name in line]
        table.masks += has_result
        table.refused += not has_result and bool(own)
        table.silent += not has_result and not own
        extra += own[not has_result :]  # one line a refusal
    table.extra_lines += len(extra)
    for line in extra:
        print(f"extra: {line[:200]}", file=sys.stderr)


def _refuses(line: str) -> bool:
    return line.startswith(("error: ", "left out: ", "warning: left out: "))


def _is_mask(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.load()
            return image.mode in ("L", "1")
    except OSError:
        return False


# A corpus of its own: sound files, and what a seed makes of them.

FORMATS = {".jpg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".tif": "TIFF", ".webp": "WEBP"}
FORMATS |= {".gif": "GIF"}


def generate(folder: Path, seed: int, mutations: int) -> None:
    """Write a sound file of each kind and so many mutations of it; the same for the same seed."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in _sound_files():
        stem, suffix = name.rsplit(".", 1)
        (folder / name).write_bytes(content)
        for index in range(mutations if suffix not in ("pt", "json", "xml") else mutations // 16):
            (folder / f"{stem}-{index:03}.{suffix}").write_bytes(_mutated(content, rng))


def _sound_files() -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng(0)
    photo = np.full((48, 64, 3), (220, 170, 150), np.uint8)
    photo[12:36, 16:48] = (120, 70, 60)
    photo += rng.integers(0, 16, photo.shape, np.uint8)
    for suffix, name in FORMATS.items():
        buffer = io.BytesIO()
        Image.fromarray(photo).save(buffer, name)
        yield f"photo{suffix}", buffer.getvalue()
    yield "network.pt", store.BUNDLED_FILE.read_bytes()
    image = {"id": 1, "file_name": "photo.png", "width": 64, "height": 48}
    square = [16, 12, 48, 12, 48, 36, 16, 36]
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [square]}
    coco = {"images": [image], "annotations": [annotation]}
    coco["categories"] = [{"id": 1, "name": "lesion"}]
    yield "coco.json", json.dumps(coco).encode()
    yield (
        "cvat.xml",
        b'<annotations><image id="0" name="photo.png" width="64" height="48">'
        b'<polygon label="lesion" points="16,12;48,12;48,36;16,36"/></image></annotations>',
    )


def _mutated(content: bytes, rng: random.Random) -> bytes:
    """Flip bytes, mostly in the header, cut, or repeat a part."""
    data = bytearray(content)
    kind = rng.randrange(4)
    if kind == 0:
        return bytes(data[: rng.randrange(len(data))])
    if kind == 1:
        start = rng.randrange(len(data))
        return bytes(data[:start] + data[start : start + 64] * rng.randrange(2, 9) + data[start:])
    for _ in range(rng.randrange(1, 6)):
        data[rng.randrange(min(len(data), 256) if kind == 2 else len(data))] = rng.randrange(256)
    return bytes(data)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--generate", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mutations", type=int, default=40)
    options = parser.parse_args()
    if options.generate:
        generate(options.folder, options.seed, options.mutations)
    table = examine(options.folder, options.batch, options.seconds)
    names = [field.name.replace("_", " ") for field in fields(table)]
    print("| " + " | ".join(names) + " |")
    print("|---" * len(names) + "|")
    print("| " + " | ".join(map(str, asdict(table).values())) + " |")
    sys.exit(not table.sound)


if __name__ == "__main__":
    main()
