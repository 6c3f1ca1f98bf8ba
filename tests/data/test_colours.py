"""Coloured masks of CVAT and VOC: refused, chosen by colour or label, and kept in a run."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import Command, drawing, write_mask, write_pairs, write_photo
from PIL import Image

from lesionseg.data.cache import cache_pairs
from lesionseg.data.colours import ColourChoice, parse_colour, read_label_map
from lesionseg.data.discovery import find
from lesionseg.data.pairs import read_truth
from lesionseg.errors import LesionsegError
from lesionseg.network import checkpoint as checkpoints

RED, GREEN = (250, 50, 83), (0, 128, 0)
LABEL_MAP = (
    "# label:color_rgb:parts:actions\nbackground:0,0,0::\nlesion:250,50,83::\nRuler:0,128,0::\n"
    "unused:1,2,3::\nnone:::\n"
)


def coloured(index: int) -> Image.Image:
    """The mask of a drawing in red, and a green stripe at the edge."""
    mask = drawing(index)[1]
    picture = np.zeros((*mask.shape, 3), np.uint8)
    picture[mask] = RED
    picture[0] = GREEN
    return Image.fromarray(picture)


def export(folder: Path, count: int, mode: str = "RGB") -> Path:
    """What CVAT exports as "Segmentation mask 1.1", with its photos."""
    for n in range(count):
        write_photo(folder / f"JPEGImages/{n}.png", n)
        for name in ("SegmentationClass", "SegmentationObject"):
            (folder / name).mkdir(exist_ok=True)
            mask = coloured(n) if mode == "RGB" else coloured(n).quantize(8)
            mask.save(folder / name / f"{n}.png")
    (folder / "labelmap.txt").write_text(LABEL_MAP)
    (folder / "ImageSets/Segmentation").mkdir(parents=True)
    (folder / "ImageSets/Segmentation/default.txt").write_text("0\n1\n")
    return folder


@pytest.mark.parametrize("mode", ["RGB", "P"])
@pytest.mark.parametrize(
    "option",
    [
        ("--lesion-colour", "#FA3253"),
        ("--lesion-color", "fa3253"),
        ("--lesion-label", "lesion"),
        ("--lesion-label", "Lesion "),
    ],
)
def test_a_colour_is_the_lesion(
    lesionseg: Command, tmp_path: Path, option: tuple[str, str], mode: str
) -> None:
    folder = export(tmp_path / "voc", 3, mode)
    truths = [
        ("--data", folder),
        ("--photos", folder / "JPEGImages", "--truth", folder / "SegmentationClass"),
        ("--photos", folder / "JPEGImages", "--truth", folder),
    ]
    for n in range(3):
        mask = drawing(n)[1].copy()
        mask[0] = False
        write_mask(tmp_path / f"masks/{n}.png", mask)
    for truth in truths:
        ended = lesionseg("check", *truth, *option, "--json")
        assert (ended.status, json.loads(ended.out)["photos"]) == (0, 3), ended.err
    words = ("--predictions", tmp_path / "masks", "--split", "all", "--json")
    ended = lesionseg("eval", *truths[0], *option, *words)
    assert ended.status == 0, ended.err
    scores = json.loads(ended.out)
    assert (scores["photos"], scores["dice"]["mean"]) == (3, 1.0)


@pytest.mark.parametrize("command", ["check", "train", "eval"])
def test_coloured_masks_are_refused_in_one_line(
    lesionseg: Command, tmp_path: Path, command: str
) -> None:
    folder = export(tmp_path / "voc", 3)
    ended = lesionseg(command, "--data", folder, "--quiet")
    assert (ended.status, ended.out) == (1, "")
    (line,) = (line for line in ended.err.splitlines() if "coloured" in line)
    assert line.endswith(
        f"{folder / 'SegmentationClass'}: coloured masks, with #000000 (background), #fa3253 "
        "(lesion), #008000 (Ruler); choose the lesion's colour with --lesion-colour '#RRGGBB' or "
        "--lesion-label NAME"
    )
    assert ended.err.count("error") <= 1
    (folder / "labelmap.txt").unlink()
    ended = lesionseg("check", folder)
    assert ended.status == 1
    assert ended.err.endswith(
        "with #000000, #fa3253, #008000; choose the lesion's colour with --lesion-colour "
        "'#RRGGBB'\n"
    )


def test_lists_of_voc(tmp_path: Path) -> None:
    folder = export(tmp_path / "voc", 3)
    (folder / "ImageSets/Segmentation/val.txt").write_text("1\n")
    dataset = find(folder, colours=ColourChoice(labels=("lesion",)))
    assert [pair.id for pair in dataset.split("val")] == ["1"]
    assert dataset.split_source == "lists"


@pytest.mark.parametrize("line", ["lesion:0,128,0::", "ruler:250,50,83::", "LESION:1,2,3::"])
def test_label_maps_that_disagree(tmp_path: Path, line: str) -> None:
    for split in ("train", "val"):
        export(tmp_path / split, 2)
    (tmp_path / "val/labelmap.txt").write_text(line)
    with pytest.raises(LesionsegError, match=r"contradicts lesion \(#\w+\) in this file or"):
        find(tmp_path, colours=ColourChoice(labels=("lesion",)))
    (tmp_path / "val/labelmap.txt").write_text("lesion:250,50,83::")
    dataset = find(tmp_path, colours=ColourChoice(labels=("lesion",)))
    assert {pair.colours for pair in dataset.split("all")} == {frozenset({"#fa3253"})}


def test_grey_masks_of_lossy_formats_are_not_coloured(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path, 0, 1)
    for n in (0, 1):
        noise = np.random.default_rng(n).integers(0, 6, (*drawing(n)[1].shape, 3))
        values = np.where(drawing(n)[1][..., np.newaxis], 250, 0) + noise
        path = folder / f"masks/ISIC_000000{n}_segmentation.png"
        Image.fromarray(values.astype(np.uint8)).save(path)
    assert all(
        (read_truth(p)[0] == drawing(n)[1]).all() for n, p in enumerate(find(folder).split("all"))
    )


def test_one_coloured_mask_among_plain_ones_is_left_out(lesionseg: Command, tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "set", 0, 1, 2)
    coloured(1).save(folder / "masks/ISIC_0000001_segmentation.png")
    ended = lesionseg("check", folder, "--json")
    result = json.loads(ended.out)
    assert (ended.status, result["photos"]) == (1, 2)
    (line,) = result["left_out"]
    assert line.endswith(
        "got RGB; its colours are #000000, #fa3253, #008000; choose the lesion's with "
        "--lesion-colour '#RRGGBB'"
    )


def test_values_of_labels_are_colours(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path, 0, 1)
    for n in (0, 1):
        path = folder / f"masks/ISIC_000000{n}_segmentation.png"
        Image.fromarray(drawing(n)[1] * np.uint8(2)).save(path)
    with pytest.raises(LesionsegError, match=r"labels\?; its colours are #0\S+, #0\S+; choose"):
        read_truth(find(folder).split("all")[0])
    pairs = find(folder, colours=ColourChoice(("#020202",))).split("all")
    assert all((read_truth(pair)[0] == drawing(n)[1]).all() for n, pair in enumerate(pairs))


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (
            ["--lesion-colour", "#1234"],
            2,
            "--lesion-colour: expected #RRGGBB, such as '#fa3253', got",
        ),
        (["--lesion-colour", "red"], 2, "expected #RRGGBB"),
        (
            ["--lesion-colour", "#123456"],
            1,
            "#123456: this colour is in none of 2 masks; the first ones have #000000 "
            "(background), #fa3253 (lesion), #008000 (Ruler)",
        ),
        (
            ["--lesion-label", "mole"],
            1,
            "labelmap.txt: no label 'mole' with a colour; it has: background (#000000), lesion "
            "(#fa3253), Ruler (#008000), unused (#010203)",
        ),
        (["--lesion-label", "unused"], 1, "unused (#010203): this colour is in none of 2"),
    ],
)
def test_a_choice_that_fits_nothing(
    lesionseg: Command, tmp_path: Path, options: list[str], status: int, message: str
) -> None:
    ended = lesionseg("check", export(tmp_path / "voc", 2), *options)
    assert (ended.status, ended.out, ended.err.count("\n")) == (status, "", 1)
    assert message in ended.err


def test_choices_that_go_with_nothing(lesionseg: Command, tmp_path: Path) -> None:
    ended = lesionseg("train", "--lesion-label", "lesion")
    assert ended.status == 2
    assert (
        "--lesion-colour and --lesion-label apply to coloured masks; give these with" in ended.err
    )
    folder = write_pairs(tmp_path / "set", 0, 1)
    with pytest.raises(LesionsegError, match=r"no labelmap.txt with colours beside the masks or"):
        find(folder, colours=ColourChoice(labels=("lesion",)))
    (note,) = find(folder, categories=frozenset({"nevus"})).notes
    assert "--category has no effect: it applies to labels" in note
    (note,) = find(folder, colours=ColourChoice(("#ffffff", "#123456"))).notes
    assert note == "#123456: this colour is in none of the masks"
    shape = {"points": [[1, 1], [9, 1], [9, 9]], "shape_type": "polygon", "label": "lesion"}
    for n in (0, 1):
        text = json.dumps({"imagePath": f"ISIC_000000{n}.png", "shapes": [shape]})
        (folder / f"images/ISIC_000000{n}.json").write_text(text)
    with pytest.raises(LesionsegError, match=r"to coloured masks; choose a category of labels"):
        find(folder, colours=ColourChoice(("#ffffff",)))


def test_another_colour_is_another_mask_in_the_cache(tmp_path: Path) -> None:
    folder = export(tmp_path / "voc", 2)
    sums = [
        int(cache_pairs(find(folder, colours=ColourChoice((c,))).split("all"), 32).masks.sum())
        for c in ("#fa3253", "#008000", "#fa3253")
    ]
    assert sums[0] == sums[2] != sums[1]


def test_a_run_keeps_what_was_chosen(lesionseg: Command, tmp_path: Path) -> None:
    folder = export(tmp_path / "voc", 4)
    run = tmp_path / "run"
    words = ("--image-size", 32, "--width", 1, "--normalisation", "none", "--device", "cpu")
    two = ("--photos", folder / "JPEGImages", "--truth", folder / "SegmentationClass")
    ended = lesionseg(
        "train", *two, "--lesion-label", "Lesion", *words, "--epochs", 1, "--output", run
    )
    assert ended.status == 0, ended.err
    data = checkpoints.load(run / "best.pt").data
    assert (data.lesion_labels, data.lesion_colours, data.categories) == (("Lesion",), (), ())
    for options in ((), two):
        ended = lesionseg("eval", *options, "-c", run / "best.pt", "--split", "all", "--json")
        assert ended.status == 0, ended.err
        assert json.loads(ended.out)["photos"] == 4
        assert "lesion: --lesion-label Lesion, as in training" in ended.err
    for epochs, options in ((2, ()), (3, two)):
        ended = lesionseg("train", *options, "--resume", "--output", run, "--epochs", epochs)
        assert ended.status == 0, ended.err
        assert "lesion: --lesion-label Lesion, as in training" in ended.err
    assert checkpoints.load(run / "last.pt").data.lesion_labels == ("Lesion",)
    ended = lesionseg(
        "train", *two, "--lesion-label", "ruler", "--resume", "--output", run, "--epochs", 4
    )
    assert ended.status == 1
    assert "was started on other photos or masks" in ended.err


def test_reading_colours_and_label_maps(tmp_path: Path) -> None:
    assert parse_colour(" FA3253 ") == "#fa3253"
    path = tmp_path / "labelmap.txt"
    path.write_text("\ufeff# a:1,2,3::\r\n a b : 1, 2 ,255\r\nc:1,2::\nd:4,5,6:x,y:z\n", "utf-8")
    assert read_label_map(path) == {"a b": "#0102ff", "d": "#040506"}
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(LesionsegError, match="cannot read these labels"):
        read_label_map(path)


def test_finished_masks_are_read_by_the_lesions_colour(lesionseg: Command, tmp_path: Path) -> None:
    folder = export(tmp_path / "voc", 3)
    finished = tmp_path / "finished"
    finished.mkdir()
    for n in range(3):
        coloured(n).save(finished / f"{n}.png")
    words = ("eval", "--data", folder, "--predictions", finished, "--split", "all", "--json")
    chosen = lesionseg(*words, "--lesion-label", "lesion")
    assert json.loads(chosen.out)["jaccard"]["mean"] == 1
    for n in range(3):
        write_mask(finished / f"{n}.png", drawing(n)[1])
    plain = lesionseg(*words, "--lesion-label", "lesion")
    assert 0.9 < json.loads(plain.out)["jaccard"]["mean"] < 1  # without the stripe
    for n in range(3):
        write_mask(tmp_path / "truth" / f"{n}.png", drawing(n)[1])
        coloured(n).save(finished / f"{n}.png")
    refused = lesionseg("eval", "--truth", tmp_path / "truth", "--predictions", finished)
    assert refused.status == 1
    assert refused.err == (
        f"error: {finished}: coloured masks, with #000000, #fa3253, #008000; finished masks are "
        "0/255, or have the lesion in a colour that --lesion-colour '#RRGGBB' chooses in the truth "
        "masks\n"
    )
