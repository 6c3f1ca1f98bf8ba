"""Layouts of data sets: which photos of a folder belong to which masks or labels, and which split.

`_LAYOUTS` are tried in turn; the first that finds a pair decides. Names match in any case:

1. official folders: `*Training*Input` or `*Training*Data` beside `*Training*GroundTruth`, and
   the same for `Validation` and `Test`, which are then the splits;
2. `images/train` and `masks/train`, and so on (`val`, `valid` or `validation`, and `test`);
3. `images/` (or `photos/`, or VOC's `JPEGImages/`) and `masks/` (or `SegmentationClass/`);
4. one folder: masks are the files with `_segmentation` or as `filenames.mask_ids` has it, else the
   PNG, BMP, TIFF or GIF of two namesakes;
5. `train/`, `val/` and so on, each of layout 3 or 4;
6. PH2: a folder a photo, with `..._Dermoscopic_Image/` and `..._lesion/` in it.

Folders that unpacking has doubled are looked through. Except in official folders and PH2, there may
be labels in place of masks, as a labelling tool left them: one file (`formats.beside` has the
names) beside the folders or the photos, in `labels/` or in `annotations/`, or LabelMe's files; two
sets of labels are refused. They are taken even where masks are, as these may be the drafts that
they correct.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lesionseg.data.filenames import (
    MASK_FOLDERS,
    PHOTO_FOLDERS,
    SPLIT_FOLDERS,
    file_id,
    is_mask_name,
    list_folders,
    list_images,
    mask_ids,
    unwrap,
)
from lesionseg.data.pairs import Matches, Pair, match_labels, match_masks
from lesionseg.data.splits import FOLDERS, OFFICIAL, SEEDED, SPLITS
from lesionseg.errors import LesionsegError, counted
from lesionseg.images import filetypes
from lesionseg.labels import formats
from lesionseg.labels.formats import Categories, Labels

OFFICIAL_NAME = re.compile(r"(training|validation|test).*(input|data|groundtruth)$")
_OFFICIAL_SPLIT = {"training": "train", "validation": "val", "test": "test"}
_LOSSY = (filetypes.SUFFIXES | filetypes.HEIF_SUFFIXES) - {".png", ".bmp", ".tif", ".tiff", ".gif"}


@dataclass(frozen=True)
class Folder:
    """A folder, its image files, and its sub-folders by their names in lower case."""

    path: Path
    images: list[Path]
    children: dict[str, Path]
    categories: Categories = None

    @classmethod
    def read(cls, path: Path, categories: Categories = None) -> "Folder":
        """List a folder.

        Raises:
            LesionsegError: no such folder.
        """
        images = list_images(path)  # says so where the folder is missing
        children = {child.name.lower(): child for child in list_folders(path)}
        return cls(path, images, children, categories)

    def child(self, names: Iterable[str]) -> Path | None:
        """Return the first sub-folder of these names; None where there is none."""
        return next((self.children[name] for name in names if name in self.children), None)


@dataclass(frozen=True)
class Contents:
    """The pairs of a folder by split, where the splits come from, and what is left out."""

    pairs: Mapping[str, Sequence[Pair]]
    source: str
    problems: tuple[str, ...]

    @classmethod
    def whole(cls, matches: Matches) -> "Contents":
        """Return the contents of a layout that says nothing of splits."""
        return cls({"train": matches.pairs}, SEEDED, matches.problems)

    @classmethod
    def by_split(cls, matches: Mapping[str, Matches], source: str) -> "Contents":
        """Return the contents of a layout that has folders for the splits."""
        return cls(
            {split: part.pairs for split, part in matches.items()},
            source,
            tuple(sorted(line for part in matches.values() for line in part.problems)),
        )

    def __bool__(self) -> bool:
        return any(self.pairs.values())


def recognise(folder: Folder) -> Contents:
    """Return what the first layout finds that finds a pair, else what is missing to one."""
    nearest = Contents({}, SEEDED, ())
    for layout in _LAYOUTS:
        contents = layout(folder)
        if contents:
            return contents
        if contents is not None and not nearest.problems:
            nearest = contents
    return nearest


# Layouts: each returns what is in a folder, or None where it is laid out in another way.


def _official_folders(folder: Folder) -> Contents | None:
    photos: dict[str, list[Path]] = {}
    masks: dict[str, list[Path]] = {}
    for name, path in folder.children.items():
        if match := OFFICIAL_NAME.search(name):
            part = masks if match[2] == "groundtruth" else photos
            files = list_images(unwrap(path)[-1])
            part.setdefault(_OFFICIAL_SPLIT[match[1]], []).extend(files)
    if not photos.keys() & masks.keys():
        return None
    matches = {split: match_masks(photos.get(split, ()), masks.get(split, ())) for split in SPLITS}
    return Contents.by_split(matches, OFFICIAL)


def _photos_and_masks_by_split(folder: Folder) -> Contents | None:
    roots = photos_folder(folder), masks_folder(folder)
    if roots[0] is None or roots[1] is None or list_images(roots[0]):
        return None
    photos, masks = (_images_by_split(root) for root in roots if root)
    if not photos.keys() & masks.keys():
        return None
    return Contents.by_split(
        {split: match_masks(photos.get(split, ()), masks.get(split, ())) for split in SPLITS},
        FOLDERS,
    )


def _photos_and_masks(folder: Folder) -> Contents | None:
    matches = _match_folders(folder)
    return None if matches is None else Contents.whole(matches)


def _one_folder(folder: Folder) -> Contents:
    return Contents.whole(_match_one(folder))


def _folders_by_split(folder: Folder) -> Contents | None:
    matches: dict[str, list[Matches]] = {split: [] for split in SPLITS}
    for split, path in _split_folders(folder):
        part = Folder.read(unwrap(path)[-1], folder.categories)
        inside = _match_folders(part) or _match_one(part)
        if not (inside.pairs or inside.problems):
            inside = Matches((), (f"{path}: no photos with masks",))
        matches[split].append(inside)
    if not any(matches.values()):
        return None
    return Contents.by_split({split: _join(parts) for split, parts in matches.items()}, FOLDERS)


def _folder_per_photo(folder: Folder) -> Contents | None:
    photos: list[Path] = []
    masks: list[Path] = []
    for path in folder.children.values():
        for child in list_folders(path):
            if child.name.lower().endswith("_dermoscopic_image"):
                photos += list_images(child)
            elif child.name.lower().endswith("_lesion"):
                masks += list_images(child)
    return Contents.whole(match_masks(photos, masks)) if photos and masks else None


_LAYOUTS = (
    _official_folders,
    _photos_and_masks_by_split,
    _photos_and_masks,
    _one_folder,
    _folders_by_split,
    _folder_per_photo,
)


def photos_folder(folder: Folder) -> Path | None:
    """Return the sub-folder of photos; None where there is none."""
    return folder.child(PHOTO_FOLDERS)


def masks_folder(folder: Folder) -> Path | None:
    """Return the sub-folder of masks; None where there is none."""
    return folder.child(MASK_FOLDERS)


def _split_folders(folder: Folder) -> list[tuple[str, Path]]:
    """List the subfolders that have the name of a split, each with this split."""
    return [
        (SPLIT_FOLDERS[name], path)
        for name, path in folder.children.items()
        if name in SPLIT_FOLDERS
    ]


def _images_by_split(folder: Path) -> dict[str, list[Path]]:
    images: dict[str, list[Path]] = {}
    for split, path in _split_folders(Folder.read(folder)):
        images.setdefault(split, []).extend(list_images(path))
    return images


def _match_folders(folder: Folder) -> Matches | None:
    """Pair a folder of photos with one of masks, or with labels; None without these."""
    photos, masks = photos_folder(folder), masks_folder(folder)
    labels = _labels_near(folder)
    if photos is None or (masks is None and labels is None):
        return None
    return match_either(
        [path for path in list_images(unwrap(photos)[-1]) if not is_mask_name(path)],
        list_images(unwrap(masks)[-1]) if masks else [],
        labels,
    )


def _match_one(folder: Folder) -> Matches:
    """Pair photos with the masks or labels beside them."""
    return match_either(*_split_photos_from_masks(folder.images), _labels_near(folder))


def _join(matches: Sequence[Matches]) -> Matches:
    return Matches(
        tuple(pair for part in matches for pair in part.pairs),
        tuple(line for part in matches for line in part.problems),
    )


def _labels_near(folder: Folder) -> Labels | None:
    """Read the labels in a folder, beside its photos, or in `labels/` or `annotations/`."""
    children = (folder.children.get(name) for name in ("labels", "annotations"))
    places = [folder.path, photos_folder(folder), *children]
    sets = [
        labels for place in places if place and (labels := formats.beside(place, folder.categories))
    ]
    if len(sets) > 1:
        raise LesionsegError(
            f"{sets[0].path} and {sets[1].path}: two sets of labels; choose one with --photos and "
            "--truth, or move the other away"
        )
    return sets[0] if sets else None


def match_either(photos: Iterable[Path], masks: Iterable[Path], labels: Labels | None) -> Matches:
    """Pair photos with labels where there are any, else with masks.

    A line says so where masks lie beside labels.
    """
    masks = list(masks)
    if labels is None:
        return match_masks(photos, masks)
    matches = match_labels(photos, labels)
    if not masks:
        return matches
    line = f"{counted(len(masks), 'mask')} not used, as {labels.path} takes precedence"
    return Matches(matches.pairs, (line, *matches.problems))


def _split_photos_from_masks(files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Tell the photos in one folder from the masks."""
    base_of = _bases(files)
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(base_of.get(path) or file_id(path), []).append(path)
    photos: list[Path] = []
    masks: list[Path] = []
    for group in groups.values():
        group_masks = [path for path in group if is_mask_name(path) or path in base_of]
        lossy = [path for path in group if path.suffix.lower() in _LOSSY]
        if not group_masks and len(group) == 2 and len(lossy) == 1:
            group_masks = [path for path in group if path not in lossy]
        masks += group_masks
        photos += [path for path in group if path not in group_masks]
    return photos, masks


def _bases(files: Sequence[Path]) -> dict[Path, str]:
    """Map each file with the name of a mask, a photo's and an ending, to the photo's id.

    A file that has such a mask itself is a photo.
    """
    names = Counter(mask_ids(path)[0] for path in files)
    base_of = {
        path: base
        for path in files
        for name, *bases in [mask_ids(path)]
        for base in bases
        if names[name] == names[base] == 1  # namesakes are a pair of their own
    }
    with_masks = set(base_of.values())
    return {path: base for path, base in base_of.items() if mask_ids(path)[0] not in with_masks}
