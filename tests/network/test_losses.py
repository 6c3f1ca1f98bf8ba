"""What training makes small: against formulas written anew, photo by photo."""

import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from lesionseg.config import Loss
from lesionseg.network.losses import loss_of, soft_dice_loss

LOSSES: tuple[Loss, ...] = get_args(Loss)
Array = np.ndarray[Any, np.dtype[np.float32]]


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Array, Array]:
    """Logits and a mask of one shape (B, 1, H, W); the mask between 0 and 1."""
    shape = (draw(st.integers(1, 3)), 1, draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    logits = arrays(np.float32, shape, elements=st.floats(-40, 40, width=32))
    truth = arrays(np.float32, shape, elements=st.floats(0, 1, width=32))
    return draw(logits), draw(truth)


def cross_entropy(logits: Array, truth: Array) -> float:
    """Mean of -t log p - (1 - t) log(1 - p)."""
    z, t = logits.astype(float), truth.astype(float)
    return float((t * np.logaddexp(0, -z) + (1 - t) * np.logaddexp(0, z)).mean())


def dice_loss(logits: Array, truth: Array) -> float:
    """1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1) of each photo, and their mean."""
    losses = []
    for z, t in zip(logits.astype(float), truth.astype(float), strict=True):
        p = 1 / (1 + np.exp(-z))
        losses.append(1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1))
    return float(np.mean(losses))


def test_values_worked_out_by_hand() -> None:
    logits = torch.zeros(1, 1, 2, 2)  # every probability 1/2
    truth = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    dice = (2 * 1 + 1) / (2 + 2 + 1)
    jaccard = (1 + 1) / (3 + 1)
    quarter = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    tversky = (0.5 + 1) / (0.5 + 0.7 * 0.5 + 0.3 * 1.5 + 1)
    assert soft_dice_loss(logits, truth).item() == pytest.approx(1 - dice)
    assert loss_of(logits, truth, "bce").item() == pytest.approx(math.log(2))
    assert loss_of(logits, truth, "bce+dice").item() == pytest.approx(math.log(2) + 1 - dice)
    assert loss_of(logits, truth, "bce+jaccard").item() == pytest.approx(math.log(2) + 1 - jaccard)
    assert loss_of(logits, quarter, "bce+tversky").item() == pytest.approx(
        math.log(2) + 1 - tversky
    )


@given(pairs())
def test_values_of_the_formulas(pair: tuple[Array, Array]) -> None:
    logits, truth = (torch.from_numpy(values) for values in pair)
    bce, dice = cross_entropy(*pair), dice_loss(*pair)
    assert loss_of(logits, truth, "bce").item() == pytest.approx(bce, rel=1e-4, abs=1e-5)
    assert loss_of(logits, truth, "bce+dice").item() == pytest.approx(
        bce + dice, rel=1e-4, abs=1e-5
    )


@pytest.mark.parametrize("name", LOSSES)
@given(pair=pairs())
def test_each_photo_counts_alone(name: Loss, pair: tuple[Array, Array]) -> None:
    logits, truth = (torch.from_numpy(values) for values in pair)
    alone = [loss_of(z[None], t[None], name).item() for z, t in zip(logits, truth, strict=True)]
    assert loss_of(logits, truth, name).item() == pytest.approx(np.mean(alone), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_right_is_nothing_and_wrong_is_much(name: Loss) -> None:
    truth = (torch.arange(64) % 3 == 0).float().view(1, 1, 8, 8)
    right = (2 * truth - 1) * 50
    assert loss_of(right, truth, name).item() == pytest.approx(0, abs=1e-6)
    assert loss_of(-right, truth, name).item() > 50 * 0.99


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("logit", [-1e4, 0.0, 1e4])
def test_one_value_everywhere_is_finite(name: Loss, value: float, logit: float) -> None:
    """A mask without a lesion, or without skin, however sure the network is."""
    logits = torch.full((2, 1, 4, 4), logit, requires_grad=True)
    loss = loss_of(logits, torch.full((2, 1, 4, 4), value), name)
    (slope,) = torch.autograd.grad(loss, logits)
    assert math.isfinite(loss.item())
    assert torch.isfinite(slope).all()


def slope_of(dice: Tensor, logits: Tensor) -> Tensor:
    (slope,) = torch.autograd.grad(dice, logits)
    return slope


@pytest.mark.parametrize(("value", "sign"), [(0.0, 1), (1.0, -1)])
def test_the_dice_of_one_value_everywhere_has_a_slope(value: float, sign: int) -> None:
    logits = torch.zeros(1, 1, 4, 4, requires_grad=True)
    slope = slope_of(soft_dice_loss(logits, torch.full((1, 1, 4, 4), value)), logits)
    assert (slope * sign > 0).all()


def test_a_border_of_one_half_is_best_met_by_one_half() -> None:
    truth = torch.full((1, 1, 2, 2), 0.5)
    at = [loss_of(torch.full((1, 1, 2, 2), z), truth, "bce").item() for z in (-1.0, 0.0, 1.0)]
    assert at[1] == pytest.approx(math.log(2))
    assert at[1] < at[0] == pytest.approx(at[2])
