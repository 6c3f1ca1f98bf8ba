"""Check photos and masks before they are used: what would be read, what not, and what looks wrong.

No network is needed. Every file is read, as `train`, `eval` and `segment` would read it.
"""

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionseg.config import ModelConfig
from lesionseg.data import discovery, filenames
from lesionseg.data.cache import CachedPairs
from lesionseg.data.discovery import Dataset
from lesionseg.data.drafts import DraftsError
from lesionseg.data.filenames import is_mask_name, list_images
from lesionseg.data.pairs import Pair, read_truth
from lesionseg.data.splits import LISTS
from lesionseg.errors import LesionsegError, NoPairsError, counted
from lesionseg.images.arrays import Mask
from lesionseg.images.photos import is_of_one_colour, read_photo_shrunk
from lesionseg.threads import map_ahead

_FULL_ABOVE = 0.99  # share of the pixels that are lesion
_INVERTED_ABOVE = 0.9  # share of the pixels along the frame that are lesion
_DOUBTS = {  # the fields of `MaskDoubts`, in words
    "empty": "are empty",
    "full": "are full (lesion over 99 %)",
    "inverted": "may be inverted (lesion along over 90 % of the frame)",
}
_DOCUMENTS = frozenset({".txt", ".md", ".csv", ".json", ".xml", ".pdf", ".html"})  # beside photos
_FILE_NAME = re.compile(r"\S+\.(jpe?g|png|bmp|tiff?|webp|json|xml)\b", re.IGNORECASE)


@dataclass(frozen=True)
class MaskDoubts:
    """The names of masks that look wrong.

    Attributes:
        empty: no pixel is lesion.
        full: over 99 % are.
        inverted: over 90 % of the pixels along the frame are, but not all within.
    """

    empty: tuple[str, ...]
    full: tuple[str, ...]
    inverted: tuple[str, ...]


@dataclass(frozen=True)
class Checked:
    """What is in a folder.

    Attributes:
        folder: that was checked.
        photos: how many can be used.
        splits: how many of them in each; empty for photos without masks.
        split_source: as for `discovery.Dataset`; "" for photos without masks.
        left_out: one line for each file that is not used.
        left_out_by_kind: how many for which reason, most frequent first.
        duplicates: names of photos with the same content.
        duplicates_across_splits: how many of these groups lie in more than one split.
        sizes: how many photos of which "WIDTHxHEIGHT", most frequent first.
        masks: which look wrong; None for photos without masks.
        one_colour: names of photos of one colour, on which no lesion can be seen.
        notes: what a reader must know of the split, and of what was chosen as the lesion.
        untrainable: why `train` would refuse photos with masks; "" where it takes them.
    """

    folder: Path
    photos: int
    splits: dict[str, int]
    split_source: str
    left_out: tuple[str, ...]
    left_out_by_kind: dict[str, int]
    duplicates: tuple[tuple[str, ...], ...]
    duplicates_across_splits: int
    sizes: dict[str, int]
    masks: MaskDoubts | None
    one_colour: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    untrainable: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return these values, ready for `json.dumps`."""
        return {**asdict(self), "folder": str(self.folder)}


@dataclass(frozen=True)
class _Item:
    """A photo to be checked, with its mask and split where it has them."""

    photo: Path
    split: str = ""
    pair: Pair | None = None


@dataclass(frozen=True)
class _Reading:
    """What reading an item gave."""

    digest: bytes
    size: tuple[int, int]  # (height, width)
    one_colour: bool
    doubt: str = ""  # a field of `MaskDoubts`


def check_folder(
    folder: Path, workers: int = 1, on_photo: Callable[[int, int], None] = lambda done, total: None
) -> Checked:
    """Check a folder of photos, with masks as `discovery.find` finds them or without any.

    Args:
        folder: the folder.
        workers: threads that read.
        on_photo: called with how many photos were read, and how many there are.

    Raises:
        LesionsegError: no such folder, or no photo in it.
    """
    try:
        dataset = discovery.find(folder)
    except (NoPairsError, DraftsError) as error:
        photos = [path for path in list_images(folder) if not is_mask_name(path)]
        if not photos:
            raise
        if isinstance(error, DraftsError):
            logging.getLogger("lesionseg").warning("%s", error)
        return _check(folder, [_Item(path) for path in photos], (), "", workers, on_photo)
    return check_dataset(dataset, workers, on_photo)


def check_dataset(
    dataset: Dataset,
    workers: int = 1,
    on_photo: Callable[[int, int], None] = lambda done, total: None,
) -> Checked:
    """Check photos with masks; arguments as for `check_folder`."""
    items = [
        _Item(pair.photo, split, pair) for split, pairs in dataset.pairs.items() for pair in pairs
    ]
    result = _check(
        dataset.folder, items, dataset.problems, dataset.split_source, workers, on_photo
    )
    untrainable = _why_untrainable(result.splits, dataset.split_source)
    return replace(result, notes=dataset.notes, untrainable=untrainable)


def _why_untrainable(splits: Mapping[str, int], source: str) -> str:
    """Say why `train` would refuse a set with so many usable photos in each split, or ""."""
    counts = {name: splits.get(name, 0) for name in ("train", "val")}
    if all(counts.values()):
        return ""
    got = ", ".join(f"{name} {count}" for name, count in counts.items())
    listed = source == LISTS
    advice = "name some in train.txt or val.txt" if listed else "add photos with masks"
    return f"expected at least 1 usable photo in train and 1 in val, got {got}; {advice}"


def _check(
    folder: Path,
    items: Sequence[_Item],
    problems: Iterable[str],
    split_source: str,
    workers: int,
    on_photo: Callable[[int, int], None],
) -> Checked:
    left_out = [*problems, *_other_files({item.photo.parent for item in items})]
    splits: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    same: dict[bytes, list[_Item]] = {}
    doubts: dict[str, list[str]] = {"empty": [], "full": [], "inverted": []}
    one_colour = []
    results = zip(items, map_ahead(_read, items, workers), strict=True)
    for done, (item, result) in enumerate(results, start=1):
        if isinstance(result, str):
            left_out.append(result)
        else:
            splits[item.split] += 1
            sizes["{1}x{0}".format(*result.size)] += 1
            same.setdefault(result.digest, []).append(item)
            if result.one_colour:
                one_colour.append(str(item.photo))
            if result.doubt and item.pair:
                doubts[result.doubt].append(str(item.pair.mask))
        on_photo(done, len(items))
    groups = [group for group in same.values() if len(group) > 1]
    with_masks = any(item.pair for item in items)
    return Checked(
        folder,
        splits.total(),
        dict(splits) if with_masks else {},
        split_source,
        tuple(left_out),
        dict(Counter(map(_kind, left_out)).most_common()),
        tuple(tuple(str(item.photo) for item in group) for group in groups),
        sum(len({item.split for item in group}) > 1 for group in groups),
        dict(sizes.most_common()),
        MaskDoubts(**{name: tuple(names) for name, names in doubts.items()})
        if with_masks
        else None,
        tuple(one_colour),
    )


def _read(item: _Item) -> _Reading | str:
    """Read a photo and its mask; return the reason where one of them cannot be used."""
    try:
        photo, size = read_photo_shrunk(item.photo, ModelConfig().image_size)
        one_colour = is_of_one_colour(photo)
        with item.photo.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        if item.pair is None:
            return _Reading(digest, size, one_colour)
        mask, _ = read_truth(item.pair, size)
        return _Reading(digest, size, one_colour, doubt_of(mask))
    except LesionsegError as error:
        return str(error)
    except OSError as error:
        return f"{item.photo}: {error.strerror}"


def doubt_of(mask: Mask | NDArray[np.uint8]) -> str:
    """Tell what looks wrong in a mask, (H, W) bool or 0 and 1: a field of `MaskDoubts`, or ""."""
    share = mask.mean()
    frame = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    if share == 0:
        return "empty"
    if share > _FULL_ABOVE:
        return "full"
    return "inverted" if frame.mean() > _INVERTED_ABOVE else ""


def mask_notes(labelled: Collection[str], *parts: CachedPairs) -> list[str]:
    """Describe, in a line for each reason, which masks look wrong at the network's size.

    Args:
        labelled: ids of the photos whose masks count.
        parts: the cached pairs.
    """
    doubtful_ids: dict[str, list[str]] = {doubt: [] for doubt in _DOUBTS}
    pairs = [pair for part in parts for pair in zip(part.ids, part.masks, strict=True)]
    masks = [(id, mask) for id, mask in pairs if id in labelled]
    for id, mask in masks:
        if doubt := doubt_of(mask):
            doubtful_ids[doubt].append(id)
    return [
        f"{len(ids)} of {counted(len(masks), 'mask')} {_DOUBTS[doubt]}: "
        f"{', '.join(ids[:3])}{', ...' * (len(ids) > 3)}; 'lesionseg check' lists them"
        for doubt, ids in doubtful_ids.items()
        if ids
    ]


def _other_files(folders: Iterable[Path]) -> list[str]:
    """Return a line for each file beside photos that is neither an image nor a document."""
    return [
        f"{path}: {_why_unread(path, kind)}"
        for folder in sorted(folders)
        for path, kind in filenames.other_files(folder)
        if path.suffix.lower() not in _DOCUMENTS
    ]


def _why_unread(path: Path, kind: str) -> str:
    if kind == filenames.BROKEN_LINK:
        return kind
    ending = path.suffix.lower()
    return f"files with the ending {ending} are not read" if ending else "not a photo"


def _kind(line: str) -> str:
    """Return the reason in a line, without what differs from file to file."""
    _, _, reason = line.partition(": ")
    reason = _FILE_NAME.sub("…", reason or line)
    return re.sub(r"'[^']*'", "…", re.sub(r"\d+x\d+", "WxH", reason))
