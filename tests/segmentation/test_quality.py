"""How sure the probabilities are of their mask."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lesionseg.images.arrays import Mask, Probabilities
from lesionseg.segmentation.quality import agreement

shapes = st.tuples(st.integers(1, 8), st.integers(1, 8))


def sigmoid(logits: Any) -> Any:
    return (1 / (1 + np.exp(-np.asarray(logits, np.float32)))).astype(np.float32)


def disc(border: float) -> Probabilities:
    """A lesion that is sure but for a border as wide as that, in pixels."""
    rows, columns = np.mgrid[-20:21, -20:21]
    distance = np.hypot(rows, columns) - 10
    probabilities: Probabilities = sigmoid((-10 * distance / border).clip(-5, 5))
    return probabilities


@pytest.mark.parametrize(
    ("above", "expected"),
    [
        (0.0, 2 * 2 / (2 + 4)),  # 3, 1.5, 0.5, -0.2, -4: mean distance 1.84, margin 0.72
        (1.0, 2 * 1 / (1 + 3)),  # 2, 0.5, -0.5, -1.2, -5: 1.84, 0.72
        (-2.0, 1.0),  # 5, 3.5, 2.5, 1.8, -2: 2.96, 0.91
        (4.0, 0.0),  # nothing is above
    ],
)
def test_by_hand(above: float, expected: float) -> None:
    probabilities = sigmoid([[3, 1.5, 0.5, -0.2, -4]])
    assert agreement(probabilities, float(sigmoid(above))) == pytest.approx(expected)


def test_steep_logits_are_surer_by_less_than_their_steepness() -> None:
    logits = np.array([[3, 1.5, 0.7, -0.4, -4]])  # margin 0.73: of logits four times as steep 0.37
    assert agreement(sigmoid(logits), 0.5) == pytest.approx(2 * 2 / (2 + 4))
    assert agreement(sigmoid(4 * logits), 0.5) == 1  # 1.47 of 2.8 and -1.6
    assert agreement(sigmoid(4 * logits - np.array([0, 0, 1.6, 0, 0])), 0.5) == pytest.approx(0.8)


@given(arrays(bool, shapes).filter(np.any), st.floats(0.01, 0.99))
def test_a_crisp_map_is_sure(mask: Mask, threshold: float) -> None:
    assert agreement(mask.astype(np.float32), threshold) == 1


@pytest.mark.parametrize("value", [0, 0.3, 0.5])
def test_nothing_found_is_nothing_sure(value: float) -> None:
    assert agreement(np.full((4, 5), value, np.float32), 0.5) == 0


@given(arrays(np.float32, shapes, elements=st.floats(0, 1, width=32)), st.floats(0, 1))
def test_it_is_a_share(probabilities: Probabilities, threshold: float) -> None:
    quality = agreement(probabilities, threshold)
    assert 0 <= quality <= 1
    assert (probabilities > threshold).any() or quality == 0


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_it_falls_as_the_border_widens(threshold: float) -> None:
    falling = [agreement(disc(border), threshold) for border in (1, 10, 20)]
    assert falling[0] > 0.9
    assert all(first > second for first, second in itertools.pairwise(falling))


def test_it_falls_where_the_lesion_may_be_elsewhere() -> None:
    sure = disc(1)
    unsure = sure.copy()
    unsure[:6, :6] = 0.45  # in no mask
    assert agreement(unsure, 0.5) < agreement(sure, 0.5)


def test_a_second_sure_region_does_not_lower_it() -> None:
    probabilities = disc(1)
    probabilities[:6, :6] = 0.999  # the mask leaves it out
    assert agreement(probabilities, 0.5) >= agreement(disc(1), 0.5)
