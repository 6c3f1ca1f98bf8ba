"""Augmentation: photos and masks turned, zoomed, stretched, shifted and recoloured at random.

"wide" also imitates other cameras and darker skin, and draws ink, hair and dark corners. A whole
batch at once, on the device. The changes depend on the seed alone. What each strength gives:
docs/measurements.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, interpolate

from lesionseg.config import Augmentation

_HAIRS = 4
_EXPOSED = 140  # of 255: a photo's brightest channel, as cameras expose
_NUMBERS = 64  # at least as many as `_as_by_another_camera` draws for a photo
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
# Optical density of melanin for red, green and blue, relative to red, in sRGB's gamma: what skin
# darkens by (after Jacques 2013, doi:10.1088/0031-9155/58/11/R37, flattened as cameras show it).
MELANIN = (1.0, 1.15, 1.45)


@dataclass(frozen=True)
class Bounds:
    """How far photos are changed.

    Attributes:
        zoom: least and most share of the photo's side that is seen.
        stretch: one side over the other: exp(+-2 * this).
        shift: of half the photo's side.
        brightness: of 255, for all channels.
        tint: of 255, for each channel alone.
        contrast: exp(+- this); like saturation and hue of the differences to the mean colour.
        saturation: exp(+- this).
        hue: radians.
        camera: whether gamma, skin tone, sharpness, noise and synthetic ink, hair and dark corners
            change, too.
    """

    zoom: tuple[float, float]
    stretch: float
    shift: float
    brightness: float
    tint: float
    contrast: float
    saturation: float
    hue: float
    camera: bool = False


# "full" is half of what was tried first; "wide" is for photos from elsewhere.
BOUNDS: dict[Augmentation, Bounds] = {
    "full": Bounds((0.85, 1.1), 0.1, 0.08, 12.0, 6.0, 0.12, 0.18, 0.06),
    "wide": Bounds((0.6, 1.35), 0.2, 0.25, 24.0, 14.0, 0.3, 0.4, 0.12, camera=True),
}


def augment(
    photos: Tensor,
    masks: Tensor,
    size: int,
    seed: Sequence[int],
    batch: int | None = None,
    share: slice = slice(None),
    bounds: Bounds = BOUNDS["full"],
) -> tuple[Tensor, Tensor]:
    """Move each photo and its mask alike, and recolour the photo.

    Args:
        photos: (B, 3, H, W) uint8, RGB, 0 to 255.
        masks: (B, 1, H, W) uint8 or float, 0 to 1.
        size: side of the squares that come back.
        seed: of the random changes.
        batch: how many photos the changes are drawn for; B if left out.
        share: which of those the B photos are.
        bounds: of the changes.

    Returns:
        (B, 3, size, size) float32 in 0 to 255, and (B, 1, size, size) float32 in 0 to 1, in between
        where a border was interpolated.
    """
    random = np.random.default_rng(seed)
    count = batch or len(photos)
    movements = _movements(random, count, bounds)[share].to(photos.device)
    grid = affine_grid(movements, [len(photos), 3, size, size], align_corners=False)
    moved, truth = (
        grid_sample(tensor.float(), grid, padding_mode="reflection", align_corners=False)
        for tensor in (photos, masks)
    )
    matrices, offsets = (
        change[share].to(photos.device) for change in _colours(random, count, bounds)
    )
    mean = moved.mean((2, 3)).unsqueeze(2)  # (B, 3, 1): colours turn about it
    offsets = offsets + mean - matrices @ mean
    coloured = torch.einsum("bij,bjhw->bihw", matrices, moved) + offsets.unsqueeze(3)
    if bounds.camera:
        chances = _Chances(random, count, share, photos.device)
        coloured = _as_by_another_camera(coloured, chances, int(random.integers(2**31)))
    return coloured.clamp(0, 255), truth


def _movements(random: np.random.Generator, count: int, bounds: Bounds) -> Tensor:
    """Draw (B, 2, 3) float32: from where in the photo, -1 to 1, each point of the result comes."""
    angle = random.uniform(0, 2 * math.pi, count)
    zoom = np.exp(random.uniform(math.log(bounds.zoom[0]), math.log(bounds.zoom[1]), count))
    stretch = np.exp(random.uniform(-bounds.stretch, bounds.stretch, count))
    mirror = random.choice([-1.0, 1.0], count)
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    shift = bounds.shift
    rows = [
        [cos * stretch * mirror, -sin / stretch, random.uniform(-shift, shift, count)],
        [sin * stretch * mirror, cos / stretch, random.uniform(-shift, shift, count)],
    ]
    return torch.from_numpy(np.array(rows).transpose(2, 0, 1)).float()


def _colours(random: np.random.Generator, count: int, bounds: Bounds) -> tuple[Tensor, Tensor]:
    """Draw (B, 3, 3) and (B, 3, 1) float32: what RGB is multiplied by, and what is added."""

    def factors(bound: float) -> np.ndarray[tuple[int, int, int], np.dtype[np.float64]]:
        return np.exp(random.uniform(-bound, bound, (count, 1, 1)))

    contrast, saturation = factors(bounds.contrast), factors(bounds.saturation)
    angle = random.uniform(-bounds.hue, bounds.hue, (count, 1, 1))
    one, grey = np.eye(3), np.ones((3, 3)) / 3
    axis = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)  # of grey; Rodrigues
    hue = np.cos(angle) * one + (1 - np.cos(angle)) * grey + np.sin(angle) * axis
    matrices = contrast * (saturation * one + (1 - saturation) * np.tile(_LUMA, (3, 1))) @ hue
    brightness, tint = bounds.brightness, bounds.tint
    offsets = random.uniform(-brightness, brightness, (count, 1, 1)) + random.uniform(
        -tint, tint, (count, 3, 1)
    )
    return torch.from_numpy(matrices).float(), torch.from_numpy(offsets).float()


class _Chances:
    """Uniform random numbers for the photos of a batch, brought to the device at once.

    Args:
        random: where they come from.
        count: photos that numbers are drawn for.
        share: which of these are here.
        device: where they go.
    """

    def __init__(
        self, random: np.random.Generator, count: int, share: slice, device: torch.device
    ) -> None:
        table = random.random((count, _NUMBERS), np.float32)
        self._table, self._next = torch.from_numpy(table[share]).to(device), 0

    def draw(self, low: float, high: float, channels: int = 1) -> Tensor:
        """Draw (B, channels, 1, 1) between `low` and `high`."""
        first, self._next = self._next, self._next + channels
        values = self._table[:, first : self._next]
        return (low + (high - low) * values)[:, :, None, None]

    def sometimes(self, chance: float, low: float, high: float, channels: int = 1) -> Tensor:
        """Draw like `draw` with this chance for each photo and channel, else 0."""
        return self.draw(low, high, channels) * (self.draw(0, 1, channels) < chance)


def _as_by_another_camera(photos: Tensor, chances: _Chances, seed: int) -> Tensor:
    """Draw over (B, 3, H, W), change skin tone, exposure and sharpness, add noise.

    Most photos keep most of these as they are.
    """
    photos = _draw_over(photos, chances)
    gamma = chances.sometimes(0.5, -0.3, 0.3).exp()
    melanin = chances.sometimes(0.35, -0.15, 0.9) * photos.new_tensor(MELANIN).view(1, 3, 1, 1)
    photos = 255 * (photos.clamp(1, 255) / 255) ** gamma * (-melanin).exp()
    mean = photos.mean((2, 3), keepdim=True)
    photos = mean + (photos - mean) * chances.sometimes(0.3, -0.7, 0.0).exp()
    # As a camera that exposes for the skin.
    exposure = (_EXPOSED / mean.amax(1, keepdim=True).clamp(min=20)).log()
    photos = photos * (chances.sometimes(0.5, 0.0, 1.0) * exposure).exp()
    blurred = avg_pool2d(photos, 5, 1, 2, count_include_pad=False)
    photos = photos + chances.sometimes(0.4, -0.6, 1.0) * (blurred - photos)
    generator = torch.Generator(photos.device).manual_seed(seed)
    batch, side = len(photos), photos.shape[-1]
    grain, blocks = (
        torch.randn(size, generator=generator, device=photos.device)
        for size in ((1, 3, side, side), (batch, 3, side // 8, side // 8))
    )
    photos = photos + chances.sometimes(0.3, 0, 6) * grain
    # What JPEG leaves of soft colours: steps between blocks of 8 by 8 pixels.
    return photos + chances.sometimes(0.3, 0, 3) * interpolate(blocks, size=(side, side))


def _draw_over(photos: Tensor, chances: _Chances) -> Tensor:
    """Draw hairs, a ring (ink, or the edge of a drop of gel) and dark corners over some photos."""
    side, draw, sometimes = photos.shape[-1], chances.draw, chances.sometimes
    line = torch.linspace(-1, 1, side, device=photos.device)
    x, y = line.view(1, 1, 1, side), line.view(1, 1, side, 1)

    radius, angle = draw(1.5, 6, _HAIRS), draw(0, 2 * math.pi, _HAIRS)  # arcs of large circles
    reach = radius + draw(-0.8, 0.8, _HAIRS)
    distance = ((x - reach * angle.cos()) ** 2 + (y - reach * angle.sin()) ** 2).sqrt()
    hair = torch.sigmoid((draw(0.004, 0.015, _HAIRS) - (distance - radius).abs()) * side)
    hair = (hair * sometimes(0.15, 0.4, 0.95, _HAIRS)).amax(1, keepdim=True)
    photos = photos + hair * (draw(10, 90, 3) - photos)

    wave = torch.sin(draw(0.5, 4.5).round() * torch.atan2(y, x) + draw(0, 2 * math.pi))
    distance = (((x - draw(-0.5, 0.5)) * draw(0.8, 1.6)) ** 2 + (y - draw(-0.5, 0.5)) ** 2).sqrt()
    radius = draw(0.4, 1.2) - distance * (1 + draw(0, 0.15) * wave)
    ring = torch.sigmoid((draw(0.01, 0.05) - radius.abs()) * side / 3)
    photos = photos + ring * sometimes(0.12, 0.3, 0.9) * (draw(0, 255, 3) - photos)

    corners = torch.sigmoid((x.square() + y.square() - draw(0.8, 1.7)) * 30)
    return photos * (1 - corners * sometimes(0.12, 0.5, 1))
