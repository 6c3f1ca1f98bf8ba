"""Which photos belong together, and that they stay together."""

import time
from pathlib import Path

import pytest
from helpers import Command, write_pairs
from hypothesis import given
from hypothesis import strategies as st

from lesionseg.data import discovery
from lesionseg.data.groups import read_groups
from lesionseg.data.pairs import Pair
from lesionseg.data.splits import FOLDS, SEEDED, Fold, Lists, decide
from lesionseg.errors import LesionsegError

NO_LISTS = Lists(Path("set"), {})


def pairs(count: int) -> tuple[Pair, ...]:
    return tuple(Pair(f"p{n}", Path(f"p{n}.jpg"), Path(f"p{n}.png")) for n in range(count))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_lesion_and_patient_link_photos(tmp_path: Path, separator: str) -> None:
    rows = [
        ("dx", "image_id", "lesion_id", "patient"),
        ("m", "A", "1", ""),
        ("m", "b.JPG", "1", "x"),
        ("m", "c", "2", "x"),
        ("m", "d", "3", ""),
        ("m", "e", "", ""),
        ("m", "f", "x", ""),  # a lesion called like a patient
    ]
    text = "\ufeff" + "\n".join(separator.join(row) for row in rows)
    groups = read_groups(write(tmp_path / "g.csv", text))
    assert groups == {"a": "a", "b": "a", "c": "a", "d": "d", "f": "f"}


def test_groups_are_joined_late(tmp_path: Path) -> None:
    text = "id,lesion,patient\na,1,\nb,2,\nc,3,\nb,1,y\nc,,y\nd,2,\ne,4,\n"
    groups = read_groups(write(tmp_path / "g.csv", text))
    assert groups == dict.fromkeys("abcd", "a") | {"e": "e"}


def test_a_cell_too_long_for_csv(tmp_path: Path) -> None:
    with pytest.raises(
        LesionsegError, match=r"g\.csv: cannot read these groups: not a CSV table, as where"
    ):
        read_groups(write(tmp_path / "g.csv", f"id,lesion\na,{'x' * 200_000}\n"))


def test_the_time_grows_with_the_photos_and_not_their_square(tmp_path: Path) -> None:
    def seconds(count: int) -> float:
        rows = (f"p{index:05d},{index // 2},{index // 5}\n" for index in range(count))
        file = write(tmp_path / "g.csv", f"id,lesion,patient\n{''.join(rows)}")
        began = time.process_time()
        groups = read_groups(file)
        assert (len(groups), len(set(groups.values())), groups["p00019"]) == (
            count,
            count // 10,
            "p00010",
        )
        return time.process_time() - began

    assert seconds(10_000) < 30 * seconds(1000)  # as the square, 100 times


@pytest.mark.parametrize("text", ["", "name,lesion\na,1\n", "id,dx\na,1\n"])
def test_other_columns_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(LesionsegError, match=r"g\.csv: expected a header with id and lesion"):
        read_groups(write(tmp_path / "g.csv", text))


@given(st.lists(st.integers(0, 8), min_size=4, max_size=40), st.integers(2, 4))
def test_folds_are_a_partition_by_groups(numbers: list[int], count: int) -> None:
    photos = pairs(len(numbers))
    groups = {pair.id: str(number) for pair, number in zip(photos, numbers, strict=True)}
    if len(set(numbers)) < count:
        with pytest.raises(LesionsegError, match=f"expected at least {count} photos or groups"):
            decide({"train": photos}, SEEDED, NO_LISTS, groups, Fold(1, count))
        return
    held_out: list[Pair] = []
    for number in range(1, count + 1):
        splits = decide({"train": photos}, SEEDED, NO_LISTS, groups, Fold(number, count))
        train, val = splits.pairs["train"], splits.pairs["val"]
        assert not {groups[pair.id] for pair in train} & {groups[pair.id] for pair in val}
        assert (sorted(train + val), splits.source, splits.notes) == (sorted(photos), FOLDS, ())
        held_out += val
    assert sorted(held_out) == sorted(photos)


def test_folds_take_all_but_the_photos_for_testing() -> None:
    a, b, c, d, e = pairs(5)
    layout = {"train": (a, b), "val": (c, d), "test": (e,)}
    splits = decide(layout, "official folders", NO_LISTS, None, Fold(2, 4))
    assert (len(splits.pairs["train"]), len(splits.pairs["val"])) == (3, 1)
    assert splits.pairs["test"] == (e,)


@given(st.lists(st.integers(0, 8), min_size=2, max_size=40))
def test_the_default_split_keeps_groups_together(numbers: list[int]) -> None:
    photos = pairs(len(numbers))
    groups = {pair.id: str(number) for pair, number in zip(photos, numbers, strict=True)}
    if len(set(numbers)) == 1:
        with pytest.raises(LesionsegError, match="all of one group"):
            decide({"train": photos}, SEEDED, NO_LISTS, groups)
        return
    splits = decide({"train": photos}, SEEDED, NO_LISTS, groups)
    train, val = splits.pairs["train"], splits.pairs["val"]
    assert not {groups[pair.id] for pair in train} & {groups[pair.id] for pair in val}
    assert 0 < len(val) <= len(photos) / 2


def test_groups_on_both_sides_of_lists_are_said() -> None:
    lists = Lists(Path("set"), {"val": ["p0", "p1"]})
    splits = decide({"train": pairs(4)}, SEEDED, lists, {"p0": "g", "p3": "g", "p1": "h"})
    assert splits.notes == (
        "1 photo of split val in groups that are also trained on: "
        "the scores on these will be too high",
    )


@pytest.mark.parametrize("text", ["", "1", "0/5", "6/5", "1/1", "a/b", "1/2/3", "-1/3"])
def test_what_is_not_a_fold(text: str) -> None:
    with pytest.raises(LesionsegError, match="expected K/N, such as 1/5"):
        Fold.parse(text)
    assert str(Fold.parse("2/5")) == "2/5"


def test_eval_and_check_say_what_groups_do(lesionseg: Command, tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "set", *range(4))
    (folder / "val.txt").write_text("ISIC_0000001")
    file = write(tmp_path / "mine.csv", "id,group\nISIC_0000000,a\nISIC_0000001,a\n")
    words = ("--data", folder, "--predictions", folder / "masks")
    note = "1 photo of split val in groups that are also trained on"
    assert note not in lesionseg("eval", *words).err
    assert note in lesionseg("eval", *words, "--groups", file).err
    write(folder / "groups.csv", file.read_text())
    assert f"note: {note}" in lesionseg("check", folder).out


def test_groups_are_found_in_the_set_or_named(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "set", *range(6))
    ids = [pair.id for pair in discovery.find(folder).split("all")]
    alone = discovery.find(folder).split("val")
    lines = [f"{photo},{photo in (alone[0].id, ids[0], ids[-1])}" for photo in ids]
    file = write(tmp_path / "mine.csv", "\n".join(["id,group", *lines]))
    dataset = discovery.find(folder, groups_file=file)
    assert len(dataset.split("val")) == 3
    write(folder / "groups.csv", file.read_text())
    assert discovery.find(folder).pairs == dataset.pairs
    write(folder / "groups.csv", "something,else\n")
    useless = discovery.find(folder)
    assert (useless.split("val"), len(useless.notes)) == (alone, 1)
    assert useless.notes[0].startswith(f"groups are not kept together: {folder / 'groups.csv'}")
    write(file, "id,group\nother,1\n")
    with pytest.raises(LesionsegError, match=r"mine\.csv: none of its ids has a photo and a mask"):
        discovery.find(folder, groups_file=file)
