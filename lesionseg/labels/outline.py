"""Masks <-> polygons along the edges of their pixels.

Coordinates are in pixels from the photo's upper left corner: the pixel of row r and column c
covers x from c to c + 1 and y from r to r + 1, and belongs to a polygon that its centre is in.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lesionseg.config import TOLERANCE
from lesionseg.images.arrays import Mask

Ring = NDArray[np.float64]  # (N, 2): x and y of the corners; the last is joined to the first

_DICE = 0.9985  # what simplifying leaves at least of a region
_SMALL = 3000  # pixels of area; below, every pixel counts, and tools differ in how they fill
_EXACT = 0.25  # a polygon this near to the edges has the same pixels: their centres are 0.35 away

# A corner lies this far inside its pixel, too little to be seen: tools that truncate decimals, as
# LabelMe does, then find the lesion's pixel on each side of it.
_INSIDE = 0.99

# Steps (x, y) to the east, south, west and north, along the upper, right, lower and left edge of
# a pixel, and the corner of the pixel that each edge begins at: lesion lies to the right.
_STEP = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
_BEGIN = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])


_STRIP_PIXELS, _STRIP_CROSSINGS = 1 << 20, 1 << 18  # of a strip of rows that is filled at once


class Region(NamedTuple):
    """The border of one region of a mask, clockwise on the screen, and those of its holes."""

    outer: Ring
    holes: tuple[Ring, ...]


def regions(mask: Mask, tolerance: float = TOLERANCE) -> tuple[Region, ...]:
    """Trace the regions of a mask, each with its holes, as polygons with few corners.

    Pixels that touch at a corner alone are of two regions. A polygon runs through the middles of
    pixel edges, and along the frame where that cuts the lesion. Corners are dropped as long as the
    rest stays within `tolerance` of them (Douglas-Peucker); where this would cost more than 0.0015
    of a region's Dice, within a half of it, a quarter, and so on. A region of less than 3000
    pixels keeps every one, in any tool. A hole of less than the tolerance may be lost.

    Args:
        mask: (H, W) bool.
        tolerance: in pixels; 0.25 gives every pixel back by `fill`, 0 by other tools, too.

    Returns:
        The regions from top to bottom, none for an empty mask.
    """
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    if not width:
        return ()
    corner = np.array([left, top], np.float64)
    cropped = np.ascontiguousarray(mask[top : top + height, left : left + width])
    # Where the frame is, seen from the crop.
    frame = np.array([(-left, -top), (mask.shape[1] - left, mask.shape[0] - top)])
    traced = list(_traced(cropped))
    if len(traced) > 1:
        _, names = cv2.connectedComponents(cropped.view(np.uint8), connectivity=4)
    borders: dict[int, list[tuple[Ring, NDArray[np.bool_]]]] = {}
    for pixels, directions in traced:
        name = int(names[pixels[0, 1], pixels[0, 0]]) if len(traced) > 1 else 1
        borders.setdefault(name, []).append(_corners(pixels, directions, frame))
    traced_regions = []
    for rings in borders.values():
        outer, *holes = ((ring + corner).round(2) for ring in _simplified(rings, tolerance))
        traced_regions.append(Region(outer, tuple(holes)))
    return tuple(traced_regions)


def polygon(region: Region) -> Ring:
    """Return one polygon for formats without holes: each is joined to what lies left of it.

    The joint is a level line there and back, from the hole's leftmost corner to the nearest border
    of the region; it has no area, and any rule of filling (even-odd, non-zero) leaves the hole out.
    """
    ring = region.outer
    for hole in sorted(region.holes, key=lambda hole: float(hole[:, 0].min())):
        first = int(hole[:, 0].argmin())
        hole = np.roll(hole, -first, axis=0)
        x, y = hole[0]
        edges, crossings, _ = _level_crossings(ring, np.array([y]))
        before = np.flatnonzero(crossings <= x)
        if len(before):
            nearest = before[crossings[before].argmax()]
            at, joint = edges[nearest] + 1, np.array([[crossings[nearest].round(2), y]])
        else:  # simplifying has moved the hole over the border
            at = int(np.hypot(*(ring - hole[0]).T).argmin()) + 1
            joint = ring[at - 1 : at]
        ring = np.concatenate([ring[:at], joint, hole, hole[:1], joint, ring[at:]])
    return ring


def fill(mask: Mask, rings: Iterable[Ring]) -> None:
    """Set the pixels of a mask (H, W) bool whose centres the rings enclose an odd number of times.

    Rings may reach over the frame.
    """
    fill_union(mask, [list(rings)])


def fill_union(mask: Mask, shapes: Iterable[Sequence[Ring]]) -> None:
    """Set the pixels that any of some shapes encloses; each encloses what `fill` sets of its rings.

    Scan lines, a strip of rows at a time: memory is bounded by the corners and by a strip, time by
    `crossings` and by the photo.
    """
    owned = [(owner, ring) for owner, shape in enumerate(shapes) for ring in shape if len(ring) > 2]
    if not owned:
        return
    height, width = mask.shape
    owners = np.repeat([owner for owner, _ in owned], [len(ring) for _, ring in owned])
    starts, ends = _edges([ring for _, ring in owned])
    left, right = np.clip([np.floor(starts[:, 0].min()), np.ceil(starts[:, 0].max())], 0, width)
    left, columns = int(left), int(right - left) + 1
    falls = (starts[:, 1] > ends[:, 1])[:, np.newaxis]
    low, high = np.where(falls, ends, starts), np.where(falls, starts, ends)
    # An edge crosses the rows whose middles r + 0.5 lie in [low, high).
    first, stop = (
        np.ceil(y - 0.5).clip(0, height).astype(np.intp) for y in (low[:, 1], high[:, 1])
    )
    crossing = np.flatnonzero(stop > first)
    if not len(crossing):
        return
    owners, low, high, first, stop = (array[crossing] for array in (owners, low, high, first, stop))
    slopes = (high[:, 0] - low[:, 0]) / (high[:, 1] - low[:, 1])
    starting, ending = (np.bincount(rows, minlength=height + 1) for rows in (first, stop))
    before = np.concatenate([[0], np.cumsum(np.cumsum(starting - ending))])  # crossings above a row
    top, bottom = int(first.min()), int(stop.max())
    while top < bottom:
        within = int(np.searchsorted(before, before[top] + _STRIP_CROSSINGS, "right")) - 1
        below = min(bottom, max(top + 1, min(within, top + _STRIP_PIXELS // columns)))
        edges = np.flatnonzero((first < below) & (stop > top))
        tops = np.maximum(first[edges], top)
        counts = np.minimum(stop[edges], below) - tops
        rows = np.arange(counts.sum()) + np.repeat(tops - np.cumsum(counts) + counts, counts)
        edges = np.repeat(edges, counts)
        xs = low[edges, 0] + slopes[edges] * (rows + 0.5 - low[edges, 1])
        cells = (rows - top) * columns
        cells += np.clip(np.ceil(xs - 0.5) - left, 0, columns - 1).astype(np.intp)
        # Sorted by shape, row and column, every two of them enclose pixels.
        size = (below - top) * columns
        cells = np.sort(owners[edges] * size + cells) % size
        changes = np.zeros(size, np.int32)
        np.add.at(changes, cells[::2], np.int32(1))
        np.subtract.at(changes, cells[1::2], np.int32(1))
        covers = np.cumsum(changes.reshape(-1, columns), axis=1, dtype=np.int32)[:, :-1]
        mask[top:below, left : left + columns - 1] |= covers > 0
        top = below


def crossings(rings: Sequence[Ring], height: int) -> float:
    """Return how many rows of a photo the edges of rings cross, all together, about."""
    if not rings:
        return 0.0
    starts, ends = (corners[:, 1].clip(0, height) for corners in _edges(rings))
    return float(np.abs(ends - starts).sum())


def _edges(rings: Sequence[Ring]) -> tuple[Ring, Ring]:
    """Return the starts and the ends of the edges of one or more rings."""
    starts = np.concatenate(rings)
    lengths = np.array([len(ring) for ring in rings])
    following = np.arange(1, len(starts) + 1)
    lasts = np.cumsum(lengths) - 1
    following[lasts] = lasts - lengths + 1
    return starts, starts[following]


def _level_crossings(
    ring: Ring, levels: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.intp]]:
    """Find where a ring crosses levels y, which ascend: the edge, the x, and the level's index."""
    ends = np.roll(ring, -1, axis=0)
    falls = ring[:, 1] > ends[:, 1]
    low, high = np.where(falls[:, None], ends, ring), np.where(falls[:, None], ring, ends)
    first, last = np.searchsorted(levels, low[:, 1]), np.searchsorted(levels, high[:, 1])
    counts = last - first
    edges = np.repeat(np.arange(len(ring)), counts)
    rows = np.arange(len(edges)) + np.repeat(first - np.cumsum(counts) + counts, counts)
    low, high = low[edges], high[edges]
    share = (levels[rows] - low[:, 1]) / (high[:, 1] - low[:, 1])
    return edges, low[:, 0] + share * (high[:, 0] - low[:, 0]), rows


def _traced(mask: Mask) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Trace each border of a mask, from top to bottom, as unit edges with lesion to their right.

    An edge is the (x, y) of its pixel of lesion and the direction (of `_STEP`) that it runs in.
    Outer borders come before the holes of their region.
    """
    width = mask.shape[1]
    around = np.pad(mask.view(np.uint8), 1)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    outermost = cv2.findNonZero(around - cv2.erode(around, cross)).reshape(-1, 2)
    x, y = outermost.T
    behind = (around[y - 1, x], around[y, x + 1], around[y + 1, x], around[y, x - 1])
    edges = [outermost[beyond == 0] - 1 for beyond in behind]
    pixels = np.concatenate(edges).astype(np.intp)
    directions = np.repeat(np.arange(4), [len(part) for part in edges])
    starts = pixels + _BEGIN[directions]
    ends = starts + _STEP[directions]
    keys = (starts @ (1, width + 1)) * 4 + directions
    order = np.argsort(keys)
    keys, pixels, directions = keys[order], pixels[order], directions[order]
    goals = (ends[order] @ (1, width + 1)) * 4
    following = np.zeros(len(keys), np.intp)
    for turn in (3, 0, 1):  # to the right last, so that it wins: it stays with the same pixel
        goal = goals + (directions + turn) % 4
        at = np.searchsorted(keys, goal).clip(max=len(keys) - 1)
        there = keys[at] == goal
        following[there] = at[there]
    after = following.tolist()
    seen = [False] * len(after)
    for first in range(len(after)):
        border: list[int] = []
        edge = first
        while not seen[edge]:
            seen[edge] = True
            border.append(edge)
            edge = after[edge]
        if border:
            yield pixels[border], directions[border]


def _corners(
    pixels: NDArray[np.intp], directions: NDArray[np.intp], frame: NDArray[np.intp]
) -> tuple[Ring, NDArray[np.bool_]]:
    """Return the corners of a traced border before any is dropped, and which of them must stay.

    They are the middles of its edges; along the frame the ends of what lies on it.
    """
    starts = pixels + _BEGIN[directions]
    ends = starts + _STEP[directions]
    middles = (starts + ends) / 2
    on_frame = (middles[:, None] == frame).any(axis=(1, 2))
    turns = directions != np.roll(directions, -1)
    stays = (on_frame != np.roll(on_frame, -1)) | (on_frame & turns)
    both = np.stack([middles, ends], axis=1)
    inside = np.clip(both, pixels[:, None], pixels[:, None] + _INSIDE)
    chosen = np.stack([~on_frame, stays], axis=1)
    return inside[chosen], np.broadcast_to((False, True), chosen.shape)[chosen]


def _simplified(borders: Sequence[tuple[Ring, NDArray[np.bool_]]], tolerance: float) -> list[Ring]:
    """Return the outer border and the holes of one region with fewer corners."""
    rings = [ring for ring, _ in borders]
    length = sum(map(len, rings))
    area = abs(sum(x @ np.roll(y, -1) - y @ np.roll(x, -1) for x, y in (r.T for r in rings))) / 2
    if area < _SMALL:
        tolerance = 0.0
    while True:
        # What lies between two borders is no more than their distance times their length.
        fewer = [_fewer_corners(ring, stays, tolerance) for ring, stays in borders]
        sure = tolerance * length <= 2 * area * (1 - _DICE)
        if tolerance <= _EXACT or sure or _dice(rings, fewer) >= _DICE:
            return [ring for ring in fewer if len(ring) > 2]
        tolerance /= 2


def _fewer_corners(ring: Ring, stays: NDArray[np.bool_], tolerance: float) -> Ring:
    tolerance = max(tolerance, 0.02)  # of corners on one line, the middle ones are always dropped
    fixed = np.flatnonzero(stays)
    exact = ring.astype(np.float32)
    if not len(fixed):
        pieces = [cv2.approxPolyDP(exact, tolerance, closed=True).reshape(-1, 2)]
    else:
        exact = np.roll(exact, -fixed[0], axis=0)
        parts = np.split(exact, fixed[1:] - fixed[0])
        following = [part[:1] for part in (*parts[1:], parts[0])]
        joined = (np.concatenate(pair) for pair in zip(parts, following, strict=True))
        fewer = (cv2.approxPolyDP(part, tolerance, closed=False) for part in joined)
        pieces = [part.reshape(-1, 2)[:-1] for part in fewer]
    return np.concatenate(pieces).astype(np.float64)


def _dice(rings: Sequence[Ring], others: Sequence[Ring]) -> float:
    """Return the Dice of the pixels in some rings with those in others."""
    right, bottom = np.ceil(rings[0].max(axis=0)).astype(int)
    left, top = np.floor(rings[0].min(axis=0)).astype(int)
    masks = np.zeros((2, bottom - top, right - left), np.bool_)
    for mask, polygons in zip(masks, (rings, others), strict=True):
        fill(mask, [ring - (left, top) for ring in polygons])
    return 2 * int(masks.all(axis=0).sum()) / int(masks.sum())
