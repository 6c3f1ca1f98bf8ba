"""Scores of a network and of finished masks."""

import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import begun, drawing, torch_network, write_mask, write_pairs, write_photo
from PIL import Image

from lesionseg.data import discovery
from lesionseg.data.pairs import Pair
from lesionseg.errors import LesionsegError
from lesionseg.evaluation import scoring
from lesionseg.evaluation.scoring import ScoringResult
from lesionseg.images.arrays import Mask
from lesionseg.metrics import Confusion, PhotoScore
from lesionseg.segmentation.segmenter import Segmenter


def by_hand(prediction: Mask, truth: Mask) -> Confusion:
    counts = [
        ((prediction == says) & (truth == is_)).sum()
        for says, is_ in ((True, True), (True, False), (False, True), (False, False))
    ]
    return Confusion(*map(int, counts))


def pairs_in(folder: Path) -> tuple[Pair, ...]:
    return discovery.find(folder).split("all")


@cache
def every() -> Segmenter:
    """A network that was never trained, but calls a part of every lesion a lesion."""
    return Segmenter(torch_network(begun(2, seed=3)), all_regions=True)


def evaluate(pairs: tuple[Pair, ...], **options: Any) -> ScoringResult:
    return scoring.evaluate(every(), pairs, batch_size=2, workers=2, **options)


def compare(predictions: Path, pairs: tuple[Pair, ...]) -> ScoringResult:
    return scoring.compare(predictions, pairs, workers=2)


def test_a_network_is_scored_as_by_hand(tmp_path: Path) -> None:
    pairs = pairs_in(write_pairs(tmp_path / "data", 0, 1, 2))
    progress: list[tuple[int, int]] = []
    scored = evaluate(pairs, masks=tmp_path / "masks", on_photo=lambda *done: progress.append(done))
    assert scored.scores == [
        PhotoScore(
            f"ISIC_{index:07d}",
            by_hand(every()(drawing(index)[0]).mask, drawing(index)[1]),
            height=drawing(index)[1].shape[0],
            width=drawing(index)[1].shape[1],
            quality=every()(drawing(index)[0]).quality,
        )
        for index in (0, 1, 2)
    ]
    assert all(0 < score.confusion.dice < 1 for score in scored.scores)
    assert (scored.skipped, scored.zero_one) == ([], 0)
    assert progress == [(1, 3), (2, 3), (3, 3)]
    assert len({score.quality for score in scored.scores}) == 3
    # The masks that were written score the same; of their quality nothing is known.
    again = [dataclasses.replace(score, quality=None) for score in scored.scores]
    assert compare(tmp_path / "masks", pairs) == dataclasses.replace(scored, scores=again)


def test_photos_that_cannot_be_scored_are_named(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path, 0, 1, 2, 3)
    (folder / "images" / "ISIC_0000001.png").write_text("no photo")
    write_mask(folder / "masks" / "ISIC_0000002_segmentation.png", drawing(2)[1][1:, 2:])
    (folder / "masks" / "ISIC_0000003_segmentation.png").unlink()
    pairs = (*pairs_in(folder), Pair("gone", folder / "gone.png", folder / "gone.png"))
    progress: list[tuple[int, int]] = []
    scored = evaluate(pairs, on_photo=lambda *done: progress.append(done))
    assert [score.id for score in scored.scores] == ["ISIC_0000000"]
    height, width = drawing(2)[1].shape
    said = (
        "ISIC_0000001.png: not a photo",
        f"ISIC_0000002_segmentation.png: expected a mask of {width}x{height} pixels, the size of "
        f"its photo, got {width - 2}x{height - 1}",
        "gone.png: no such file",
    )
    assert all(words in line for words, line in zip(said, scored.skipped, strict=True))
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]


def write_zero_one(path: Path, mask: Mask) -> None:
    Image.fromarray(mask.astype(np.uint8)).save(path)


def test_masks_of_zero_and_one_are_counted(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "data", 0, 1, 2)
    pairs = pairs_in(folder)
    before = evaluate(pairs)
    for index in (0, 2):
        write_zero_one(folder / "masks" / f"ISIC_{index:07d}_segmentation.png", drawing(index)[1])
    after = evaluate(pairs)
    assert after.scores == before.scores
    assert after.zero_one == 2
    write_mask(tmp_path / "found" / "ISIC_0000000.png", drawing(0)[1])
    write_zero_one(tmp_path / "found" / "ISIC_0000001.png", drawing(1)[1])
    # One by its truth, one by its prediction.
    assert compare(tmp_path / "found", pairs[:2]).zero_one == 2


def test_perfect_masks_score_one(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path, 0, 1)
    scored = compare(folder / "masks", pairs_in(folder))
    assert [score.confusion.jaccard for score in scored.scores] == [1, 1]
    assert scored.skipped == []


def test_finished_masks_are_scored_as_by_hand(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "data", 0)
    truth = drawing(0)[1]
    prediction = np.roll(truth, (3, -4), (0, 1))
    prediction[:5] = True  # so that too much and too little differ
    write_mask(tmp_path / "found" / "ISIC_0000000.png", prediction)
    (score,) = compare(tmp_path / "found", pairs_in(folder)).scores
    assert score == PhotoScore("ISIC_0000000", by_hand(prediction, truth), *truth.shape)
    assert score.confusion.false_positive != score.confusion.false_negative


def test_truth_masks_need_no_photos(tmp_path: Path) -> None:
    for name in ("x_segmentation.png", "ISIC_0000001_segmentation.png"):
        write_mask(tmp_path / "truth" / name, drawing(0)[1])
    write_mask(tmp_path / "found" / "X.png", drawing(0)[1])
    write_mask(tmp_path / "found" / "ISIC_0000001.png", drawing(0)[1])
    dataset = discovery.find(None, None, tmp_path / "truth")
    scored = compare(tmp_path / "found", dataset.split("all"))
    assert scored.skipped == []
    assert [score.confusion.dice for score in scored.scores] == [1, 1]


@pytest.mark.parametrize(
    ("photo", "predictions", "said"),
    [
        ("ISIC_0000001", ["ISIC_0000001.png"], None),
        ("ISIC_0000001", ["isic_0000001_Segmentation.png"], None),
        ("ISIC_0000001", ["ISIC_0000001_mine_v2.png"], None),
        ("ISIC_0000001", ["0000001.bmp"], None),
        ("ISIC_0000001", ["ISIC_0000001.png", "other_0000001.png"], None),
        ("mole", ["mole_segmentation.tif"], None),
        ("ISIC_0000001", ["ISIC_0000002.png"], "found none"),
        ("ISIC_0000001", ["ISIC_00000012.png"], "found none"),
        ("20240101_left", ["20240101_right.png"], "found none"),
        ("mole", ["mole2.png"], "found none"),
        ("mole", ["mole.png", "mole_segmentation.png"], "found mole.png, mole_segmentation.png"),
        ("ISIC_0000001", ["a_0000001.png", "b_0000001.png"], "found a_0000001.png, b_0000001.png"),
    ],
)
def test_how_a_mask_is_found(
    tmp_path: Path, photo: str, predictions: list[str], said: str | None
) -> None:
    photo_file = write_photo(tmp_path / f"{photo}.png")
    truth = write_mask(tmp_path / "truth.png", drawing(0)[1])
    (tmp_path / "found").mkdir()
    for name in predictions:
        Image.fromarray(drawing(0)[1].astype(np.uint8) * 255).save(tmp_path / "found" / name)
    write_mask(tmp_path / "found" / "sure.png", drawing(0)[1])
    pairs = (Pair(photo, photo_file, truth), Pair("sure", photo_file, truth))
    scored = compare(tmp_path / "found", pairs)
    if said is None:
        assert [score.id for score in scored.scores] == [photo, "sure"]
    else:
        expected = f"{photo}: expected one mask in {tmp_path / 'found'}, {said}"
        assert [score.id for score in scored.scores] == ["sure"]
        assert scored.skipped == [expected]


def test_a_folder_in_which_no_mask_fits_is_one_error(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "data", 0, 1)
    write_mask(tmp_path / "found" / "other.png", drawing(0)[1])
    with pytest.raises(LesionsegError, match="matches any of 2 truth masks; expected names"):
        compare(tmp_path / "found", pairs_in(folder))


def test_a_mask_of_another_size(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "data", 0)
    write_mask(tmp_path / "found" / "ISIC_0000000.png", drawing(0)[1][2:, 1:])
    height, width = drawing(0)[1].shape
    assert compare(tmp_path / "found", pairs_in(folder)).skipped == [
        f"ISIC_0000000: expected a mask of {width}x{height} pixels, the size of its truth mask, "
        f"got {width - 1}x{height - 2}"
    ]


def test_a_folder_of_masks_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LesionsegError, match="cannot read folder"):
        compare(tmp_path / "none", ())
