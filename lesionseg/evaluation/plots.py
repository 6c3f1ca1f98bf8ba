"""Scores -> coordinates of the bars and dots of a plot; the page's template draws them as SVG.

One unit is one pixel of a plot `WIDTH` x `HEIGHT`, sized for a phone and enlarged elsewhere.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lesionseg.metrics import FAILURE_BELOW, PhotoScore

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 30, 342, 24, 184  # of the axes
BINS = 20
FAILURE_DICE = 2 * FAILURE_BELOW / (1 + FAILURE_BELOW)  # Dice = 2 J / (1 + J), photo by photo


@dataclass(frozen=True)
class Tick:
    """A mark on an axis, `at` units from the plot's left or top."""

    at: float
    text: str


@dataclass(frozen=True)
class Bar:
    """The photos with `low` <= Dice < `high`; the last bar has those of 1, too."""

    low: float
    high: float
    count: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Dot:
    """A photo, by its id."""

    id: str
    x: float
    y: float
    failed: bool


@dataclass(frozen=True)
class Histogram:
    """How many photos have which Dice."""

    bars: list[Bar]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    failure_x: float


@dataclass(frozen=True)
class Scatter:
    """A dot for each photo."""

    dots: list[Dot]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    failure_y: float


def _across(share: float) -> float:
    return round(LEFT + (RIGHT - LEFT) * share, 1)


def _up(share: float) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * share, 1)


_FIFTHS = [step / 5 for step in range(6)]
_X_FIFTHS = [Tick(_across(value), f"{value:.1f}") for value in _FIFTHS]
_Y_FIFTHS = [Tick(_up(value), f"{value:.1f}") for value in _FIFTHS]


def histogram(dice: Sequence[float]) -> Histogram:
    """Count Dice values, 0 to 1, in bars 0.05 wide."""
    counts = [0] * BINS
    for value in dice:
        # Rounded, as 0.15 * 20 is 3.0 and 0.35 * 20 is 6.999...
        counts[min(BINS - 1, math.floor(round(value * BINS, 9)))] += 1
    top = max(1, *counts)
    step = next(s * 10**e for e in range(12) for s in (1, 2, 5) if top / (s * 10**e) <= 5)
    bars = [
        Bar(
            low=index / BINS,
            high=(index + 1) / BINS,
            count=count,
            x=_across(index / BINS) + 0.5,
            y=_up(count / top),
            width=round((RIGHT - LEFT) / BINS - 1, 1),
            height=round(BOTTOM - _up(count / top), 1),
        )
        for index, count in enumerate(counts)
    ]
    ticks = [Tick(_up(count / top), str(count)) for count in range(0, top + 1, step)]
    return Histogram(bars, _X_FIFTHS, ticks, _across(FAILURE_DICE))


def lesion_share(score: PhotoScore) -> float:
    """Return the true lesion's share of the photo, 0 to 1."""
    lesion = score.confusion.true_positive + score.confusion.false_negative
    return lesion / (score.height * score.width)


def _dot(score: PhotoScore, across: float) -> Dot:
    """Place a photo at its Dice, and at a share of the way across."""
    return Dot(score.id, _across(across), _up(score.confusion.dice), score.confusion.failed)


def dice_by_size(scores: Sequence[PhotoScore]) -> Scatter:
    """Plot Dice against the lesion's share of the photo, on a logarithmic axis.

    The axis starts with a whole decade, at least 0.01 %: what is smaller is placed there.
    """
    shares = [lesion_share(score) for score in scores]
    least = min((share for share in shares if share > 0), default=0.1)
    first = max(-4, min(-1, math.floor(math.log10(least))))
    dots = [
        _dot(score, 1 - math.log10(max(share, 10**first)) / first)
        for score, share in zip(scores, shares, strict=True)
    ]
    ticks = [
        Tick(_across(1 - power / first), f"{100 * 10**power:g} %") for power in range(first, 1)
    ]
    return Scatter(dots, ticks, _Y_FIFTHS, _up(FAILURE_DICE))


def dice_by_dice(first: Sequence[PhotoScore], second: Sequence[PhotoScore]) -> Scatter:
    """Plot the second's Dice, upwards, against the first's, for the photos that both have."""
    known = {score.id: score.confusion.dice for score in first}
    dots = [_dot(score, known[score.id]) for score in second if score.id in known]
    return Scatter(dots, _X_FIFTHS, _Y_FIFTHS, _up(FAILURE_DICE))


@dataclass(frozen=True)
class SizeGroup:
    """The photos of one third by lesion size: shares of the photo, mean Dice, failures."""

    name: str
    photos: int
    low: float
    high: float
    dice: float
    failures: int


def size_groups(scores: Sequence[PhotoScore]) -> list[SizeGroup]:
    """Summarise the smallest, middle and largest third by lesion size, without empty ones."""
    ranked = sorted(scores, key=lambda score: (lesion_share(score), score.id))
    cuts = [round(len(ranked) * third / 3) for third in range(4)]
    groups = []
    for name, start, end in zip(("smallest", "middle", "largest"), cuts, cuts[1:], strict=False):
        if part := ranked[start:end]:
            counts = [score.confusion for score in part]
            groups.append(
                SizeGroup(
                    name,
                    len(part),
                    lesion_share(part[0]),
                    lesion_share(part[-1]),
                    math.fsum(count.dice for count in counts) / len(part),
                    sum(count.failed for count in counts),
                )
            )
    return groups
