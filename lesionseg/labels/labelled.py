"""A photo as a file of labels tells of it: its name, its size, and the lesion's outlines."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

import numpy as np

from lesionseg.errors import one_line
from lesionseg.images import Mask
from lesionseg.labels.outline import Ring, fill
from lesionseg.labels.runlength import Runs

LESION = "lesion"  # the category that is written, and the one that is read, in any case

Shape = Ring | Runs

_MOST_PIXELS = 178_956_970  # of a photo; Pillow decodes no larger one
_FARTHEST = 1e6  # pixels; no corner lies farther off


@dataclass(frozen=True, eq=False)
class Labelled:
    """A photo and the outlines that a file has for it.

    Attributes:
        file: with the labels.
        name: of the photo, as the file has it; folders may stand before it.
        height, width: of the photo, upright, in pixels.
        shapes: one or more; what any of them encloses is lesion.
    """

    file: Path
    name: str
    height: int
    width: int
    shapes: tuple[Shape, ...]

    @property
    def photo(self) -> Path:
        """Where the photo lies if its name is told from the file's folder."""
        return self.file.parent / _path(self.name).as_posix()

    def mask(self) -> Mask:
        """(H, W) bool."""
        mask = np.zeros((self.height, self.width), np.bool_)
        for shape in self.shapes:
            if isinstance(shape, Runs):
                shape.fill(mask)
            else:
                fill(mask, [shape])
        return mask


class Unusable(NamedTuple):
    """Why the labels of a photo cannot be used, in one line, and the photo's name."""

    name: str
    why: str


def labelled(
    file: Path,
    name: object,
    size: tuple[object, object],
    shapes: Callable[[int, int], Iterable[Shape]],
) -> Labelled | Unusable:
    """The photo, or why its labels cannot be used.

    Args:
        file, name: as of `Labelled`.
        size: (height, width), integers.
        shapes: called with both; what it raises (ValueError, TypeError, KeyError, IndexError,
            OverflowError and AttributeError) is told in the line.
    """
    if not isinstance(name, str) or not stem(name):
        return Unusable("", f"{file}: expected the name of a photo, got {name!r}")
    try:
        height, width = (_pixels(side) for side in size)
        if height * width > _MOST_PIXELS:
            raise ValueError(f"expected a photo, got {width}x{height} pixels")
        found = tuple(shapes(height, width))
    except KeyError as error:
        return Unusable(name, f"{file}: {name}: expected {error}, found none")
    except (ValueError, TypeError, IndexError, OverflowError, AttributeError) as error:
        return Unusable(name, f"{file}: {name}: {one_line(error)}")
    if not found:
        return Unusable(name, f"{file}: {name}: no outline")
    return Labelled(file, name, height, width, found)


def stem(name: str) -> str:
    """The name of a photo without folders, as any system writes them, and suffix."""
    return _path(name).stem


def refuse_others(category: object) -> None:
    """Raises ValueError for any category but `LESION`."""
    if not isinstance(category, str) or category.strip().casefold() != LESION:
        raise ValueError(f"expected the category {LESION!r}, got {category!r}; rename or delete it")


def ring(points: Sequence[Sequence[Any]]) -> Ring:
    """A polygon of (x, y) points.

    Raises:
        ValueError, TypeError: they are fewer than three, or no points.
    """
    corners = np.array([[float(value) for value in point] for point in points])
    if len(corners) < 3 or corners.shape[1:] != (2,):
        raise ValueError(f"expected a polygon of three or more points, got {len(corners)}")
    if not (np.abs(corners) < _FARTHEST).all():  # nor is it, where one is no number
        raise ValueError("a corner lies nowhere near the photo")
    return corners


def _path(name: str) -> PureWindowsPath:
    return PureWindowsPath(name)  # which knows both kinds of slashes


def _pixels(side: object) -> int:
    if isinstance(side, bool) or not isinstance(side, int) or side < 1:
        raise ValueError(f"expected its height and width in pixels, got {side!r}")
    return side
