"""What users of version 0.1.0 have keeps working: their checkpoints, their command lines."""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Command
from PIL import Image

from lesionseg import store
from lesionseg.network import checkpoint as checkpoints

BEFORE = Path(__file__).parent / "fixtures" / "0.1.0"
# Of each epoch, measured the same way ever since. The clock's figures differ.
SCORES = ("train_loss", "val_loss", "dice", "jaccard", "learning_rate")
SIZES = ("epoch", "image_size", "val_photos")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run that 0.1.0 stopped in the middle of its second epoch."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / store.LAST).write_bytes(gzip.decompress((BEFORE / "last.pt.gz").read_bytes()))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The photos and masks of that run."""
    return shutil.copytree(BEFORE, tmp_path / "data", ignore=shutil.ignore_patterns("*.gz"))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_of_0_1_0_resumes_to_the_end_that_it_had(
    lesionseg: Command, run: Path, data: Path
) -> None:
    ended = lesionseg("train", "--resume", "-o", run, "--data", data, "--device", "cpu")
    assert ended.status == 0, ended.err
    assert ended.out == f"{run / store.BEST}\n"
    expected = rows(BEFORE / store.HISTORY)
    resumed = rows(run / store.HISTORY)
    for name in SIZES:
        assert [row[name] for row in resumed] == [row[name] for row in expected]
    for name in SCORES:  # another processor rounds otherwise; a mask of few pixels shows it
        away = 0.02 if name in ("dice", "jaccard") else 0
        assert [row[name] for row in resumed] == pytest.approx(
            [row[name] for row in expected], rel=1e-3, abs=away
        )
    assert [row["val_image_size"] for row in resumed] == [128] * 4
    # Epoch 1 was of 0.1.0, which measured at full size alone.
    assert ["low_res_dice" in row for row in resumed] == [False, True, False, False]
    assert checkpoints.load(run / store.BEST).epoch == 4


def test_an_option_that_the_run_was_not_begun_with_is_refused(
    lesionseg: Command, run: Path, data: Path
) -> None:
    ended = lesionseg("train", "--resume", "-o", run, "--data", data, "--width", 2)
    assert ended.status == 1
    assert "width 1, got 2" in ended.err


def test_a_checkpoint_of_0_1_0_segments(
    lesionseg: Command, run: Path, data: Path, tmp_path: Path
) -> None:
    photo, mask = data / "images" / "DRAWN_4.png", tmp_path / "mask.png"
    ended = lesionseg("segment", photo, "-o", mask, "-c", run / store.LAST, "--device", "cpu")
    assert ended.status == 0, ended.err
    with Image.open(mask) as written, Image.open(photo) as shown:
        assert written.size == shown.size
        assert set(np.unique(np.asarray(written))) <= {0, 255}
