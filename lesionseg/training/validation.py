"""Validation: loss, Dice and Jaccard on photos that the network is not trained on."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor
from torch.nn.functional import interpolate

from lesionseg import distributed
from lesionseg.config import Loss, Recipe
from lesionseg.data.loader import Loader
from lesionseg.metrics import confusion
from lesionseg.network.losses import loss_of


@dataclass(frozen=True)
class ValidationScores:
    """Means over the validation photos, each scored alone, at one size.

    Attributes:
        val_loss: of the recipe.
        dice, jaccard: of the masks of all regions, 0 to 1.
        val_photos: how many photos.
    """

    val_loss: float
    dice: float
    jaccard: float
    val_photos: int


@dataclass
class _Sums:
    """What a process has measured of its share of the photos, at one size."""

    loss: float = 0.0
    dice: list[float] = field(default_factory=list)
    jaccard: list[float] = field(default_factory=list)

    def add(self, logits: Tensor, masks: Tensor, loss: Loss) -> None:
        """Count a batch: logits and masks (B, 1, side, side) float32."""
        self.loss += loss_of(logits, masks, loss).item() * len(masks)
        lesions, truths = ((logits > 0).cpu().numpy(), (masks > 0.5).cpu().numpy())
        for lesion, truth in zip(lesions, truths, strict=True):
            counts = confusion(lesion[0], truth[0])
            self.dice.append(counts.dice)
            self.jaccard.append(counts.jaccard)


def validate(
    logits_of: Callable[[Tensor], Tensor],
    loader: Loader,
    recipe: Recipe,
    sides: Collection[int],
    *,
    on_photos: Callable[[int], None] = lambda count: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[int, ValidationScores] | None:
    """Score all photos of `loader`; each of several processes takes a share of them.

    Args:
        logits_of: photos (B, 3, side, side), 0 to 255 -> logits (B, 1, side, side) float32.
        loader: photos and their masks.
        recipe: gives the loss and how many photos a step takes.
        sides: at which to score them, in pixels; smaller ones by means over areas.
        on_photos: called after each step with the number of photos that are done.
        should_stop: asked before each step.

    Returns:
        The means at each of `sides`, on every process; None where one of them was asked to stop.
    """
    batch_size, count = recipe.validation_batch_size, len(loader)
    sums, stop = {side: _Sums() for side in sides}, False
    share = np.arange(count)[distributed.rank() :: distributed.world_size()]
    for first in range(0, len(share), batch_size):
        if stop := should_stop():
            break
        rows = share[first : first + batch_size]
        photos, masks = loader.batch(rows)
        for side, of_side in sums.items():
            of_side.add(logits_of(_shrink(photos, side)), _shrink(masks, side), recipe.loss)
        done = (first + len(rows)) * distributed.world_size()
        on_photos(min(done, count))
    gathered = distributed.all_gather((sums, stop))
    if any(stop for _, stop in gathered):
        return None
    return {side: _means([sums[side] for sums, _ in gathered], count) for side in sides}


def _means(shares: Sequence[_Sums], count: int) -> ValidationScores:
    return ValidationScores(
        val_loss=sum(share.loss for share in shares) / count,
        dice=float(np.mean([value for share in shares for value in share.dice])),
        jaccard=float(np.mean([value for share in shares for value in share.jaccard])),
        val_photos=count,
    )


def _shrink(images: Tensor, side: int) -> Tensor:
    """Downscale (B, C, size, size) to (B, C, side, side); the same tensor if it has that size."""
    if images.shape[-1] == side:
        return images
    return interpolate(images.float(), size=(side, side), mode="area")
