"""Label Studio: predictions that its own code reads, exports that it writes, names it changes."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers import Command, drawing, write_photo
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lesionseg.data.cache import cache_pairs
from lesionseg.data.discovery import find
from lesionseg.errors import LesionsegError
from lesionseg.images.arrays import Mask
from lesionseg.labels import formats, label_studio, labelme


def own_brushes() -> ModuleType:
    """The brushes of label-studio-sdk, which need no more of it than their own file."""
    package = importlib.util.find_spec("label_studio_sdk")
    if package is None or package.origin is None:
        pytest.skip("needs label-studio-sdk: pip install --no-deps label-studio-sdk")
    path = Path(package.origin).parent / "converter" / "brush.py"
    spec = importlib.util.spec_from_file_location("label_studio_brush", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def noise(height: int, width: int, seed: int) -> Mask:
    mask: Mask = np.random.default_rng(seed).random((height, width)) > 0.5
    return mask


MASKS = [
    drawing(0)[1],
    np.zeros((3, 5), np.bool_),
    np.ones((300, 301), np.bool_),  # a run of more than 2**16 values
    noise(7, 9, 0),
]


@pytest.mark.parametrize("mask", MASKS)
def test_brushes_by_label_studios_own_code(mask: Mask) -> None:
    brush = own_brushes()
    rgba = brush.decode_rle(label_studio.encode(mask)).reshape(*mask.shape, 4)
    assert ((rgba == 255) == mask[:, :, np.newaxis]).all()
    written = brush.mask2rle(mask.astype(np.uint8) * 255)
    assert (label_studio.decode(written, *mask.shape) == mask).all()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_a_brush_comes_back(height: int, width: int, seed: int) -> None:
    mask = noise(height, width, seed)
    assert (label_studio.decode(label_studio.encode(mask), height, width) == mask).all()


def test_a_brush_of_single_values() -> None:
    alpha = np.array([[0, 255, 129], [128, 7, 200]], np.uint8)
    values = np.zeros((2, 3, 4), np.uint8)
    values[..., 3] = alpha
    head = f"{24:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    flat = [f"{value:08b}" for value in values.ravel()]
    text = f"{head}000001{flat[0]}{flat[1]}010{20:08b}{''.join(flat[2:23])}000000{flat[23]}"
    text += "0" * (-len(text) % 8)
    rle = [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]
    decoded = own_brushes().decode_rle(rle)
    assert (decoded == values.ravel()).all()
    assert (label_studio.decode(rle, 2, 3) == (alpha > 128)).all()


@pytest.mark.parametrize(
    ("rle", "said"),
    [
        (None, "expected the bytes of a brush"),
        ([300] * 9, "bytes must be in range"),
        (["a"] * 9, "cannot be interpreted"),
        (label_studio.encode(MASKS[3])[:-2], "truncated"),
        (label_studio.encode(MASKS[1]), "expected a brush of 9x7 pixels, got 15 in all"),
    ],
)
def test_what_is_not_a_brush(rle: Any, said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        label_studio.decode(rle, 7, 9)


def export(path: Path, *tasks: Any) -> Path:
    path.write_text(json.dumps(tasks))
    return path


def task(image: str, *results: Any, **more: Any) -> dict[str, Any]:
    return {"id": 1, "data": {"image": image}, "annotations": [{"result": results}], **more}


def result(**more: Any) -> dict[str, Any]:
    value = {"points": [[10, 10], [50, 10], [50, 50], [10, 50]], "polygonlabels": ["Lesion"]}
    size = {"original_width": 40, "original_height": 20, "image_rotation": 0}
    return {"type": "polygonlabels", "value": value, **size, **more}


@pytest.mark.parametrize("run_lengths", [False, True])
def test_predictions_become_an_export(tmp_path: Path, run_lengths: bool) -> None:
    photo = write_photo(tmp_path / "a photo.png", 0)
    mask = drawing(0)[1]
    path = tmp_path / "draft.label-studio.json"
    with formats.writing(path, [photo], run_lengths=run_lengths) as writer:
        writer.add(photo, writer.draw(mask)._replace(quality=0.75, control=True))
    (written,) = json.loads(path.read_text())
    assert written["data"] == {"image": "/data/local-files/?d=a%20photo.png", "control": True}
    (prediction,) = written["predictions"]
    assert prediction["score"] == 0.75
    assert prediction["model_version"].startswith("lesionseg ")
    (drawn,) = prediction["result"]
    assert drawn["type"] == ("brushlabels" if run_lengths else "polygonlabels")
    if not run_lengths:
        assert 0 <= np.min(drawn["value"]["points"]) <= np.max(drawn["value"]["points"]) <= 100
    # Nobody has looked at it yet.
    labels = formats.read(path)
    assert "a prediction that nobody has submitted is not ground truth" in labels.unusable[0].reason
    # As Label Studio exports it after it was submitted.
    submitted = written | {"annotations": [{"result": prediction["result"]}]}
    data = find(None, tmp_path, export(tmp_path / "export.json", submitted))
    (pair,) = data.split("all")
    assert pair.labels is not None
    back = pair.labels.mask()
    overlap = 2 * (back & mask).sum() / (back.sum() + mask.sum())
    assert overlap >= (1 if run_lengths else 0.998)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("/data/upload/1/0a1b2c3d-ISIC_1.jpg", "/data/upload/1/0a1b2c3d-ISIC_1.jpg"),
        ("/data/local-files/?d=set/ISIC%20_1.jpg", "set/ISIC _1.jpg"),
        ("https://x.org/a/ISIC_1.jpg?sig=9", "/a/ISIC_1.jpg"),
        ("s3://bucket/ISIC_1.jpg", "/ISIC_1.jpg"),
        ("/tasks/1/presign/?fileuri=czM6Ly9iL0lTSUNfMS5qcGc=", "/ISIC_1.jpg"),
        ("C:\\photos\\ISIC_1.jpg", "C:\\photos\\ISIC_1.jpg"),
        ("ISIC 100%.jpg", "ISIC 100%.jpg"),
        ("/data/local-files/?d=set/%FF%FE.jpg", "set/\udcff\udcfe.jpg"),
        ("https://x.org/%FF.jpg", "/\udcff.jpg"),
    ],
)
def test_names_of_photos(image: str, name: str) -> None:
    assert label_studio.photo_name(image) == name


def test_a_name_that_is_not_utf_8_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "draft.label-studio.json"
    with formats.writing(path, [tmp_path / "\udcff.png"]) as writer:
        writer.add(tmp_path / "\udcff.png", writer.draw(drawing(0)[1]))
    (written,) = json.loads(path.read_text())
    assert label_studio.photo_name(written["data"]["image"]) == "\udcff.png"


def test_prefixes_and_hashes_are_matched_where_only_one_photo_fits(tmp_path: Path) -> None:
    for name in ("ISIC_1.png", "ISIC_2.png", "0a1b2c3d-ISIC_2.png", "ISIC_3.png", "ISIC_4.png"):
        write_photo(tmp_path / name)
    path = export(
        tmp_path / "export.json",
        task("/data/upload/1/0a1b2c3d-ISIC_1.png", result()),
        task("/data/upload/1/0a1b2c3d-ISIC_2.png", result()),
        task("/data/upload/1/00000001-ISIC_3.png", result()),
        task("/data/upload/1/00000002-ISIC_3.png", result()),
        task("ISIC_4_png.rf.0123456789abcdef.jpg", result()),
    )
    data = find(None, tmp_path, path)
    assert {pair.id for pair in data.split("all")} == {"ISIC_1", "0a1b2c3d-ISIC_2", "ISIC_4"}
    assert any("has the same name; both left out" in problem for problem in data.problems)
    assert f"{tmp_path / 'ISIC_2.png'}: not in {path}" in data.problems


def test_a_small_export_is_read(tmp_path: Path) -> None:
    def small(image: str, regions: list[dict[str, Any]], number: int | None = 1) -> dict[str, Any]:
        # As label_studio_sdk.converter writes JSON_MIN.
        drawn = [
            {**region["value"], "original_width": 40, "original_height": 20} for region in regions
        ]
        return {
            **{"image": image, "id": 5, "label": drawn, "kind": "nevus", "annotator": 1},
            **{"notes": [{"text": ["a", "b"]}], "annotation_id": number, "lead_time": 2.5},
            **{"created_at": "2026-01-01T10:00:00.5Z", "updated_at": "2026-01-01T10:00:00.5Z"},
        }

    mask = np.zeros((20, 40), bool)
    mask[3:9, 5:30] = True
    brush = {
        "value": {"format": "rle", "rle": label_studio.encode(mask), "brushlabels": ["lesion"]}
    }
    box = {"value": {"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": ["lesion"]}}
    other = result()
    other["value"]["polygonlabels"] = ["ruler"]
    path = export(
        tmp_path / "export.json",
        small("/data/upload/1/0a1b2c3d-a.png", [result()]),
        small("b.png", [brush]),
        small("c.png", []),
        small("d.png", [box]),
        small("e.png", [result(), other]),
        small("f.png", [result()], None),
        small("g.png", [result()]),
        small("g.png", [result()]),
    )
    labels = formats.read(path)
    assert [entry.name for entry in labels.photos] == [
        *("/data/upload/1/0a1b2c3d-a.png", "b.png", "g.png", "g.png")
    ]
    (full,) = formats.read(export(tmp_path / "full.json", task("a.png", result()))).photos
    assert (labels.photos[0].mask() == full.mask()).all()
    assert (labels.photos[1].mask() == mask).all()
    assert {entry.name: entry.reason.split(": ", 2)[2] for entry in labels.unusable} == {
        "c.png": "no outline",
        "d.png": "expected a polygon or a brush with a label, got 'rectanglelabels'",
        "e.png": "expected the category 'lesion', got 'ruler'; rename or delete it, or choose "
        "categories with --category",
        "f.png": "no annotation; a prediction that nobody has submitted is not ground truth",
    }
    chosen = formats.read(path, frozenset({"lesion"})).photos
    assert [entry.name for entry in chosen][1:] == ["b.png", "e.png", "g.png", "g.png"]


def test_an_export_is_read(tmp_path: Path) -> None:
    choice = {"type": "choices", "value": {"choices": ["nevus"]}}
    skipped = {"result": [], "was_cancelled": True}
    first = task("a.png", choice, result())
    first["annotations"].append(skipped)
    several = task("b.png")
    several["annotations"] = [
        {"result": []},
        {"result": [result()], "ground_truth": True},
    ]
    labels = formats.read(export(tmp_path / "export.json", first, several))
    assert labels.unusable == ()
    expected = np.zeros((20, 40), np.bool_)
    expected[2:10, 4:20] = True
    for photo in labels.photos:
        assert (photo.mask() == expected).all()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (task("a.png"), "no outline"),
        ({"data": {"image": "a.png"}}, "no annotation; a prediction"),
        (task("a.png") | {"annotations": [{}, {}]}, "2 annotations; mark one as ground truth"),
        (task("a.png", result(type="rectanglelabels")), "got 'rectanglelabels'"),
        (task("a.png", result(image_rotation=90)), "rotated in Label Studio"),
        (task("a.png", result(), result(original_width=9)), "at two sizes of the photo"),
        (task("a.png", result(value={"points": [], "polygonlabels": ["hair"]})), "got 'hair'"),
        (task("a.png", result(value={"points": []})), "got None"),
        (task("a.png", {"type": "brushlabels", "value": 5}), "in pixels, got None"),
        ({"data": {"image": 5}, "annotations": [{}]}, "expected the name of a photo, got 5"),
        ({"data": {"image": "a.png"}, "annotations": 5}, "as a labelling tool writes"),
    ],
)
def test_tasks_that_cannot_be_used(tmp_path: Path, made: Any, said: str) -> None:
    labels = formats.read(export(tmp_path / "export.json", made))
    assert labels.photos == ()
    assert said in labels.unusable[0].reason


# Labels of any tool, as people have them


def coco(path: Path, segmentation: Any, name: str = "a.png", ids: Any = (1, 1)) -> Path:
    own, other = ids
    content = {
        "categories": [{"id": other, "name": "lesion"}],
        "images": [{"id": own, "file_name": name, "width": 40.0, "height": "20"}],
        "annotations": [{"image_id": other, "category_id": own, "segmentation": segmentation}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


SQUARE = [10, 10, 20, 10, 20, 20, 10, 20]


@pytest.mark.parametrize("ids", [(1, "1"), ("1", 1), ("x", "x")])
@pytest.mark.parametrize("segmentation", [[SQUARE], SQUARE, [SQUARE, [1, 1, 2, 2]]])
def test_small_faults_are_read(tmp_path: Path, segmentation: Any, ids: Any) -> None:
    write_photo(tmp_path / "a.png")
    path = coco(tmp_path / "labels.json", segmentation, ids=ids)
    data = find(tmp_path)
    (pair,) = data.split("all")
    assert pair.labels is not None
    assert pair.labels.mask().sum() == 100
    stray = f"{path}: a.png: expected a polygon of three or more points, got 2"
    said = (f"{stray}; its other outlines are used",) if len(segmentation) == 2 else ()
    assert data.problems == said


def test_labelme_files_without_sizes(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "images" / "a.png")
    height, width = drawing(0)[1].shape
    shape = {"label": "lesion", "points": [[1, 1], [9, 1], [9, 9], [1, 9]]}
    content = json.loads(labelme.text("a.png", 1, 1, [shape]))
    del content["imageHeight"], content["imageWidth"]
    (tmp_path / "labels").mkdir()
    for folder in (photo.parent, tmp_path / "labels"):
        (folder / "a.json").write_text(json.dumps(content))
        (labelled,) = formats.read(folder).photos
        assert (labelled.height, labelled.width) == (height, width)


@pytest.mark.parametrize(
    "place",
    [
        "_annotations.coco.json",
        "result.json",
        "images/_annotations.coco.json",
        "annotations/instances_default.json",
    ],
)
def test_names_that_tools_give_are_found(tmp_path: Path, place: str) -> None:
    write_photo(tmp_path / "images" / "a.png")
    coco(tmp_path / place, [SQUARE])
    assert [pair.id for pair in find(tmp_path).split("all")] == ["a"]


def test_two_kinds_of_labels_are_never_chosen_between(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "images" / "a.png")
    draft = coco(photo.parent / "labels.json", [SQUARE])
    shape = {"label": "lesion", "points": [[1, 1], [9, 1], [9, 9], [1, 9]]}
    corrected = photo.with_suffix(".json")
    corrected.write_text(labelme.text("a.png", 20, 40, [shape]))
    with pytest.raises(LesionsegError, match=r"labels.json and 1 LabelMe files are in one folder"):
        find(photo.parent)
    with pytest.raises(LesionsegError, match=r"choose the first with --truth, or move it away"):
        find(tmp_path)
    assert find(None, photo.parent, draft).split("all")[0].mask == draft
    draft.rename(tmp_path / "labels.json")
    with pytest.raises(LesionsegError, match=r"labels.json and .*images: two sets of labels"):
        find(tmp_path)
    assert find(photo.parent).split("all")[0].mask == corrected


def two_categories(kind: str, folder: Path) -> Path:
    """Labels of a square "Naevus", another "mole", and hair, which is a box where it can be one."""
    squares = {"Naevus": 1, "mole": 5, "hair": 9}
    corners = {name: [[at, at], [at + 3, at], [at + 3, at + 3]] for name, at in squares.items()}
    path = folder / f"export.{'xml' if kind == 'cvat' else 'json'}"
    if kind == "cvat":
        polygons = "".join(
            f'<polygon label="{name}" points="{";".join(f"{x},{y}" for x, y in points)}"/>'
            for name, points in corners.items()
        )
        image = f'<image id="0" name="a.png" width="40" height="20">{polygons}'
        box = '<box label="hair" xtl="1" ytl="1" xbr="9" ybr="9"/>'
        path.write_text(f"<annotations>{image}{box}</image></annotations>")
    elif kind == "labelme":
        shapes = [{"label": name, "points": points} for name, points in corners.items()]
        shapes.append({"label": "hair", "points": [[1, 1], [9, 9]], "shape_type": "line"})
        path.write_text(labelme.text("a.png", 20, 40, shapes))
    elif kind == "coco":
        names = list(squares)
        content = {
            "categories": [{"id": index, "name": name} for index, name in enumerate(names)],
            "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 20}],
            "annotations": [
                {
                    "image_id": 1,
                    "category_id": index,
                    "segmentation": [np.ravel(corners[name]).tolist()],
                }
                for index, name in enumerate(names)
            ],
        }
        path.write_text(json.dumps(content))
    else:
        results = [
            result(
                value={
                    "points": [[x / 0.4, y / 0.2] for x, y in points],
                    "polygonlabels": [name],
                }
            )
            for name, points in corners.items()
        ]
        hair = result(type="rectanglelabels", value={"rectanglelabels": ["hair"], "x": 1})
        export(path, task("a.png", *results, hair))
    return path


@pytest.mark.parametrize("kind", ["coco", "cvat", "labelme", "label studio"])
def test_chosen_categories(tmp_path: Path, kind: str) -> None:
    path = two_categories(kind, tmp_path)
    (refused,) = formats.read(path).unusable
    assert "expected the category 'lesion', got 'Naevus'" in refused.reason
    assert "--category" in refused.reason
    (one,) = formats.read(path, frozenset({"naevus"})).photos
    (both,) = formats.read(path, frozenset({"naevus", "mole"})).photos
    assert 2 * one.mask().sum() == both.mask().sum() > 0
    assert one.mask()[:5, :5].sum() == one.mask().sum()
    assert "no outline" in formats.read(path, frozenset({"lesion"})).unusable[0].reason
    # Cached arrays are those of the chosen categories.
    photo = tmp_path / "a.png"
    Image.new("RGB", (40, 20)).save(photo)
    sums = [
        int(cache_pairs(find(None, tmp_path, path, categories=chosen).split("all"), 32).masks.sum())
        for chosen in (frozenset({"naevus"}), frozenset({"naevus", "mole"}))
    ]
    assert 0 < sums[0] < sums[1]


def test_categories_on_the_command_line(lesionseg: Command, tmp_path: Path) -> None:
    write_photo(tmp_path / "photos" / "a.png")
    height, width = drawing(0)[1].shape
    shape = {"label": "Naevus", "points": [[1, 1], [30, 1], [30, 30], [1, 30]]}
    hair = {"label": "hair", "points": [[1, 1], [2, 9]], "shape_type": "line"}
    label = tmp_path / "photos" / "a.json"
    label.write_text(labelme.text("a.png", height, width, [shape, hair]))
    words = ("eval", "--data", tmp_path / "photos", "--checkpoint", "bundled", "--json")
    assert "got 'Naevus'" in lesionseg(*words).err
    ended = lesionseg(*words, "--category", "naevus")
    assert ended.status == 0, ended.err
    assert json.loads(ended.out)["photos"] == 1
    ended = lesionseg("eval", "--category", "naevus")
    assert (ended.status, "--category applies to labels" in ended.err) == (2, True)
