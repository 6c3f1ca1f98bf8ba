"""Messages on damaged files are in plain words, not in those of Python or of a library."""

import io
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Command, drawing, exported, saved, write_pairs, write_photo
from PIL import Image

from lesionseg.errors import LesionsegError, PhotoError, fault_of_text
from lesionseg.images.decode import fault_of
from lesionseg.images.masks import read_mask
from lesionseg.images.photos import read_photo
from lesionseg.labels import formats
from lesionseg.network import checkpoint as checkpoints
from lesionseg.network.runtime import EXPORTED, open_network

NOT_PLAIN = re.compile(
    r"codec can't|object (is|has)|object does|indices must|unpack|buffer|data stream|decoder"
    r"|NoneType|invalid literal|could not convert|argument must|ONNXRuntimeError|PROTOBUF"
    r"|Expecting|syntax|bytes not processed|Truncated File|Failed to decode|Error:|__init__|\b0x"
)
FORMATS = {".jpg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".tif": "TIFF", ".webp": "WEBP"}
FORMATS |= {".gif": "GIF", ".avif": "AVIF"}


def mutations(content: bytes, count: int) -> list[bytes]:
    """The content cut, or with bytes changed, mostly near its start."""
    rng = random.Random(7)
    results = []
    for number in range(count):
        data = bytearray(content)
        if number % 3 == 0:
            del data[rng.randrange(16, len(data)) :]
        for _ in range(rng.randrange(1, 5) if number % 3 else 0):
            data[rng.randrange(12, min(len(data), 300 if number % 3 == 1 else len(data)))] ^= 0x55
        results.append(bytes(data))
    return results


@pytest.mark.parametrize("suffix", FORMATS)
def test_damaged_photos_and_masks(tmp_path: Path, suffix: str) -> None:
    path, said = tmp_path / f"a{suffix}", set()
    buffer = io.BytesIO()
    Image.fromarray(drawing(1)[0]).save(buffer, FORMATS[suffix])
    for content in mutations(buffer.getvalue(), 60):
        path.write_bytes(content)
        for read in (read_photo, read_mask):
            try:
                read(path)
            except PhotoError as error:
                said.add(str(error).removeprefix(f"{path}: "))
    assert any("copy it again" in text for text in said)
    assert not [text for text in said if NOT_PLAIN.search(text)]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("image file is truncated (7 bytes not processed)"), "the end of this GIF file is"),
        (OSError("decoder error -2"), "a form of GIF that is not supported, or damaged; copy it"),
        (ValueError(), "a form of GIF that is not supported, or damaged; copy it again, or save"),
        (MemoryError(), "not enough memory for a picture of its size; shrink it first"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
    ],
)
def test_faults_of_pictures(error: Exception, said: str) -> None:
    assert fault_of(error, "GIF").startswith(said)


def fault_of_reading(read: Any, content: bytes | str) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        read(content)
    assert isinstance(caught.value, Exception)
    return fault_of_text(caught.value)


def test_faults_of_text() -> None:
    assert fault_of_reading(bytes.decode, b"ab\xff") == (
        "expected UTF-8 text, got other bytes at byte 3; save it again"
    )
    assert fault_of_reading(json.loads, '{"a":\n }') == (
        "not valid JSON at line 2, column 2; export it again"
    )
    assert fault_of_text(FileNotFoundError(2, "No such file")) == "No such file"


COCO: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.png", "width": 60, "height": 50}],
    "annotations": [{"image_id": 1, "category_id": 1, "segmentation": [[5, 5, 40, 5, 40, 30]]}],
    "categories": [{"id": 1, "name": "lesion"}],
}
LABELME: dict[str, Any] = {
    "imagePath": "a.png",
    "imageHeight": 50,
    "imageWidth": 60,
    "shapes": [{"label": "lesion", "points": [[5, 5], [40, 5], [40, 30]]}],
}
VALUE = {"points": [[5, 5], [60, 5], [60, 60]], "polygonlabels": ["lesion"]}
RESULT = {
    "type": "polygonlabels",
    "original_width": 60,
    "original_height": 50,
    "value": VALUE,
}
STUDIO = [{"data": {"image": "a.png"}, "annotations": [{"result": [RESULT]}]}]


def replaced(content: Any, value: Any) -> list[Any]:
    """The content with the value in each place, once."""
    pairs: list[tuple[Any, Any]] = []
    if isinstance(content, dict):
        pairs = [*content.items()]
    elif isinstance(content, list):
        pairs = [*enumerate(content)]
    results = [value]
    for key, part in pairs:
        for other in replaced(part, value):
            copy = content.copy()
            copy[key] = other
            results.append(copy)
    return results


@pytest.mark.parametrize("content", [COCO, LABELME, STUDIO], ids=["coco", "labelme", "studio"])
@pytest.mark.parametrize("value", [None, 1.5, "x", [], {}, True, [1], [["a", "b"]], 10**40])
def test_labels_with_a_wrong_value(tmp_path: Path, content: Any, value: Any) -> None:
    path, said = tmp_path / "a.json", []
    for changed in replaced(content, value):
        path.write_text(json.dumps(changed, default=str))
        try:
            labels = formats.read(path)
        except LesionsegError as error:
            said.append(str(error))
        else:
            said += [entry.reason for entry in labels.unusable]
    assert said
    assert not [text for text in said if NOT_PLAIN.search(text.removeprefix(f"{path}: "))]


def test_damaged_networks(tmp_path: Path) -> None:
    path = exported(tmp_path / "a.pt").with_suffix(EXPORTED)
    said = set()
    for content in [*mutations(path.read_bytes(), 15), b"", b"text"]:
        path.write_bytes(content)
        try:
            open_network(path, "cpu")
        except LesionsegError as error:
            said.add(str(error))
    assert all("export it again, or name another" in text for text in said)
    assert said
    assert not [text for text in said if NOT_PLAIN.search(text)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"foreign": 1}, "a part of it is not what it should be"),
        ({"model": 5}, "a part of it is not what it should be"),
        ({"training": 5}, "the state of its training is not one"),
        ({"scores": None}, "expected numbers as scores"),
    ],
)
def test_damaged_checkpoints(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = saved(tmp_path / "a.pt")
    torch.save(torch.load(path, weights_only=True) | change, path)
    with pytest.raises(LesionsegError, match=f"a damaged checkpoint: {said}; name another"):
        checkpoints.load(path)


@pytest.mark.parametrize(
    "change",
    [
        {"optimiser": 5},
        {"optimiser": {"state": {0: []}, "param_groups": []}},
        {"rng": None},
        {"photos": "x"},
        {"best": None},
        {"history": [3]},
        {"history": [{"epoch": "x"}]},
        {"network": {}},
    ],
)
def test_a_damaged_state_of_a_training(
    tmp_path: Path, lesionseg: Command, change: dict[str, Any]
) -> None:
    data, run = write_pairs(tmp_path / "data", 1, 2, 3), tmp_path / "run"
    words = ("train", "--data", data, "--output", run, "--workers", 1)
    shape = ("--width", 1, "--image-size", 32, "--set", "stem=none")
    assert lesionseg(*words, *shape, "--epochs", 1).status == 0
    last = torch.load(run / "last.pt", weights_only=True)
    torch.save(last | {"training": last["training"] | change}, run / "last.pt")
    ended = lesionseg("train", "--resume", "--output", run, "--epochs", 2)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.splitlines()[-1] == (
        f"error: {run / 'last.pt'}: the state of its training is damaged, so that it cannot be "
        f"resumed; start a new run, with --from {run / 'best.pt'} to start from its weights"
    )


def test_a_list_that_is_not_text(tmp_path: Path, lesionseg: Command) -> None:
    data = write_pairs(tmp_path / "data", 1, 2)
    (data / "val.txt").write_bytes(b"ISIC_0000001\nISIC_\xff")
    ended = lesionseg("eval", "--data", data, "-c", saved(tmp_path / "a.pt"))
    assert ended.err.splitlines()[-1] == (
        f"error: {data / 'val.txt'}: cannot read this list: expected UTF-8 text, got other bytes "
        "at byte 18; save it again"
    )
    groups = tmp_path / "groups.csv"
    groups.write_bytes(b"id,lesion\n\xff,1\n")
    ended = lesionseg("train", "--data", data, "--groups", groups)
    assert ended.err.endswith("got other bytes at byte 11; save it again\n")


def test_a_photo_cut_off(tmp_path: Path, lesionseg: Command) -> None:
    photo = write_photo(tmp_path / "a.jpg")
    photo.write_bytes(photo.read_bytes()[:-300])
    ended = lesionseg("segment", photo, "-o", tmp_path / "m.png", "-c", saved(tmp_path / "a.pt"))
    assert ended.err.splitlines()[-1] == (
        f"error: {photo}: cannot read this photo: the end of this JPEG file is missing; copy it "
        "again from where it came from"
    )
