"""The command line as it is typed: what it prints where, and with which exit status it ends."""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import (
    SIZE,
    Command,
    begun,
    drawing,
    exported,
    saved,
    torch_network,
    write_mask,
    write_pairs,
    write_photo,
)
from PIL import Image

from lesionseg import files, store
from lesionseg.data.catalog import Description, write_description
from lesionseg.images.masks import read_mask
from lesionseg.images.photos import read_photo
from lesionseg.images.png import mask_png
from lesionseg.network import checkpoint as checkpoints
from lesionseg.segmentation.segmenter import Segmenter

pytestmark = pytest.mark.usefixtures("drawn_once")

HERE = __file__
ELSEWISE = str(Path(HERE).parent / ".." / Path(HERE).parent.name / Path(HERE).name)
SMALL = ("--width", "1", "--image-size", str(SIZE), "--workers", "1")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "data", 1, 2, 3, 4)


@pytest.fixture
def trained(cache_dir: Path) -> Path:
    return saved(cache_dir / "runs" / "tiny" / store.BEST)


@pytest.fixture
def exported_run(cache_dir: Path) -> Path:
    """A run whose network a process runs without importing torch, which takes seconds."""
    return exported(cache_dir / "runs" / "tiny" / store.BEST)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return write_photo(tmp_path / "photo.png", 5)


def test_train_then_eval_then_segment(lesionseg: Command, data: Path, tmp_path: Path) -> None:
    train = lesionseg("train", "--data", data, "--epochs", 2, "--run", "mine", *SMALL)
    best = store.runs_dir() / "mine" / store.BEST
    assert (train.status, train.out) == (0, f"{best}\n")
    typed = f"lesionseg train --data {data} --epochs 2 --run mine {' '.join(SMALL)}"
    assert checkpoints.load(best).command == typed
    assert "epoch 2: loss" in train.err
    assert "next: lesionseg segment photo.jpg -o mask.png --checkpoint mine" in train.err

    evaluated = lesionseg("eval", "--data", data, "--json", "--report", tmp_path / "report")
    scores = json.loads(evaluated.out)
    assert evaluated.status == 0
    assert scores["photos"] == 1  # of four photos one is held out
    for metric in ("dice", "jaccard", "threshold_jaccard"):
        assert 0 <= scores[metric]["mean"] <= 1
    assert scores["checkpoint"]["file"] == str(best)
    assert scores["checkpoint"]["command"] == typed
    assert scores["reliability"]["in_lowest_tenth"] == scores["failures"]  # of one photo
    assert str(best) in evaluated.err
    assert json.loads((tmp_path / "report" / "summary.json").read_text()) == scores

    photo = data / "images" / "ISIC_0000001.png"
    drawn = lesionseg("segment", photo, "-o", tmp_path / "mask.png")
    assert (drawn.status, drawn.out) == (0, "")
    with Image.open(tmp_path / "mask.png") as mask, Image.open(photo) as picture:
        assert (mask.mode, mask.size) == ("L", picture.size)


def test_train_goes_on_by_name(lesionseg: Command, data: Path) -> None:
    lesionseg("train", "--data", data, "--epochs", 1, "--run", "mine", *SMALL)
    done = lesionseg("train", "--resume", "--run", "mine")
    assert (done.status, "has finished its 1 epoch;" in done.err) == (1, True)
    more = lesionseg("train", "--resume", "--run", "mine", "--epochs", 2)
    assert (more.status, "epoch 2" in more.err, "epoch 1:" in more.err) == (0, True, False)
    history = (store.runs_dir() / "mine" / store.HISTORY).read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in history] == [1, 2]
    other = lesionseg("train", "--resume", "--run", "mine", "--epochs", 3, "--lr", "0.5")
    assert (other.status, "was started with learning rate 0.0001" in other.err) == (1, True)
    taken = lesionseg("train", "--data", data, "--run", "mine", *SMALL)
    assert (taken.status, "already holds a run" in taken.err) == (1, True)


def test_eval_of_finished_masks(lesionseg: Command, data: Path, tmp_path: Path) -> None:
    perfect = lesionseg("eval", "--data", data, "--predictions", data / "masks", "--json")
    assert json.loads(perfect.out)["dice"]["mean"] == 1
    assert json.loads(perfect.out)["reliability"] is None
    alone = lesionseg("eval", "--truth", data / "masks", "--predictions", data / "masks")
    assert (alone.status, "photos: 4, skipped: 0" in alone.out) == (0, True)
    (tmp_path / "few").mkdir()
    one = "ISIC_0000002_segmentation.png"
    (tmp_path / "few" / one).write_bytes((data / "masks" / one).read_bytes())
    missing = lesionseg("eval", "--data", data, "--predictions", tmp_path / "few", "--json")
    assert missing.status == 1
    assert json.loads(missing.out)["photos"] == 1
    assert len(json.loads(missing.out)["skipped"]) == 3
    assert missing.err.count("expected one mask") == 3


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("offline")
def test_segment_needs_no_training_and_no_network(
    lesionseg: Command, photo: Path, tmp_path: Path, cache_dir: Path
) -> None:
    ended = lesionseg("segment", photo, "-o", tmp_path / "mask.png")
    assert (ended.status, ended.out) == (0, "")
    assert ended.err.startswith(f"checkpoint {store.BUNDLED_FILE} (bundled, threshold 0.57) on ")
    assert ended.err.count("\n") == 1
    assert read_mask(tmp_path / "mask.png")[0].shape == read_photo(photo).shape[:2]
    assert not cache_dir.exists()


def test_an_own_run_goes_before_the_bundled_weights(
    lesionseg: Command, trained: Path, photo: Path, tmp_path: Path
) -> None:
    words = ("segment", photo, "-o", tmp_path / "mask.png")
    assert lesionseg(*words).err.startswith(f"checkpoint {trained} (your latest run) on ")
    for name, note in (("bundled", ", threshold 0.57"), ("bundled-small", "")):
        chosen = lesionseg(*words, "-c", name).err
        assert chosen.startswith(f"checkpoint {store.BUNDLED_FILES[name]} ({name}{note}) on ")


def test_a_run_on_synthetic_images_is_no_default(
    lesionseg: Command, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = saved(store.runs_dir() / "my demo" / store.BEST, synthetic=True)
    words = ("segment", photo, "-o", tmp_path / "mask.png", "--json")
    ended = lesionseg(*words)
    first, second = ended.err.splitlines()
    assert first.startswith("run my demo is not used: it was trained on synthetic images; ")
    assert first.endswith("--checkpoint 'my demo'")
    assert second.startswith(f"checkpoint {store.BUNDLED_FILE} (bundled, threshold 0.57) on ")
    assert json.loads(ended.out)["checkpoint"] == str(store.BUNDLED_FILE)
    assert lesionseg(*words, "--quiet").err == f"{first}\n"
    chosen = lesionseg(*words, "-c", "my demo")
    assert chosen.err.startswith(f"checkpoint {demo} (trained on synthetic images only) on ")
    assert json.loads(chosen.out)["checkpoint"] == str(demo)
    exported = lesionseg("export")
    assert (exported.status, exported.err.splitlines()[0]) == (1, first)
    monkeypatch.setenv(store.CHECKPOINT_VARIABLE, "my demo")
    from_variable = lesionseg(*words).err
    assert from_variable.startswith(f"checkpoint {demo} (from $LESIONSEG_CHECKPOINT, trained on ")


@pytest.mark.usefixtures("offline")
def test_no_line_of_eval_is_cut(lesionseg: Command, tmp_path: Path) -> None:
    masks = write_pairs(tmp_path / "data", 0, 1, 2) / "masks"
    scored = lesionseg("eval", "--truth", masks, "--predictions", masks)
    note = "every mask equals its truth mask to the pixel: are drafts scored against themselves?"
    assert scored.out.splitlines()[-1] == f"note: {note}"


def test_eval_of_the_bundled_weights(lesionseg: Command) -> None:
    without = lesionseg("eval")
    first, second = without.err.splitlines()
    assert (without.status, without.out) == (1, "")
    assert "(bundled, threshold 0.57)" in first
    assert second.startswith("error: no data set under ")
    assert "'lesionseg download'" in second
    folder = write_pairs(store.data_dir("isic2018"), 1, 2)
    write_description(folder, Description("isic2018", "A set", "CC0-1.0", splits={"train": 2}))
    ended = lesionseg("eval", "--split", "all", "--json")
    scores = json.loads(ended.out)
    assert (ended.status, scores["photos"]) == (0, 2)
    assert scores["data"]["folder"] == str(folder)
    assert scores["checkpoint"]["file"] == str(store.BUNDLED_FILE)
    words = [word for name in store.BUNDLED_FILES for word in ("-c", name)]
    compared = json.loads(lesionseg("eval", *words, "--split", "all", "--json").out)["evaluations"]
    assert [scores["name"] for scores in compared] == [*store.BUNDLED_FILES]
    files = [scores["checkpoint"]["file"] for scores in compared]
    assert files == [str(file) for file in store.BUNDLED_FILES.values()]
    assert compared[0]["dice"] != compared[1]["dice"]


def test_resuming_where_the_checkpoint_names_no_data(lesionseg: Command) -> None:
    saved(store.runs_dir() / "mine" / store.LAST)
    ended = lesionseg("train", "--resume")
    assert (ended.status, "error: no data set under " in ended.err) == (1, True)


@pytest.fixture
def regions(cache_dir: Path) -> Path:
    """A network that was never trained, but finds several regions on drawings."""
    return saved(cache_dir / "runs" / "regions" / store.BEST, width=2, seed=3)


@pytest.mark.usefixtures("regions")
def test_all_regions_or_the_largest(lesionseg: Command, photo: Path, tmp_path: Path) -> None:
    data, (height, width, _) = tmp_path / "data", read_photo(photo).shape
    write_photo(data / "images" / "a.png", 5)
    write_mask(data / "masks" / "a.png", np.zeros((height, width), bool))
    written = []
    for words in ((), ("--all-regions",)):
        one, folder = tmp_path / "mask.png", tmp_path / "found"
        assert lesionseg("segment", photo, "-o", one, *words).status == 0
        assert lesionseg("eval", "--data", data, "--masks", folder, *words).status == 0
        assert one.read_bytes() == (folder / "a_segmentation.png").read_bytes()
        network = Segmenter(torch_network(begun(2, seed=3)), all_regions=bool(words))
        assert one.read_bytes() == mask_png(network(photo).mask)
        written.append(one.read_bytes())
    assert written[0] != written[1]


@pytest.mark.usefixtures("regions")
def test_masks_of_one_bit(lesionseg: Command, photo: Path, tmp_path: Path) -> None:
    eight, one = tmp_path / "eight.png", tmp_path / "one.png"
    assert lesionseg("segment", photo, "-o", eight).status == 0
    assert lesionseg("segment", photo, "-o", one, "--one-bit").status == 0
    assert one.read_bytes() == mask_png(read_mask(eight)[0], one_bit=True)


@pytest.mark.parametrize(
    ("words", "stem"), [((), "quarter"), (("--normalisation", "none"), "none")]
)
def test_the_stem_of_the_classic_recipe(
    lesionseg: Command, data: Path, words: tuple[str, ...], stem: str
) -> None:
    small = ("--width", 1, "--image-size", 128, "--run", "mine")
    ended = lesionseg("train", "--data", data, "--epochs", 1, *small, *words)
    assert (ended.status, f", stem {stem}\n" in ended.err) == (0, True)
    assert lesionseg("train", "--resume", "--run", "mine", "--epochs", 2).status == 0
    last = checkpoints.load(store.runs_dir() / "mine" / store.LAST)
    assert (last.model.stem, last.epoch) == (stem, 2)


def test_the_accurate_recipe(lesionseg: Command, data: Path) -> None:
    words = ("--width", 1, "--image-size", 128, "--epochs", 2, "--batch-size", 4)
    ended = lesionseg("train", "--data", data, "--recipe", "accurate", *words, "--run", "mine")
    assert (ended.status, "recipe accurate" in ended.err) == (0, True)
    best = checkpoints.load(store.runs_dir() / "mine" / store.BEST)
    assert (best.recipe.name, best.model.stem) == ("accurate", "strided")
    more = lesionseg("train", "--resume", "--run", "mine", "--epochs", 3)
    assert (more.status, "was started with epochs 2, got 3" in more.err) == (1, True)
    other = lesionseg("train", "--resume", "--run", "mine", "--recipe", "classic")
    assert (other.status, "was started with recipe accurate" in other.err) == (1, True)


@pytest.mark.usefixtures("regions")
def test_photos_of_low_quality_are_named_and_counted(lesionseg: Command, tmp_path: Path) -> None:
    photos = [write_photo(tmp_path / "photos" / f"{index}.png", index) for index in range(3)]
    words = ("segment", tmp_path / "photos", "-o", tmp_path / "found", "--json")
    plain = lesionseg(*words)
    lines = [json.loads(line) for line in plain.out.splitlines()]
    qualities = [line["quality"] for line in lines]
    network = Segmenter(torch_network(begun(2, seed=3)))
    assert qualities == pytest.approx([network(photo).quality for photo in photos])
    assert all("doubtful" not in line for line in lines)
    assert "doubtful" not in plain.err
    level = sorted(qualities)[1]
    assert min(qualities) < level < max(qualities)
    ended = lesionseg(*words, "--doubtful-below", level)
    assert ended.status == 0
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert [line["doubtful"] for line in lines] == [quality < level for quality in qualities]
    lowest = photos[qualities.index(min(qualities))]
    assert ended.err.count("doubtful:") == 1
    assert f"doubtful: {lowest}: quality {min(qualities):.4f}\n" in ended.err
    assert "photos: 3 done, 0 failed, 0 skipped, 1 doubtful\n" in ended.err
    lowest.write_bytes(b"no picture")
    failed = lesionseg(*words, "--doubtful-below", level)
    assert (failed.status, "1 failed, 0 skipped, 0 doubtful" in failed.err) == (1, True)


def test_an_empty_mask_is_said_and_counted(lesionseg: Command, tmp_path: Path) -> None:
    photos = [write_photo(tmp_path / "photos" / f"{index}.png", index) for index in range(2)]
    (tmp_path / "photos" / "notes.txt").write_text("text")
    ended = lesionseg(
        *("segment", tmp_path / "photos", "-o", tmp_path / "masks", "--json", "--threshold", "1")
    )
    assert ended.status == 0
    assert [json.loads(line)["empty"] for line in ended.out.splitlines()] == [True, True]
    for photo in photos:
        assert f"no lesion found: {photo}\n" in ended.err
    assert "photos: 2 done, 0 failed, 0 skipped, 2 without a lesion\n" in ended.err
    assert ended.err.count(f"note: {tmp_path / 'photos'}: left out: 1 text\n") == 1


def test_eval_writes_masks(lesionseg: Command, data: Path, trained: Path, tmp_path: Path) -> None:
    ended = lesionseg("eval", "--data", data, "--masks", tmp_path / "masks")
    assert ended.status == 0
    assert len(list((tmp_path / "masks").glob("ISIC_*_segmentation.png"))) == 4
    truth = {path: path.read_bytes() for path in (data / "masks").iterdir()}
    ended = lesionseg("eval", "--data", data, "--masks", data / "masks")
    assert (ended.status, "may hold truth masks" in ended.err) == (1, True)
    assert {path: path.read_bytes() for path in (data / "masks").iterdir()} == truth


def test_eval_writes_no_masks_where_labels_have_theirs(
    lesionseg: Command, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "set").mkdir()
    shutil.copytree(data / "masks", tmp_path / "set" / "masks")
    labels = ("--labels", tmp_path / "set" / "labels.json", "-c", "bundled")
    drawn = lesionseg("segment", data / "images", "-o", tmp_path / "drawn", *labels)
    shutil.copytree(data / "images", tmp_path / "set" / "images")
    truth = {path: path.read_bytes() for path in (tmp_path / "set" / "masks").iterdir()}
    words = ("--data", tmp_path / "set", "--masks", tmp_path / "set" / "masks", "-c", "bundled")
    ended = lesionseg("eval", *words)
    assert (drawn.status, ended.status, "may hold truth masks" in ended.err) == (0, 1, True)
    assert {path: path.read_bytes() for path in (tmp_path / "set" / "masks").iterdir()} == truth


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse names that are no text")
def test_names_that_are_no_text(lesionseg: Command, tmp_path: Path) -> None:
    names = [os.fsdecode(b"caf\xe9_%d" % number) for number in range(4)]
    for place, name in enumerate(names):
        write_photo(tmp_path / "set" / "images" / f"{name}.png", place)
        write_mask(tmp_path / "set" / "masks" / f"{name}.png", drawing(place)[1])
    trained = lesionseg("train", "--data", tmp_path / "set", "--epochs", 1, *SMALL)
    scored = lesionseg("eval", "--data", tmp_path / "set", "--split", "all", "--json")
    assert (trained.status, scored.status) == (0, 0)
    assert json.loads(scored.out)["photos"] == 4


def test_no_command_shows_the_help(lesionseg: Command) -> None:
    ended = lesionseg()
    assert (ended.status, "Usage" in ended.out, ended.err) == (2, True, "")


@pytest.mark.usefixtures("trained")
def test_segment_a_folder_with_a_bad_photo(lesionseg: Command, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for index in (1, 2, 3):
        write_photo(photos / f"{index}.png", index)
    (photos / "2.png").write_bytes(b"no picture")
    words = ("segment", photos, "-o", tmp_path / "masks", "--json")
    ended = lesionseg(*words)
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert ended.status == 1
    assert [Path(line["file"]).name for line in lines] == ["1.png", "2.png", "3.png"]
    assert "not a photo" in lines[1]["error"]
    assert lines[0]["mask"] == str(tmp_path / "masks" / "1_segmentation.png")
    assert (lines[0]["height"], lines[0]["width"]) == read_photo(photos / "1.png").shape[:2]
    assert "photos: 2 done, 1 failed, 0 skipped" in ended.err
    write_photo(photos / "2.png", 2)
    again = lesionseg(*words, "--skip-existing")
    assert again.status == 0
    lines = [json.loads(line) for line in again.out.splitlines()]
    assert [line.get("skipped") for line in lines] == [True, None, True]
    assert "photos: 1 done, 0 failed, 2 skipped" in again.err
    # Where there is nothing to do, no network is loaded.
    assert lesionseg(*words, "--skip-existing").err == "photos: 0 done, 0 failed, 3 skipped\n"


@pytest.mark.usefixtures("trained")
def test_segment_names_from_a_file(lesionseg: Command, photo: Path, tmp_path: Path) -> None:
    spaced = write_photo(tmp_path / "with space.png", 2)
    (tmp_path / "names").write_text(f"{photo}\n\n{spaced}\n")
    ended = lesionseg("segment", "--files-from", tmp_path / "names", "-o", tmp_path / "masks")
    assert ended.status == 0
    names = sorted(path.name for path in (tmp_path / "masks").iterdir())
    assert names == ["lesionseg.json", "photo_segmentation.png", "with space_segmentation.png"]


@pytest.mark.usefixtures("trained")
def test_segment_writes_nothing_where_outputs_meet(
    lesionseg: Command, photo: Path, tmp_path: Path
) -> None:
    other = write_photo(tmp_path / "other" / photo.name)
    ended = lesionseg("segment", photo, other, "-o", tmp_path / "masks")
    assert (ended.status, "would both give" in ended.err) == (1, True)
    before = photo.read_bytes()
    ended = lesionseg("segment", photo, "-o", photo)
    assert (ended.status, "is an input" in ended.err) == (1, True)
    assert photo.read_bytes() == before
    assert not (tmp_path / "masks").exists()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["train", "--epochs", "0"], 2, "epochs: expected 1 to"),
        (["train", "--epochs", "many"], 2, "--epochs"),
        (["train", "--image-size", "100"], 2, "a multiple of 16, got 100"),
        (["train", "--recipe", "magic"], 2, "classic"),
        (["train", "--recipe", "accurate", "--image-size", "64"], 2, "expected 128 to 2048"),
        (["train", "--run", "bundled"], 1, "is the name of the weights in this package"),
        (["train", "--run", "bundled-small"], 1, "is the name of the weights in this package"),
        (["eval", "--predictions", "x", "--all-regions"], 2, "apply to a network"),
        (["eval", "--predictions", "x", "--threshold", "0.4"], 2, "apply to a network"),
        (["eval", "--predictions", "x", "--device", "cpu"], 2, "apply to a network"),
        (
            ["eval", "--predictions", "x", "--truth", "y", "-c", "bundled"],
            2,
            "--photos and --truth must be given together",
        ),
        (["eval", "--report", __file__], 2, "is not a folder"),
        (["train", "--colour"], 2, "--colour"),
        (["train", "--photos", "x"], 2, "--photos and --truth must be given together"),
        (["train", "--data", "x", "--photos", "x", "--truth", "x"], 2, "give either"),
        (["train"], 1, "lesionseg download"),
        (["train", "--data", "isic2018"], 1, "lesionseg download isic2018"),
        (["train", "--data", "nowhere"], 1, "no data set 'nowhere'"),
        (["train", "--device", "abacus"], 1, "expected cpu, cuda, cuda:1 or mps"),
        (["train", "--resume"], 1, "no run to resume"),
        (["eval", "--checkpoint", "none"], 1, "no checkpoint 'none'"),
        (["segment"], 2, "no photos"),
        (["segment", "a.jpg"], 2, "-o mask.png"),
        (["segment", "a.jpg", "-o", "mask.png", "--threshold", "2"], 2, "--threshold"),
        (["segment", "a.jpg", "-o", "mask.png", "--doubtful-below", "2"], 2, "--doubtful-below"),
        (["segment", "a.jpg", "-o", "mask.jpg"], 1, "name it mask.png"),
        (["segment", "--files-from", "none", "-o", "masks"], 1, "cannot read none"),
        (
            ["segment", "--files-from", HERE, "-o", "masks", "--measurements", HERE],
            2,
            "is the list of photos",
        ),
        (
            ["segment", "--files-from", HERE, "-o", "masks", "--measurements", ELSEWISE],
            2,
            "is the list of photos",
        ),
        (["download", "isic1999"], 2, "isic2018"),
        (["paint"], 2, "paint"),
    ],
)
def test_what_is_wrong_is_one_line(
    lesionseg: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    status: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = lesionseg(*words)
    assert (ended.status, ended.out) == (status, "")
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert "\x1b" not in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("trained")
def test_a_missing_photo_is_named(lesionseg: Command, tmp_path: Path) -> None:
    ended = lesionseg("segment", tmp_path / "none.jpg", "-o", tmp_path / "mask.png")
    assert (ended.status, "none.jpg: no such file" in ended.err) == (1, True)
    assert not (tmp_path / "mask.png").exists()


def test_problems_are_named_and_counted(lesionseg: Command, data: Path) -> None:
    for index in range(20, 32):
        write_photo(data / "images" / f"ISIC_{index:07d}.png", 1)
    ended = lesionseg("train", "--data", data, "--epochs", 1, *SMALL)
    assert ended.status == 0
    assert ended.err.count("no mask") == 12
    assert "left out: 12 in all" in ended.err
    scored = lesionseg("eval", "--data", data, "--json")
    assert len(json.loads(scored.out)["left_out"]) == 12


def test_two_trainings_do_not_share_a_folder(
    lesionseg: Command, data: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    with files.exclusive_lock(mine):
        ended = lesionseg("train", "--data", data, "--epochs", 1, "-o", mine, *SMALL)
    assert (ended.status, "another process is writing to" in ended.err) == (1, True)
    assert list(mine.iterdir()) == []


def test_a_moved_set_is_found_after_resuming(
    lesionseg: Command, data: Path, tmp_path: Path
) -> None:
    lesionseg("train", "--data", data, "--epochs", 1, "--run", "two words", *SMALL)
    data.rename(tmp_path / "moved")
    words = ("--data", tmp_path / "moved", "--epochs", 2)
    resumed = lesionseg("train", "--resume", "--run", "two words", *words)
    assert (resumed.status, "--checkpoint 'two words'" in resumed.err) == (0, True)
    assert lesionseg("eval", "--checkpoint", "two words").status == 0


def test_a_low_soft_map_is_scored_as_empty(lesionseg: Command, tmp_path: Path) -> None:
    write_mask(tmp_path / "truth" / "a.png", np.eye(40, dtype=bool))
    (tmp_path / "masks").mkdir()
    Image.new("L", (40, 40), 100).save(tmp_path / "masks" / "a.png")
    words = ("--truth", tmp_path / "truth", "--predictions", tmp_path / "masks", "--json")
    ended = lesionseg("eval", *words)
    assert (ended.status, json.loads(ended.out)["dice"]["mean"]) == (0, 0)


def test_a_name_cannot_command_the_terminal(lesionseg: Command, tmp_path: Path) -> None:
    ended = lesionseg("segment", tmp_path / "a\x1b[31m\nb.jpg", "-o", tmp_path / "m.png", "-c", "x")
    assert ended.err.count("\n") == 1
    long = lesionseg("segment", "a.jpg", "-o", "mask.png", "--checkpoint", "x" * 300)
    assert (long.status, "File name too long" in long.err, long.err.count("\n")) == (1, True, 1)


def test_demo_is_listed_and_said_to_be_drawn(
    lesionseg: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lesionseg.data import catalog, synthetic

    few = {"train": 3, "val": 1, "test": 1}
    monkeypatch.setattr(synthetic.generate_set, "__kwdefaults__", {"photos": few, "seed": 0})
    assert "no" in lesionseg("download", "--list").out
    drawn = lesionseg("download", "demo")
    assert (drawn.status, drawn.out) == (0, f"{store.data_dir('demo')}\n")
    assert catalog.find_data() == store.data_dir("demo")
    trained = lesionseg("train", "--epochs", 1, *SMALL)
    assert (trained.status, "these images are synthetic" in trained.err) == (0, True)
    scored = lesionseg("eval", "--split", "test")
    assert (scored.status, "synthetic, generated by lesionseg" in scored.out) == (0, True)
    assert "photos: 1," in scored.out


def _process(cache: Path, *words: object) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "lesionseg", *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, store.CACHE_VARIABLE: str(cache)},
    )


@pytest.mark.usefixtures("exported_run")
def test_a_pipe_takes_a_photo_and_gives_a_mask(
    lesionseg: Command, cache_dir: Path, photo: Path, tmp_path: Path
) -> None:
    out, err = _process(cache_dir, "segment", "-").communicate(photo.read_bytes(), timeout=60)
    assert b"\x1b" not in err
    assert lesionseg("segment", photo, "-o", tmp_path / "mask.png").status == 0
    assert out == (tmp_path / "mask.png").read_bytes()


@pytest.mark.usefixtures("exported_run", "heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_batch_and_leaves_whole_files(
    number: signal.Signals, cache_dir: Path, photo: Path, tmp_path: Path
) -> None:
    folder, masks = tmp_path / "photos", tmp_path / "masks"
    folder.mkdir()
    for index in range(2000):
        (folder / f"{index:04}.png").symlink_to(photo)
    process = _process(cache_dir, "segment", folder, "-o", masks, "--json")
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"interrupted" in err
    record, *written = sorted(masks.iterdir(), key=lambda path: (path.suffix, path.name))
    assert record.name == "lesionseg.json"
    assert 0 < len(written) < 2000
    for mask in (written[0], written[-1]):
        assert mask.suffix == ".png"
        read_mask(mask)
    assert not [path for path in written if path.name.startswith(".")]


@pytest.mark.usefixtures("exported_run", "heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_for_a_photo(
    number: signal.Signals, cache_dir: Path, tmp_path: Path
) -> None:
    process = _process(cache_dir, "segment", "-", "-o", tmp_path / "mask.png")
    assert process.stderr is not None
    assert b"checkpoint" in process.stderr.readline()
    time.sleep(0.3)  # until it waits
    process.send_signal(number)
    assert process.wait(timeout=20) == 130  # standard input still open
    process.communicate()
    assert list(tmp_path.glob("*mask*")) == []


@pytest.mark.usefixtures("exported_run")
@pytest.mark.skipif(os.name != "posix", reason="no such redirection here")
def test_standard_output_may_be_closed(cache_dir: Path, photo: Path, tmp_path: Path) -> None:
    def status(words: str) -> int:
        command = f"{shlex.quote(sys.executable)} -m lesionseg segment {words} >&-"
        environment = {**os.environ, store.CACHE_VARIABLE: str(cache_dir), "PHOTO": str(photo)}
        return subprocess.run(
            command, shell=True, env=environment, check=False, cwd=tmp_path
        ).returncode

    assert status('"$PHOTO" -o mask.png --json') == 0
    assert (tmp_path / "mask.png").exists()
    assert status('- < "$PHOTO"') == 2


def test_ctrl_c_keeps_a_checkpoint_to_go_on_from(
    lesionseg: Command, cache_dir: Path, data: Path
) -> None:
    words = ("train", "--data", data, "--epochs", 100_000, "--run", "long", *SMALL)
    process = _process(cache_dir, *words)
    assert process.stderr is not None
    while b"epoch 1:" not in (line := process.stderr.readline()):
        assert line, "ended before its first epoch"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert b"next: lesionseg train --resume --run long" in err
    history = (store.runs_dir() / "long" / store.HISTORY).read_text().splitlines()
    more = len(history) + 1
    resumed = lesionseg("train", "--resume", "--run", "long", "--epochs", more)
    assert (resumed.status, f"epoch {more}:" in resumed.err) == (0, True)


@pytest.mark.skipif(
    "LESIONSEG_TEST_DATA" not in os.environ, reason="LESIONSEG_TEST_DATA names no real photos"
)
@pytest.mark.usefixtures("trained")
def test_real_photos(lesionseg: Command, tmp_path: Path) -> None:
    raw = Path(os.environ["LESIONSEG_TEST_DATA"]) / "isic-raw"
    photos = sorted((raw / "images").iterdir())[:6]
    ended = lesionseg("segment", *photos, "-o", tmp_path / "masks")
    assert ended.status == 0
    for photo in photos:
        mask, _ = read_mask(tmp_path / "masks" / f"{photo.stem}_segmentation.png")
        truth, _ = read_mask(raw / "masks" / f"{photo.stem}_segmentation.png")
        assert mask.shape == truth.shape
    scored = lesionseg("eval", "--data", raw, "--json", "--predictions", tmp_path / "masks")
    assert json.loads(scored.out)["photos"] == 6
    assert scored.status == 1  # the rest has no mask


def test_masks_of_zero_and_one_are_counted(lesionseg: Command, tmp_path: Path) -> None:
    mask = np.eye(40, dtype=bool)
    write_mask(tmp_path / "truth" / "a.png", mask)
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask.astype(np.uint8)).save(tmp_path / "masks" / "a.png")
    ended = lesionseg("eval", "--truth", tmp_path / "truth", "--predictions", tmp_path / "masks")
    assert (ended.status, "masks of 0/1, read as 0/255: 1" in ended.out) == (0, True)


def test_an_unreadable_photo_fails_alone(
    lesionseg: Command, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = write_photo(tmp_path / "bad.png")
    access, opening = os.access, Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path == bad:
            raise PermissionError(13, "Permission denied", str(path))
        return opening(path, *arguments, **options)

    monkeypatch.setattr(
        os, "access", lambda path, mode: str(path) != str(bad) and access(path, mode)
    )
    monkeypatch.setattr(Path, "open", refuse)
    words = ("segment", bad, photo, "-o", tmp_path / "masks", "-c", "bundled")
    ended = lesionseg(*words)
    assert ended.status == 1
    assert f"error: {bad}: cannot read this photo: Permission denied\n" in ended.err
    names = sorted(path.name for path in (tmp_path / "masks").iterdir())
    assert names == ["lesionseg.json", "photo_segmentation.png"]
    listed = lesionseg("segment", "--files-from", bad, "-o", tmp_path / "masks")
    assert (listed.status, listed.err.count("\n")) == (1, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep a folder that is in use")
def test_a_deleted_working_folder_is_named(
    lesionseg: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for words in (("segment", "a.png", "-o", "m.png"), ("train", "--data", "x", "-o", "y")):
        ended = lesionseg(*words)
        assert (ended.status, ended.out, ended.err.count("\n")) == (1, "", 1)
        assert "None" not in ended.err
    assert "the current folder no longer exists" in lesionseg("segment", "a.png", "-o", "m").err


def test_a_name_is_no_formula_in_a_table(
    lesionseg: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_photo(tmp_path / "=1+1.png")
    words = ("--measurements", "table.csv", "-c", "bundled")
    assert lesionseg("segment", "=1+1.png", "-o", "masks", *words).status == 0
    assert "\n'=1+1.png,masks/=1+1_segmentation.png," in (tmp_path / "table.csv").read_text()


@pytest.mark.parametrize(
    "words",
    [
        ("segment", "photo.png", "-o", "FILE/mask.png"),
        ("segment", "photo.png", "-o", "mask.png", "--overlay", "FILE/overlay.png"),
        ("segment", "photo.png", "photo.png", "-o", "FILE/masks"),
        ("segment", "data/images", "-o", "masks", "--probabilities", "FILE/soft"),
        ("segment", "photo.png", "-o", "mask.png", "--labels", "FILE/labels.json"),
        ("segment", "photo.png", "-o", "mask.png", "--labels", "FILE/labels"),
        ("segment", "photo.png", "-o", "mask.png", "--measurements", "FILE/table.csv"),
        ("eval", "--data", "data", "--report", "FILE/report"),
        ("eval", "--data", "data", "--masks", "FILE"),
        ("export", "-o", "FILE/network.onnx"),
        ("page", "-o", "FILE/page.html"),
        ("page", "-o", "FILE/page"),
        ("train", "--data", "data", "--output", "FILE/run"),
        ("train", "--data", "data", "--output", "FILE"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    lesionseg: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "data", 1, 2)
    write_photo(tmp_path / "photo.png")
    (tmp_path / "FILE").write_text("kept")
    # Where the network is opened first, it is refused first.
    (tmp_path / "bad.pt").write_text("no network")
    monkeypatch.setenv(store.CHECKPOINT_VARIABLE, "bad.pt")
    before = sorted(tmp_path.rglob("*"))
    ended = lesionseg(*words)
    assert (ended.status, ended.err.count("\n")) == (1, 1)
    assert ended.err.startswith("error: cannot write FILE")
    assert "FILE is not a folder" in ended.err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_cache_folder_that_cannot_be_used_says_what_to_do(
    lesionseg: Command, tmp_path: Path
) -> None:
    data = write_pairs(tmp_path / "data", 1, 2, 3, 4)
    (tmp_path / "file").write_text("")
    for words in (("train", "--data", data), ("download", "demo")):
        ended = lesionseg(*words, "--cache-dir", tmp_path / "file")
        assert (ended.status, ended.err.count("\n")) == (1, 1)
        assert "to move the cache folder, set $LESIONSEG_CACHE_DIR or give --cache-dir" in ended.err
