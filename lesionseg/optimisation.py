"""How weights change: the learning rate over a training, weight decay, the moving average."""

import math
from typing import Any

import torch

from lesionseg.config import Recipe
from lesionseg.model import UNet

WARM_UP = 0.1  # share of the training in which the cosine schedule's rate rises


def rate(recipe: Recipe, done: float) -> float:
    """The learning rate when a share `done` of the training, 0 to 1, will be behind.

    "cosine": up in a straight line through the first tenth, then down along half a cosine to 0
    (Loshchilov & Hutter 2017, arXiv:1608.03983, without restarts).
    """
    if recipe.schedule == "constant":
        return recipe.learning_rate
    if done < WARM_UP:
        return recipe.learning_rate * done / WARM_UP
    return recipe.learning_rate * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2


def groups(network: UNet, weight_decay: float) -> list[dict[str, Any]]:
    """What the optimiser changes; without decay AdamW is Adam. Biases and batch normalisation do
    not decay."""
    weights = list(network.parameters())
    if not weight_decay:
        return [{"params": weights, "weight_decay": 0.0}]
    return [
        {"params": [each for each in weights if each.ndim > 1], "weight_decay": weight_decay},
        {"params": [each for each in weights if each.ndim <= 1], "weight_decay": 0.0},
    ]


@torch.no_grad()
def follow(average: UNet, network: UNet, most: float, steps: int) -> None:
    """Moves an average of the weights towards those after one more step; early on, a long way.

    Args:
        average: it is changed.
        network: what was trained.
        most: the share of the average that stays, 0 to 1, once there were many steps.
        steps: before this one.
    """
    decay = min(most, (1 + steps) / (10 + steps))
    new = network.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(new[name], 1 - decay)
        else:
            value.copy_(new[name])  # batch normalisation's count of batches
