"""Photos paired with their masks or labels, and the two read as arrays."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lesionseg.data import colours
from lesionseg.data.filenames import (
    MASK,
    file_id,
    fold,
    is_mask_name,
    list_images,
    mask_ids,
    name_of,
)
from lesionseg.errors import PhotoError
from lesionseg.images import dicom, filetypes
from lesionseg.images.arrays import Mask, Photo
from lesionseg.images.masks import read_mask
from lesionseg.images.photos import read_photo_shrunk
from lesionseg.images.resize import shrink_mask
from lesionseg.labels import formats, segmentations
from lesionseg.labels.annotations import Unusable
from lesionseg.labels.formats import LabelledPhoto, Labels

UNKNOWN = 255  # in the mask of a photo that has none


@dataclass(frozen=True, order=True)
class Pair:
    """A photo, its mask, and the id of both: the photo's name without suffix, in its own case.

    Where the mask comes from labels, `mask` is the label file. `colours`, such as "#fa3253", are
    those of the lesion in a coloured mask. An unlabelled photo has no mask; `mask` is then the
    photo itself.
    """

    id: str
    photo: Path
    mask: Path
    labels: LabelledPhoto | None = field(default=None, compare=False)
    unlabelled: bool = field(default=False, compare=False)
    colours: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(frozen=True)
class Matches:
    """The pairs of some photos, sorted by id, and one line for each file that is left out."""

    pairs: tuple[Pair, ...]
    problems: tuple[str, ...]


def list_unlabelled(folder: Path) -> tuple[Pair, ...]:
    """List the photos of a folder, which are without masks; images named like masks are none.

    Raises:
        LesionsegError: no such folder.
    """
    photos = [path for path in list_images(folder) if not is_mask_name(path)]
    return tuple(Pair(name_of(photo), photo, photo, unlabelled=True) for photo in photos)


def match_masks(photos: Iterable[Path], masks: Iterable[Path]) -> Matches:
    """Pair photos with masks by their ids; what has no partner, or more than one, is left out.

    DICOM segmentations go by the UID of the photo that they refer to, not by their names.
    """
    photos, masks = list(photos), list(masks)
    if photos != masks and any(map(_is_dicom, masks)):
        return _match_both_kinds(photos, masks)
    photo_of, photo_problems = _by_id(photos, "photo")

    def photo_id(mask: Path) -> str:
        return next((key for key in mask_ids(mask) if key in photo_of), file_id(mask))

    mask_of, mask_problems = _by_id(masks, "mask", photo_id)
    alone = [f"{photo_of[key]}: no mask" for key in photo_of.keys() - mask_of.keys()]
    alone += [f"{mask_of[key]}: no photo" for key in mask_of.keys() - photo_of.keys()]
    pairs = [
        Pair(_own_id(photo_of[key]), photo_of[key], mask_of[key])
        for key in photo_of.keys() & mask_of.keys()
    ]
    return Matches(tuple(sorted(pairs)), tuple(sorted([*photo_problems, *mask_problems, *alone])))


def _is_dicom(path: Path) -> bool:
    return path.suffix.lower() not in filetypes.SUFFIXES


def _match_both_kinds(photos: list[Path], masks: list[Path]) -> Matches:
    """Pair DICOM segmentations by UID, the other masks by name with the photos that are left."""
    by_uid = match_segmentations(filter(_is_dicom, photos), filter(_is_dicom, masks))
    paired = {pair.photo for pair in by_uid.pairs}
    others = [path for path in masks if not _is_dicom(path)]
    if not others:
        alone = [f"{path}: not DICOM" for path in photos if not _is_dicom(path)]
        return Matches(by_uid.pairs, tuple(sorted([*by_uid.problems, *alone])))
    by_name = match_masks([path for path in photos if path not in paired], others)
    done = {str(pair.photo) for pair in (*by_uid.pairs, *by_name.pairs)}
    lines = {*by_uid.problems, *by_name.problems}
    problems = [line for line in lines if line.split(": ")[0] not in done]
    return Matches(tuple(sorted([*by_uid.pairs, *by_name.pairs])), tuple(sorted(problems)))


def match_segmentations(photos: Iterable[Path], files: Iterable[Path]) -> Matches:
    """Pair DICOM photos with DICOM segmentations by the UID that these refer to.

    What has no partner, or more than one, is left out.
    """
    problems = []
    photo_of: dict[str, list[Path]] = {}
    for photo in photos:
        try:
            photo_of.setdefault(str(dicom.read_header(photo).get("SOPInstanceUID")), []).append(
                photo
            )
        except PhotoError as error:
            problems.append(str(error))
    entries: dict[str, list[LabelledPhoto]] = {}
    for file in files:
        for entry in segmentations.read(file):
            if isinstance(entry, Unusable):
                problems.append(entry.reason)
            else:
                entries.setdefault(entry.name, []).append(entry)
    pairs = []
    for uid, (entry, *others) in entries.items():
        candidates = photo_of.get(uid, [])
        if others:
            problems += [
                f"{other.file}: a second segmentation of {uid}; both left out" for other in others
            ]
        elif len(candidates) > 1:
            problems.append(f"{candidates[1]}: the same photo as {candidates[0]}; both left out")
        elif not candidates:
            problems.append(f"{entry.file}: no photo with UID {uid}")
        else:
            pairs.append(Pair(name_of(candidates[0]), candidates[0], entry.file, entry))
    for uid in photo_of.keys() - entries.keys():
        problems += [f"{photo}: no segmentation" for photo in photo_of[uid]]
    return Matches(tuple(sorted(pairs)), tuple(sorted(problems)))


def match_labels(photos: Iterable[Path], labels: Labels) -> Matches:
    """Pair photos with their labels; what has no partner, or more than one, is left out."""
    photo_of, repeated = _by_id(photos, "photo")
    problems = [*repeated, *(entry.reason for entry in labels.unusable)]
    entries: dict[str, list[LabelledPhoto]] = {}
    for entry in labels.photos:
        entries.setdefault(_photo_key(entry.name, photo_of), []).append(entry)
        problems += entry.notes
    pairs = []
    for key, (entry, *others) in sorted(entries.items()):
        place = f"{entry.file}: {entry.name}"
        if others:
            problems.append(f"{place}: {others[0].name} has the same name; both left out")
        elif key not in photo_of:
            problems.append(f"{place}: no photo of this name")
        else:
            photo = photo_of[key]
            pairs.append(Pair(photo.stem, photo, entry.file, entry))
    unusable = {_photo_key(entry.name, photo_of) for entry in labels.unusable}
    missing = sorted(photo_of.keys() - entries.keys() - unusable)
    problems += [f"{photo_of[key]}: not in {labels.path}" for key in missing]
    return Matches(tuple(sorted(pairs)), tuple(problems))


def _photo_key(name: str, photo_of: dict[str, Path]) -> str:
    """Return the key of the photo that a label names, by its original name if only that fits."""
    key = fold(formats.stem(name))
    originals = [fold(stem) for stem in formats.original_stems(name)]
    known = [original for original in originals if original in photo_of]
    return known[0] if key not in photo_of and len(known) == 1 else key


def _own_id(photo: Path) -> str:
    """Return the id of a photo in its own case; a mask may stand in for its photo."""
    name = name_of(photo)
    return name[: -len(MASK)] if is_mask_name(photo) else name


def _by_id(
    paths: Iterable[Path], kind: str, id_of: Callable[[Path], str] = file_id
) -> tuple[dict[str, Path], list[str]]:
    """Map ids to paths, without paths that share one, and add a line for each of these."""
    path_of: dict[str, Path] = {}
    repeated: set[str] = set()
    problems = []
    for path in paths:
        key = id_of(path)
        if key in path_of:
            first = path_of[key]
            place = "" if first.parent == path.parent else f", beside {first}"
            problems.append(f"{path}: a second {kind} named {path.stem!r}{place}; both left out")
            repeated.add(key)
        path_of[key] = path
    return {key: path for key, path in path_of.items() if key not in repeated}, problems


def read_pair(pair: Pair, size: int) -> tuple[Photo, Mask | NDArray[np.uint8]]:
    """Read a photo as (size, size, 3) uint8 and its mask as (size, size) bool.

    The mask of an unlabelled photo is uint8 and has UNKNOWN everywhere.

    Raises:
        PhotoError: one of them cannot be read, or they differ in size.
    """
    photo, own_size = read_photo_shrunk(pair.photo, size)
    if pair.unlabelled:
        return photo, np.full((size, size), UNKNOWN, np.uint8)
    mask, _ = read_truth(pair, own_size)
    return photo, shrink_mask(mask, size)


def read_truth(pair: Pair, size: tuple[int, int] | None = None) -> tuple[Mask, bool]:
    """Read a mask as `read_mask` does, and check that it has its photo's (height, width).

    Without a size, any is accepted.

    Raises:
        PhotoError: it cannot be read, or has another size.
    """
    if (labels := pair.labels) is not None:
        if size is not None and size != (labels.height, labels.width):
            raise PhotoError(
                f"{pair.mask}: {labels.name}: expected labels of {size[1]}x{size[0]} pixels, the "
                f"size of its photo, got {labels.width}x{labels.height}"
                + turned_hint((labels.height, labels.width), size)
            )
        return labels.mask(), False
    try:
        mask, zero_one = read_mask(pair.mask, colours=pair.colours)
    except PhotoError as error:
        hint = "" if pair.colours else colours.hint(pair.mask)
        raise PhotoError(f"{error}{hint}") from None
    if size is not None and mask.shape != size:
        raise PhotoError(
            f"{pair.mask}: expected a mask of {size[1]}x{size[0]} pixels, the size of its photo, "
            f"got {mask.shape[1]}x{mask.shape[0]}{turned_hint(mask.shape, size)}"
        )
    return mask, zero_one


def turned_hint(shape: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """Explain a (height, width) that is the expected one with its sides swapped; else ""."""
    if shape == expected or shape != expected[::-1]:
        return ""
    return " (sides swapped: one of the two was saved without its EXIF orientation; turn it)"
