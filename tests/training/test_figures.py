"""The pictures of a run: opened and looked at as far as a program can."""

import dataclasses
import importlib.util
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import SIZE, begun, prepared
from numpy.typing import NDArray
from PIL import Image

from lesionseg import store
from lesionseg.images.arrays import Mask, Photo
from lesionseg.training import figures, runs, trainer
from lesionseg.training.figures import BLUE, CURVES, ORANGE, SAMPLES, TrainingFigures
from lesionseg.training.history import EpochScores

EPOCH = EpochScores(
    epoch=1,
    image_size=SIZE,
    learning_rate=1e-4,
    train_loss=0.7,
    val_loss=0.6,
    dice=0.5,
    jaccard=0.4,
    val_photos=2,
    seconds=1.0,
    photos_per_second=3.0,
)
TRAINING, VALIDATION = prepared(0, 1, 2), prepared(3, 4)


def history(epochs: int) -> list[EpochScores]:
    numbers = range(1, epochs + 1)
    return [dataclasses.replace(EPOCH, epoch=number, dice=1 - 0.5 / number) for number in numbers]


def opened(png: bytes | Path) -> Photo:
    with Image.open(png if isinstance(png, Path) else io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def coloured(picture: Photo, colour: str) -> NDArray[np.bool_]:
    """Where a picture has nearly that colour."""
    wanted = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)])
    near: NDArray[np.bool_] = (np.abs(picture.astype(int) - wanted) <= 8).all(axis=2)
    return near


def square(first: int, last: int) -> Mask:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[first:last, first:last] = True
    return mask


def strip(truth: Mask, mask: Mask, count: int = 1, name: str = "a") -> Photo:
    photo = np.full((SIZE, SIZE, 3), 90, np.uint8)
    masks = [truth] * count, [mask] * count
    return opened(figures.samples_png([photo] * count, *masks, [name] * count, "network"))


@pytest.mark.parametrize(
    ("count", "most", "rows"),
    [(1, 6, [0]), (2, 6, [0, 1]), (6, 6, [0, 1, 2, 3, 4, 5]), (11, 6, [0, 2, 4, 6, 8, 10])],
)
def test_rows_are_spread_evenly(count: int, most: int, rows: list[int]) -> None:
    assert figures.spread(count, most) == rows


@pytest.mark.parametrize(("epochs", "planned"), [(1, 1), (40, 50), (7, 5)])
def test_curves(epochs: int, planned: int) -> None:
    picture = opened(figures.curves_png(history(epochs), planned))
    assert picture.shape == (400, 1200, 3)
    for colour in (BLUE, ORANGE):
        assert coloured(picture[:, :400], colour).any()  # losses
        assert coloured(picture[:, 400:800], colour).any()  # scores
    assert coloured(picture[:, 800:], BLUE).any()  # learning rate


def test_every_epoch_lengthens_the_curves() -> None:
    def right_end(epochs: int) -> int:
        rates = opened(figures.curves_png(history(epochs), 10))[:, 800:]
        return int(np.flatnonzero(coloured(rates, BLUE).any(axis=0)).max())

    ends = [right_end(epochs) for epochs in (2, 5, 10)]
    assert ends[0] + 50 < ends[1] < ends[2] - 50


def test_samples_have_both_outlines_where_they_belong() -> None:
    picture = strip(square(4, 28), square(10, 22), 3)
    height, width = picture.shape[:2]
    assert width == pytest.approx(3 * 256 + 2 * 8, abs=2)
    photo = picture[50 : 50 + 256, :256]
    rows, columns = np.nonzero(coloured(photo, BLUE))
    truth = [rows.min(), rows.max(), columns.min(), columns.max()]
    assert truth == pytest.approx([4 * 8, 28 * 8, 4 * 8, 28 * 8], abs=8)
    rows, columns = np.nonzero(coloured(photo, ORANGE))
    network = [rows.min(), rows.max(), columns.min(), columns.max()]
    assert network == pytest.approx([10 * 8, 22 * 8, 10 * 8, 22 * 8], abs=8)
    assert (photo[128, 128] == 90).all()  # the photo is not hidden
    for start in (264, 528):
        assert coloured(picture[50 : 50 + 256, start : start + 256], BLUE).any()
    assert coloured(picture[height - 50 :], BLUE).any()  # the legend
    assert coloured(picture[height - 50 :], ORANGE).any()


def test_the_lines_are_told_apart_without_colour() -> None:
    """Along a side of a square the truth is one line, the prediction many dashes."""

    def pieces(truth: Mask, mask: Mask, colour: str) -> int:
        photo = strip(truth, mask)[50 : 50 + 256, :256]
        side: NDArray[np.bool_] = np.any(coloured(photo, colour)[60:196, :90], axis=1)
        return int(np.count_nonzero(np.diff(side.astype(int), prepend=0) == 1))

    nothing = np.zeros((SIZE, SIZE), bool)
    assert pieces(square(4, 28), nothing, BLUE) == 1
    assert pieces(nothing, square(4, 28), ORANGE) > 5


@pytest.mark.parametrize("all_of_it", [False, True])
def test_a_mask_without_a_border_has_no_line(all_of_it: bool) -> None:
    """Not even along the frame."""
    mask = np.full((SIZE, SIZE), all_of_it)
    picture = strip(mask, mask, 2)
    assert not coloured(picture[50 : 50 + 256], BLUE).any()
    assert not coloured(picture[50 : 50 + 256], ORANGE).any()


def test_a_lesion_cut_by_the_frame_has_no_line_along_it() -> None:
    picture = strip(square(8, SIZE), square(8, SIZE), 2)[50 : 50 + 256, : 2 * 256 + 8]
    assert not coloured(picture[150:, 240:256], BLUE).any()
    assert coloured(picture[150:200, 50:80], BLUE).any()


@pytest.mark.parametrize("name", ["a$b$_c", "läsion-皮膚", "x" * 200, "a\x1b[31m\nb", ""])
def test_any_name_is_shown(name: str) -> None:
    assert coloured(strip(square(4, 28), square(4, 28), name=name), BLUE).any()


def trained(
    folder: Path, epochs: int, problems: list[str], start: Any = None
) -> trainer.TrainingResult:
    start = start or begun(epochs=epochs, batch_size=2)
    album = TrainingFigures(folder, VALIDATION, epochs, problems.append)
    return trainer.train(start, TRAINING, VALIDATION, folder, torch.device("cpu"), on_epoch=album)


def test_a_resumed_run_shows_all_of_its_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[list[float]] = []
    draw = figures.curves_png

    def curves(history: list[EpochScores], epochs: int) -> bytes:
        shown.append([scores.epoch for scores in history])
        return draw(history, epochs)

    monkeypatch.setattr(figures, "curves_png", curves)
    problems: list[str] = []
    trained(tmp_path, 1, problems)
    first = (tmp_path / CURVES).read_bytes(), (tmp_path / SAMPLES).read_bytes()
    trained(tmp_path, 3, problems, runs.resumed(tmp_path, {"epochs": 3}))
    assert shown == [[1], [1, 2], [1, 2, 3]]
    assert problems == []
    assert (tmp_path / CURVES).read_bytes() != first[0]
    assert (tmp_path / SAMPLES).read_bytes() != first[1]
    assert opened(tmp_path / CURVES).shape == (400, 1200, 3)
    picture = opened(tmp_path / SAMPLES)
    assert picture.shape[1] == pytest.approx(2 * 256 + 8, abs=2)
    assert coloured(picture, BLUE).sum() > 200
    names = {"best.pt", "last.pt", "history.jsonl", CURVES, SAMPLES}
    assert {file.name for file in tmp_path.iterdir()} == names


def test_pictures_change_nothing_of_the_training(tmp_path: Path) -> None:
    with_pictures = trained(tmp_path / "a", 2, [])
    start = begun(epochs=2, batch_size=2)
    without = trainer.train(start, TRAINING, VALIDATION, tmp_path / "b", torch.device("cpu"))
    for name, weight in without.last.weights.items():
        assert torch.equal(weight, with_pictures.last.weights[name])


def test_specks_do_not_hide_the_photos(tmp_path: Path) -> None:
    """An untrained network's mask is noise."""
    noise = np.random.default_rng(0).random((2, SIZE, SIZE)).astype(np.float32)
    noise[:, 8:20, 8:20] = 0.9
    TrainingFigures(tmp_path, VALIDATION, 3, pytest.fail)(history(1), lambda rows: noise)
    photos = opened(tmp_path / SAMPLES)[50 : 50 + 256]
    assert 0.005 < coloured(photos, ORANGE).mean() < 0.05


@pytest.mark.parametrize("name", [CURVES, SAMPLES])
def test_a_picture_that_cannot_be_written_stops_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()  # in the way
    problems: list[str] = []
    assert len(trained(tmp_path, 3, problems).history) == 3
    (said,) = problems  # once
    assert said.startswith(
        "no figures after epoch 1 (later failures are not reported): cannot write"
    )
    assert (tmp_path / store.LAST).exists()


def test_nor_does_a_full_disk_or_a_missing_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems: list[str] = []
    album = TrainingFigures(tmp_path, VALIDATION, 3, problems.append)

    def predict(rows: Sequence[int]) -> NDArray[np.float32]:
        return np.zeros((len(rows), SIZE, SIZE), np.float32)

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        album(history(1), predict)
    assert list(tmp_path.iterdir()) == []
    assert "No space left on device" in problems[0]
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    album(history(1), predict)
    assert len(problems) == 1
    again = TrainingFigures(tmp_path, VALIDATION, 3, problems.append)
    again(history(1), predict)
    assert "matplotlib" in problems[1]
    monkeypatch.undo()
    album(history(2), predict)  # space was made
    assert opened(tmp_path / SAMPLES).any()


def test_without_matplotlib_a_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems: list[str] = []
    figures = TrainingFigures(tmp_path, VALIDATION, 3, problems.append)

    def predict(rows: Sequence[int]) -> NDArray[np.float32]:
        raise AssertionError("not for pictures that nobody draws")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    figures(history(1), predict)
    figures(history(2), predict)
    (line,) = problems
    assert line.startswith("no curves.png and samples.png; to draw them, pip install matplotlib")
    assert list(tmp_path.iterdir()) == []
