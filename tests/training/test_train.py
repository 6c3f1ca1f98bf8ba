"""What `lesionseg train` shows: pictures in the run's folder, a table on a terminal."""

import dataclasses
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import SIZE, saved, write_pairs
from PIL import Image

from lesionseg import store
from lesionseg.cli import app, console
from lesionseg.cli.train import train as command
from lesionseg.config import ModelConfig, Recipe
from lesionseg.network import checkpoint as checkpoints

pytestmark = pytest.mark.usefixtures("drawn_once")

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """`train` within this process: exit status and standard error."""
    data = write_pairs(tmp_path / "data", 1, 2, 3, 4)

    def run(*words: object) -> tuple[int, str]:
        small = {"--width": 1, "--image-size": SIZE, "--workers": 1, "--data": data}
        options = {"--run": "mine", **({} if "--resume" in words else small)}
        missing = [word for pair in options.items() if pair[0] not in words for word in pair]
        typed = ("lesionseg", "train", *missing, *words)
        monkeypatch.setattr(sys, "argv", [*map(str, typed)])
        with pytest.raises(SystemExit) as ended:
            app.main()
        assert isinstance(ended.value.code, int)
        return ended.value.code, capsys.readouterr().err

    return run


def test_pictures_lie_in_the_runs_folder(train: Command) -> None:
    assert train("--epochs", 1)[0] == 0
    for name in ("curves.png", "samples.png"):
        with Image.open(store.runs_dir() / "mine" / name) as picture:
            assert len(set(picture.convert("L").tobytes())) > 50  # shades


def test_a_log_has_a_plain_line_an_epoch(train: Command) -> None:
    _, said = train("--epochs", 2)
    lines = [line for line in said.splitlines() if line.startswith("epoch ")]
    assert [line[:13] for line in lines] == ["epoch 1: loss", "epoch 2: loss"]
    assert "photos/s" in lines[0]
    assert "\x1b" not in said


def test_a_terminal_has_a_table_that_grows(train: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "draws", lambda: True)

    def table(said: str) -> list[str]:
        lines = said.splitlines()
        start = next(n for n, line in enumerate(lines) if line.startswith("epoch  "))
        return [line for line in lines[start:] if not line.startswith(("best", "next"))]

    heading, first, second = table(train("--epochs", 2)[1])
    assert heading.split("  ")[0] == "epoch"
    assert first.split()[0] == "1"
    assert first.endswith("best")
    assert second.split()[0] == "2"
    for line in (first, second):
        assert len(line.removesuffix("  best")) == len(heading)
        assert line[heading.index("Jaccard") :].split()[0].count(".") == 1
    heading_again, third = table(train("--resume", "--epochs", 3)[1])
    assert heading_again == heading
    assert third.split()[0] == "3"


def test_the_last_line_says_where_the_validation_photos_are_from(
    train: Command, tmp_path: Path
) -> None:
    said = "as those it was trained on: scores on photos from elsewhere will be lower"
    _, seeded = train("--epochs", 1)
    assert [line.startswith("best: ") for line in seeded.splitlines() if said in line] == [True]
    names = [f"ISIC_{index:07d}" for index in (1, 2, 3, 4)]
    (tmp_path / "data" / "train.txt").write_text("\n".join(names[:3]))
    (tmp_path / "data" / "val.txt").write_text(names[3])
    _, listed = train("--epochs", 1, "--run", "listed")
    assert said not in listed
    assert "mean of 1 validation photo at" in listed


LOW_RES = ("--recipe", "accurate", "--image-size", 128, "--epochs", 2)


def test_a_small_epoch_shows_the_dice_at_the_size_that_is_trained(
    train: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (row for row in train(*LOW_RES)[1].splitlines() if row.startswith("epoch "))
    assert re.search(r" photo at 64x64 pixels as trained \(Dice \d\.\d{4} at 128x128\), ", first)
    assert " photo at 128x128 pixels, " in second
    monkeypatch.setattr(console, "draws", lambda: True)
    lines = train(*LOW_RES, "--run", "other")[1].splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("epoch  "))
    at = lines[start].index("measured at")
    sizes = [line[at:].split()[0] for line in lines[start + 1 : start + 3]]
    assert sizes == ["64x64", "128x128"]
    row = json.loads((store.runs_dir() / "other" / store.HISTORY).read_text().splitlines()[0])
    assert f"{row['low_res_dice']:.4f}" in lines[start + 1]
    assert not lines[start + 1].endswith("best")  # which is chosen at the full size


def test_tensorboard_files(train: Command) -> None:
    pytest.importorskip("tensorboardX")
    assert train("--epochs", 1, "--tensorboard")[0] == 0
    assert train("--resume", "--epochs", 2, "--tensorboard")[0] == 0
    assert len(list((store.runs_dir() / "mine").glob("events.out.tfevents.*"))) == 2


def test_tensorboard_without_its_package(train: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name == "tensorboardX" else find_spec(name),
    )
    status, said = train("--epochs", 1, "--tensorboard")
    assert (status, said.count("\n")) == (1, 1)
    assert "pip install '.[tensorboard]'" in said
    assert not (store.runs_dir() / "mine").exists()


def test_from_a_run_with_patience_and_what_does_not_go_together(
    lesionseg: Any, tmp_path: Path
) -> None:
    data = write_pairs(tmp_path / "data", 1, 2, 3, 4)
    saved(tmp_path / "a.pt", width=2, normalisation="none", seed=3)
    words = ("train", "--data", data, "--workers", 1, "--run", "mine")
    ended = lesionseg(*words, "--from", tmp_path / "a.pt", "--patience", 1, "--lr", 1e-9)
    assert ended.status == 0
    assert (
        f"recipe finetune, width 2, normalisation none, stem none, from {tmp_path / 'a.pt'}"
        in ended.err
    )
    assert "ended after epoch 2: the Dice has not risen for 1 epoch\n" in ended.err
    assert "ended after epoch 2" in lesionseg("train", "--resume").err
    wrong = lesionseg(*words, "--from", tmp_path / "a.pt", "--width", 1)
    assert (
        wrong.status,
        "expected 2, as in the weights to start from, got 1; leave it out" in wrong.err,
    ) == (2, True)
    assert lesionseg("train", "--resume", "--from", "bundled").status == 2
    again = lesionseg(*words[:-1], "again", "--from", "mine", "--epochs", 1)
    assert "the weights to start from were" not in again.err  # the same split
    missing = lesionseg(*words, "--from", tmp_path / "none.pt")
    assert (missing.status, "no checkpoint" in missing.err) == (1, True)
    trained = checkpoints.load(store.runs_dir() / "mine" / "best.pt").data.train_ids
    (data / "train.txt").write_text(trained[0])
    other = lesionseg(*words[:-1], "other", "--from", "mine", "--epochs", 1)
    assert "were trained on 2 of 3 validation photos" in other.err


SET_TWICE = {  # parts of --set that have an option of their own, with a value each
    "batch_size": 2,
    "epochs": 1,
    "image_size": SIZE,
    "learning_rate": 0.1,
    "normalisation": "batch",
    "patience": 1,
    "precision": "float32",
    "seed": 1,
    "validation_batch_size": 2,
    "width": 1,
}


@pytest.mark.parametrize(("part", "value"), SET_TWICE.items())
def test_a_part_is_set_once(lesionseg: Any, part: str, value: object) -> None:
    option = "--" + part.replace("_", "-").replace("validation", "val")
    ended = lesionseg("train", "--set", f"{part.replace('_', '-')}={value}", option, value)
    expected = f"--set {part}={value} and {option} {value} set the same part; leave one of them out"
    assert (ended.status, ended.err.count("\n"), expected in ended.err) == (2, 1, True)


def test_no_part_with_an_option_is_missing_above() -> None:
    options = {
        name.replace("val_", "validation_") for name in inspect.signature(command).parameters
    }
    parts = {*dataclasses.asdict(ModelConfig()), *dataclasses.asdict(Recipe())}
    assert parts & options == SET_TWICE.keys()
