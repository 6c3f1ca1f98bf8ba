"""Masks become labels of other tools, and come back as masks."""

import base64
import contextlib
import importlib
import io
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lesionseg.data import synthetic
from lesionseg.data.cache import cache_pairs
from lesionseg.data.discovery import find
from lesionseg.data.pairs import read_pair, read_truth
from lesionseg.errors import LesionsegError
from lesionseg.files import AtomicTextFile
from lesionseg.images.arrays import Mask
from lesionseg.images.png import mask_png
from lesionseg.labels import formats, labelme, runlength
from lesionseg.labels.outline import Ring, fill, polygon, regions

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


noise = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))


@st.composite
def drawings(draw: st.DrawFn) -> Mask:
    """Discs, rings and bars, several of them, some cut by the frame, some with holes."""
    height, width = (draw(st.integers(24, 70)) for _ in range(2))
    mask = np.zeros((height, width), np.uint8)
    for value in draw(st.lists(st.sampled_from([1, 1, 0]), min_size=1, max_size=6)):
        centre = draw(st.integers(-5, width + 5)), draw(st.integers(-5, height + 5))
        axes = draw(st.integers(2, 30)), draw(st.integers(2, 30))
        cv2.ellipse(mask, centre, axes, draw(st.integers(0, 180)), 0, 360, value, -1)
    return mask.astype(bool)


masks = st.one_of(noise, drawings())


def disc(height: int = 60, width: int = 80, x: int = 40, y: int = 30, radius: int = 20) -> Mask:
    mask = np.zeros((height, width), np.uint8)
    cv2.circle(mask, (x, y), radius, 1, -1)
    return mask.astype(bool)


def with_hole() -> Mask:
    mask = disc()
    mask[26:33, 38:46] = False
    return mask


def dice(one: Mask, other: Mask) -> float:
    both = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / both if both else 1.0


def filled(polygons: list[Ring], shape: tuple[int, ...]) -> Mask:
    mask = np.zeros(shape, np.bool_)
    for ring in polygons:
        fill(mask, [ring])
    return mask


def by_coco(polygons: list[Ring], shape: tuple[int, ...]) -> Mask:
    """The union of polygons as COCO's own code fills them."""
    coco = importlib.import_module("pycocotools.mask")
    if not polygons:
        return np.zeros(shape, np.bool_)
    flat = [ring.ravel().tolist() for ring in polygons]
    decoded: NDArray[np.uint8] = coco.decode(coco.merge(coco.frPyObjects(flat, *shape)))
    return decoded.astype(bool)


def by_labelme(polygons: list[Ring], shape: tuple[int, ...]) -> Mask:
    """The union of polygons as LabelMe fills them (`labelme.utils.shape_to_mask`)."""
    picture = Image.new("L", (shape[1], shape[0]))
    for ring in polygons:
        ImageDraw.Draw(picture).polygon([tuple(c) for c in ring.tolist()], outline=1, fill=1)
    return np.asarray(picture).astype(bool)


# Outlines


@given(masks)
@pytest.mark.parametrize(("tool", "tolerance"), [(filled, 0.25), (by_coco, 0), (by_labelme, 0)])
def test_every_pixel_comes_back(tool: Callable[..., Mask], tolerance: float, mask: Mask) -> None:
    polygons = [polygon(region) for region in regions(mask, tolerance)]
    assert (tool(polygons, mask.shape) == mask).all()


@given(masks)
def test_fewer_corners_cost_little(mask: Mask) -> None:
    few, all_of_them = regions(mask), regions(mask, 0)
    assert len(few) == len(all_of_them)  # not even a single pixel is lost
    assert sum(len(part.outer) for part in few) <= sum(len(part.outer) for part in all_of_them)
    assert dice(filled([polygon(region) for region in few], mask.shape), mask) >= 0.9985


@pytest.mark.parametrize("tool", [by_coco, by_labelme])
@pytest.mark.parametrize("index", range(8))
def test_fewer_corners_cost_little_in_any_tool(tool: Callable[..., Mask], index: int) -> None:
    _, mask = synthetic.generate(0, index)
    assert dice(tool([polygon(region) for region in regions(mask)], mask.shape), mask) >= 0.995


@given(masks)
@pytest.mark.parametrize("tool", [by_coco, by_labelme])
def test_other_tools_differ_at_the_border_alone(tool: Callable[..., Mask], mask: Mask) -> None:
    polygons = [polygon(region) for region in regions(mask)]
    different = tool(polygons, mask.shape) != filled(polygons, mask.shape)
    if different.any():
        begins = np.concatenate(polygons)
        ends = np.concatenate([np.roll(corners, -1, axis=0) for corners in polygons])
        centres = np.argwhere(different)[:, ::-1].astype(np.float64) + 0.5
        # Corners may be moved to the middle of their pixel, and lines to whole rows or columns.
        assert distances(centres, begins, ends).min(axis=1).max() <= math.sqrt(1 / 2) + 1 / 2


@given(masks)
def test_regions_and_holes_are_those_of_connected_components(mask: Mask) -> None:
    outlines = regions(mask, 0)
    assert len(outlines) == cv2.connectedComponents(mask.view(np.uint8), connectivity=4)[0] - 1
    around = np.pad(~mask, 1, constant_values=True).view(np.uint8)
    outside_and_holes = cv2.connectedComponents(around, connectivity=8)[0] - 1
    assert sum(len(region.holes) for region in outlines) == outside_and_holes - 1
    for region in outlines:
        assert area(region.outer) > 0
        assert all(area(hole) < 0 for hole in region.holes)


def area(ring: Ring) -> float:
    x, y = ring.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


@given(drawings(), st.floats(0.3, 4))
def test_no_corner_is_farther_off_than_the_tolerance(mask: Mask, tolerance: float) -> None:
    mask = mask.repeat(3, axis=0).repeat(3, axis=1)  # so large that corners are dropped
    every = [corner for region in regions(mask, 0) for corner in region.outer]
    lines = [
        (region.outer[i - 1], region.outer[i])
        for region in regions(mask, tolerance)
        for i in range(len(region.outer))
    ]
    if every:
        begins, ends = (np.array(side) for side in zip(*lines, strict=True))
        farthest = distances(np.array(every), begins, ends).min(axis=1).max()
        assert farthest <= tolerance + 0.02  # of rounding


def distances(points: Ring, begins: Ring, ends: Ring) -> Ring:
    """(P, L): of P points to L lines."""
    along = ends - begins
    shares = ((points[:, None] - begins) * along).sum(axis=2) / (along**2).sum(axis=1).clip(1e-9)
    nearest = begins + shares.clip(0, 1)[:, :, None] * along
    apart: Ring = np.hypot(*np.moveaxis(nearest - points[:, None], 2, 0))
    return apart


@pytest.mark.parametrize(("x", "y"), [(0, 30), (79, 30), (40, 0), (40, 59), (0, 0), (79, 59)])
def test_what_the_frame_cuts_stays_cut(x: int, y: int) -> None:
    mask = disc(x=x, y=y)
    (region,) = regions(mask, 4)
    low, high = region.outer.min(axis=0), region.outer.max(axis=0)
    reached = [x == 0, y == 0, x == 79, y == 59]
    assert [bool(v) for v in (*(low < 0.5), *(high > (79.5, 59.5)))] == reached
    back = filled([region.outer], mask.shape)
    for line in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        assert (back[line] == mask[line]).all()


def test_a_full_frame_has_four_corners() -> None:
    (region,) = regions(np.ones((5, 7), np.bool_))
    assert region.outer.tolist() == [[6.99, 0], [6.99, 4.99], [0, 4.99], [0, 0]]


def test_nothing_has_no_outline() -> None:
    assert regions(np.zeros((5, 7), np.bool_)) == ()


def test_a_large_lesion_has_few_corners() -> None:
    (region,) = regions(disc(900, 900, 450, 450, 400))
    assert len(region.outer) < 100
    assert area(region.outer) == pytest.approx(np.pi * 400**2, rel=0.01)


def test_a_hole_is_joined_by_a_level_line() -> None:
    (region,) = regions(with_hole())
    (hole,) = region.holes
    ring = polygon(region)
    assert len(ring) == len(region.outer) + len(hole) + 3  # twice the joint, once its end
    assert area(ring) == pytest.approx(area(region.outer) + area(hole))
    assert dice(filled([ring], (60, 80)), with_hole()) > 0.998


def test_filling_may_reach_over_the_frame() -> None:
    mask = filled([np.array([[-50.0, -3.0], [20.0, -3.0], [20.0, 2.0], [-50.0, 2.0]])], (4, 6))
    assert mask.sum(axis=1).tolist() == [6, 6, 0, 0]
    assert not filled([np.array([[90.0, 90.0], [95.0, 90.0], [95.0, 95.0]])], (4, 6)).any()


# Run lengths


@given(masks)
def test_run_lengths_are_those_of_coco(mask: Mask) -> None:
    coco = importlib.import_module("pycocotools.mask")
    lengths = runlength.encode(mask, by_column=True)
    packed = runlength.pack(lengths)
    assert packed.encode() == coco.encode(np.asfortranarray(mask, np.uint8))["counts"]
    assert runlength.unpack(packed).tolist() == lengths.tolist()
    for by_column in (True, False):
        box = runlength.Box(2, 1, mask.shape[1], mask.shape[0])
        larger = np.zeros((mask.shape[0] + 3, mask.shape[1] + 2), np.bool_)
        runs = runlength.check(
            box, runlength.encode(mask, by_column=by_column), by_column=by_column
        )
        runs.fill(larger)
        assert (larger[1:-2, 2:] == mask).all()
        assert larger.sum() == mask.sum()


@given(st.lists(st.integers(0, 10**9), min_size=1))
def test_run_lengths_of_any_size(lengths: list[int]) -> None:
    packed = runlength.pack(np.array(lengths, np.int64))
    assert runlength.unpack(packed).tolist() == lengths


@pytest.mark.parametrize("text", ["P", "\x7f", "0 0", "é", "o" * 20])
def test_text_that_is_no_run_lengths(text: str) -> None:
    with pytest.raises(ValueError, match=r"run lengths|ascii"):
        runlength.unpack(text)


# Files

MASKS = {
    "disc": disc(),
    "hole": with_hole(),
    "two": disc(x=15, radius=10) | disc(x=60, radius=12),
    "cut": disc(x=0, y=0, radius=30),
}
FORMATS = [("a.json", False), ("a.json", True), ("a.xml", False), ("a.xml", True), ("a", False)]


@pytest.fixture
def photos(tmp_path: Path) -> dict[Path, Mask]:
    """Photos that are black, each with its mask."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, mask in MASKS.items():
        Image.new("RGB", mask.shape[::-1]).save(folder / f"{name}.png")
    return {folder / f"{name}.png": mask for name, mask in MASKS.items()}


def write(path: Path, of: dict[Path, Mask], **choices: Any) -> Path:
    with formats.writing(path, of, **choices) as writer:
        for photo, mask in of.items():
            writer.add(photo, writer.draw(mask))
    return path


@pytest.mark.parametrize(("name", "run_lengths"), FORMATS)
def test_round_trip(tmp_path: Path, photos: dict[Path, Mask], name: str, run_lengths: bool) -> None:
    labels = formats.read(write(tmp_path / name, photos, run_lengths=run_lengths))
    assert labels.unusable == ()
    back = {formats.stem(entry.name): entry for entry in labels.photos}
    assert back.keys() == MASKS.keys()
    for photo, mask in MASKS.items():
        assert dice(back[photo].mask(), mask) >= (1 if run_lengths else 0.998)
        if not name.endswith("xml"):  # which does not tell a way out of its own folder
            assert back[photo].photo.samefile(tmp_path / "photos" / f"{photo}.png")


@pytest.mark.parametrize("run_lengths", [False, True])
def test_coco_by_its_own_library(
    tmp_path: Path, photos: dict[Path, Mask], run_lengths: bool
) -> None:
    empty = photos | {tmp_path / "photos" / "none.png": np.zeros((60, 80), np.bool_)}
    path = write(tmp_path / "labels.json", empty, run_lengths=run_lengths)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = importlib.import_module("pycocotools.coco").COCO(str(path))
    assert [category["name"] for category in coco.cats.values()] == ["lesion"]
    assert len(coco.imgs) == 5
    for image in coco.imgs.values():
        mask = empty[tmp_path / image["file_name"]]
        assert (image["height"], image["width"]) == mask.shape
        of_image = coco.imgToAnns[image["id"]]
        regions_of_it = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)[0] - 1
        assert len(of_image) == (min(1, regions_of_it) if run_lengths else regions_of_it)
        drawn = np.zeros(mask.shape, np.bool_)
        for annotation in of_image:
            own = coco.annToMask(annotation).astype(bool)
            drawn |= own
            assert annotation["area"] == pytest.approx(own.sum(), rel=0.02)
            y, x = np.nonzero(own)
            box = (x.min(), y.min(), x.max() + 1 - x.min(), y.max() + 1 - y.min())
            assert np.abs(np.array(annotation["bbox"]) - box).max() <= 1.1
            assert annotation["iscrowd"] == 0
        assert dice(drawn, mask) >= (1 if run_lengths else 0.995)


def test_labelme_by_its_own_loader(tmp_path: Path, photos: dict[Path, Mask]) -> None:
    label_file = own_code_of_labelme("labelme._label_file")
    shapes = own_code_of_labelme("labelme.utils.shape")
    write(tmp_path / "a", photos)
    for name, mask in MASKS.items():
        loaded = label_file.LabelFile(str(tmp_path / "a" / f"{name}.json"))
        classes, _ = shapes.shapes_to_label(mask.shape, loaded.shapes, {"lesion": 1})
        assert dice(classes == 1, mask) >= 0.995
        assert Image.open(io.BytesIO(loaded.image_data)).size == mask.shape[::-1]


def own_code_of_labelme(name: str) -> Any:
    with contextlib.suppress(ImportError):
        return importlib.import_module(name)
    pytest.skip("labelme is not installed (it brings Qt); pip install labelme to run this")


def test_labelme_files(tmp_path: Path, photos: dict[Path, Mask]) -> None:
    write(tmp_path / "photos", photos)  # beside the photos
    content = json.loads((tmp_path / "photos" / "two.json").read_text())
    assert (content["imagePath"], content["imageData"]) == ("two.png", None)
    assert (content["imageHeight"], content["imageWidth"]) == (60, 80)
    first, second = content["shapes"]
    for shape in (first, second):
        assert (shape["label"], shape["shape_type"], shape["flags"]) == ("lesion", "polygon", {})
        assert all(len(point) == 2 for point in shape["points"])


@pytest.mark.parametrize("run_lengths", [False, True])
def test_cvat_file(tmp_path: Path, photos: dict[Path, Mask], run_lengths: bool) -> None:
    path = write(tmp_path / "photos" / "labels.xml", photos, run_lengths=run_lengths)
    root = ET.parse(path).getroot()
    assert (root.tag, root.findtext("version")) == ("annotations", "1.1")
    assert [element.text for element in root.iterfind("meta/task/labels/label/name")] == ["lesion"]
    for number, image in enumerate(root.iterfind("image")):
        mask = photos[path.parent / image.attrib["name"]]
        assert image.get("id") == str(number)
        assert (image.get("width"), image.get("height")) == ("80", "60")
        for shape in image:
            assert shape.tag == ("mask" if run_lengths else "polygon")
            assert shape.get("label") == "lesion"
        if run_lengths:
            (shape,) = image
            counts = [int(count) for count in shape.attrib["rle"].split(",")]
            box = [int(shape.attrib[side]) for side in ("left", "top", "width", "height")]
            left, top, width, height = box
            own = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)
            assert (own == mask[top : top + height, left : left + width]).all()
            assert own.sum() == mask.sum()


def test_cvat_tells_no_way_out_of_its_folder(tmp_path: Path, photos: dict[Path, Mask]) -> None:
    out = write(tmp_path / "out" / "a.xml", photos)
    assert {entry.name for entry in formats.read(out).photos} == {f"{name}.png" for name in MASKS}
    above = write(tmp_path / "a.xml", photos)
    assert formats.read(above).photos[0].name == "photos/disc.png"


@pytest.mark.skipif(os.name != "posix", reason="such names are refused there")
def test_names_that_are_no_text(tmp_path: Path) -> None:
    photo = {tmp_path / os.fsdecode(b"\xff\n.png"): disc()}
    assert len(formats.read(write(tmp_path / "a.json", photo)).photos) == 1
    with pytest.raises(LesionsegError, match="XML cannot hold this name"):
        write(tmp_path / "a.xml", photo)


@pytest.mark.parametrize("name", ["at 1.00.00\u202fPM.png", "\xa0\ufeff\u200b\u2028\x85.png"])
def test_spaces_that_are_not_printable_come_back_from_xml(tmp_path: Path, name: str) -> None:
    labels = formats.read(write(tmp_path / "a.xml", {tmp_path / name: disc()}))
    assert [photo.name for photo in labels.photos] == [name]


@pytest.mark.parametrize("name", ["a.json", "a.xml", "a"])
def test_what_is_there_is_not_replaced(tmp_path: Path, photos: dict[Path, Mask], name: str) -> None:
    write(tmp_path / name, {tmp_path / "photos" / "two.png": disc()})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    with pytest.raises(LesionsegError, match="may hold corrections; nothing was written"):
        write(tmp_path / name, photos)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()} == before
    if name == "a":
        write(tmp_path / name, photos, keep=True)  # the rest is written
        back = {entry.name: entry.mask() for entry in formats.read(tmp_path / "a").photos}
        assert len(back) == 4
        assert dice(back["../photos/two.png"], disc()) > 0.99


@pytest.mark.parametrize("name", ["a.json", "a.xml"])
def test_a_file_appears_whole_or_not_at_all(
    tmp_path: Path, photos: dict[Path, Mask], name: str
) -> None:
    def broken_off(error: BaseException) -> Iterator[Path]:
        with formats.writing(tmp_path / name, photos) as writer:
            for photo, mask in photos.items():
                yield photo
                writer.add(photo, writer.draw(mask))
            assert not (tmp_path / name).exists()
            raise error

    for error in (KeyboardInterrupt(), BrokenPipeError(32, "Broken pipe"), LesionsegError("no")):
        with pytest.raises(type(error)):  # and no other in its place
            list(broken_off(error))
        assert [path.name for path in tmp_path.iterdir()] == ["photos"]
    with formats.writing(tmp_path / name, photos):
        pass  # all photos failed
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda *args, **kwargs: Full())
    message = r"^cannot write .*a.json: No space left on device$"
    with pytest.raises(LesionsegError, match=message), AtomicTextFile(tmp_path / "a.json") as file:
        file.write("text")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "choices", "said"),
    [
        ("taken", {}, "expected a .json, a .xml or a folder"),
        ("a.yaml", {}, "expected a .json, a .xml or a folder"),
        ("folder.json", {}, "it is a folder; name a file"),
        ("a", {"run_lengths": True}, "LabelMe has no run lengths"),
        ("a.json", {"tolerance": -1}, "expected 0 or more pixels, got -1"),
        ("a.json", {"tolerance": float("nan")}, "got nan"),
        ("a.json", {"tolerance": float("inf")}, "got inf"),
    ],
)
def test_places_that_are_refused(
    tmp_path: Path, name: str, choices: dict[str, Any], said: str
) -> None:
    (tmp_path / "taken").touch()
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(LesionsegError, match=said):
        write(tmp_path / name, {}, **choices)


# What others wrote

SQUARE = [10.0, 10, 20, 10, 20, 20, 10, 20]
IMAGE = {"id": 7, "file_name": "x/a.jpg", "width": 40, "height": 30}


def coco_file(path: Path, *annotations: Any, image: Any = IMAGE, category: str = "Lesion") -> Path:
    content = {
        "images": [image],
        "annotations": [
            {"id": i, "image_id": 7, **annotation} for i, annotation in enumerate(annotations)
        ],
        "categories": [{"id": 3, "name": category}, {"id": 4, "name": "hair"}],
    }
    path.write_text(json.dumps(content))
    return path


def outlined(segmentation: Any) -> dict[str, Any]:
    return {"category_id": 3, "segmentation": segmentation}


def test_annotations_of_a_photo_are_united(tmp_path: Path) -> None:
    counts = {"size": [30, 40], "counts": [0, 2, 30 * 40 - 2]}
    path = coco_file(
        tmp_path / "a.json",
        outlined([SQUARE, [0, 0, 40, 0, 0, 4]]),
        outlined(counts),
        outlined([[15.2, 15.2, 30.0, 15.2, 30.0, 24.9, 15.2, 24.9]]),
    )
    (entry,) = formats.read(path).photos
    expected = np.zeros((30, 40), np.bool_)
    expected[10:20, 10:20] = expected[15:25, 15:30] = True
    fill(expected, [np.array([[0.0, 0], [40, 0], [0, 4]])])
    expected[:2, 0] = True
    assert (entry.mask() == expected).all()


def labelme_file(path: Path, *shapes: Any, **more: Any) -> Path:
    content = json.loads(labelme.text("..\\x\\a.jpg", 30, 40, list(shapes)))
    path.write_text(json.dumps(content | more))
    return path


def lesion(points: Any, **more: Any) -> dict[str, Any]:
    return {"label": "lesion", "points": points, "shape_type": "polygon", **more}


def png(mask: Mask) -> str:
    return base64.b64encode(mask_png(mask)).decode()


def test_labelme_polygons_and_masks(tmp_path: Path) -> None:
    path = labelme_file(
        tmp_path / "other.json",
        lesion([[10, 10], [20, 10], [20, 20], [10, 20]]),
        lesion([[25, 5], [34, 9]], shape_type="mask", mask=png(np.eye(5, 10, dtype=bool))),
        imageData="no picture",  # it is not looked at
    )
    (entry,) = formats.read(path).photos
    expected = np.zeros((30, 40), np.bool_)
    expected[10:20, 10:20] = True
    expected[5:10, 25:35] = np.eye(5, 10)
    assert (entry.mask() == expected).all()
    assert formats.stem(entry.name) == "a"


XML = '<annotations><version>1.1</version><image id="0" name="a.jpg" width="40" height="30">'


def cvat_file(path: Path, inside: str, head: str = XML) -> Path:
    path.write_text(f"{head}{inside}</image></annotations>")
    return path


def test_cvat_polygons_and_masks(tmp_path: Path) -> None:
    path = cvat_file(
        tmp_path / "a.xml",
        '<tag label="melanoma"/><polygon label="lesion" points="10,10;20,10.0;20,20;10,20">'
        '<attribute name="sure">yes</attribute></polygon>'
        '<mask label="lesion" rle="1, 2, 1" left="38" top="28" width="2" height="2"/>',
    )
    (entry,) = formats.read(path).photos
    expected = np.zeros((30, 40), np.bool_)
    expected[10:20, 10:20] = True
    expected[28, 39] = expected[29, 38] = True
    assert (entry.mask() == expected).all()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: coco_file(p), "x/a.jpg: no outline"),
        (lambda p: coco_file(p, outlined([SQUARE]), category="nevus"), "'lesion', got 'nevus'"),
        (lambda p: coco_file(p, {"category_id": 4, "segmentation": [SQUARE]}), "got 'hair'"),
        (lambda p: coco_file(p, {"category_id": 9, "segmentation": [SQUARE]}), "got None"),
        (lambda p: coco_file(p, outlined([])), "an annotation without an outline"),
        (lambda p: coco_file(p, outlined([SQUARE[:4]])), "three or more points, got 2"),
        (
            lambda p: coco_file(p, outlined([SQUARE[:7]])),
            "an x and a y for each corner, got 7 numbers",
        ),
        (
            lambda p: coco_file(p, outlined([[10**400, *SQUARE[1:]]])),
            "two numbers, x and y, for each corner",
        ),
        (lambda p: coco_file(p, outlined([[*SQUARE, 1e9, 0]])), "far outside"),
        (lambda p: coco_file(p, outlined([[*SQUARE, float("nan"), 0]])), "far outside"),
        (lambda p: coco_file(p, outlined([["x"] * 8])), "two numbers, x and y, for each corner"),
        (lambda p: coco_file(p, {"category_id": 3}), "expected 'segmentation', found none"),
        (
            lambda p: coco_file(p, outlined({"size": [40, 30], "counts": [1200]})),
            "expected run lengths of 40x30 pixels, got",
        ),
        (
            lambda p: coco_file(p, outlined({"size": [30, 40], "counts": [9]})),
            "expected run lengths of 1200 pixels in all",
        ),
        (
            lambda p: coco_file(p, outlined({"size": [30, 40], "counts": [2**70, 1]})),
            "expected labels as a labelling tool writes them, got other values; export them again",
        ),
        (  # their sum, in 64 bits, is 1200
            lambda p: coco_file(p, outlined({"size": [30, 40], "counts": [2**62] * 4 + [1200]})),
            "expected run lengths of 1200 pixels in all",
        ),
        (lambda p: coco_file(p, outlined({"size": [30, 40], "counts": "~"})), "not packed run"),
        (
            lambda p: coco_file(p, outlined([SQUARE]), image=IMAGE | {"width": 0}),
            "in pixels, got 0",
        ),
        (
            lambda p: coco_file(p, outlined([SQUARE]), image=IMAGE | {"width": 10**9}),
            "expected a photo, got 1000000000x30",
        ),
        (
            lambda p: coco_file(p, outlined([SQUARE]), image={"id": 7}),
            "expected the name of a photo, got None",
        ),
        (lambda p: labelme_file(p), "no outline"),
        (lambda p: labelme_file(p, lesion([[1, 1], [2, 2]])), "three or more points, got 2"),
        (lambda p: labelme_file(p, lesion([[1, 2, 3]] * 3)), "three or more points"),
        (
            lambda p: labelme_file(p, lesion([[1, 1], [9, 9]], shape_type="circle")),
            "expected a polygon or a mask, got a circle",
        ),
        (
            lambda p: labelme_file(
                p, lesion([[1, 1], [9, 9]], shape_type="mask", mask=png(disc(8, 9)))
            ),
            "expected a mask of 9x9 pixels within 40x30, got 9x8",
        ),
        (
            lambda p: labelme_file(p, lesion([[1, 1], [9, 9]], shape_type="mask", mask="AAAA")),
            "its mask is not an image",
        ),
        (lambda p: labelme_file(p, lesion([[1, 1]] * 3), imageWidth=None), "in pixels, got None"),
        (lambda p: labelme_file(p, {"label": "lesion"}), "expected 'points', found none"),
        (lambda p: labelme_file(p, 5), "expected labels as a labelling tool writes them, got"),
    ],
)
def test_photos_with_labels_that_cannot_be_used(
    tmp_path: Path, make: Callable[[Path], Path], said: str
) -> None:
    path = make(tmp_path / "a.json")
    labels = formats.read(path)
    (problem,) = labels.unusable
    assert problem.reason.startswith(f"{path}: ")
    assert said in problem.reason
    assert "\n" not in problem.reason
    assert labels.photos == ()


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        ("", "a.jpg: no outline"),
        (
            '<box label="lesion" xtl="1" ytl="1" xbr="9" ybr="9"/>',
            "got a box; draw it as a polygon",
        ),
        ('<polygon label="nevus" points="1,1;2,2;3,1"/>', "expected the category 'lesion'"),
        ('<polygon label="lesion" points="1,1;2,2"/>', "three or more points"),
        ('<polygon label="lesion" points="1,1;2,2;3"/>', "two numbers, x and y, for each corner"),
        ('<polygon label="lesion"/>', "expected 'points', found none"),
        (
            '<mask label="lesion" rle="4" left="39" top="0" width="2" height="2"/>',
            "expected a mask within 40x30 pixels",
        ),
        (
            '<mask label="lesion" rle="5,-1" left="0" top="0" width="2" height="2"/>',
            "expected run lengths of 4 pixels",
        ),
    ],
)
def test_cvat_labels_that_cannot_be_used(tmp_path: Path, inside: str, said: str) -> None:
    path = cvat_file(tmp_path / "a.xml", inside)
    (problem,) = formats.read(path).unusable
    assert problem.reason.startswith(f"{path}: a.jpg: ")
    assert said in problem.reason
    assert "\n" not in problem.reason


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", "{", "cannot read these labels: not valid JSON at line 1, column 2; export it"),
        ("a.json", "[" * 100_000, "cannot read these labels: nested too deep"),
        (
            "a.json",
            "\xff",
            "cannot read these labels: expected UTF-8 text, got other bytes at byte 1",
        ),
        ("a.json", "[]", "expected labels of COCO, CVAT, Label Studio or LabelMe"),
        ("a.json", '{"images": [], "annotations": [{}]}', "expected 'image_id', found none"),
        (
            "a.json",
            '{"images": 3, "annotations": []}',
            "cannot read these labels: expected labels as a labelling tool",
        ),
        (
            "a.json",
            '{"images": [], "annotations": [3]}',
            "cannot read these labels: expected labels as a labelling tool",
        ),
        ("a.xml", "<annotations>", "cannot read these labels: not valid XML at line 1, column"),
        ("a.xml", "<svg/>", "expected <annotations> of 'CVAT for images', got <svg>"),
        ("a.xml", "<annotations><track/></annotations>", "got 'CVAT for video'"),
        ("a.txt", "", "expected a folder of masks, or labels as .json or .xml"),
    ],
)
def test_files_that_are_no_labels(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(LesionsegError) as caught:
        formats.read(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_of_entities_does_not_fill_the_memory(tmp_path: Path) -> None:
    bomb = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12))
    head = f'<!DOCTYPE a [<!ENTITY e0 "0123456789">{bomb}]>{XML}'
    path = cvat_file(tmp_path / "a.xml", "<x>&e11;</x>", head)
    with pytest.raises(LesionsegError, match="cannot read these labels: not valid XML at line 1"):
        formats.read(path)


# In place of masks


def places(dataset: Any) -> set[tuple[str, str]]:
    return {(pair.id, pair.mask.name) for pair in dataset.split("all")}


@pytest.mark.parametrize("name", ["a.json", "a.xml", "a"])
def test_labels_named_as_truth(tmp_path: Path, photos: dict[Path, Mask], name: str) -> None:
    truth = write(tmp_path / name, photos)
    dataset = find(None, tmp_path / "photos", truth)
    assert dataset.problems == ()
    files = {(stem, name if name != "a" else f"{stem}.json") for stem in MASKS}
    assert places(dataset) == files
    for pair in dataset.split("all"):
        mask, zero_one = read_truth(pair, (60, 80))
        assert dice(mask, MASKS[pair.id]) > 0.998
        assert dice(read_truth(pair)[0], MASKS[pair.id]) > 0.998
        assert not zero_one
        small, small_mask = read_pair(pair, 32)
        assert (small.shape, small_mask.shape) == ((32, 32, 3), (32, 32))


@pytest.mark.parametrize(
    ("photo_folder", "place"),
    [
        ("set", "set/labels.json"),
        ("set", "set/annotations.xml"),
        ("set", "set"),
        ("set/images", "set/annotations.json"),
        ("set/images", "set/images/labels.xml"),
        ("set/images", "set/images"),
        ("set/images", "set/labels"),
        ("set/images", "set/labels/labels.json"),
    ],
)
def test_labels_in_a_data_folder(
    tmp_path: Path, photos: dict[Path, Mask], photo_folder: str, place: str
) -> None:
    (tmp_path / photo_folder).parent.mkdir(exist_ok=True)
    (tmp_path / "photos").rename(tmp_path / photo_folder)
    moved = {tmp_path / photo_folder / path.name: mask for path, mask in photos.items()}
    write(tmp_path / place, moved)
    (tmp_path / "set" / "scores.json").write_text('{"dice": 1}')  # nobody's business
    dataset = find(tmp_path / "set")
    assert {pair.id for pair in dataset.split("all")} == MASKS.keys()
    assert dataset.problems == ()
    # Masks that they correct do not come in their way.
    for path, mask in moved.items():
        for folder in (path.parent, tmp_path / "set" / "masks"):
            folder.mkdir(exist_ok=True)
            (folder / f"{path.stem}_segmentation.png").write_bytes(mask_png(~mask))
    again = find(tmp_path / "set")
    assert again.pairs == dataset.pairs
    assert all(pair.labels for pair in again.split("all"))
    (problem,) = again.problems
    assert problem.startswith("4 masks not used, as ")


def test_a_folder_of_masks_and_labels_as_truth(tmp_path: Path, photos: dict[Path, Mask]) -> None:
    write(tmp_path / "out", photos)
    (tmp_path / "out" / "two_segmentation.png").write_bytes(mask_png(disc()))
    dataset = find(None, tmp_path / "photos", tmp_path / "out")
    assert all(pair.labels for pair in dataset.split("all"))
    assert dataset.problems == (f"1 mask not used, as {tmp_path / 'out'} takes precedence",)


def test_foreign_files_change_nothing(tmp_path: Path, photos: dict[Path, Mask]) -> None:
    for path, mask in photos.items():
        (path.parent / f"{path.stem}_segmentation.png").write_bytes(mask_png(mask))
        (path.parent / f"{path.stem}.json").write_text('{"age": 50}')
    (tmp_path / "photos" / "annotations.json").write_text("[1]")
    (tmp_path / "photos" / "broken.json").write_text("{")
    dataset = find(tmp_path / "photos")
    assert len(dataset.split("all")) == 4
    assert not any(pair.labels for pair in dataset.split("all"))
    assert dataset.problems == ()


def test_a_folder_of_broken_labels_says_why(tmp_path: Path, photos: dict[Path, Mask]) -> None:
    write(tmp_path / "a", dict.fromkeys(photos, np.zeros((60, 80), np.bool_)))
    for places in ((None, tmp_path / "photos", tmp_path / "a"), (tmp_path / "a",)):
        with pytest.raises(LesionsegError, match=r"cut.json: ../photos/cut.png: no outline"):
            find(*places)
    for path in (tmp_path / "a").iterdir():
        path.write_text("{")
    with pytest.raises(
        LesionsegError, match=r"cut.json: cannot read these labels: not valid JSON at line"
    ):
        find(None, tmp_path / "photos", tmp_path / "a")


def test_two_files_for_all_are_one_too_many(tmp_path: Path, photos: dict[Path, Mask]) -> None:
    for name in ("labels.json", "annotations.xml"):
        write(tmp_path / "photos" / name, photos)
    with pytest.raises(LesionsegError, match=r"labels.json and .*annotations.xml: choose one"):
        find(tmp_path / "photos")
    assert len(find(None, tmp_path / "photos", tmp_path / "photos/labels.json").split("all")) == 4


def test_what_has_no_partner_is_named(tmp_path: Path, photos: dict[Path, Mask]) -> None:
    folder = tmp_path / "photos"
    (folder / "hole.png").rename(folder / "new.png")
    given_ones = photos | {folder / "cut.png": np.zeros((60, 80), np.bool_)}
    path = write(folder / "labels.json", given_ones)
    dataset = find(folder)
    assert {pair.id for pair in dataset.split("all")} == {"disc", "two"}
    assert dataset.problems == (
        f"{path}: cut.png: no outline",
        f"{path}: hole.png: no photo of this name",
        f"{folder / 'new.png'}: not in {path}",
    )


def test_two_labels_of_one_name(tmp_path: Path) -> None:
    mask = disc()
    path = write(tmp_path / "labels.json", {tmp_path / x / "a.png": mask for x in ("x", "y")})
    Image.new("RGB", (80, 60)).save(tmp_path / "a.png")
    with pytest.raises(LesionsegError, match=r"x/a.png: y/a.png has the same name; both left out"):
        find(None, tmp_path, path)


def test_labels_of_another_size(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.json", {tmp_path / "a.png": disc()})
    Image.new("RGB", (60, 80)).save(tmp_path / "a.png")
    (pair,) = find(tmp_path).split("all")
    message = (
        f"^{path}: a.png: expected labels of 60x80 pixels, the size of its photo, got 80x60 .sides"
    )
    with pytest.raises(LesionsegError, match=message):
        read_pair(pair, 16)


def test_labels_alone(tmp_path: Path, photos: dict[Path, Mask]) -> None:
    dataset = find(None, None, write(tmp_path / "a.json", photos))
    assert {pair.id for pair in dataset.split("all")} == MASKS.keys()
    assert all(pair.photo.is_file() for pair in dataset.split("all"))


@pytest.mark.parametrize("name", ["a.json", "a"])
def test_prepared_again_when_labels_change(
    tmp_path: Path, photos: dict[Path, Mask], name: str
) -> None:
    path = write(tmp_path / name, photos)

    def seen() -> tuple[str, int]:
        pairs = find(None, tmp_path / "photos", path).split("all")
        prepared = cache_pairs(pairs, 32)
        return prepared.fingerprint, int(prepared.masks.sum())

    first = seen()
    assert seen() == first
    changed = path if name == "a.json" else path / "hole.json"
    changed.unlink()
    write(path, photos | {tmp_path / "photos" / "hole.png": disc(radius=5)}, keep=True)
    assert seen()[1] < first[1]


def test_two_photos_of_one_name_do_not_share_a_labelme_file(tmp_path: Path) -> None:
    photos = [tmp_path / "a" / "x.jpg", tmp_path / "b" / "x.jpg"]
    with pytest.raises(LesionsegError, match=r"x\.json: expected one photo of that name"):
        formats.check_photos(tmp_path / "labels", photos)
    formats.check_photos(tmp_path / "labels.json", photos)
    formats.check_photos(tmp_path / "labels", photos[:1] * 2)
