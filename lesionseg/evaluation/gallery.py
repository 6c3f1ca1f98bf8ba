"""Which photos a report shows, and in what order: failures first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lesionseg.evaluation.report import Evaluation
from lesionseg.metrics import FAILURE_BELOW, PhotoScore

MOST_FAILURES, SHOWN = 12, 4  # photos under a heading


@dataclass(frozen=True)
class Prediction:
    """The mask of one candidate on a photo: which candidate, from 0; its scores and outline."""

    candidate: int
    score: PhotoScore


@dataclass(frozen=True)
class Group:
    """Photos under one heading, each with the predictions on it."""

    title: str
    about: str
    photos: Sequence[Sequence[Prediction]]


def by_photo(evaluations: Sequence[Evaluation]) -> list[list[Prediction]]:
    """Collect the predictions on each photo, the lowest mean Jaccard first; equal ones by id."""
    photos: dict[str, list[Prediction]] = {}
    for candidate, evaluation in enumerate(evaluations):
        for score in evaluation.scores:
            photos.setdefault(score.id, []).append(Prediction(candidate, score))

    def rank(photo: list[Prediction]) -> tuple[float, str]:
        total = sum(prediction.score.confusion.jaccard for prediction in photo)
        return total / len(photo), photo[0].score.id

    return sorted(photos.values(), key=rank)


def failed(photo: Sequence[Prediction]) -> bool:
    """Return whether any prediction on the photo has a Jaccard below 0.65."""
    return any(prediction.score.confusion.failed for prediction in photo)


def groups(photos: Sequence[Sequence[Prediction]], *, several: bool) -> Iterator[Group]:
    """Choose the photos to be shown large, of those that `by_photo` returns.

    The first group of several evaluations is of photos on which they differ. Of the others, the
    failures (else the worst), those around the median and the best, none is in two groups.
    """
    if several and (differing := _differing(photos)):
        about = "The photos whose Dice values are furthest apart, in descending order."
        yield Group("Where they differ most", about, differing)
    mean = ", by the mean of all" if several else ""
    if failures := [photo for photo in photos if failed(photo)]:
        worst = failures[:MOST_FAILURES]
        more = f"; {len(worst)} of {len(failures)}" if len(failures) > len(worst) else ""
        about = f"Jaccard below {FAILURE_BELOW}, lowest first{mean}{more}."
        yield Group("Failures", about, worst)
    else:
        worst = list(photos[:SHOWN])
        yield Group("The worst", f"No failures; these have the lowest Jaccard{mean}.", worst)
    rest = [photo for photo in photos if photo not in worst]
    middle = max(0, len(photos) // 2 - SHOWN // 2)
    if median := [photo for photo in photos[middle : middle + SHOWN] if photo in rest]:
        yield Group("Around the median", f"What to expect{mean}.", median)
    if best := [photo for photo in reversed(rest) if photo not in median][:SHOWN]:
        yield Group("The best", f"The highest Jaccard{mean}.", best)


def _differing(photos: Sequence[Sequence[Prediction]]) -> list[Sequence[Prediction]]:
    """Return the photos whose scores by the first and another candidate differ most."""
    shared = [
        photo for photo in photos if len(photo) > 1 and photo[0].candidate == 0 and _spread(photo)
    ]
    return sorted(shared, key=_spread, reverse=True)[: 2 * SHOWN]


def _spread(photo: Sequence[Prediction]) -> float:
    """Return the largest difference of a Dice from the first one's."""
    dice = [prediction.score.confusion.dice for prediction in photo]
    return max(abs(value - dice[0]) for value in dice)
