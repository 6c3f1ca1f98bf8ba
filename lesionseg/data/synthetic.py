"""The synthetic `demo` data set: images that look like dermoscopic photos, with their masks.

An image is made as light makes a photo. Skin holds pigments (melanin, blood, and melanin that
lies deep and looks blue-grey), each absorbs some of the red, green and blue, and a lesion is
more pigment inside an outline. So a lesion's colour follows from the tone of the skin around it.
Over that lie the artefacts that mislead: gel bubbles, hairs, a ruler, freckles, uneven
light, and the black corners of a dermoscope.

They are for trying the tool without a download, and no substitute for photos: a network trained
on them has never seen a lesion, and its scores on them say nothing about skin.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lesionseg import files
from lesionseg.images.arrays import Mask, Photo
from lesionseg.images.encode import photo_jpeg
from lesionseg.images.png import mask_png

Rng = np.random.Generator
Shape = tuple[int, int]  # (H, W)
Plane = NDArray[np.float32]  # (H, W)
Picture = NDArray[np.float32]  # (3, H, W): red, green and blue, 0 to 1
Pigments = NDArray[np.float32]  # (3, H, W): melanin, blood and deep melanin, 0 and up

PHOTOS: Mapping[str, int] = {"train": 120, "val": 30, "test": 30}
SIZES = ((240, 320), (288, 384), (300, 400), (384, 512), (320, 240), (400, 320))  # height, width
SMALLEST, LARGEST = 0.02, 0.60  # a lesion's share of the frame

_FOLDERS = {"train": "Training", "val": "Validation", "test": "Test"}
_ABSORBED = np.array(  # of red, green, blue, by one unit of each pigment
    [[0.45, 0.80, 1.15], [0.08, 0.75, 0.55], [1.05, 0.85, 0.55]], np.float32
)
_KINDS = (  # of lesions: how common; the least and the most of each pigment
    (0.50, (0.45, 0.0, 0.0), (1.0, 0.4, 0.0)),  # brown
    (0.15, (0.18, 0.0, 0.0), (0.3, 0.15, 0.0)),  # faint
    (0.15, (0.8, 0.0, 0.3), (1.5, 0.4, 0.9)),  # black
    (0.10, (0.0, 0.4, 0.0), (0.2, 1.0, 0.0)),  # red
    (0.10, (0.1, 0.0, 0.4), (0.5, 0.3, 1.0)),  # blue-grey
)
_LICENSE = """\
The images in this folder were made by the program lesionseg. They are not photos, show no
person, and are no medical data: they are for trying the program only.

To the extent possible under law, they are released into the public domain under CC0 1.0:
https://creativecommons.org/publicdomain/zero/1.0/
"""


def generate_set(
    folder: Path,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    photos: Mapping[str, int] = PHOTOS,
    seed: int = 0,
) -> None:
    """Generate the data set in `folder`, in the layout of the challenge's sets.

    `photos` is their number by split (train, val, test); `on_progress` is called with (done, all)
    after each. LICENSE.txt is written last: where it is, the set is complete.

    Raises:
        LesionsegError: a file cannot be written.
    """
    total, done = sum(photos.values()), 0
    for split, count in photos.items():
        inputs = folder / f"DEMO_{_FOLDERS[split]}_Input"
        truths = folder / f"DEMO_{_FOLDERS[split]}_GroundTruth"
        for _ in range(count):
            done += 1
            photo, mask = generate(seed, done)
            files.write(inputs / f"DEMO_{done:07d}.jpg", photo_jpeg(photo))
            files.write(truths / f"DEMO_{done:07d}_segmentation.png", mask_png(mask))
            if on_progress:
                on_progress(done, total)
    files.write(folder / "LICENSE.txt", _LICENSE)


def generate(seed: int, index: int) -> tuple[Photo, Mask]:
    """Generate a photo and its mask, the same for the same numbers (0 or more).

    Returns (H, W, 3) uint8 of one of `SIZES` and (H, W) bool: one region without holes, of
    `SMALLEST` to `LARGEST` of the frame.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index])))
    shape = SIZES[rng.integers(len(SIZES))]
    seen = dark_corners(rng, shape)
    depth = lesion_outline(rng, seen > 0.5)
    mask = (depth > 0) & (seen > 0.5)

    pigments = skin(rng, shape) + lesion(rng, depth)
    picture: Picture = np.exp(-np.einsum("phw,pc->chw", pigments, _ABSORBED))
    picture *= lamp(rng, shape)
    for chance, artefact, colour in (
        (0.25, bubbles, (1.0, 1.0, 1.0)),
        (0.30, hairs, (0.08, 0.06, 0.05)),
        (0.25, hairs, (0.27, 0.19, 0.14)),
        (0.12, hairs, (0.80, 0.74, 0.65)),
        (0.25, ruler, (0.08, 0.08, 0.10)),
    ):
        if rng.random() < chance:
            _paint(picture, artefact(rng, shape), colour)
    picture *= seen
    picture += 0.02 + rng.uniform(0.004, 0.015) * rng.standard_normal(shape, np.float32)
    photo = (picture * 255 + 0.5).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(photo.transpose(1, 2, 0)), mask


def dark_corners(rng: Rng, shape: Shape) -> Plane:
    """Draw the dermoscope's round field of view, (H, W) float32: 1 seen, 0 black."""
    if rng.random() < 0.65:
        return np.ones(shape, np.float32)
    radius = rng.uniform(0.38, 0.60) * float(np.hypot(*shape))
    y, x = _from(rng.uniform(0.46, 0.54, 2) * shape, shape)
    return _step((radius - np.hypot(y, x)) / rng.uniform(2, 0.12 * radius) + 0.5)


def lesion_outline(rng: Rng, seen: Mask) -> Plane:
    """Draw a lesion as the depth of each pixel in it, (H, W) float32: below 0 is outside.

    The outline is star-shaped about a point that is seen: a Fourier series in the angle, on a
    turned ellipse. So the part of it inside any convex frame is one region without holes.
    """
    shape, order = (seen.shape[0], seen.shape[1]), np.arange(1, 25)
    while True:
        radius = rng.uniform(SMALLEST**0.5, LARGEST**0.5) * (seen.size / np.pi) ** 0.5
        spread = 0.08 if rng.random() < 0.75 else 0.3
        middle = rng.normal(0.5, spread, 2).clip(0.03, 0.97) * shape
        y, x = _from(middle, shape)
        turned = (x + 1j * y) * np.complex64(np.exp(1j * rng.uniform(0, np.pi)))
        stretch = rng.uniform(0.75, 1.0)
        place = turned.real * stretch + 1j * (turned.imag / stretch)
        distance = np.abs(place)
        direction = place / np.maximum(distance, 1e-3)

        size = rng.uniform(0.04, 0.25) * order ** -rng.uniform(1.0, 1.7)
        waves = size * (rng.normal(size=24) + 1j * rng.normal(size=24))
        series = np.zeros_like(direction)
        for wave in waves[::-1].astype(np.complex64):
            series = (series + wave) * direction
        depth: Plane = radius * np.maximum(1 + series.real, 0.35) - distance
        share = np.count_nonzero((depth > 0) & seen) / seen.size
        if SMALLEST <= share <= LARGEST and seen[int(middle[0]), int(middle[1])]:
            return depth


def skin(rng: Rng, shape: Shape) -> Pigments:
    """Draw the pigments of bare skin, (3, H, W) float32: tone, furrows, freckles, blotches."""
    tone = rng.choice([0.06, 0.15, 0.28, 0.50, 0.80, 1.20], p=[0.2, 0.24, 0.2, 0.14, 0.12, 0.1])
    tone = float(tone) * rng.uniform(0.8, 1.25)
    furrows = np.abs(_cloud(rng, shape, rng.uniform(5, 9)))
    texture = 0.5 * _cloud(rng, shape, 40) + 0.3 * _cloud(rng, shape, 2)
    texture += rng.uniform(0, 0.8) * (0.7 - furrows).clip(0, None)
    melanin = tone + (0.02 + 0.07 * tone) * texture
    if rng.random() < 0.5:
        pores = rng.uniform(0, shape, (rng.integers(20, 160), 2))
        melanin += rng.uniform(-0.15, 0.3) * _strokes(shape, pores, rng.uniform(0.6, 1.5))
    if rng.random() < 0.3:
        spots = _step((_cloud(rng, shape, rng.uniform(5, 12)) - 2.1) * 2)
        melanin += rng.uniform(0.1, 0.5) * spots
    blotches = _cloud(rng, shape, 60) + 0.8 * _cloud(rng, shape, 6)
    blood = rng.uniform(0.05, 0.28) * (1 + rng.uniform(0.05, 0.25) * blotches)
    return np.stack([melanin, blood, np.zeros_like(blood)]).clip(0, None)


def lesion(rng: Rng, depth: Plane) -> Pigments:
    """Return the pigments that a lesion adds to the skin, (3, H, W) float32, from its `depth`."""
    shape = (depth.shape[0], depth.shape[1])
    radius = float(depth.max())
    ragged = depth + rng.uniform(0.02, 0.10) * radius * _cloud(rng, shape, 0.1 * radius)
    inside = _step(ragged / (rng.uniform(0.15, 0.6) * radius) + 0.35)

    areas = _cloud(rng, shape, 0.4 * radius)
    amount = 1 + rng.uniform(0.1, 0.4) * areas + 0.15 * _cloud(rng, shape, 3)
    amount += rng.uniform(-0.4, 0.6) * (depth / radius).clip(0, 1)  # a dark rim, or a dark middle
    if rng.random() < 0.5:
        amount += rng.uniform(0.2, 0.5) * network(rng, shape)
    if rng.random() < 0.5:
        globules = _step(2 * _cloud(rng, shape, rng.uniform(3, 6)) - 1.5)
        amount += rng.uniform(0.3, 1.0) * globules
    if rng.random() < 0.3:
        amount *= 1 - rng.uniform(0.5, 0.9) * _step(1.5 * areas - 0.5)  # a part that has faded

    kind = _KINDS[rng.choice(len(_KINDS), p=[common for common, _, _ in _KINDS])]
    melanin, blood, deep = rng.uniform(*kind[1:]).astype(np.float32)
    veil = _step(_cloud(rng, shape, 0.5 * radius) + 0.7)
    maps = [melanin * amount, blood * (0.6 + 0.4 * amount), deep * veil * amount]
    return np.stack(maps).clip(0, None) * inside


def network(rng: Rng, shape: Shape) -> Plane:
    """Draw a pigment network, (H, W) float32 about -1 to 1: dark lines around lighter holes."""
    pitch = rng.uniform(3.5, 7)
    one, other = np.abs(_cloud(rng, shape, pitch)), np.abs(_cloud(rng, shape, pitch))
    return (1 - 3 * np.minimum(one, other)).clip(-1, 1)


def lamp(rng: Rng, shape: Shape) -> Picture:
    """Draw the light on the skin, (3, H, W) float32 about 0.5 to 1.2: tinted, weaker at the rim."""
    y, x = (away / min(shape) for away in _from(np.array(shape) / 2, shape))
    fall = 1 - rng.uniform(0.05, 0.35) * (y * y + x * x)
    fall += rng.uniform(-0.15, 0.15) * y + rng.uniform(-0.15, 0.15) * x
    cold = rng.uniform(0.4, 1.0) if rng.random() < 0.2 else rng.uniform(-0.25, 0.25)
    tint = np.array([1 - 0.25 * cold, 1.0, 1 + 0.2 * cold], np.float32) * rng.uniform(0.88, 1.08)
    return fall * tint[:, None, None]


def hairs(rng: Rng, shape: Shape) -> Plane:
    """Draw the share of each pixel that hairs cover, (H, W) float32: thin curves, mostly alike."""
    cover = np.zeros(shape, np.float32)
    comb = rng.uniform(0, 2 * np.pi)
    along = np.linspace(0, 1, 700)[:, None]
    for _ in range(rng.integers(2, 13)):
        way = comb + rng.normal(0, 0.5)
        run = rng.uniform(0.2, 1.2) * shape[1] * np.array([np.sin(way), np.cos(way)])
        bow = rng.normal(0, 0.2) * run[::-1] * np.array([1, -1])
        line = rng.uniform(0, shape) + (along - 0.5) * run + along * (1 - along) * 2 * bow
        hair = _strokes(shape, line, rng.uniform(0.35, 1.1))
        np.maximum(cover, rng.uniform(0.5, 0.95) * hair, out=cover)
    return cover


def ruler(rng: Rng, shape: Shape) -> Plane:
    """Draw the share of each pixel that a ruler's ticks cover, (H, W) float32: along an edge."""
    way = rng.integers(4) * np.pi / 2 + rng.normal(0, 0.12)
    ahead, inward = np.array([np.sin(way), np.cos(way)]), np.array([np.cos(way), -np.sin(way)])
    middle = (0.5 - 0.47 * inward) * shape
    pitch, first, last = rng.uniform(5, 14), rng.integers(-25, 0), rng.integers(3, 26)
    ticks = [
        middle + ahead * (pitch * n) + inward * np.arange(0, 17 if n % 5 == 0 else 9, 0.5)[:, None]
        for n in range(first, last)
    ]
    return 0.85 * _strokes(shape, np.concatenate(ticks), rng.uniform(0.4, 0.8))


def bubbles(rng: Rng, shape: Shape) -> Plane:
    """Draw how white gel bubbles make each pixel, (H, W) float32: rings, brighter to one side."""
    white = np.zeros(shape, np.float32)
    lit = rng.uniform(0, 2 * np.pi)
    for _ in range(rng.integers(1, 9)):
        radius = rng.uniform(3, 16)
        y, x = _from(rng.uniform(0, shape), shape)
        near = np.ix_(np.abs(y[:, 0]) < radius + 6, np.abs(x[0]) < radius + 6)
        y, x = y[near[0][:, 0]], x[:, near[1][0]]
        distance = np.hypot(y, x)
        side = ((np.sin(lit) * y + np.cos(lit) * x) / radius).clip(-1, 1)
        ring = np.exp(-(((distance - radius) / 1.2) ** 2)) * (0.4 + 0.3 * side)
        white[near] = np.maximum(white[near], ring + 0.08 * (distance < radius))
    return white


def _from(point: NDArray[np.generic], shape: Shape) -> tuple[Plane, Plane]:
    """Return how far each row, (H, 1), and each column, (1, W), lies from a point, in pixels."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    return (y - point[0]).astype(np.float32), (x - point[1]).astype(np.float32)


def _step(values: NDArray[np.floating]) -> Plane:
    """Return 0 below 0, 1 above 1, and a smooth step between."""
    t: Plane = values.astype(np.float32).clip(0, 1)
    smooth: Plane = t * t * (3 - 2 * t)
    return smooth


def _cloud(rng: Rng, shape: Shape, cell: float) -> Plane:
    """Smooth noise, (H, W) float32, mean 0, deviation about 1, with features of `cell` pixels."""
    (rows, down), (columns, across) = (_weights(length, max(cell, 2)) for length in shape)
    knots = rng.standard_normal((rows[-1] + 4, columns[-1] + 4), np.float32)
    wide = sum(across[tap] * knots[:, columns + tap] for tap in range(4))
    smooth: Plane = sum(down[tap, :, None] * wide[rows + tap] for tap in range(4))
    return smooth


def _weights(length: int, cell: float) -> tuple[NDArray[np.intp], Plane]:
    """Return the first of four knots about each pixel, (length,), and their weights, (4, length).

    The weights are those of a cubic B-spline, scaled so that their squares sum to 1.
    """
    at = np.arange(length) / cell
    first = at.astype(np.intp)
    t = at - first
    taps = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 1 + 3 * t * (1 + t - t * t), t**3]
    weights = np.stack(taps)
    return first, (weights / np.sqrt((weights**2).sum(axis=0))).astype(np.float32)


def _strokes(shape: Shape, points: NDArray[np.float64], half: float) -> Plane:
    """Return the share of each pixel that dots at `points` (N, 2) cover, (H, W) float32."""
    around = np.arange(-2, 3)  # enough for a radius of 1.5
    y, x = np.rint(points).astype(int).T[:, :, None, None]
    rows, columns = np.broadcast_arrays(y + around[:, None], x + around)
    distance = np.hypot(rows - points[:, :1, None], columns - points[:, 1:, None])
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    cover = np.zeros(shape, np.float32)
    amount = (half + 0.5 - distance[inside]).clip(0, 1).astype(np.float32)
    np.maximum.at(cover, (rows[inside], columns[inside]), amount)
    return cover


def _paint(picture: Picture, cover: Plane, colour: tuple[float, ...]) -> None:
    """Lay a colour over the picture, in place, as far as it covers each pixel."""
    hit = cover > 0
    picture[:, hit] += cover[hit] * (np.array(colour, np.float32)[:, None] - picture[:, hit])
