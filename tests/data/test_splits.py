"""Splits from pairs and lists alone: no file is read."""

from pathlib import Path

import pytest

from lesionseg.data.pairs import Pair
from lesionseg.data.splits import LISTS, OFFICIAL, SEEDED, Lists, decide
from lesionseg.errors import LesionsegError

HERE = Path("set")


def pair(name: str, folder: str = "") -> Pair:
    return Pair(name, Path(folder) / f"{name}.jpg", Path(f"{name}.png"))


def pairs(*names: str) -> tuple[Pair, ...]:
    return tuple(pair(name) for name in names)


def lists(**ids: str) -> Lists:
    return Lists(HERE, {split: text.split() for split, text in ids.items()})


def test_the_layout_decides_where_there_is_no_list() -> None:
    layout = {"train": pairs("b", "a"), "val": pairs("c"), "test": ()}
    splits = decide(layout, OFFICIAL, lists())
    assert splits.pairs == {"train": pairs("a", "b"), "val": pairs("c")}
    assert (splits.source, splits.problems) == (OFFICIAL, ())


def test_a_tenth_is_for_validation_where_nothing_decides() -> None:
    splits = decide({"train": pairs(*"abcdefghijklmnopqrst")}, SEEDED, lists())
    assert {split: len(part) for split, part in splits.pairs.items()} == {"train": 18, "val": 2}
    assert splits.source == SEEDED
    again = decide({"train": pairs(*"tsrqponmlkjihgfedcba")}, SEEDED, lists())
    assert again == splits


def test_lists_decide_over_the_layout() -> None:
    layout = {"train": pairs("a"), "val": pairs("b"), "test": pairs("c", "d")}
    splits = decide(layout, OFFICIAL, lists(train="c", val="a lost", test="b"))
    assert splits.pairs == {"train": pairs("c"), "val": pairs("a"), "test": pairs("b")}
    assert splits.source == LISTS
    lost, rest = splits.problems
    assert lost == f"{HERE / 'val.txt'}: lost has no photo with a mask"
    assert rest == f"{HERE}: 1 photo in none of the lists"


def test_a_list_of_all_for_testing_leaves_nothing_to_split() -> None:
    splits = decide({"train": pairs("a", "b")}, SEEDED, lists(test="a b"))
    assert splits.pairs == {"test": pairs("a", "b")}
    assert splits.source == LISTS


def test_a_photo_stays_in_the_first_of_its_splits() -> None:
    layout = {"train": (pair("a", "one"),), "val": (pair("A", "two"), pair("b"))}
    splits = decide(layout, OFFICIAL, lists())
    assert splits.pairs == {"train": (pair("a", "one"),), "val": pairs("b")}
    assert splits.problems == (
        f"{Path('two/A.jpg')}: already in another split, as {Path('one/a.jpg')}",
    )


def test_an_id_in_two_lists_is_refused() -> None:
    with pytest.raises(LesionsegError, match=r"a is in both train.txt and val.txt"):
        decide({"train": pairs("a")}, SEEDED, lists(train="a", val="a"))
