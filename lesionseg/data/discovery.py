"""Data sets in folders: the pairs of photos and masks in them, their splits, and what is left out.

Photos and masks are in one folder, in a layout that `layouts` knows, or in folders that options
name. A mask has its photo's name, with or without an ending (`filenames.mask_ids`). Lists of ids,
`train.txt`, `val.txt` and `test.txt`, beside the folders, or in `ImageSets/Segmentation/` as in
VOC, decide the split if there are any.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lesionseg.data import hints, splits
from lesionseg.data.catalog import DESCRIPTION, Description, read_description
from lesionseg.data.colours import ColourChoice, find_colours
from lesionseg.data.drafts import refuse_drafts
from lesionseg.data.filenames import (
    MASK_FOLDERS,
    file_id,
    holds_data,
    is_mask_name,
    list_images,
    unwrap,
)
from lesionseg.data.groups import FILE, Groups, read_groups
from lesionseg.data.layouts import Contents, Folder, match_either, recognise
from lesionseg.data.lists import read_names
from lesionseg.data.pairs import Matches, Pair, match_masks
from lesionseg.data.splits import SPLITS, Fold, Lists
from lesionseg.errors import LesionsegError, NoPairsError, fault_of_text
from lesionseg.images import filetypes
from lesionseg.labels import formats
from lesionseg.labels.formats import Categories, Labels

_VOC_LISTS = Path("ImageSets", "Segmentation")
_SUFFIXES = filetypes.SUFFIXES | filetypes.HEIF_SUFFIXES


@dataclass(frozen=True)
class Dataset:
    """What was found at `folder`.

    Attributes:
        folder: where the search began.
        pairs: all of them, sorted by id, by split.
        problems: one line for each file that is left out, with its name.
        split_source: "lists", "official folders", "folders", "folds", or "seeded" for a split made
            by hash.
        description: what `dataset.json` says, None where there is none.
        notes: what a reader must know of the split.
    """

    folder: Path
    pairs: dict[str, tuple[Pair, ...]]
    problems: tuple[str, ...]
    split_source: str
    description: Description | None = None
    notes: tuple[str, ...] = ()

    def split(self, name: str) -> tuple[Pair, ...]:
        """Return the pairs of "train", "val", "test" or "all", sorted by id.

        Raises:
            LesionsegError: there are none.
        """
        parts = [pairs for split, pairs in self.pairs.items() if name in (split, "all")]
        chosen = tuple(sorted(pair for part in parts for pair in part))
        if not chosen:
            counts = ", ".join(f"{split} {len(pairs)}" for split, pairs in self.pairs.items())
            raise LesionsegError(
                f"{self.folder}: no photos with masks in split {name!r}; the splits are: {counts}"
            )
        return chosen


def find(
    folder: Path | None,
    photos: Path | Sequence[Path] | None = None,
    truth: Path | None = None,
    groups_file: Path | None = None,
    fold: Fold | None = None,
    categories: Categories = None,
    colours: ColourChoice = ColourChoice(),  # noqa: B008  immutable
) -> Dataset:
    """Find the pairs in `folder`, or of the photos in `photos` with the masks in `truth`.

    `photos` is a folder, or several. `truth` is a folder of masks or of LabelMe's files, or a file
    of labels. If it is given alone, photos are not looked for: each pair's photo is its mask, or
    where its label says. `groups_file` says which photos belong together, by default `groups.csv`
    where it is; `fold` is held out. `categories` are those of `formats.read`, `colours` say what
    the lesion is in coloured masks.

    Raises:
        NoPairsError: there is no pair.
        LesionsegError: no such folder or file, a list that names nothing there, or coloured masks
            of which no colour is chosen.
    """
    if truth is not None:
        folders = [photos] if isinstance(photos, Path) else list(photos or ())
        roots = [folder or truth.parent]
        contents = Contents.whole(_match_truth(folders, truth, categories))
        if not contents:
            raise NoPairsError(hints.no_pairs_of(folders, truth, contents.problems))
    elif folder is not None:
        contents, roots = _recognise(folder, categories)
        refuse_drafts(itertools.chain(*contents.pairs.values()))
        if not contents:
            raise NoPairsError(hints.no_pairs_in(folder, contents.problems))
    else:
        raise ValueError("expected a folder, or photos and truth")
    pairs, colour_notes = _choose_colours(contents.pairs, categories, colours)
    groups, notes = _read_groups(_place_of(roots, FILE), groups_file)
    places = [*roots, *(root / _VOC_LISTS for root in roots)]
    lists = _read_lists(_place_of(places, *(f"{split}.txt" for split in SPLITS)))
    decision = splits.decide(pairs, contents.source, lists, groups, fold)
    if groups_file and not any(
        file_id(pair.photo) in groups for part in decision.pairs.values() for pair in part
    ):
        raise LesionsegError(f"{groups_file}: none of its ids has a photo and a mask")
    return Dataset(
        roots[0],
        decision.pairs,
        (*contents.problems, *decision.problems),
        decision.source,
        read_description(_place_of(roots, DESCRIPTION)),
        (*colour_notes, *notes, *decision.notes),
    )


def _recognise(folder: Path, categories: Categories) -> tuple[Contents, list[Path]]:
    """Read a folder, or the one inside it; return its contents and the folders on the way."""
    first = recognise(Folder.read(folder, categories))
    if first:
        return first, [folder]
    _, *inner = places = unwrap(folder)
    for depth, place in enumerate(inner, start=2):
        if contents := recognise(Folder.read(place, categories)):
            return contents, places[:depth]
    return first, [folder]


def _place_of(roots: Sequence[Path], *names: str) -> Path:
    """Return the first folder that has one of these files, else the first of all."""
    return next((root for root in roots for name in names if (root / name).exists()), roots[0])


def _choose_colours(
    pairs: Mapping[str, Sequence[Pair]], categories: Categories, choice: ColourChoice
) -> tuple[dict[str, list[Pair]], list[str]]:
    """Set the lesion's colours in the pairs, and return them with a line for each useless choice.

    Raises:
        LesionsegError: colours are chosen and there are labels alone, or as for `find_colours`.
    """
    everything = [pair for part in pairs.values() for pair in part]
    masks = [pair.mask for pair in everything if pair.labels is None]
    if not masks and any(choice):
        raise LesionsegError(
            f"{everything[0].mask}: --lesion-colour and --lesion-label apply to coloured masks; "
            "choose a category of labels with --category"
        )
    chosen, notes = find_colours(masks, choice)
    if categories and len(masks) == len(everything):
        notes.append(
            "--category has no effect: it applies to labels, and there are only masks; in "
            "coloured masks, choose the lesion with --lesion-colour or --lesion-label"
        )
    coloured = {
        split: [replace(pair, colours=chosen) if pair.labels is None else pair for pair in part]
        for split, part in pairs.items()
    }
    return coloured, notes


def _match_truth(photos: Sequence[Path], truth: Path, categories: Categories) -> Matches:
    """Pair photos with the masks or labels in `truth`."""
    photo_files = [path for folder in photos for path in list_images(unwrap(folder)[-1])]
    is_file = truth.is_file() or (truth.suffix.lower() in formats.SUFFIXES and not truth.exists())
    truth = truth if is_file else _folder_of_masks(truth)
    masks = [] if is_file else list_images(truth)  # says so where the folder is missing
    labels = formats.read(truth, categories) if is_file else _labels_of(truth, masks, categories)
    if labels is None:
        return match_masks(photo_files if photos else masks, masks)
    if not photos:
        photo_files = [entry.photo for entry in labels.photos]
    photo_files = [path for path in photo_files if not is_mask_name(path)]
    return match_either(photo_files, filter(is_mask_name, masks), labels)


def _folder_of_masks(truth: Path) -> Path:
    """Find the folder of the masks: `truth`, the one that it wraps, or `masks/` in it."""
    folder = unwrap(truth)[-1]
    if folder.is_dir() and not holds_data(folder):
        return Folder.read(folder).child(MASK_FOLDERS) or truth
    return folder


def _labels_of(folder: Path, masks: list[Path], categories: Categories) -> Labels | None:
    """Read the labels in a folder; if it has neither labels nor masks, return the broken ones."""
    labels = formats.beside(folder, categories)
    if labels is None and not masks and (broken := formats.read(folder, categories)).unusable:
        return broken  # which says why
    return labels


def _read_groups(root: Path, path: Path | None) -> tuple[Groups, tuple[str, ...]]:
    """Read the groups in a file, else in `groups.csv`; return a line if that is useless."""
    if path is not None:
        return read_groups(path), ()
    try:
        return (read_groups(root / FILE) if (root / FILE).is_file() else {}), ()
    except LesionsegError as error:
        return {}, (f"groups are not kept together: {error}",)


def _read_lists(folder: Path) -> Lists:
    """Read the lists of ids in a folder."""
    lists = {split: _read_list(folder / f"{split}.txt") for split in SPLITS}
    return Lists(folder, {split: ids for split, ids in lists.items() if ids is not None})


def _read_list(path: Path) -> list[str] | None:
    """Read the ids of a list, one per line, each once; None if there is no file.

    An id may be written as the path of its photo or mask, in a folder, with its suffix.
    """
    if not path.exists():
        return None
    if not path.is_file():
        raise LesionsegError(f"{path}: expected a list of ids, one per line, got something else")
    names = [name.strip() for name in read_names(path)]
    try:
        "".join(names).encode(errors="surrogateescape").decode()
    except UnicodeDecodeError as error:
        raise LesionsegError(f"{path}: cannot read this list: {fault_of_text(error)}") from error
    return list(dict.fromkeys(_listed_id(name) for name in names))


def _listed_id(name: str) -> str:
    """Return the id that a line of a list means: without the suffix of an image, if it has one."""
    name = re.split(r"[/\\]", name)[-1]
    is_file = Path(name).suffix.lower() in _SUFFIXES
    return file_id(Path(name if is_file else f"{name}.png"))
