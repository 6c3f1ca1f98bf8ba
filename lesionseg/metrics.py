"""The official scores of a photo from its confusion counts, and their summary over photos.

The formulas are those of the challenge's own scorer, isic-challenge-scoring 5.6 (`confusion.py`,
`metrics.py`, `segmentation.py`): each photo is scored on its own at its truth's own resolution, and
a set scores the unweighted mean over its photos; pixels are never pooled.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionseg.errors import LesionsegError

Mask = NDArray[np.bool_]  # as `images.arrays.Mask`; the ground layer imports no package

METRICS = ("dice", "jaccard", "threshold_jaccard", "accuracy", "sensitivity", "specificity")
FAILURE_BELOW = 0.65  # a lower Jaccard counts as a failure, and as 0 in the threshold Jaccard

_RESAMPLES = 2000
_SEED = 2018
_DRAWS_AT_ONCE = 1_000_000  # keeps the bootstrap below some 20 MB, however many photos


def _share(part: int, whole: int) -> float:
    """Return `part / whole`; 1 where nothing could be wrong, as the official scorer does."""
    return part / whole if whole else 1.0


@dataclass(frozen=True, slots=True)
class Confusion:
    """The pixel counts of one photo; positive is lesion. Every score is 0 to 1."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def dice(self) -> float:
        """2 TP / (2 TP + FP + FN); 1 where truth and prediction are both empty."""
        both = 2 * self.true_positive
        return _share(both, both + self.false_positive + self.false_negative)

    @property
    def jaccard(self) -> float:
        """TP / (TP + FP + FN); 1 where truth and prediction are both empty."""
        union = self.true_positive + self.false_positive + self.false_negative
        return _share(self.true_positive, union)

    @property
    def failed(self) -> bool:
        """Whether the Jaccard is below 0.65."""
        return self.jaccard < FAILURE_BELOW

    @property
    def threshold_jaccard(self) -> float:
        """The Jaccard where it is 0.65 or more, else 0: what the 2018 challenge ranked on."""
        return 0.0 if self.failed else self.jaccard

    @property
    def accuracy(self) -> float:
        """(TP + TN) / all pixels."""
        right = self.true_positive + self.true_negative
        return _share(right, right + self.false_positive + self.false_negative)

    @property
    def sensitivity(self) -> float:
        """TP / (TP + FN); 1 where the truth is empty."""
        return _share(self.true_positive, self.true_positive + self.false_negative)

    @property
    def specificity(self) -> float:
        """TN / (TN + FP); 1 where the truth is full."""
        return _share(self.true_negative, self.true_negative + self.false_positive)


def confusion(prediction: Mask, truth: Mask) -> Confusion:
    """Count the pixels of a predicted mask against the true one; both (H, W) bool, True is lesion.

    Raises:
        LesionsegError: the two differ in size.
        TypeError: one of them is not bool; 0 to 255 must be thresholded first (`read_mask`).
    """
    if prediction.dtype != np.bool_ or truth.dtype != np.bool_:
        raise TypeError(f"expected bool masks, got {prediction.dtype} and {truth.dtype}")
    if prediction.shape != truth.shape:
        expected, got = (" x ".join(map(str, mask.shape)) for mask in (truth, prediction))
        raise LesionsegError(
            f"expected a predicted mask of the truth's size, {expected} (height x width), got {got}"
        )
    true_positive = int(np.count_nonzero(prediction & truth))
    false_positive = int(np.count_nonzero(prediction)) - true_positive
    false_negative = int(np.count_nonzero(truth)) - true_positive
    true_negative = truth.size - true_positive - false_positive - false_negative
    return Confusion(true_positive, false_positive, false_negative, true_negative)


@dataclass(frozen=True, slots=True)
class PhotoScore:
    """The counts of one photo, by its id, at the size (pixels) of its truth mask.

    `quality` is the network's own estimate, 0 to 1; None for a mask from another source.
    `outline` is the predicted mask as `thumbnails.outline` writes it, "" where not asked for.
    """

    id: str
    confusion: Confusion
    height: int
    width: int
    quality: float | None = None
    outline: str = ""


@dataclass(frozen=True, slots=True)
class Statistic:
    """One score over all photos: unweighted mean, median, and the mean's 95 % interval."""

    mean: float
    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Summary:
    """All scores of a set; `failures` is the share of photos whose Jaccard is below 0.65."""

    photos: int
    failures: float
    dice: Statistic
    jaccard: Statistic
    threshold_jaccard: Statistic
    accuracy: Statistic
    sensitivity: Statistic
    specificity: Statistic


def summarise(scores: Sequence[Confusion]) -> Summary:
    """Summarise the scores of a set of photos; the same in any order, and from run to run.

    The interval is the percentile bootstrap over photos (Efron 1979): 2000 sets of as many photos
    drawn with replacement under a fixed seed, and the 2.5 and 97.5 % points of their means.

    Raises:
        LesionsegError: there is no photo.
    """
    if not scores:
        raise LesionsegError("expected at least one scored photo, got none")
    # Sorted, as the photos of a resample would otherwise depend on their order.
    columns = [np.sort([getattr(score, name) for score in scores]) for name in METRICS]
    intervals = _bootstrap(np.stack(columns))
    statistics = {}
    for name, values, (low, high) in zip(METRICS, columns, intervals, strict=True):
        mean = math.fsum(values) / len(values)
        # Equal scores sum to slightly different means: rounding must not push the mean outside.
        statistics[name] = Statistic(
            mean, float(np.median(values)), min(float(low), mean), max(float(high), mean)
        )
    failures = sum(score.failed for score in scores) / len(scores)
    return Summary(photos=len(scores), failures=failures, **statistics)


@dataclass(frozen=True, slots=True)
class Reliability:
    """How well the estimate of quality, made without the truth, predicts the true scores.

    Attributes:
        rank_correlation: Spearman's, of quality and Dice; None where either is the same for all.
        in_lowest_tenth, in_lowest_fifth: how many failures (Jaccard below 0.65) are in the tenth
            and the fifth of the photos (rounded up) with the lowest quality.
    """

    rank_correlation: float | None
    in_lowest_tenth: int
    in_lowest_fifth: int


def reliability(scores: Sequence[PhotoScore]) -> Reliability | None:
    """Compare quality with the scores; return None where a photo has none, or without photos."""
    if not scores or any(score.quality is None for score in scores):
        return None
    quality = np.array([score.quality for score in scores], dtype=np.float64)
    first, second = _ranks(quality), _ranks(np.array([score.confusion.dice for score in scores]))
    varied = first.std() > 0 and second.std() > 0
    failed = np.array([score.confusion.failed for score in scores])
    failed = failed[np.argsort(quality, kind="stable")]
    tenth, fifth = math.ceil(len(scores) / 10), math.ceil(len(scores) / 5)
    return Reliability(
        rank_correlation=float(np.corrcoef(first, second)[0, 1]) if varied else None,
        in_lowest_tenth=int(failed[:tenth].sum()),
        in_lowest_fifth=int(failed[:fifth].sum()),
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """A second score minus a first, photo by photo.

    Attributes:
        mean: over the photos, -1 to 1; above 0 where the second is better.
        low, high: the 95 % bootstrap interval of the mean.
        better, worse: on how many photos the second has the higher, and the lower score.
    """

    mean: float
    low: float
    high: float
    better: int
    worse: int


@dataclass(frozen=True, slots=True)
class Paired:
    """The gain of a second set of masks over a first, on the `photos` that both were scored on."""

    photos: int
    dice: Difference
    jaccard: Difference


def paired(first: Sequence[PhotoScore], second: Sequence[PhotoScore]) -> Paired:
    """Compare two sets of masks on the photos that both have, by id, in any order.

    The interval is the percentile bootstrap over photos, as in `summarise`: a photo is drawn with
    both of its scores, so that what makes it hard or easy for both cancels out.

    Raises:
        LesionsegError: no photo has a score from both.
    """
    known = {score.id: score.confusion for score in first}
    both = [(known[score.id], score.confusion) for score in second if score.id in known]
    if not both:
        raise LesionsegError("expected a photo that both were scored on, got none")
    columns = [
        np.sort([getattr(new, name) - getattr(old, name) for old, new in both])
        for name in ("dice", "jaccard")
    ]
    differences = []
    for values, (low, high) in zip(columns, _bootstrap(np.stack(columns)), strict=True):
        mean = math.fsum(values) / len(values)
        better, worse = int((values > 0).sum()), int((values < 0).sum())
        differences.append(
            Difference(mean, min(float(low), mean), max(float(high), mean), better, worse)
        )
    return Paired(len(both), *differences)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank the values from 1; equal ones share the mean of their ranks."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[which]
    return ranks


def _bootstrap(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the 95 % interval of each row's mean, (metrics, photos) -> (metrics, 2) float64."""
    photos = values.shape[1]
    random = np.random.default_rng(_SEED)
    rows = max(1, _DRAWS_AT_ONCE // photos)
    means = []
    for start in range(0, _RESAMPLES, rows):
        size = (min(rows, _RESAMPLES - start), photos)
        resamples = random.integers(photos, size=size, dtype=np.int32)
        means.append(np.stack([row[resamples].mean(axis=1) for row in values]))
    interval: NDArray[np.float64] = np.quantile(
        np.concatenate(means, axis=1), (0.025, 0.975), axis=1
    )
    return interval.T
