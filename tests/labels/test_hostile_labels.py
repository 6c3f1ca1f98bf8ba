"""Label files with anything in them: read, left out, or refused in one line; bounded memory."""

import base64
import copy
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesionseg.errors import LesionsegError
from lesionseg.images.arrays import Mask
from lesionseg.images.png import mask_png
from lesionseg.labels import formats, runlength
from lesionseg.labels.outline import Ring, fill, fill_union

SQUARE = [2, 2, 9, 2, 9, 8, 2, 8]
_CORNERS = [[2, 2], [9, 2], [9, 8]]
_MASK = base64.b64encode(mask_png(np.ones((4, 5), np.bool_))).decode()
COCO: dict[str, Any] = {
    "images": [
        {"id": 1, "file_name": "a.jpg", "width": 20, "height": 10},
        {"id": 2, "file_name": "b.jpg", "width": 20, "height": 10},
    ],
    "categories": [{"id": 1, "name": "lesion"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [SQUARE]},
        {
            "id": 2,
            "image_id": 2,
            "category_id": 1,
            "segmentation": {"size": [10, 20], "counts": [50, 50, 100]},
        },
    ],
}
LABELME: dict[str, Any] = {
    "imagePath": "a.jpg",
    "imageHeight": 10,
    "imageWidth": 20,
    "shapes": [
        {"label": "lesion", "points": _CORNERS, "shape_type": "polygon"},
        {"label": "lesion", "points": [[3, 3], [7, 6]], "shape_type": "mask", "mask": _MASK},
    ],
}
CVAT = (
    '<?xml version="1.0" encoding="utf-8"?><annotations>'
    '<image id="0" name="a.jpg" width="20" height="10">'
    '<polygon label="lesion" points="2,2;9,2;9,8"/></image>'
    '<image id="1" name="b.jpg" width="20" height="10">'
    '<mask label="lesion" rle="1, 3" left="1" top="1" width="2" height="2"/></image></annotations>'
)
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([10**400, 10**9, 0, -1, [], {}, [[]], "", "\0", "\ud800", "lesion", "nan"]),
    st.floats(),
    st.text(max_size=4),
    st.recursive(st.integers(), lambda inner: st.lists(inner, max_size=3), max_leaves=6),
    st.just([[[[[[[[[[1]]]]]]]]]]),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a structure, as the keys that lead there."""
    if not isinstance(value, dict | list):
        return [path]
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    return [path, *(place for key, item in inside for place in places(item, (*path, key)))]


@st.composite
def damaged(draw: st.DrawFn, valid: dict[str, Any]) -> dict[str, Any]:
    """A valid file with one to three values replaced or deleted."""
    content = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        *keys, last = draw(st.sampled_from([place for place in places(content) if place]))
        parent: Any = content
        for key in keys:
            parent = parent[key]
        if draw(st.booleans()):
            del parent[last]
        else:
            parent[last] = copy.deepcopy(draw(JUNK))
        if not content:
            break
    return content


def read_whatever(path: Path) -> formats.Labels | None:
    """Read labels and their masks; every reason is one line."""
    labels, reasons = None, []
    try:
        labels = formats.read(path)
    except LesionsegError as error:
        reasons = [str(error)]
    if labels is not None:
        reasons = [entry.reason for entry in labels.unusable]
    assert not any("\n" in reason or len(reason) > 600 for reason in reasons)
    for photo in labels.photos if labels else ():
        if photo.height * photo.width < 10**6:
            assert photo.mask().shape == (photo.height, photo.width)
    return labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("labels")


@given(st.one_of(damaged(COCO), damaged(LABELME)))
def test_any_json(folder: Path, content: dict[str, Any]) -> None:
    path = folder / "a.json"
    path.write_text(json.dumps(content))
    read_whatever(path)


@given(
    st.integers(0, len(CVAT) - 1),
    st.integers(0, 12),
    st.sampled_from(["", "9", "1" * 5000, "-1", "nan", "1e400", '"', "<", "&#0;", ";", ",", "é"]),
)
def test_any_xml(folder: Path, start: int, length: int, junk: str) -> None:
    path = folder / "a.xml"
    path.write_text(CVAT[:start] + junk + CVAT[start + length :], encoding="utf-8")
    read_whatever(path)


@given(st.sampled_from([json.dumps(COCO), json.dumps(LABELME), CVAT]), st.data())
def test_any_bytes(folder: Path, content: str, data: st.DataObject) -> None:
    damaged_bytes = bytearray(content.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged_bytes[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    for name in ("a.json", "a.xml"):
        (folder / name).write_bytes(damaged_bytes)
        read_whatever(folder / name)


def test_the_valid_files_are_read(folder: Path) -> None:
    for name, content, photos in (
        ("a.json", json.dumps(COCO), 2),
        ("a.json", json.dumps(LABELME), 1),
        ("a.xml", CVAT, 2),
    ):
        (folder / name).write_text(content)
        labels = read_whatever(folder / name)
        assert labels is not None
        assert (len(labels.photos), labels.unusable) == (photos, ())


@pytest.mark.parametrize("counts", [5, 2.5, None, {}, [1.5, 198.5], [[200]], [True, 199], True])
def test_run_lengths_that_are_none_leave_one_photo_out(tmp_path: Path, counts: Any) -> None:
    content = copy.deepcopy(COCO)
    content["annotations"][1]["segmentation"]["counts"] = counts
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    labels = formats.read(path)
    assert [photo.name for photo in labels.photos] == ["a.jpg"]
    (entry,) = labels.unusable
    assert entry.reason == f"{path}: b.jpg: expected run lengths as text or a list of integers"


@pytest.mark.parametrize("stray", [3, {}, {"image_id": [1]}, None])
def test_an_annotation_of_no_image_leaves_the_others(tmp_path: Path, stray: Any) -> None:
    content = copy.deepcopy(COCO)
    content["annotations"].insert(0, stray)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    labels = formats.read(path)
    assert len(labels.photos) == 2
    (entry,) = labels.unusable
    assert entry.reason == f"{path}: 1 annotation without an image id"


@pytest.mark.parametrize("encoding", ["x-mac-nothing", "utf-7", "cp037", "undefined", "rot13"])
def test_xml_of_an_unknown_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(CVAT.replace("utf-8", encoding))
    with pytest.raises(LesionsegError) as caught:
        formats.read(path)
    assert str(caught.value).startswith(f"{path}: cannot read these labels: ")


def test_a_width_of_5000_digits_leaves_one_photo_out(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(CVAT.replace('width="20"', f'width="{"9" * 5000}"', 1))
    labels = formats.read(path)
    assert [photo.name for photo in labels.photos] == ["b.jpg"]
    assert "expected its height and width in pixels" in labels.unusable[0].reason


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_of_any_unicode(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps(COCO), encoding=encoding)
    assert len(formats.read(tmp_path / "a.json").photos) == 2


# Filling


def by_definition(shapes: list[Ring], height: int, width: int) -> Mask:
    """A pixel is lesion where its centre lies left of an odd number of edges of any one shape."""
    mask = np.zeros((height, width), np.bool_)
    for ring in shapes:
        odd = np.zeros((height, width), np.bool_)
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            for row in range(height):
                if (y0 <= row + 0.5) != (y1 <= row + 0.5):
                    x = x0 + (row + 0.5 - y0) / (y1 - y0) * (x1 - x0)
                    odd[row] ^= np.arange(width) + 0.5 >= x
        mask |= odd
    return mask


corner = st.tuples(st.integers(-9, 50), st.integers(-9, 40))  # thirds: no centre is on a border
rings = st.lists(st.lists(corner, min_size=3, max_size=8), min_size=1, max_size=4)


@given(rings)
def test_filling_is_even_odd_within_a_shape_and_the_union_of_shapes(
    shapes: list[list[tuple[int, int]]],
) -> None:
    arrays = [np.array(shape, np.float64) / 3 + 0.01 for shape in shapes]
    mask = np.zeros((11, 14), np.bool_)
    fill_union(mask, ([ring] for ring in arrays))
    assert (mask == by_definition(arrays, 11, 14)).all()


def zigzag(corners: int, width: int, height: int) -> Ring:
    x, y = np.linspace(0, width, corners), np.arange(corners) % 2 * height
    return np.stack([x, y], axis=1).astype(np.float64)


def test_strips_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = zigzag(301, 97, 83)
    whole, strips = np.zeros((2, 83, 97), np.bool_)
    fill(whole, [ring])
    monkeypatch.setattr("lesionseg.labels.outline._STRIP_CROSSINGS", 700)
    fill(strips, [ring])
    assert whole.any()
    assert (whole == strips).all()


def test_memory_of_a_zigzag_is_bounded() -> None:
    mask = np.zeros((1000, 1500), np.bool_)
    ring = zigzag(5987, 1500, 1000)  # of six million crossings, 50 bytes each at once are 300 MB
    tracemalloc.start()
    try:
        fill(mask, [ring])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert mask.any()
    assert peak < 60e6


def test_more_outline_than_a_photo_holds_is_refused(tmp_path: Path) -> None:
    content = copy.deepcopy(COCO)
    content["annotations"][0]["segmentation"] = [zigzag(1000, 20, 10).ravel().tolist()]
    (tmp_path / "a.json").write_text(json.dumps(content))
    labels = formats.read(tmp_path / "a.json")
    assert [photo.name for photo in labels.photos] == ["b.jpg"]
    assert "far more outline than a photo of 20x10 pixels can hold" in labels.unusable[0].reason


@given(st.lists(st.lists(st.booleans(), min_size=12, max_size=12), min_size=1, max_size=4))
@pytest.mark.parametrize("by_column", [True, False])
def test_run_lengths_of_one_box_are_united(by_column: bool, pixels: list[list[bool]]) -> None:
    masks = np.array(pixels).reshape(-1, 3, 4)
    box = runlength.Box(1, 2, 4, 3)
    shapes = [
        runlength.check(box, runlength.encode(mask, by_column=by_column), by_column=by_column)
        for mask in masks
    ]
    whole = np.zeros((6, 7), np.bool_)
    runlength.fill_all(whole, shapes)
    assert (whole[2:5, 1:5] == masks.any(axis=0)).all()
    assert whole.sum() == masks.any(axis=0).sum()
