"""Data sets in folders: which layout they have, and what is in them.

A folder may be laid out in ways that are tried in this order; names match in any case:

1. official folders: `*Training*Input` or `*Training*Data` beside `*Training*GroundTruth`, and
   the same for `Validation` and `Test`, which are then the splits;
2. `images/` (or `photos/`) and `masks/`;
3. one folder: masks are the files with `_segmentation`, else the PNG, BMP or TIFF of two namesakes.

Two folders may also be named by two options. A mask is called like its photo, with or without
`_segmentation`. Except in official folders, there may be labels in place of masks, as a labelling
tool left them: one file (`formats.beside` has the names) beside the folders or the photos, in
`labels/` or in `annotations/`, or LabelMe's files; two sets of labels are refused. They are taken
even where masks are, as these may be the drafts that they correct. Lists of ids, `train.txt`,
`val.txt` and `test.txt`, beside the folders decide the split where they stand.

A new layout is one function in `_LAYOUTS`.
"""

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from lesionseg import filetypes
from lesionseg.data import splits
from lesionseg.data.catalog import Description, read_description
from lesionseg.data.drafts import refuse_drafts
from lesionseg.data.filenames import file_id, is_mask_name, list_images
from lesionseg.data.groups import FILE, Groups, read_groups
from lesionseg.data.lists import read_names
from lesionseg.data.pairs import Matches, Pair, match_labels, match_masks
from lesionseg.data.splits import OFFICIAL, SEEDED, SPLITS, Fold, Lists
from lesionseg.errors import LesionsegError, one_line
from lesionseg.labels import formats
from lesionseg.labels.formats import Categories, Labels

_OFFICIAL_NAME = re.compile(r"(training|validation|test).*(input|data|groundtruth)$")
_OFFICIAL_SPLIT = {"training": "train", "validation": "val", "test": "test"}
_SUFFIXES = filetypes.SUFFIXES | filetypes.HEIF_SUFFIXES
_LOSSY = _SUFFIXES - {".png", ".bmp", ".tif", ".tiff", ".gif"}


@dataclass(frozen=True)
class Dataset:
    """What was found at `folder`.

    Attributes:
        folder: where the search began.
        pairs: all of them, sorted by id, by split.
        problems: one line for each file that is left out, with its name.
        split_source: "lists", "official folders", "folds", or "seeded" for a split made by hash.
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
                f"{self.folder}: no photos with masks in split {name!r}; there are: {counts}"
            )
        return chosen


def find(
    folder: Path | None,
    photos: Path | None = None,
    truth: Path | None = None,
    groups_file: Path | None = None,
    fold: Fold | None = None,
    categories: Categories = None,
) -> Dataset:
    """Find the pairs in `folder`, or of the photos in `photos` with the masks in `truth`.

    `truth` is a folder of masks or of LabelMe's files, or a file of labels. Where it stands alone,
    photos are not looked for: each pair's photo is its mask, or where its label says. `groups_file`
    says which photos belong together, by default `groups.csv` where it is; `fold` is held out.
    `categories` are those of `formats.read`.

    Raises:
        LesionsegError: no such folder or file, no pair in it, or a list that names nothing there.
    """
    if truth is not None:
        root = folder or truth.parent
        contents = _whole(_match_truth(photos, truth, categories))
        expected = "masks called like the photos, or labels that name them"
    elif folder is not None:
        root = folder
        contents = _recognise(replace(_list(folder), categories=categories))
        refuse_drafts(itertools.chain(*contents.pairs.values()))
        expected = (
            "the official ISIC folders, images/ and masks/, or photos beside NAME_segmentation.png "
            "or labels"
        )
    else:
        raise ValueError("expected a folder, or photos and truth")
    if not any(contents.pairs.values()):
        problems = f" ({'; '.join(contents.problems[:3])})" if contents.problems else ""
        raise LesionsegError(
            f"{truth or root}: no photo with a mask found{problems}; expected {expected}"
        )
    groups, notes = _read_groups(root, groups_file)
    decision = splits.decide(contents.pairs, contents.source, _read_lists(root), groups, fold)
    if groups_file and not any(
        file_id(pair.photo) in groups for part in decision.pairs.values() for pair in part
    ):
        raise LesionsegError(f"{groups_file}: none of its ids has a photo and a mask")
    return Dataset(
        root,
        decision.pairs,
        (*contents.problems, *decision.problems),
        decision.source,
        read_description(root),
        (*notes, *decision.notes),
    )


@dataclass(frozen=True)
class _Folder:
    """A folder, its image files, and its sub-folders by their names in lower case."""

    path: Path
    images: list[Path]
    children: dict[str, Path]
    categories: Categories = None


@dataclass(frozen=True)
class _Contents:
    """The pairs of a folder by split, where the splits come from, and what is left out."""

    pairs: dict[str, tuple[Pair, ...]]
    source: str
    problems: tuple[str, ...]


def _list(folder: Path) -> _Folder:
    files = list_images(folder)  # says so where the folder is missing
    children = sorted(path for path in folder.iterdir() if path.is_dir())
    return _Folder(folder, files, {path.name.lower(): path for path in children})


def _whole(matches: Matches) -> _Contents:
    """The contents of a layout that says nothing of splits."""
    return _Contents({"train": matches.pairs}, SEEDED, matches.problems)


# Layouts: each returns what is in a folder, or None where it is laid out in another way.


def _official_folders(folder: _Folder) -> _Contents | None:
    photos: dict[str, list[Path]] = {}
    masks: dict[str, list[Path]] = {}
    for name, path in folder.children.items():
        if match := _OFFICIAL_NAME.search(name):
            part = masks if match[2] == "groundtruth" else photos
            part.setdefault(_OFFICIAL_SPLIT[match[1]], []).extend(list_images(path))
    if not photos.keys() & masks.keys():
        return None
    matches = {split: match_masks(photos.get(split, ()), masks.get(split, ())) for split in SPLITS}
    return _Contents(
        {split: part.pairs for split, part in matches.items()},
        OFFICIAL,
        tuple(sorted(line for part in matches.values() for line in part.problems)),
    )


def _photos_and_masks(folder: _Folder) -> _Contents | None:
    photos, masks = _photos_folder(folder), folder.children.get("masks")
    labels = _labels_near(folder)
    if photos is None or (masks is None and labels is None):
        return None
    return _match(
        [path for path in list_images(photos) if not is_mask_name(path)],
        list_images(masks) if masks else [],
        labels,
    )


def _one_folder(folder: _Folder) -> _Contents:
    return _match(*_split_photos_from_masks(folder.images), _labels_near(folder))


_LAYOUTS = (_official_folders, _photos_and_masks, _one_folder)


def _recognise(folder: _Folder) -> _Contents:
    """What the first layout that fits finds; the last one always does."""
    return next(contents for layout in _LAYOUTS if (contents := layout(folder)) is not None)


def _photos_folder(folder: _Folder) -> Path | None:
    return folder.children.get("images") or folder.children.get("photos")


def _labels_near(folder: _Folder) -> Labels | None:
    """The labels in a folder, beside its photos, or in `labels/` or `annotations/`."""
    children = (folder.children.get(name) for name in ("labels", "annotations"))
    places = [folder.path, _photos_folder(folder), *children]
    found = [
        labels for place in places if place and (labels := formats.beside(place, folder.categories))
    ]
    if len(found) > 1:
        raise LesionsegError(
            f"{found[0].path} and {found[1].path}: two sets of labels; name one by --truth, with "
            "--photos, or move it away"
        )
    return found[0] if found else None


def _match(photos: list[Path], masks: list[Path], labels: Labels | None) -> _Contents:
    """The pairs of photos with labels where there are any, else with masks."""
    if labels is None:
        return _whole(match_masks(photos, masks))
    return _whole(_match_labels(photos, masks, labels))


def _match_labels(photos: Iterable[Path], masks: Iterable[Path], labels: Labels) -> Matches:
    """The pairs of photos with labels; a line says so where masks lie beside these."""
    matches = match_labels(photos, labels)
    ignored = sum(map(is_mask_name, masks))
    if not ignored:
        return matches
    line = f"{ignored} masks, in place of which {labels.path} is taken"
    return Matches(matches.pairs, (line, *matches.problems))


def _split_photos_from_masks(files: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """The photos and the masks of one folder."""
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(file_id(path), []).append(path)
    photos: list[Path] = []
    masks: list[Path] = []
    for group in groups.values():
        group_masks = [path for path in group if is_mask_name(path)]
        lossy = [path for path in group if path.suffix.lower() in _LOSSY]
        if not group_masks and len(group) == 2 and len(lossy) == 1:
            group_masks = [path for path in group if path not in lossy]
        masks += group_masks
        photos += [path for path in group if path not in group_masks]
    return photos, masks


def _match_truth(photos: Path | None, truth: Path, categories: Categories) -> Matches:
    """The pairs of photos with the masks or labels that `truth` names."""
    photo_files = None if photos is None else list_images(photos)
    is_file = truth.is_file() or (truth.suffix.lower() in formats.SUFFIXES and not truth.exists())
    masks = [] if is_file else list_images(truth)  # says so where the folder is missing
    labels = formats.read(truth, categories) if is_file else _labels_of(truth, masks, categories)
    if labels is None:
        return match_masks(masks if photo_files is None else photo_files, masks)
    if photo_files is None:
        photo_files = [entry.photo for entry in labels.photos]
    return _match_labels([path for path in photo_files if not is_mask_name(path)], masks, labels)


def _labels_of(folder: Path, masks: list[Path], categories: Categories) -> Labels | None:
    """The labels in a folder; where it has neither labels nor masks, those that are broken."""
    labels = formats.beside(folder, categories)
    if labels is None and not masks and (broken := formats.read(folder, categories)).unusable:
        return broken  # which says why
    return labels


def _read_groups(root: Path, path: Path | None) -> tuple[Groups, tuple[str, ...]]:
    """The groups in a file, else in `groups.csv` in a folder; a line where that is of no use."""
    if path is not None:
        return read_groups(path), ()
    try:
        return (read_groups(root / FILE) if (root / FILE).is_file() else {}), ()
    except LesionsegError as error:
        return {}, (f"no groups are kept together: {error}",)


def _read_lists(folder: Path) -> Lists:
    """The lists of ids in a folder."""
    lists = {split: _read_list(folder / f"{split}.txt") for split in SPLITS}
    return Lists(folder, {split: ids for split, ids in lists.items() if ids is not None})


def _read_list(path: Path) -> list[str] | None:
    """The ids of a list, one a line, each once; None where there is no file.

    An id may be written as the path of its photo or mask, in a folder, with its suffix.
    """
    if not path.exists():
        return None
    if not path.is_file():
        raise LesionsegError(f"{path}: expected a list of ids, one per line, got another thing")
    names = [name.strip() for name in read_names(path)]
    try:
        "".join(names).encode(errors="surrogateescape").decode()
    except UnicodeDecodeError as error:
        raise LesionsegError(f"{path}: cannot read this list: {one_line(error)}") from error
    return list(dict.fromkeys(_listed_id(name) for name in names))


def _listed_id(name: str) -> str:
    """The id that a line of a list means; only the suffix of an image is none of an id."""
    name = re.split(r"[/\\]", name)[-1]
    is_file = Path(name).suffix.lower() in _SUFFIXES
    return file_id(Path(name if is_file else f"{name}.png"))
