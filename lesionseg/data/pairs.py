"""Photos paired with their masks or labels, and the two read as arrays."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lesionseg import images
from lesionseg.data.filenames import MASK, file_id, fold, is_mask_name
from lesionseg.errors import PhotoError
from lesionseg.labels import formats
from lesionseg.labels.formats import LabelledPhoto, Labels


@dataclass(frozen=True, order=True)
class Pair:
    """A photo, its mask, and the id of both: the photo's name without suffix, in its own case.

    Where the mask comes from labels, `mask` is the label file.
    """

    id: str
    photo: Path
    mask: Path
    labels: LabelledPhoto | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Matches:
    """The pairs of some photos, sorted by id, and one line for each file that is left out."""

    pairs: tuple[Pair, ...]
    problems: tuple[str, ...]


def match_masks(photos: Iterable[Path], masks: Iterable[Path]) -> Matches:
    """Pair photos with masks by their ids; what has no partner, or more than one, is left out."""
    photo_of, photo_problems = _by_id(photos, "photo")
    mask_of, mask_problems = _by_id(masks, "mask")
    alone = [f"{photo_of[key]}: no mask" for key in photo_of.keys() - mask_of.keys()]
    alone += [f"{mask_of[key]}: no photo" for key in mask_of.keys() - photo_of.keys()]
    pairs = [
        Pair(_own_id(photo_of[key]), photo_of[key], mask_of[key])
        for key in photo_of.keys() & mask_of.keys()
    ]
    return Matches(tuple(sorted(pairs)), tuple(sorted([*photo_problems, *mask_problems, *alone])))


def match_labels(photos: Iterable[Path], labels: Labels) -> Matches:
    """Pair photos with their labels; what has no partner, or more than one, is left out."""
    photo_of, repeated = _by_id(photos, "photo")
    problems = [*repeated, *(entry.reason for entry in labels.unusable)]
    entries: dict[str, list[LabelledPhoto]] = {}
    for entry in labels.photos:
        entries.setdefault(fold(formats.stem(entry.name)), []).append(entry)
    pairs = []
    for key, (entry, *others) in sorted(entries.items()):
        place = f"{entry.file}: {entry.name}"
        if others:
            problems.append(f"{place}: {others[0].name} has the same name; both left out")
        elif key not in photo_of:
            problems.append(f"{place}: no photo of that name")
        else:
            photo = photo_of[key]
            pairs.append(Pair(photo.stem, photo, entry.file, entry))
    unusable = {fold(formats.stem(entry.name)) for entry in labels.unusable}
    missing = sorted(photo_of.keys() - entries.keys() - unusable)
    problems += [f"{photo_of[key]}: not in {labels.path}" for key in missing]
    return Matches(tuple(sorted(pairs)), tuple(problems))


def _own_id(photo: Path) -> str:
    """The id of a photo as it is written; masks may stand for their photos."""
    return photo.stem[: -len(MASK)] if is_mask_name(photo) else photo.stem


def _by_id(paths: Iterable[Path], kind: str) -> tuple[dict[str, Path], list[str]]:
    """The paths by their ids without those that share one, and a line for each that does."""
    path_of: dict[str, Path] = {}
    repeated: set[str] = set()
    problems = []
    for path in paths:
        key = file_id(path)
        if key in path_of:
            problems.append(f"{path}: a second {kind} of the name {path.stem!r}; both left out")
            repeated.add(key)
        path_of[key] = path
    return {key: path for key, path in path_of.items() if key not in repeated}, problems


def read_pair(pair: Pair, size: int) -> tuple[images.Photo, images.Mask]:
    """Read a photo as (size, size, 3) uint8 and its mask as (size, size) bool.

    Raises:
        PhotoError: one of them cannot be read, or they differ in size.
    """
    photo, own_size = images.read_photo_shrunk(pair.photo, size)
    mask, _ = read_truth(pair, own_size)
    return photo, images.shrink_mask(mask, size)


def read_truth(pair: Pair, size: tuple[int, int] | None = None) -> tuple[images.Mask, bool]:
    """Read a mask as `images.read_mask` does, and check that it has its photo's (height, width).

    Without a size, any is accepted.

    Raises:
        PhotoError: it cannot be read, or has another size.
    """
    if (labels := pair.labels) is not None:
        if size is not None and size != (labels.height, labels.width):
            raise PhotoError(
                f"{pair.mask}: {labels.name}: expected labels of {size[1]}x{size[0]} pixels as its "
                f"photo, got {labels.width}x{labels.height}"
            )
        return labels.mask(), False
    mask, zero_one = images.read_mask(pair.mask)
    if size is not None and mask.shape != size:
        raise PhotoError(
            f"{pair.mask}: expected a mask of {size[1]}x{size[0]} pixels as its photo, "
            f"got {mask.shape[1]}x{mask.shape[0]}"
        )
    return mask, zero_one
