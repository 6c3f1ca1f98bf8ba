"""A photo in a label file: its name, its size, and the outlines of its lesion."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

import numpy as np

from lesionseg.errors import counted
from lesionseg.images.arrays import Mask
from lesionseg.labels.faults import LabelError, fault_of
from lesionseg.labels.outline import Ring, crossings, fill_union
from lesionseg.labels.runlength import Runs, fill_all

LESION = "lesion"  # the category that is written, and the one that is read, in any case

Shape = Ring | Runs
Categories = frozenset[str] | None  # the chosen ones, case-folded; None for `LESION` alone


class Dropped(NamedTuple):
    """A part of a label that holds no area and is left out, and what it is."""

    what: str


_RENAMED = (
    re.compile(r"[0-9a-f]{8}-(.+)"),
    re.compile(r"(.+)_(?:jpe?g|png|bmp|tiff?|webp)\.rf\.[0-9A-Za-z]+"),
)
_MOST_PIXELS = 178_956_970  # of a photo; Pillow decodes no larger one
_FARTHEST = 1e6  # pixels; no corner lies farther off
_MOST_WORK = 8  # photos; an outline of a mask crosses less than one row a pixel
_LONGEST = 100  # characters of a value that is quoted


@dataclass(frozen=True, eq=False)
class LabelledPhoto:
    """A photo and the outlines that a label file has for it.

    Attributes:
        file: the label file.
        name: the photo's name in that file, with or without folders.
        height, width: the photo's size, upright, in pixels.
        shapes: one or more; what any of them encloses is lesion.
        notes: one line for each part of its labels that was left out.
        categories: those that were chosen.
    """

    file: Path
    name: str
    height: int
    width: int
    shapes: tuple[Shape, ...]
    notes: tuple[str, ...] = ()
    categories: Categories = None

    @property
    def photo(self) -> Path:
        """Where the photo is if its name is relative to the label file's folder."""
        return self.file.parent / _path(self.name).as_posix()

    def mask(self) -> Mask:
        """Draw the mask, (H, W) bool."""
        mask = np.zeros((self.height, self.width), np.bool_)
        fill_union(mask, ([ring] for ring in self.shapes if not isinstance(ring, Runs)))
        fill_all(mask, (runs for runs in self.shapes if isinstance(runs, Runs)))
        return mask


class Unusable(NamedTuple):
    """A photo whose labels cannot be used: its name, and the reason in one line."""

    name: str
    reason: str


def parse_photo(
    file: Path,
    name: object,
    size: tuple[object, object],
    shapes: Callable[[int, int], Iterable[Shape | Dropped]],
) -> LabelledPhoto | Unusable:
    """Check what a label file says of a photo and collect its outlines.

    Args:
        file, name: as in `LabelledPhoto`.
        size: (height, width), integers, also as 256.0 or "256".
        shapes: called with height and width; what it raises (ValueError, TypeError, LookupError,
            ArithmeticError, AttributeError and RecursionError) becomes the reason.
    """
    if not isinstance(name, str) or not stem(name) or "\0" in name:
        return Unusable("", f"{file}: expected the name of a photo, got {shown(name)}")
    try:
        height, width = (_pixels(side) for side in size)
        if height * width > _MOST_PIXELS:
            raise LabelError(f"expected a photo, got {width}x{height} pixels")
        parts = tuple(shapes(height, width))
        outlines = tuple(part for part in parts if not isinstance(part, Dropped))
        dropped = [part.what for part in parts if isinstance(part, Dropped)]
        _check_work(outlines, height, width)
    except (
        *(ValueError, TypeError, LookupError),
        *(ArithmeticError, AttributeError, RecursionError),
    ) as error:
        return Unusable(name, f"{file}: {name}: {fault_of(error)}")
    if not outlines:
        reason = f"no outline; {dropped[0]}" if dropped else "no outline"
        return Unusable(name, f"{file}: {name}: {reason}")
    notes = (f"{file}: {name}: {what}; its other outlines are used" for what in dropped)
    return LabelledPhoto(file, name, height, width, outlines, tuple(notes))


def shown(value: object) -> str:
    """Return a value of a label file, whatever it is, as it is quoted in a reason."""
    if not isinstance(value, str | int | float | None):
        return f"a {type(value).__name__}"
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**20 else "a huge number"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def stem(name: str) -> str:
    """Return the name of a photo without its folders, as any system writes them, and suffix.

    Accents are composed (NFC): the same name may be written in two ways.
    """
    return unicodedata.normalize("NFC", _path(name).stem)


def is_lesion(category: object, categories: Categories) -> bool:
    """Tell whether an outline of a category is used; without chosen ones, only `LESION` may occur.

    Raises:
        LabelError: no categories were chosen, and this is not `LESION`.
    """
    if categories is None:
        check_category(category)
        return True
    return isinstance(category, str) and category.strip().casefold() in categories


def check_category(category: object) -> None:
    """Raise LabelError for any category but `LESION`."""
    if not isinstance(category, str) or category.strip().casefold() != LESION:
        raise LabelError(
            f"expected the category {LESION!r}, got {shown(category)}; rename or delete it, or "
            "choose categories with --category"
        )


def parse_polygon(points: Sequence[Any]) -> Ring | Dropped:
    """Parse a polygon of (x, y) points, also as x, y, x, y; fewer than three hold no area.

    Raises:
        LabelError: something else than points.
    """
    if points and all(isinstance(value, int | float) for value in points):
        if len(points) % 2:
            raise LabelError(
                f"expected an x and a y for each corner, got {counted(len(points), 'number')}"
            )
        points = list(zip(points[::2], points[1::2], strict=True))
    try:
        corners = np.array([[float(value) for value in point] for point in points])
    except (ValueError, TypeError, OverflowError) as error:
        raise LabelError("expected two numbers, x and y, for each corner of a polygon") from error
    if len(corners) < 3 and corners.shape[1:] in ((2,), ()):
        return Dropped(f"expected a polygon of three or more points, got {len(corners)}")
    if corners.shape[1:] != (2,):
        raise LabelError(f"expected a polygon of three or more points, got {len(corners)}")
    if not (np.abs(corners) < _FARTHEST).all():  # NaN fails this, too
        raise LabelError("a corner far outside the photo")
    return corners


def _path(name: str) -> PureWindowsPath:
    return PureWindowsPath(name)  # which knows both kinds of slashes


def original_stems(name: str) -> list[str]:
    """Return the stems that a photo may have had before a labelling tool renamed it.

    Label Studio adds eight digits before the name of an upload, Roboflow a hash behind it.
    """
    matches = (pattern.fullmatch(stem(name)) for pattern in _RENAMED)
    return [match[1] for match in matches if match]


def _pixels(side: object) -> int:
    if isinstance(side, float) and side.is_integer():
        side = int(side)
    if isinstance(side, str) and side.isdecimal() and len(side) < 20:
        side = int(side)
    if isinstance(side, bool) or not isinstance(side, int) or side < 1:
        raise LabelError(f"expected its height and width in pixels, got {shown(side)}")
    return side


def _check_work(shapes: Sequence[Shape], height: int, width: int) -> None:
    """Refuse outlines that take many times the work of any mask of the photo's size."""
    boxes = {(runs.box, runs.by_column) for runs in shapes if isinstance(runs, Runs)}
    work = sum(float(box.width * box.height) for box, _ in boxes)
    work += crossings([ring for ring in shapes if not isinstance(ring, Runs)], height)
    if work > _MOST_WORK * height * (width + 1):
        raise LabelError(f"far more outline than a photo of {width}x{height} pixels can hold")
