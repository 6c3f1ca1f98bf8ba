"""Photos and masks at the size of a page: a photo as a small data URI, a mask as its outline.

An outline is the `d` of an SVG path on a grid whose longer side is `GRID` units, so that one
outline fits over a thumbnail of any size, with a line as wide as the page wants.
"""

import base64

import cv2
import numpy as np

from lesionseg.images.arrays import Mask
from lesionseg.images.decode import Source
from lesionseg.images.photos import thumbnail

GRID = 800  # units along the longer side of a photo
_TOLERANCE = 1.5  # of the simplified line, in units: a fifth of a percent of the longer side
_MOST_REGIONS = 40  # the longest lines; a mask of noise would make a page of megabytes


def grid_size(height: int, width: int) -> tuple[int, int]:
    """Return the (width, height), in units of the grid, over a photo of (height, width) pixels."""
    scale = GRID / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def outline(mask: Mask) -> str:
    """Trace the lesion and its holes as the `d` of an SVG path, "" where the mask is empty.

    The line runs along the lesion's outermost pixels and is simplified by at most 1.5 units.

    Args:
        mask: (H, W) bool.
    """
    width, height = size = grid_size(*mask.shape)
    smaller = width < mask.shape[1]
    grey = cv2.resize(
        mask.view(np.uint8) * np.uint8(255),
        size,
        interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR,
    )
    shrunk = (grey >= 128).astype(np.uint8).reshape(height, width)
    lines, _ = cv2.findContours(shrunk, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    longest = sorted(lines, key=lambda line: -cv2.arcLength(line, closed=True))[:_MOST_REGIONS]
    return "".join(
        _path(cv2.approxPolyDP(line, _TOLERANCE, closed=True)[:, 0].tolist()) for line in longest
    )


def _path(points: list[list[int]]) -> str:
    """Write the steps from point to point, which take fewer characters than the points."""
    (x, y), parts = points[0], [f"M{points[0][0]} {points[0][1]}"]
    for next_x, next_y in points[1:]:
        parts.append(f"l{next_x - x} {next_y - y}")
        x, y = next_x, next_y
    return "".join([*parts, "z"])


def data_uri(source: Source, side: int) -> str:
    """Return a photo as a WebP in a data URI, its longer side at most `side` pixels, aspect kept.

    Raises:
        LesionsegError: as `read_photo`.
    """
    data = thumbnail(source, side)
    return "data:image/webp;base64," + base64.b64encode(data).decode("ascii")
