"""What a step sees: photos and masks on the device, this process's share of them, augmented."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from lesionseg import distributed
from lesionseg.config import Recipe
from lesionseg.data.augmentation import augment
from lesionseg.data.cache import Prepared
from lesionseg.threads import map_ahead


def side_of(recipe: Recipe, size: int, epoch: int) -> int:
    """Side of the photos that an epoch, counted from 0, trains on: `size`, or half of it."""
    return size // 2 if epoch < round(recipe.low_res_fraction * recipe.epochs) else size


class Loader:
    """Photos and masks of a prepared set, on their way to a device.

    Args:
        data: the prepared set.
        device: where the network runs.
        layout: memory format of the photos that the network is fastest with.
    """

    def __init__(self, data: Prepared, device: torch.device, layout: torch.memory_format) -> None:
        self.data, self._device, self._layout = data, device, layout

    def __len__(self) -> int:
        return len(self.data)

    def of(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Photos (B, 3, size, size) uint8 and masks (B, 1, size, size) float32 of these rows."""
        return self._placed(*self._loaded(rows))

    def epoch(self, recipe: Recipe, epoch: int, done: int) -> Iterator[tuple[int, Tensor, Tensor]]:
        """An epoch, counted from 0, of which `done` photos are over, in the order of the seed.

        Photos in the whole batch; and this process's share of it, augmented, and at half the side
        where the recipe says so: (b, 3, side, side) uint8 or float32, (b, 1, side, side) float32.
        """
        order = np.random.default_rng([recipe.seed, epoch]).permutation(len(self))

        def load(first: int) -> tuple[int, int, Tensor, Tensor]:
            rows = order[first : first + recipe.batch_size]
            return first, len(rows), *self._loaded(rows[_share(len(rows))])

        starts = range(done, len(order), recipe.batch_size)
        side = side_of(recipe, self.data.photos.shape[1], epoch)
        for first, batch, photos, masks in map_ahead(load, starts, workers=1):
            photos, masks = self._placed(photos, masks)
            if recipe.augmentation == "full":
                seed = [recipe.seed, epoch, first]
                photos, masks = augment(photos, masks, side, seed, batch, _share(batch))
            elif side != photos.shape[-1]:
                photos, masks = (
                    interpolate(each.float(), size=(side, side), mode="area")
                    for each in (photos, masks)
                )
            yield batch, photos.contiguous(memory_format=self._layout), masks

    def _loaded(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """(B, 3, size, size) and (B, 1, size, size) uint8, in memory that CUDA can copy from."""
        photos = torch.from_numpy(self.data.photos[rows]).permute(0, 3, 1, 2)
        masks = torch.from_numpy(self.data.masks[rows]).unsqueeze(1)
        if self._device.type == "cuda":
            return photos.pin_memory(), masks.pin_memory()
        return photos, masks

    def _placed(self, photos: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """The same on the device, photos uint8 and masks float32."""
        photos = photos.to(self._device, non_blocking=True)
        masks = masks.to(self._device, non_blocking=True)
        return photos.contiguous(memory_format=self._layout), masks.float()


def _share(batch: int) -> slice:
    """Which photos of a batch this process takes; all take all of one too small to share."""
    world_size = distributed.world_size()
    return slice(distributed.rank(), None, world_size) if batch >= world_size else slice(None)
