"""Measure a mask: size, position, shape, each by a stated definition.

A pixel is a unit square, its centre at its indices: x to the right, y down, the upper left pixel
at (0, 0). A mask of several regions is measured as a whole, with its holes. Where the frame cuts
the lesion, the cut counts as its border: such figures describe the visible part.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from lesionseg.errors import LesionsegError
from lesionseg.images.arrays import Mask

_REACH = 3  # of the pairs of pixels by which the border is crossed, along rows and columns
_FOLDED = 1024  # the longer side, in pixels, at which a lesion is folded at most


@dataclass(frozen=True)
class Measurements:
    """What was measured on a mask of H x W pixels; None where it has no meaning.

    Attributes:
        area_px: pixels of the lesion.
        area_mm2: the same in square millimetres; None without a scale, as all in millimetres.
        perimeter_px: length of the border, holes included; see `perimeter`.
        perimeter_mm: the same in millimetres.
        longest_diameter_px: greatest distance between two points of the lesion, the maximum Feret
            diameter; see `longest_diameter`.
        longest_diameter_mm: the same in millimetres.
        box_x_px, box_y_px: upper left pixel of the bounding box; None where there is no lesion.
        box_width_px, box_height_px: its size; 0 where there is no lesion.
        centroid_x_px, centroid_y_px: mean position of its pixels; None where there is no lesion.
        asymmetry_long_axis: share of the area, 0 to 1, that lies on nothing when the lesion is
            folded about its longer principal axis; see `asymmetry`. None where there is no lesion.
        asymmetry_short_axis: the same, folded about the shorter one.
        compactness: border irregularity, P^2 / (4 pi A) of perimeter P and area A: 1 for a disc,
            more for every other shape (Golston, Stoecker, Moss & Dhillon 1992, Comput Med Imaging
            Graph 16:199-203, the "irregularity index"). Drawn discs have 0.99 to 1.03 at 20 pixels
            across, 0.997 to 1.003 at 200. None where there is no lesion.
        frame_share: share of the H x W pixels, 0 to 1.
        touches_frame: whether a pixel of the lesion lies in the first or last row or column, so
            that it may continue outside.
        quality: 0 to 1, how sure the network is of the mask (`quality.agreement`), where known.
        mm_per_pixel: the scale that was given.
    """

    area_px: int
    area_mm2: float | None
    perimeter_px: float
    perimeter_mm: float | None
    longest_diameter_px: float
    longest_diameter_mm: float | None
    box_x_px: int | None
    box_y_px: int | None
    box_width_px: int
    box_height_px: int
    centroid_x_px: float | None
    centroid_y_px: float | None
    asymmetry_long_axis: float | None
    asymmetry_short_axis: float | None
    compactness: float | None
    frame_share: float
    touches_frame: bool
    quality: float | None
    mm_per_pixel: float | None


def measure(
    mask: Mask, quality: float | None = None, mm_per_pixel: float | None = None
) -> Measurements:
    """Measure a mask.

    Args:
        mask: (H, W) bool.
        quality: 0 to 1, passed through.
        mm_per_pixel: the side of a pixel in millimetres, where it is known.

    Raises:
        LesionsegError: a scale that is not a positive number.
    """
    if mm_per_pixel is not None and not 0 < mm_per_pixel < math.inf:
        raise LesionsegError(f"millimetres per pixel: expected more than 0, got {mm_per_pixel:g}")
    height, width = mask.shape
    x, y, box_width, box_height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    lesion = np.ascontiguousarray(mask[y : y + box_height, x : x + box_width])
    area = int(np.count_nonzero(lesion))
    border, diameter = perimeter(lesion), longest_diameter(lesion)
    centre = long_axis = short_axis = None
    if area:
        centre, angle = principal_axis(lesion)
        long_axis, short_axis = asymmetry(lesion, centre, angle)

    def scaled(length: float, power: int = 1) -> float | None:
        return None if mm_per_pixel is None else length * mm_per_pixel**power

    return Measurements(
        area_px=area,
        area_mm2=scaled(area, 2),
        perimeter_px=border,
        perimeter_mm=scaled(border),
        longest_diameter_px=diameter,
        longest_diameter_mm=scaled(diameter),
        box_x_px=x if area else None,
        box_y_px=y if area else None,
        box_width_px=box_width,
        box_height_px=box_height,
        centroid_x_px=x + centre[0] if centre else None,
        centroid_y_px=y + centre[1] if centre else None,
        asymmetry_long_axis=long_axis,
        asymmetry_short_axis=short_axis,
        compactness=border**2 / (4 * math.pi * area) if area else None,
        frame_share=area / mask.size,
        touches_frame=area > 0
        and (0 in (x, y) or x + box_width == width or y + box_height == height),
        quality=quality,
        mm_per_pixel=mm_per_pixel,
    )


def perimeter(mask: Mask) -> float:
    """Measure the border of a mask (H, W) bool, in pixels; the frame counts as border.

    Crofton's formula: a border is as long as lines of all directions cross it often. A line is
    here a pair of pixels of which one is lesion, in the 16 directions that pairs up to three
    pixels apart have, each for its share of the half circle (Legland, Kieu & Devaux 2007, Image
    Anal Stereol 26:83-92, for 2 and 4 directions, as scikit-image's `perimeter_crofton`).

    Measured on drawings, in any place and at any angle: a disc 20 pixels across within 3 %, 60
    within 0.6 %, 200 within 0.2 %; a square of side 30 within 3.5 %, 100 within 1.2 %, 400 within
    0.8 %. What is below 10 pixels across comes out too short.
    """
    padded = np.pad(mask.view(np.uint8), _REACH)
    height, width = padded.shape
    length = 0.0
    for right, down, angle in _DIRECTIONS:
        left = max(0, -right)
        here = padded[: height - down, left : width - max(0, right)]
        there = padded[down:, left + right : width - left]
        length += angle * cv2.norm(here, there, cv2.NORM_L1) / math.hypot(right, down)
    return length / 2


def _directions(reach: int) -> list[tuple[int, int, float]]:
    """List the steps (right, down) of different directions, up to `reach` each way, by their angle.

    With each stands the angle that it represents: half of the way to the next ones, pi in total.
    """
    steps = [(1, 0)] + [
        (right, down)
        for down in range(1, reach + 1)
        for right in range(-reach, reach + 1)
        if math.gcd(right, down) == 1
    ]
    steps.sort(key=lambda step: math.atan2(step[1], step[0]))
    angles = [math.atan2(down, right) for right, down in steps]
    around = [angles[-1] - math.pi, *angles, angles[0] + math.pi]
    return [
        (*step, (after - before) / 2)
        for step, before, after in zip(steps, around, around[2:], strict=False)
    ]


_DIRECTIONS = _directions(_REACH)


def longest_diameter(mask: Mask) -> float:
    """Measure the greatest distance between two points of a mask (H, W) bool; 0 if it is empty.

    In pixels; the maximum Feret diameter (Feret 1930; Walton 1948, Nature 162:329), where a pixel
    reaches half a pixel from its centre along its row and its column: n pixels in a row are n long.
    Drawn discs come out up to one pixel too long. Of several regions the farthest two points count.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return 0.0
    first = mask.argmax(axis=1)[rows]
    last = mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)[rows]
    ends = np.stack([np.concatenate([first, last]), np.tile(rows, 2)], axis=1).astype(np.int32)
    x, y = cv2.convexHull(ends)[:, 0].astype(np.int64).T
    across, along = np.abs(np.subtract.outer(x, x)), np.abs(np.subtract.outer(y, y))
    # The longer leg reaches from edge to edge, a pixel more than from centre to centre.
    squares = across**2 + along**2 + 2 * np.maximum(across, along) + 1
    return math.sqrt(squares.max())


def principal_axis(mask: Mask) -> tuple[tuple[float, float], float]:
    """Find the centroid (x, y) and the longer principal axis of a mask (H, W) bool, not empty.

    The axis is that of the second moments of area, as its angle in radians from x towards y.
    """
    moments = cv2.moments(mask.view(np.uint8))
    centre = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
    return centre, math.atan2(2 * moments["mu11"], moments["mu20"] - moments["mu02"]) / 2


def asymmetry(mask: Mask, centre: tuple[float, float], angle: float) -> tuple[float, float]:
    """Measure asymmetry about an axis and the one across it: 0 (mirror image) to 1 (no overlap).

    The lesion is folded about an axis through its centroid: asymmetry is the share of its area
    that lies on nothing then (Stoecker, Li & Moss 1992, Comput Med Imaging Graph 16:191-197),
    which is the area in which lesion and mirror image differ over twice the lesion's. A disc or a
    square, whose second moments are the same about every axis, has no principal axes of its own.

    Measured on drawings: discs and ellipses 40 pixels across have at most 0.02, 200 across 0.005.
    A lesion of more than 1024 pixels is folded at 1024.

    Args:
        mask: (H, W) bool.
        centre, angle: the axis, as from `principal_axis`.
    """
    height, width = mask.shape
    (x, y), scale = centre, min(1, _FOLDED / max(mask.shape))
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    turn = np.array([[cos, sin], [-sin, cos]])  # brings the axis into a row
    corners = np.array([[-x, width - x, -x, width - x], [-y, -y, height - y, height - y]])
    far_x, far_y = (math.ceil(far) for far in np.abs(turn @ corners).max(axis=1))
    shift = np.array([far_x, far_y]) - turn @ centre  # brings the centroid into the middle pixel
    turned = cv2.warpAffine(
        mask.view(np.uint8) * np.uint8(255),
        np.column_stack([turn, shift]),
        (2 * far_x + 1, 2 * far_y + 1),
    )
    area = cv2.norm(turned, cv2.NORM_L1) or 1.0  # 0 where specks fell between the pixels
    over, across = (
        cv2.norm(turned, cv2.flip(turned, around), cv2.NORM_L1) / (2 * area) for around in (0, 1)
    )
    return over, across
