"""Which pairs are for training, for validation and for testing: pairs and lists in, splits out."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lesionseg.config import VALIDATION_SHARE
from lesionseg.data.filenames import file_id, fold
from lesionseg.data.pairs import Pair
from lesionseg.errors import LesionsegError

SPLITS = ("train", "val", "test")
OFFICIAL, LISTS, SEEDED = "official folders", "lists", "seeded"  # where a split comes from

BySplit = Mapping[str, Sequence[Pair]]


@dataclass(frozen=True)
class Lists:
    """The ids in `train.txt`, `val.txt` and `test.txt` of a folder, for each that is there.

    Ids are in lower case, each once in a list.
    """

    folder: Path
    ids: Mapping[str, Sequence[str]]

    def path(self, split: str) -> Path:
        """The file that lists a split."""
        return self.folder / f"{split}.txt"


@dataclass(frozen=True)
class Splits:
    """The pairs of each split, sorted by id; where the split comes from; what is left out."""

    pairs: dict[str, tuple[Pair, ...]]
    source: str
    problems: tuple[str, ...]


def decide(layout: BySplit, source: str, lists: Lists) -> Splits:
    """Split pairs by the lists, else as their layout does, else by the hash of their ids.

    Args:
        layout: the pairs by split, as their folders have them; all under "train" where the folders
            say nothing.
        source: where the layout's splits come from.
        lists: decide wherever there is one.

    Raises:
        LesionsegError: an id stands in two lists, or a list has no id of a pair.
    """
    unique, problems = _drop_repeated(layout)
    pairs = {split: list(unique.get(split, ())) for split in SPLITS}
    if lists.ids:
        pairs, unlisted = _by_lists([pair for part in pairs.values() for pair in part], lists)
        problems += unlisted
        source = LISTS
    if pairs["train"] and not pairs["val"] and "val" not in lists.ids:
        pairs["train"], pairs["val"] = _by_hash(pairs["train"])
        source = SEEDED
    return Splits(
        {split: tuple(sorted(part)) for split, part in pairs.items() if part},
        source,
        tuple(problems),
    )


def _drop_repeated(layout: BySplit) -> tuple[dict[str, list[Pair]], list[str]]:
    """The pairs without photos whose name stands in an earlier split, and a line for each."""
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
                problems.append(f"{pair.photo}: stands in another split already, as {photo}")
    return unique, problems


def _by_lists(pairs: Iterable[Pair], lists: Lists) -> tuple[dict[str, list[Pair]], list[str]]:
    """The pairs of each list, with the rest in the split that has none, and a line for each gap."""
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
        problems.append(f"{lists.folder}: {len(rest)} photos stand in no list")
    return chosen, problems


def _split_of(lists: Lists) -> dict[str, str]:
    """The split of each listed id."""
    split_of: dict[str, str] = {}
    for split, ids in lists.ids.items():
        for key in ids:
            if split_of.setdefault(key, split) != split:
                raise LesionsegError(
                    f"{lists.folder}: {key} stands in {split_of[key]}.txt and in {split}.txt; "
                    "a photo may be in one split only"
                )
    return split_of


def _by_hash(pairs: Iterable[Pair]) -> tuple[list[Pair], list[Pair]]:
    """The pairs for training and a tenth for validation, chosen by the hash of the ids alone."""
    ranked = sorted(pairs, key=lambda pair: _hash(file_id(pair.photo)))
    count = max(1, round(len(ranked) * VALIDATION_SHARE)) if len(ranked) > 1 else 0
    return ranked[count:], ranked[:count]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
