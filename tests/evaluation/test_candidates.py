"""Which split is scored by default, and what a reader is told about scores."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from helpers import DATA, begun, torch_network

from lesionseg.data.catalog import Description
from lesionseg.data.discovery import Dataset
from lesionseg.data.pairs import Pair
from lesionseg.evaluation.candidates import Candidate, build_evaluation, default_split
from lesionseg.evaluation.report import CheckpointInfo, DataInfo, Evaluation
from lesionseg.evaluation.scoring import ScoringResult
from lesionseg.metrics import Confusion, PhotoScore
from lesionseg.network.provenance import Parent, TrainingData
from lesionseg.segmentation.segmenter import Segmenter


def pair(name: str) -> Pair:
    return Pair(name, Path(f"{name}.png"), Path(f"{name}.png"))


def dataset(source: str = "lists", **about: Any) -> Dataset:
    """Three photos to train on and one for validation."""
    description = Description("set", "A set", "CC0-1.0", **about) if about else None
    pairs = {"train": (pair("A"), pair("x"), pair("y")), "val": (pair("z"),)}
    return Dataset(Path("folder"), pairs, (), source, description)


def trained_on(*ids: str, drawn: bool = False) -> TrainingData:
    return dataclasses.replace(DATA, train_ids=ids, synthetic=drawn)


@pytest.mark.parametrize(
    ("source", "trained", "split"),
    [
        ("lists", None, "val"),
        ("official folders", None, "val"),
        ("lists", trained_on("q"), "val"),
        ("seeded", None, "all"),
        ("seeded", trained_on("q"), "all"),
        ("seeded", trained_on("a"), "val"),  # the same id in another case
        ("seeded", trained_on("a", "z"), "all"),  # its own split was another one
    ],
)
def test_what_is_scored_where_no_split_is_named(
    source: str, trained: TrainingData | None, split: str
) -> None:
    known = dataclasses.replace(begun(), data=trained) if trained else None
    assert default_split(dataset(source), known) == split


def test_all_is_scored_where_nothing_is_set_apart() -> None:
    test_only = Dataset(Path("folder"), {"test": (pair("t"),)}, (), "official folders")
    assert default_split(test_only, None) == "all"


def network(*ids: str, drawn: bool = False) -> Segmenter:
    start = dataclasses.replace(
        begun(), data=trained_on(*ids, drawn=drawn), epoch=4, command="lesionseg t", commit="abc"
    )
    return Segmenter(torch_network(start), 0.25, path=Path("best.pt"))


def build(
    result: ScoringResult, data: Dataset, split: str, segmenter: Segmenter | None
) -> Evaluation:
    candidate = Candidate("mine", segmenter or Path("masks"))
    return build_evaluation(result, candidate, data, split, "lesionseg e")


SYNTHETIC = "these pictures are synthetic, made by lesionseg; they are not photos"
SYNTHETIC_ONLY = "the network was trained on synthetic pictures only"
SHRUNK = (
    "photos and truth masks were shrunk to a shorter side of 64 pixels: "
    "not comparable with scores at full size"
)
ZERO_ONE = "masks of 0/1, read as 0/255: 2; the challenge's own scorer reads such a mask as empty"


@pytest.mark.parametrize(
    ("data", "scored_by", "zero_one", "notes"),
    [
        (dataset(), None, 0, []),
        (dataset(), network("q"), 0, []),
        (dataset(synthetic=True), network("q", drawn=True), 0, [SYNTHETIC]),
        (dataset(synthetic=False), network("q", drawn=True), 0, [SYNTHETIC_ONLY]),
        (dataset(), network("q", drawn=True), 0, [SYNTHETIC_ONLY]),
        (dataset(shrunk=64), None, 0, [SHRUNK]),
        (dataset(), network("a", "y"), 0, ["the network was trained on 2 of these 4 photos"]),
        (dataset(), None, 2, [ZERO_ONE]),
    ],
)
def test_what_a_reader_is_told(
    data: Dataset, scored_by: Segmenter | None, zero_one: int, notes: list[str]
) -> None:
    scored = ScoringResult(zero_one=zero_one)
    assert build(scored, data, "all", scored_by).notes == notes


def test_photos_count_that_an_ancestor_was_trained_on() -> None:
    grandparent = Parent("bundled", "12", trained_on("Z"))
    parent = Parent("a.pt", "34", trained_on("a"), grandparent)
    start = dataclasses.replace(begun(), data=trained_on("x"), parent=parent)
    segmenter = Segmenter(torch_network(start))
    note = "the network was, or started from one that was, trained on 3 of these 4 photos"
    assert build(ScoringResult(), dataset(), "all", segmenter).notes == [note]
    assert default_split(dataset("seeded"), start) == "all"  # the parent saw z


def test_only_the_photos_of_the_split_count_as_trained_on() -> None:
    assert build(ScoringResult(), dataset(), "val", network("a", "y")).notes == []


def test_a_report_says_what_was_scored_and_by_what() -> None:
    scored = ScoringResult([PhotoScore("a", Confusion(1, 2, 3, 4), 2, 5)], ["b: no mask"])
    by_network = build(scored, dataset(shrunk=64), "val", network("q"))
    assert (by_network.scores, by_network.skipped) == (scored.scores, scored.skipped)
    assert by_network.data == DataInfo(
        name="set",
        folder=str(Path("folder").absolute()),
        split="val",
        split_source="lists",
        drawn=False,
        shrunk=64,
    )
    checkpoint = network("q").checkpoint
    assert by_network.checkpoint == CheckpointInfo(
        file="best.pt",
        epoch=4,
        model=checkpoint.model,
        recipe=checkpoint.recipe,
        trained_on="drawings",
        training_photos=1,
        version=checkpoint.version,
        command="lesionseg t",
        commit="abc",
    )
    assert (by_network.threshold, by_network.command) == (0.25, "lesionseg e")
    by_hand_drawn = build(scored, dataset(), "val", None)
    assert (by_hand_drawn.checkpoint, by_hand_drawn.threshold) == (None, None)
    assert by_hand_drawn.data.name == "folder"
