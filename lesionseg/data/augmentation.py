"""Augmentation: photos and masks turned, zoomed, stretched, shifted and recoloured at random.

A whole batch at once, on the device. The changes depend on the seed alone. The bounds are half of
what was tried first; their effect is in docs/measurements.md.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

ZOOM_OUT, ZOOM_IN = 1.1, 0.85  # share of the photo's side that is seen
STRETCH = 0.1  # one side over the other: exp(+-2 * this)
SHIFT = 0.08  # of half the photo's side
BRIGHTNESS = 12.0  # of 255, for all channels
TINT = 6.0  # of 255, for each channel alone
CONTRAST = 0.12  # exp(+- this); like the next two of the differences to the mean colour
SATURATION = 0.18  # exp(+- this)
HUE = 0.06  # radians
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def augment(
    photos: Tensor,
    masks: Tensor,
    size: int,
    seed: Sequence[int],
    batch: int | None = None,
    share: slice = slice(None),
) -> tuple[Tensor, Tensor]:
    """Move each photo and its mask alike, and recolour the photo.

    Args:
        photos: (B, 3, H, W) uint8, RGB, 0 to 255.
        masks: (B, 1, H, W) uint8 or float, 0 to 1.
        size: side of the squares that come back.
        seed: of the random changes.
        batch: how many photos the changes are drawn for; B if left out.
        share: which of those the B photos are.

    Returns:
        (B, 3, size, size) float32 in 0 to 255, and (B, 1, size, size) float32 in 0 to 1, in between
        where a border was interpolated.
    """
    random = np.random.default_rng(seed)
    count = batch or len(photos)
    movements = _movements(random, count)[share].to(photos.device)
    grid = affine_grid(movements, [len(photos), 3, size, size], align_corners=False)
    moved, truth = (
        grid_sample(tensor.float(), grid, padding_mode="reflection", align_corners=False)
        for tensor in (photos, masks)
    )
    matrices, offsets = (change[share].to(photos.device) for change in _colours(random, count))
    mean = moved.mean((2, 3)).unsqueeze(2)  # (B, 3, 1): colours turn about it
    offsets = offsets + mean - matrices @ mean
    coloured = torch.einsum("bij,bjhw->bihw", matrices, moved) + offsets.unsqueeze(3)
    return coloured.clamp(0, 255), truth


def _movements(random: np.random.Generator, count: int) -> Tensor:
    """Draw (B, 2, 3) float32: from where in the photo, -1 to 1, each point of the result comes."""
    angle = random.uniform(0, 2 * math.pi, count)
    zoom = np.exp(random.uniform(math.log(ZOOM_IN), math.log(ZOOM_OUT), count))
    stretch = np.exp(random.uniform(-STRETCH, STRETCH, count))
    mirror = random.choice([-1.0, 1.0], count)
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    rows = [
        [cos * stretch * mirror, -sin / stretch, random.uniform(-SHIFT, SHIFT, count)],
        [sin * stretch * mirror, cos / stretch, random.uniform(-SHIFT, SHIFT, count)],
    ]
    return torch.from_numpy(np.array(rows).transpose(2, 0, 1)).float()


def _colours(random: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Draw (B, 3, 3) and (B, 3, 1) float32: what RGB is multiplied by, and what is added."""
    contrast = np.exp(random.uniform(-CONTRAST, CONTRAST, (count, 1, 1)))
    saturation = np.exp(random.uniform(-SATURATION, SATURATION, (count, 1, 1)))
    angle = random.uniform(-HUE, HUE, (count, 1, 1))
    one, grey = np.eye(3), np.ones((3, 3)) / 3
    axis = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)  # of grey; Rodrigues
    hue = np.cos(angle) * one + (1 - np.cos(angle)) * grey + np.sin(angle) * axis
    matrices = contrast * (saturation * one + (1 - saturation) * np.tile(_LUMA, (3, 1))) @ hue
    offsets = random.uniform(-BRIGHTNESS, BRIGHTNESS, (count, 1, 1)) + random.uniform(
        -TINT, TINT, (count, 3, 1)
    )
    return torch.from_numpy(matrices).float(), torch.from_numpy(offsets).float()
