"""Which pairs are for training, for validation and for testing: pairs and lists in, splits out."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lesionseg.config import VALIDATION_SHARE
from lesionseg.data.filenames import file_id, fold
from lesionseg.data.groups import Groups
from lesionseg.data.pairs import Pair
from lesionseg.errors import LesionsegError, UsageError, counted

SPLITS = ("train", "val", "test")
OFFICIAL, LISTS, SEEDED = "official folders", "lists", "seeded"  # where a split comes from
FOLDERS, FOLDS = "folders", "folds"

BySplit = Mapping[str, Sequence[Pair]]


@dataclass(frozen=True)
class Lists:
    """The ids in `train.txt`, `val.txt` and `test.txt` of a folder, for each that is there.

    Ids are in lower case, each once in a list.
    """

    folder: Path
    ids: Mapping[str, Sequence[str]]

    def path(self, split: str) -> Path:
        """Return the file that lists a split."""
        return self.folder / f"{split}.txt"


@dataclass(frozen=True)
class Fold:
    """The part `number` of `count`, counted from 1, which is held out for validation."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Fold":
        """Read a fold such as "1/5".

        Raises:
            UsageError: it is not of this form, or out of range.
        """
        number, _, count = text.partition("/")
        if number.isdecimal() and count.isdecimal():
            fold = cls(int(number), int(count))
            if 1 <= fold.number <= fold.count and fold.count >= 2:
                return fold
        raise UsageError(f"fold: expected K/N, such as 1/5, with K from 1 to N, got {text!r}")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True)
class Splits:
    """The pairs of each split, sorted by id; where the split comes from; what is left out.

    `notes` say what a reader must know of the split.
    """

    pairs: dict[str, tuple[Pair, ...]]
    source: str
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


def decide(
    layout: BySplit,
    source: str,
    lists: Lists,
    groups: Groups | None = None,
    fold: Fold | None = None,
) -> Splits:
    """Split pairs by the lists, else as their layout does, else by the hash of their ids.

    Args:
        layout: the pairs by split, as their folders have them; all under "train" where the folders
            say nothing.
        source: where the layout's splits come from.
        lists: decide wherever there is one.
        groups: photos of one group stay together where the split is made here.
        fold: is held out for validation, of all photos but those for testing; the rest of these is
            for training, whatever layout and lists say.

    Raises:
        LesionsegError: an id is in two lists, or a list has no id of a pair; or there are too
            few groups.
    """
    groups = groups or {}
    unique, problems = _drop_repeated(layout)
    pairs = {split: list(unique.get(split, ())) for split in SPLITS}
    if lists.ids:
        pairs, unlisted = _by_lists([pair for part in pairs.values() for pair in part], lists)
        problems += unlisted
        source = LISTS
    if fold:
        pairs["train"], pairs["val"] = _by_fold(pairs["train"] + pairs["val"], groups, fold)
        source = FOLDS
    elif pairs["train"] and not pairs["val"] and "val" not in lists.ids:
        pairs["train"], pairs["val"] = _by_hash(pairs["train"], groups)
        source = SEEDED
    return Splits(
        {split: tuple(sorted(part)) for split, part in pairs.items() if part},
        source,
        tuple(problems),
        tuple(_straddling(pairs, groups)),
    )


def _drop_repeated(layout: BySplit) -> tuple[dict[str, list[Pair]], list[str]]:
    """Drop pairs whose name is in an earlier split, and return a line for each."""
    first: dict[str, Path] = {}
    unique: dict[str, list[Pair]] = {}
    problems = []
    for split, pairs in layout.items():
        unique[split] = []
        for pair in pairs:
            photo = first.setdefault(fold(pair.id), pair.photo)
            if photo is pair.photo:
                unique[split].append(pair)
            else:
                problems.append(f"{pair.photo}: already in another split, as {photo}")
    return unique, problems


def _by_lists(pairs: Iterable[Pair], lists: Lists) -> tuple[dict[str, list[Pair]], list[str]]:
    """Split pairs by the lists, the rest to the split without one; return a line for each gap."""
    pair_of = {file_id(pair.photo): pair for pair in pairs}
    split_of = _split_of(lists)
    problems = [
        f"{lists.path(split)}: {key} has no photo with a mask"
        for key, split in split_of.items()
        if key not in pair_of
    ]
    chosen = {
        split: [pair_of[key] for key in lists.ids.get(split, ()) if key in pair_of]
        for split in SPLITS
    }
    for split, part in chosen.items():
        if lists.ids.get(split) and not part:
            raise LesionsegError(f"{lists.path(split)}: none of its ids has a photo and a mask")
    rest = [pair for key, pair in pair_of.items() if key not in split_of]
    open_split = next((split for split in ("train", "val") if split not in lists.ids), None)
    if open_split:
        chosen[open_split] = rest
    elif rest:
        problems.append(f"{lists.folder}: {counted(len(rest), 'photo')} in none of the lists")
    return chosen, problems


def _split_of(lists: Lists) -> dict[str, str]:
    """Map each listed id to its split."""
    split_of: dict[str, str] = {}
    for split, ids in lists.ids.items():
        for key in ids:
            if split_of.setdefault(key, split) != split:
                raise LesionsegError(
                    f"{lists.folder}: {key} is in both {split_of[key]}.txt and {split}.txt; "
                    "remove it from one of them"
                )
    return split_of


def _by_hash(pairs: Sequence[Pair], groups: Groups) -> tuple[list[Pair], list[Pair]]:
    """Hold out a tenth for validation, chosen by the hash of the ids alone.

    Groups are taken whole until there are enough, but for those that hold more than half.
    """
    if len(pairs) == 1:
        return list(pairs), []
    count = max(1, round(len(pairs) * VALIDATION_SHARE))
    training: list[Pair] = []
    validation: list[Pair] = []
    for group in _ranked(pairs, groups):
        fits = len(validation) < count and len(validation) + len(group) <= len(pairs) / 2
        (validation if fits else training).extend(group)
    if not validation:
        raise LesionsegError(
            f"{counted(len(pairs), 'photo')}, all of one group: nothing is left for validation; "
            "name photos of other groups in val.txt"
        )
    return training, validation


def _by_fold(pairs: Sequence[Pair], groups: Groups, fold: Fold) -> tuple[list[Pair], list[Pair]]:
    """Divide pairs into those outside a fold and those in it.

    The groups, in the order of their hashes, go one by one to the fold that has the fewest photos.
    """
    ranked = _ranked(pairs, groups)
    if len(ranked) < fold.count:
        raise LesionsegError(
            f"fold {fold}: expected at least {fold.count} photos or groups of them, "
            f"got {len(ranked)}"
        )
    folds: list[list[Pair]] = [[] for _ in range(fold.count)]
    for group in ranked:
        min(folds, key=len).extend(group)
    validation = folds.pop(fold.number - 1)
    return [pair for part in folds for pair in part], validation


def _ranked(pairs: Iterable[Pair], groups: Groups) -> list[list[Pair]]:
    """Group pairs, in the order of the hash of the first id; a photo without a group is one."""
    members: dict[tuple[bool, str], list[Pair]] = {}
    for pair in sorted(pairs, key=lambda pair: file_id(pair.photo)):
        key = file_id(pair.photo)
        members.setdefault((key in groups, groups.get(key, key)), []).append(pair)
    return sorted(members.values(), key=lambda group: _hash(file_id(group[0].photo)))


def _straddling(pairs: BySplit, groups: Groups) -> list[str]:
    """Report photos for validation or testing that share a group with those for training."""
    trained = {groups.get(file_id(pair.photo)) for pair in pairs["train"]} - {None}
    lines = []
    for split in ("val", "test"):
        count = sum(groups.get(file_id(pair.photo)) in trained for pair in pairs[split])
        if count:
            lines.append(
                f"{counted(count, 'photo')} of split {split} in groups that are also trained on: "
                "the scores on these will be too high"
            )
    return lines


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
