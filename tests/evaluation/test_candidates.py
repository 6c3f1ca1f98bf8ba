"""Which split is scored by default, and what a reader is told about scores."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers import DATA, begun, torch_network, write_pairs

from lesionseg.data.catalog import Description
from lesionseg.data.discovery import Dataset, find
from lesionseg.data.pairs import Pair
from lesionseg.errors import LesionsegError
from lesionseg.evaluation.candidates import Candidate, assign_folds, build_evaluation, default_split
from lesionseg.evaluation.report import CheckpointInfo, DataInfo, Evaluation
from lesionseg.evaluation.scoring import ScoringResult
from lesionseg.metrics import Confusion, PhotoScore
from lesionseg.network.checkpoint import Checkpoint
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
        (dataset(), network("a", "y"), 0, ["the network was trained on 2 of 4 photos scored here"]),
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
    note = "the network was, or started from one that was, trained on 3 of 4 photos scored here"
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


def fold(name: str, held_out: str, trained: str, parent: Parent | None = None) -> Checkpoint:
    data = dataclasses.replace(
        DATA, fold=name, val_ids=tuple(held_out), train_ids=tuple(trained.upper())
    )
    return dataclasses.replace(begun(), data=data, parent=parent)


PAIRS = [pair(name) for name in "Abc"]


def test_each_photo_goes_to_the_network_that_held_it_out() -> None:
    networks = [fold("2/2", "b", "ac"), fold("1/2", "ac", "b")]
    parts, unknown = assign_folds(networks, [*PAIRS, pair("new")])
    assert parts == [[PAIRS[1]], [PAIRS[0], PAIRS[2]]]
    assert unknown == ["new.png: held out by no fold"]


ANCESTOR = Parent("bundled", "12", dataclasses.replace(DATA, train_ids=("c",)))


@pytest.mark.parametrize(
    ("networks", "said"),
    [
        ([fold("1/2", "a", "bc")], "got folds: 1/2; name one run"),
        ([fold("1/3", "a", "bc"), fold("2/3", "b", "ac")], "got folds: 1/3, 2/3"),
        ([fold("1/2", "a", "bc"), fold("1/2", "a", "bc")], "got folds: 1/2, 1/2"),
        ([fold("1/2", "a", "bc"), fold("", "bc", "a")], "got folds: 1/2, none"),
        ([fold("1/2", "a", "bc"), fold("2/2", "b", "ac")], "1 of 3 photos, such as c, were seen"),
        ([fold("1/2", "a", "bc", ANCESTOR), fold("2/2", "bc", "a", ANCESTOR)], "such as c, were"),
        ([fold("1/2", "ab", "c"), fold("2/2", "bc", "a")], "b: held out by 2 folds"),
        ([fold("1/2", "a", "bc"), fold("2/2", "bc", "a", ANCESTOR)], "c, were seen in training"),
        ([fold("1/2", "", ""), fold("2/2", "", "")], "none of these photos was held out"),
    ],
)
def test_what_has_no_out_of_fold_score(networks: list[Checkpoint], said: str) -> None:
    with pytest.raises(LesionsegError, match=re.escape(said)):
        assign_folds(networks, PAIRS)


def test_folds_are_trained_and_scored_as_one(lesionseg: Any, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "set", *range(6))
    ids = [pair.id for pair in find(data).split("all")]
    (data / "test.txt").write_text(ids[0])
    groups = tmp_path / "lesions.csv"
    groups.write_text(f"id,lesion\n{ids[1]},1\n{ids[2]},1\n")
    words = ("--data", data, "--epochs", 1, "--width", 1, "--image-size", 32, "--groups", groups)
    for number in (1, 2):
        name = f"fold{number}"
        assert lesionseg("train", *words, "--fold", f"{number}/2", "--run", name).status == 0
    both = ("-c", "fold1", "-c", "fold2", "--out-of-fold", "--json", "--masks", tmp_path / "masks")
    ended = lesionseg("eval", *both)  # on the data that the first was trained on
    result = json.loads(ended.out)
    assert (ended.status, result["photos"], result["data"]["split"]) == (0, 5, "out-of-fold")
    assert result["notes"][0] == "each photo was scored by the one of 2 networks that held it out"
    assert not any("trained on" in note and "photos" in note for note in result["notes"][1:])
    alone = [json.loads(lesionseg("eval", "-c", f"fold{n}", "--json").out) for n in (1, 2)]
    counts = [one["photos"] for one in alone]
    mean = sum(one["dice"]["mean"] * one["photos"] for one in alone) / 5
    assert (sum(counts), result["dice"]["mean"]) == (5, pytest.approx(mean))
    assert lesionseg("eval", "-c", "fold1", "--out-of-fold").status == 1
    assert lesionseg("eval", *both[:5], "--split", "val").status == 2


def scores_of(*confusions: tuple[int, int, int, int]) -> ScoringResult:
    """Scores of photos of 10x10 pixels, by true and false positives, false and true negatives."""
    return ScoringResult(
        [PhotoScore(str(i), Confusion(*counts), 10, 10) for i, counts in enumerate(confusions)]
    )


@pytest.mark.parametrize(
    ("photos", "hint"),
    [
        ([(20, 3, 5, 72)] * 3, ""),
        ([(20, 3, 5, 72)] * 2 + [(0, 9, 0, 91)] * 2, ""),
        ([(0, 9, 0, 91)] * 2, ""),  # too few
        ([(0, 9, 0, 91)] * 3 + [(20, 3, 5, 72)], "3 of 4 truth masks are empty"),
        ([(30, 0, 70, 0)] * 3, "3 of 3 truth masks cover the whole photo"),
        ([(1, 29, 69, 1)] * 3, "3 of 3 masks are nearly the opposite of their truth masks"),
        ([(50, 5, 20, 25)] * 3, "3 of 3 truth masks cover more than half of the photo"),
        ([(0, 20, 20, 60)] * 3, "no mask overlaps its truth mask"),
        ([(20, 0, 0, 80)] * 3, "every mask equals its truth mask to the pixel"),
        ([(20, 0, 0, 80)] * 3 + [(20, 1, 0, 79)], ""),
    ],
)
def test_what_scores_hint_at(photos: list[tuple[int, int, int, int]], hint: str) -> None:
    notes = build(scores_of(*photos), dataset(), "all", None).notes
    assert len(notes) == bool(hint)
    assert not hint or notes[0].startswith(hint)
