"""Which photos a report shows, and in what order: failures first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lesionseg.evaluation.report import Evaluation
from lesionseg.metrics import FAILURE_BELOW, PhotoScore

MOST_FAILURES, SHOWN = 12, 4  # photos under a heading


@dataclass(frozen=True)
class Drawn:
    """One prediction on a photo: whose (0 is the first), its scores with its outline."""

    subject: int
    score: PhotoScore


@dataclass(frozen=True)
class Group:
    """Photos under one heading, each with what was drawn on it."""

    title: str
    about: str
    photos: Sequence[Sequence[Drawn]]


def by_photo(evaluations: Sequence[Evaluation]) -> list[list[Drawn]]:
    """What was drawn on each photo, the lowest mean Jaccard first; equal ones by id."""
    found: dict[str, list[Drawn]] = {}
    for subject, evaluation in enumerate(evaluations):
        for score in evaluation.scores:
            found.setdefault(score.id, []).append(Drawn(subject, score))

    def mean(drawn: list[Drawn]) -> float:
        return sum(each.score.confusion.jaccard for each in drawn) / len(drawn)

    return [drawn for _, drawn in sorted(found.items(), key=lambda item: (mean(item[1]), item[0]))]


def failed(drawn: Sequence[Drawn]) -> bool:
    """Whether any prediction on the photo has a Jaccard below 0.65."""
    return any(each.score.confusion.failed for each in drawn)


def groups(photos: Sequence[Sequence[Drawn]], *, several: bool) -> Iterator[Group]:
    """The photos to be shown large, of those that `by_photo` gives.

    The first group of several evaluations is of photos on which they differ. Of the others, the
    failures (else the worst), those around the median and the best, none is in two groups.
    """
    if several and (differing := _differing(photos)):
        about = "The Dice values lie furthest apart, the furthest first."
        yield Group("Where they differ most", about, differing)
    mean = ", by the mean of all" if several else ""
    if failures := [each for each in photos if failed(each)]:
        worst = failures[:MOST_FAILURES]
        more = f"; {len(worst)} of {len(failures)}" if len(failures) > len(worst) else ""
        about = f"Jaccard below {FAILURE_BELOW}, the lowest first{mean}{more}."
        yield Group("Failures", about, worst)
    else:
        worst = list(photos[:SHOWN])
        yield Group("The worst", f"No failures; these have the lowest Jaccard{mean}.", worst)
    rest = [each for each in photos if each not in worst]
    middle = max(0, len(photos) // 2 - SHOWN // 2)
    if median := [each for each in photos[middle : middle + SHOWN] if each in rest]:
        yield Group("Around the median", f"What to expect{mean}.", median)
    if best := [each for each in reversed(rest) if each not in median][:SHOWN]:
        yield Group("The best", f"The highest Jaccard{mean}.", best)


def _differing(photos: Sequence[Sequence[Drawn]]) -> list[Sequence[Drawn]]:
    """Photos with scores from the first and another, how far these lie apart, at most."""
    both = [each for each in photos if len(each) > 1 and each[0].subject == 0 and _spread(each)]
    return sorted(both, key=_spread, reverse=True)[: 2 * SHOWN]


def _spread(drawn: Sequence[Drawn]) -> float:
    """How far a Dice value lies from the first one's, at most."""
    dice = [each.score.confusion.dice for each in drawn]
    return max(abs(each - dice[0]) for each in dice)
