"""Validation: loss, Dice and Jaccard on photos that the network is not trained on."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lesionseg import distributed
from lesionseg.config import Recipe
from lesionseg.data.loader import Loader
from lesionseg.metrics import confusion
from lesionseg.network.losses import loss_of


@dataclass(frozen=True)
class ValidationScores:
    """Means over the validation photos, each scored alone at the network's size.

    Attributes:
        val_loss: of the recipe.
        dice, jaccard: of the masks of all regions, 0 to 1.
        val_photos: how many photos.
    """

    val_loss: float
    dice: float
    jaccard: float
    val_photos: int


def validate(
    logits_of: Callable[[Tensor], Tensor],
    loader: Loader,
    recipe: Recipe,
    *,
    on_photos: Callable[[int], None] = lambda count: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> ValidationScores | None:
    """Score all photos of `loader`; each of several processes takes a share of them.

    Args:
        logits_of: photos (B, 3, H, W) uint8 -> logits (B, 1, H, W) float32.
        loader: photos and their masks.
        recipe: gives the loss and how many photos a step takes.
        on_photos: called after each step with the number of photos that are done.
        should_stop: asked before each step.

    Returns:
        The means, on every process; None where one of them was asked to stop.
    """
    batch_size, count = recipe.validation_batch_size, len(loader)
    loss_sum, stop = 0.0, False
    dice: list[float] = []
    jaccard: list[float] = []
    share = np.arange(count)[distributed.rank() :: distributed.world_size()]
    for first in range(0, len(share), batch_size):
        if stop := should_stop():
            break
        rows = share[first : first + batch_size]
        photos, masks = loader.of(rows)
        logits = logits_of(photos)
        loss_sum += loss_of(logits, masks, recipe.loss).item() * len(photos)
        lesions = (logits > 0).squeeze(1).cpu().numpy()
        for lesion, truth in zip(lesions, loader.data.masks[rows], strict=True):
            counts = confusion(lesion, truth.astype(bool))
            dice.append(counts.dice)
            jaccard.append(counts.jaccard)
        on_photos(min(len(dice) * distributed.world_size(), count))
    shares = distributed.all_gather((loss_sum, dice, jaccard, stop))
    if any(stop for *_, stop in shares):
        return None
    return ValidationScores(
        val_loss=sum(loss_sum for loss_sum, *_ in shares) / count,
        dice=float(np.mean([value for _, dice, _, _ in shares for value in dice])),
        jaccard=float(np.mean([value for _, _, jaccard, _ in shares for value in jaccard])),
        val_photos=count,
    )
