"""Batches of photos and masks on the device: this process's share of each, augmented."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from lesionseg import distributed
from lesionseg.config import Recipe
from lesionseg.data.augmentation import BOUNDS, augment
from lesionseg.data.cache import CachedPairs
from lesionseg.threads import map_ahead


def training_side(recipe: Recipe, size: int, epoch: int) -> int:
    """Return the side of the photos that an epoch, from 0, trains on: `size`, or half of it."""
    return size // 2 if epoch < round(recipe.low_res_fraction * recipe.epochs) else size


class Loader:
    """Loads cached photos and masks onto a device.

    Args:
        data: the cached pairs.
        device: where the network runs.
        memory_format: of the photos; the one that the network is fastest with.
    """

    def __init__(
        self,
        data: CachedPairs,
        device: torch.device,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self.data, self._device, self._memory_format = data, device, memory_format

    def __len__(self) -> int:
        return len(self.data)

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Load these rows: photos (B, 3, size, size) uint8, masks (B, 1, size, size) float32."""
        return self._to_device(*self._load(rows))

    def epoch(self, recipe: Recipe, epoch: int, done: int) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield an epoch's batches (from 0) in the seed's order, after its first `done` photos.

        A batch is the number of photos in all of it, and this process's share, augmented, at half
        the side where the recipe says so: photos (b, 3, side, side) uint8 or float32, and masks
        (b, 1, side, side) float32.
        """
        order = np.random.default_rng([recipe.seed, epoch]).permutation(len(self))

        def load(first: int) -> tuple[int, int, Tensor, Tensor]:
            rows = order[first : first + recipe.batch_size]
            return first, len(rows), *self._load(rows[_share(len(rows))])

        starts = range(done, len(order), recipe.batch_size)
        side = training_side(recipe, self.data.photos.shape[1], epoch)
        for first, count, photos, masks in map_ahead(load, starts, workers=1):
            photos, masks = self._to_device(photos, masks)
            if recipe.augmentation != "none":
                seed, bounds = [recipe.seed, epoch, first], BOUNDS[recipe.augmentation]
                photos, masks = augment(photos, masks, side, seed, count, _share(count), bounds)
            elif side != photos.shape[-1]:
                photos, masks = (
                    interpolate(tensor.float(), size=(side, side), mode="area")
                    for tensor in (photos, masks)
                )
            yield count, photos.contiguous(memory_format=self._memory_format), masks

    def _load(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return (B, 3, size, size) and (B, 1, size, size) uint8 in memory that CUDA can copy."""
        photos = torch.from_numpy(self.data.photos[rows]).permute(0, 3, 1, 2)
        masks = torch.from_numpy(self.data.masks[rows]).unsqueeze(1)
        if self._device.type == "cuda":
            return photos.pin_memory(), masks.pin_memory()
        return photos, masks

    def _to_device(self, photos: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Move both to the device, photos as uint8 and masks as float32."""
        photos = photos.to(self._device, non_blocking=True)
        masks = masks.to(self._device, non_blocking=True)
        return photos.contiguous(memory_format=self._memory_format), masks.float()


def _share(batch: int) -> slice:
    """Return the photos of a batch that this process takes: all of one too small to share."""
    world_size = distributed.world_size()
    return slice(distributed.rank(), None, world_size) if batch >= world_size else slice(None)
