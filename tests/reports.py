"""Evaluations of synthetic photos, for the tests of what is written about them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import write_mask
from PIL import Image

from lesionseg.cli import app
from lesionseg.config import ModelConfig, Recipe
from lesionseg.data.filenames import file_id
from lesionseg.data.pairs import Pair
from lesionseg.evaluation.report import CheckpointInfo, DataInfo, Evaluation
from lesionseg.evaluation.scoring import compare
from lesionseg.images.arrays import Mask
from lesionseg.metrics import Confusion, PhotoScore

HEIGHT, WIDTH = 120, 160
SKIN, LESION = (226, 180, 160), (110, 60, 50)


def data_info(name: str = "discs", folder: str | None = None, split: str = "all") -> DataInfo:
    """Photos at their full size, split by the hash of their names."""
    return DataInfo(
        name=name, folder=folder, split=split, split_source="seeded", drawn=False, shrunk=None
    )


def checkpoint_info(file: str | None = "best.pt", trained_on: str = "discs") -> CheckpointInfo:
    """A network of the default shape and recipe."""
    return CheckpointInfo(
        file=file,
        epoch=4,
        model=ModelConfig(),
        recipe=Recipe(),
        trained_on=trained_on,
        training_photos=3,
        version="1.2.2",
        command="lesionseg train",
        commit="abc",
    )


def disc(radius: float, x: float = WIDTH / 2, y: float = HEIGHT / 2) -> Mask:
    """A disc on a photo of HEIGHT x WIDTH pixels."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    mask: Mask = np.hypot(rows - y, columns - x) <= radius
    return mask


def write_photos(folder: Path, names: Sequence[str]) -> dict[str, Pair]:
    """A photo of a disc for each name, each disc larger than the one before, and its mask.

    The files are numbered, as no file may have the oddest of names.
    """
    pairs = {}
    for index, name in enumerate(names):
        truth = disc(20 + 30 * index / len(names))
        photo = np.where(truth[:, :, None], LESION, SKIN).astype(np.uint8)
        path = folder / "images" / f"{index:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(path)
        mask = write_mask(folder / "masks" / f"{index:04}_segmentation.png", truth)
        pairs[name] = Pair(name, path, mask)
    return pairs


def write_predictions(folder: Path, names: Sequence[str], shift: float) -> Path:
    """The masks of `write_photos`, but each moved to the right by `shift` more than the last."""
    for index in range(len(names)):
        moved = disc(20 + 30 * index / len(names), WIDTH / 2 + shift * index)
        write_mask(folder / f"{index:04}_segmentation.png", moved)
    return folder


def evaluation(pairs: dict[str, Pair], predictions: Path, name: str = "masks") -> Evaluation:
    """The scores of masks of `write_predictions`, with outlines, under the pairs' own names."""
    names = {file_id(pair.photo): name for name, pair in pairs.items()}
    numbered = [replace(pair, id=file_id(pair.photo)) for pair in pairs.values()]
    scored = compare(predictions, numbered, workers=1, outlines=True)
    folder = numbered[0].photo.parent.parent
    return Evaluation(
        scores=[replace(score, id=names[score.id]) for score in scored.scores],
        skipped=scored.skipped,
        checkpoint=None,
        data=data_info(folder=str(folder)),
        command=f"lesionseg eval --data {folder} --predictions {predictions}",
        version="1.2.3",
        threshold=None,
        all_regions=None,
        notes=[],
        name=name,
    )


def photo(name: str, hit: int, missed: int = 0) -> PhotoScore:
    """A photo of 10 x 10 pixels; its Jaccard is found / (found + missed)."""
    return PhotoScore(name, Confusion(hit, 0, missed, 100 - hit - missed), 10, 10)


def scored(name: str, *scores: PhotoScore, notes: tuple[str, ...] = ()) -> Evaluation:
    """An evaluation of photos that there are only scores of."""
    return Evaluation(
        scores=list(scores),
        skipped=[],
        checkpoint=None,
        data=data_info(split="val"),
        command="lesionseg eval",
        version="1.2.3",
        threshold=None,
        all_regions=None,
        notes=list(notes),
        name=name,
    )


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """The exit status of a command that is typed."""
    monkeypatch.setattr("sys.argv", ["lesionseg", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code
