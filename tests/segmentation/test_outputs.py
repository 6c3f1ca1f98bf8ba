"""What `segment` writes beside masks: labels for other tools, and measurements."""

import csv
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import SIZE, Command, saved, write_photo
from PIL import Image

from lesionseg import store
from lesionseg.data.drafts import RECORD
from lesionseg.images.arrays import Mask
from lesionseg.images.masks import read_mask
from lesionseg.images.photos import read_photo
from lesionseg.images.png import mask_png
from lesionseg.labels import formats
from lesionseg.segmentation import jobs
from lesionseg.segmentation.measurements import measure
from lesionseg.segmentation.outputs import is_control


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with three photos, one of them lying on its side, and a network."""
    saved(store.runs_dir() / "tiny" / store.BEST, width=2, seed=3)
    monkeypatch.chdir(tmp_path)
    for name, index in (("a.png", 0), ("b.png", 1), ("turned.jpg", 2)):
        write_photo(tmp_path / "photos" / name, index)
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(tmp_path / "photos" / "turned.jpg") as turned:
        turned.load()
        turned.save(tmp_path / "photos" / "turned.jpg", exif=exif)
    return tmp_path


def mask_of(name: str, folder: str = "out") -> Mask:
    return read_mask(Path(folder) / f"{name}_segmentation.png", truth=False)[0]


def dice(one: Mask, other: Mask) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


@pytest.mark.parametrize(
    ("place", "options"),
    [
        ("labels.json", []),
        ("labels.json", ["--run-lengths"]),
        ("labels.json", ["--tolerance", "0.2"]),
        ("labels.xml", []),
        ("labels.xml", ["--run-lengths"]),
        ("photos", []),
    ],
)
def test_labels_of_a_folder(lesionseg: Command, place: str, options: list[str]) -> None:
    words = ("segment", "photos", "-o", "out", "--all-regions", "--labels", place, *options)
    assert lesionseg(*words).status == 0
    labels = formats.read(Path(place))
    assert labels.unusable == ()
    order = [formats.stem(photo.name) for photo in labels.photos]
    assert order == ["a", "b", "turned"]  # that of the photos
    for photo in labels.photos:
        mask = mask_of(formats.stem(photo.name))
        assert (photo.height, photo.width) == mask.shape  # upright
        assert dice(photo.mask(), mask) >= (0.998 if not options else 1)
    height, width = read_photo(Path("photos/turned.jpg")).shape[:2]
    assert (labels.photos[2].height, labels.photos[2].width) == (height, width)
    with Image.open("photos/turned.jpg") as stored:
        assert stored.size == (height, width)
    scores = lesionseg(
        "eval", "--photos", "photos", "--truth", place, "--predictions", "out", "--json"
    )
    assert json.loads(scores.out)["dice"]["mean"] >= 0.998
    again = lesionseg(*words)
    assert (again.status, "may hold corrections; nothing was written" in again.err) == (1, True)


def test_draft_then_correction_then_training(lesionseg: Command, here: Path) -> None:
    assert lesionseg("segment", "photos", "-o", "out", "--labels", "photos").status == 0
    path = Path("photos/b.json")
    content = json.loads(path.read_text())
    content["shapes"][0]["points"] = [[5, 5], [25, 5], [25, 25], [5, 25]]
    content["shapes"] = content["shapes"][:1]
    content["imageData"] = "as LabelMe leaves it"
    path.write_text(json.dumps(content))
    small = ("--epochs", 1, "--width", 1, "--image-size", SIZE, "--workers", 1)
    trained = lesionseg("train", "--data", "photos", "-o", "run", *small)
    assert trained.status == 0
    assert "2 photos, 1 for validation" in trained.err
    scored = lesionseg(
        "eval", "--photos", "photos", "--truth", "photos", "--predictions", "out", "--json"
    )
    assert json.loads(scored.out)["photos"] == 3
    evaluated = lesionseg("eval", "--data", "photos", "--checkpoint", "run", "--split", "all")
    assert evaluated.status == 0
    (pair,) = [p for p in formats.read(Path("photos")).photos if p.name == "b.png"]
    expected = np.zeros(pair.mask().shape, np.bool_)
    expected[5:25, 5:25] = True
    assert (pair.mask() == expected).all()


def table(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_measurements(lesionseg: Command) -> None:
    scale = ("--mm-per-pixel", 0.1)
    ended = lesionseg(
        "segment", "photos", "-o", "out", "--measurements", "new/m.csv", "--json", *scale
    )
    assert ended.status == 0
    lines = [json.loads(line) for line in ended.out.splitlines()]
    rows = table("new/m.csv")
    assert [line["file"] for line in lines] == [row["file"] for row in rows]
    for line, row in zip(lines, rows, strict=True):
        mask = read_mask(Path(line["mask"]), truth=False)[0]
        expected: dict[str, Any] = asdict(measure(mask, line["quality"], 0.1))
        assert line["measurements"] == expected
        del row["file"], row["mask"]
        assert row == {
            name: "" if value is None else str(value) for name, value in expected.items()
        }
        assert line["height"] * line["width"] == mask.size
    # A table holds no corrections: it is made anew.
    assert lesionseg("segment", "photos/a.png", "-o", "m.png", "--measurements", "new/m.csv")
    assert [row["file"] for row in table("new/m.csv")] == ["photos/a.png"]


def test_nothing_is_measured_where_nobody_asks(
    lesionseg: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "lesionseg.segmentation.outputs.measure", lambda *_: pytest.fail("measured")
    )
    assert lesionseg("segment", "photos", "-o", "out").status == 0
    skipped = lesionseg("segment", "photos", "-o", "out", "--skip-existing", "--json")
    assert [json.loads(line).get("skipped") for line in skipped.out.splitlines()] == [True] * 3


@pytest.mark.parametrize("place", ["labels.json", "labels.xml", "photos"])
def test_masks_that_are_there_are_read(
    lesionseg: Command, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lesionseg("segment", "photos/a.png", "photos/b.png", "-o", "out").status == 0
    corrected = np.zeros(mask_of("a").shape, np.bool_)
    corrected[10:30, 10:30] = True
    Path("out/a_segmentation.png").write_bytes(mask_png(corrected))
    Path("photos/b.json").write_text("corrected")
    words = ("segment", "photos", "-o", "out", "--skip-existing", "--labels", place)
    ended = lesionseg(*words, "--measurements", "m.csv", "--json")
    assert ended.status == 0
    assert "photos: 1 done, 0 failed, 2 skipped" in ended.err
    rows = table("m.csv")
    assert [row["file"] for row in rows] == ["photos/a.png", "photos/b.png", "photos/turned.jpg"]
    assert (rows[0]["area_px"], rows[0]["quality"]) == ("400", "")
    assert rows[2]["quality"] != ""
    first, _, third = (json.loads(line) for line in ended.out.splitlines())
    assert (first["skipped"], first["measurements"]["area_px"]) == (True, 400)
    assert "skipped" not in third
    photos = formats.read(Path(place)).photos
    masks = {formats.stem(photo.name): photo.mask() for photo in photos}
    assert (masks["a"] == corrected).all()
    assert masks.keys() == {"a", "turned"} | ({"b"} if place != "photos" else set())
    assert Path("photos/b.json").read_text() == "corrected"


def test_what_cannot_be_read_is_left_out(lesionseg: Command) -> None:
    Path("photos/bad.jpg").write_text("no photo")
    Path("out").mkdir()
    Path("out/a_segmentation.png").write_text("no mask")
    words = ("--labels", "l.json", "--measurements", "m.csv", "--skip-existing")
    ended = lesionseg("segment", "photos", "-o", "out", *words)
    assert ended.status == 1
    assert "photos: 2 done, 2 failed, 0 skipped" in ended.err
    assert "out/a_segmentation.png: not a mask" in ended.err
    names = [formats.stem(photo.name) for photo in formats.read(Path("l.json")).photos]
    assert names == ["b", "turned"]
    assert [row["file"] for row in table("m.csv")] == ["photos/b.png", "photos/turned.jpg"]


def test_an_interrupted_batch_leaves_no_file_for_all(
    lesionseg: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    png, left = mask_png, [1]

    def interrupted(mask: Mask, **how: bool) -> bytes:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return png(mask, **how)

    monkeypatch.setattr("lesionseg.segmentation.jobs.mask_png", interrupted)
    words = ("--labels", "l.json", "--measurements", "m.csv", "--workers", 1, "--batch-size", 1)
    assert lesionseg("segment", "photos", "-o", "out", *words).status == 130
    names = {path.name for path in Path().iterdir()}
    assert names == {"cache", "photos", "out"}
    assert {path.name for path in Path("out").iterdir()} == {"a_segmentation.png", RECORD}


def test_an_empty_mask_is_a_photo_without_outline(lesionseg: Command) -> None:
    ended = lesionseg(
        "segment", "photos", "-o", "out", "--threshold", 1, "--labels", "l.json", "--json"
    )
    assert ended.status == 0
    assert [json.loads(line)["measurements"]["area_px"] for line in ended.out.splitlines()] == [
        0
    ] * 3
    content = json.loads(Path("l.json").read_text())
    assert (len(content["images"]), content["annotations"]) == (3, [])
    ended = lesionseg("train", "--photos", "photos", "--truth", "l.json")
    assert ended.status == 1
    assert ended.err.startswith("error: l.json: no photo with a mask found (l.json: photos/a.png: ")
    assert "no outline; " in ended.err
    assert ended.err.endswith(
        "masks named like the photos, or labels that name the photos; in photos: 2 .png, 1 .jpg\n"
    )
    ended = lesionseg("train", "--photos", "photos", "--truth", "lost.json")
    assert ended.err == "error: lost.json: cannot read these labels: No such file or directory\n"


@pytest.fixture
def standard_input(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    jobs._standard_input.cache_clear()
    content = (here / "photos" / "a.png").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    yield
    jobs._standard_input.cache_clear()


@pytest.mark.usefixtures("standard_input")
def test_a_photo_from_standard_input_can_be_measured(lesionseg: Command) -> None:
    assert lesionseg("segment", "-", "-o", "m.png", "--measurements", "m.csv").status == 0
    (row,) = table("m.csv")
    assert (row["file"], row["mask"]) == ("-", "m.png")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("--tolerance 2", 2, "--tolerance and --run-lengths need --labels"),
        ("--run-lengths", 2, "--tolerance and --run-lengths need --labels"),
        ("--labels l.json --run-lengths --tolerance 1", 2, "leave it out with --run-lengths"),
        ("--labels l.json --tolerance -1", 2, "--tolerance"),
        ("--labels l.json --tolerance inf", 1, "expected 0 or more pixels, got inf"),
        (
            "--mm-per-pixel 1",
            2,
            "--mm-per-pixel needs --measurements, --json, --report or a DICOM mask",
        ),
        ("--json --mm-per-pixel 0", 2, "expected more than 0, got 0"),
        ("--measurements m.csv --mm-per-pixel nan", 2, "expected more than 0, got nan"),
        ("--measurements photos/b.png", 1, "measurements are a CSV file; name it b.csv"),
        ("--labels photos/b.png", 1, "expected a .json, a .xml or a folder"),
        ("--labels folder --run-lengths", 1, "LabelMe has no run lengths"),
        ("--labels -", 2, "standard output takes masks and --json; name a file"),
        ("--measurements -", 2, "standard output takes masks and --json; name a file"),
        ("- --labels l.json", 2, "a photo from standard input has none"),
    ],
)
def test_what_is_refused_before_anything_is_written(
    lesionseg: Command, here: Path, words: str, status: int, said: str
) -> None:
    before = sorted(here.rglob("*"))
    ended = lesionseg("segment", "photos", "-o", "out", *words.split())
    assert ended.status == status
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert sorted(here.rglob("*")) == before


# The doubtful first


def rows_of(lesionseg: Command, *words: object) -> list[dict[str, str]]:
    ended = lesionseg("segment", "photos", "-o", "out", "--measurements", "table.csv", *words)
    assert ended.status == 0, ended.err
    with Path("table.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_doubtful_come_first(lesionseg: Command, here: Path) -> None:
    for index in range(3, 9):
        write_photo(here / "photos" / f"{index}.png", index)
    plain = rows_of(lesionseg)
    level = str(sorted(float(row["quality"]) for row in plain)[4])
    words = ("--order", "doubtful", "--doubtful-below", level)
    rows = rows_of(lesionseg, *words, "--labels", "labels.json")
    qualities = [float(row["quality"]) for row in rows]
    assert qualities == sorted(qualities)
    assert qualities != [float(row["quality"]) for row in plain]
    assert sorted(map(str, rows)) == sorted(map(str, plain))

    content = json.loads(Path("labels.json").read_text())
    names = [Path(image["file_name"]).name for image in content["images"]]
    assert names == [Path(row["file"]).name for row in rows]
    score = {Path(row["file"]).name: float(row["quality"]) for row in rows}
    for annotation in content["annotations"]:
        assert annotation["score"] == score[names[annotation["image_id"] - 1]]

    # A share at random comes before them, and is marked.
    rows = rows_of(lesionseg, *words, "--control", "0.4", "--labels", "labels.label-studio.json")
    marks = [row["control"] == "True" for row in rows]
    assert 0 < sum(marks) < len(marks)
    assert marks == sorted(marks, reverse=True)
    assert marks == [is_control(Path(row["file"]), 0.4) for row in rows]
    for part in (True, False):
        of_part = [float(row["quality"]) for row in rows if (row["control"] == "True") is part]
        assert of_part == sorted(of_part)
    tasks = json.loads(Path("labels.label-studio.json").read_text())
    assert [task["data"].get("control", False) for task in tasks] == marks

    # LabelMe has a file per photo, with flags.
    rows = rows_of(lesionseg, *words, "--control", "0.4", "--labels", "labels")
    for row in rows:
        flags = json.loads(Path("labels", f"{Path(row['file']).stem}.json").read_text())["flags"]
        doubtful = float(row["quality"]) < float(level)
        mark = {"control": True} if row["control"] == "True" else {}
        assert flags == {"doubtful": doubtful} | mark


def test_masks_of_unknown_quality_come_last(lesionseg: Command) -> None:
    assert lesionseg("segment", "photos/a.png", "-o", "out/a_segmentation.png").status == 0
    rows = rows_of(lesionseg, "--skip-existing", "--order", "doubtful")
    assert [row["quality"] == "" for row in rows] == [False, False, True]
    assert Path(rows[-1]["file"]).name == "a.png"


def test_the_control_is_a_share_of_all_names() -> None:
    photos = [Path(f"{folder}/{number}.jpg") for number in range(5000) for folder in ("a", "b")]
    drawn = [is_control(photo, 0.1) for photo in photos]
    assert 0.08 < sum(drawn) / len(drawn) < 0.12
    assert drawn[::2] == drawn[1::2]  # wherever the photo lies
    assert not any(is_control(photo, 0) for photo in photos)
    assert all(is_control(photo, 1) for photo in photos)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--control", "0.1"], "--control needs --order doubtful"),
        (["--order", "doubtful"], "--order needs --labels FILE.json or FILE.xml"),
        (["--order", "doubtful", "--labels", "a"], "LabelMe sorts its"),
        (["--order", "doubtful", "--labels", "a.xml", "--control", "0.1"], "cannot mark control"),
    ],
)
def test_an_order_that_would_do_nothing(lesionseg: Command, words: list[str], said: str) -> None:
    ended = lesionseg("segment", "photos", "-o", "out", *words)
    assert ended.status == 2
    assert said in " ".join(ended.err.replace("│", " ").split())
    assert not Path("out").exists()
