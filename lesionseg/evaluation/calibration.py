"""Calibration: whether, of the pixels with a probability of 0.7, seven in ten are lesion."""

from dataclasses import asdict, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lesionseg.images.arrays import Mask, Probabilities

BINS = 15
_UNIT = 2.0**-20  # of sums of probabilities: whole numbers add up to the same in any order

# Of each bin: how many pixels, the sum of their probabilities, and of how much of them is lesion;
# (BINS, 3) int64, the sums in units of `_UNIT`.
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Bin:
    """Pixels of similar probability.

    Attributes:
        low, high: of their probabilities.
        share: of all pixels, 0 to 1.
        probability: the mean of theirs; None in an empty bin, as the next.
        lesion: the share of them that is lesion, 0 to 1.
    """

    low: float
    high: float
    share: float
    probability: float | None
    lesion: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far probabilities are from the shares of lesion.

    Attributes:
        expected_error: the expected calibration error, 0 (best) to 1; see `summarise`.
        bins: of equal width, from 0 to 1.
    """

    expected_error: float
    bins: tuple[Bin, ...]

    def as_json(self) -> dict[str, object]:
        """Return the fields as JSON values."""
        return {"expected_error": self.expected_error, "bins": list(map(asdict, self.bins))}


def count(probabilities: Probabilities, truth: Mask) -> Counts:
    """Sort the pixels of a photo into bins by their probability, on the network's own grid.

    Args:
        probabilities: (size, size) float32, 0 to 1.
        truth: (H, W) bool; averaged over what each pixel of the grid covers, so that every photo
            counts the same, whatever its size.
    """
    height, width = probabilities.shape
    lesion = cv2.resize(
        truth.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA
    ).ravel()
    values = probabilities.ravel()
    place = np.minimum((values * BINS).astype(np.intp), BINS - 1)
    pixels = np.bincount(place, minlength=BINS)
    sums = [np.bincount(place, weights, BINS) / _UNIT for weights in (values, lesion)]
    return np.stack([pixels, *sums], axis=1).round().astype(np.int64)


def no_counts() -> Counts:
    """Return the counts of no pixels, to which those of photos are added."""
    return np.zeros((BINS, 3), np.int64)


def summarise(counts: Counts) -> Calibration | None:
    """Compute the expected calibration error over the pixels of all photos; None without any.

    It is the mean, weighted by pixels, of |mean probability - share of lesion| over bins of equal
    width: equation 3 of Guo et al. 2017 (arXiv:1706.04599), here for the probability of lesion
    rather than of the likelier class, as Naeini et al. 2015 (AAAI) defined it for two classes. The
    probabilities are the network's, before the threshold and the choice of the largest region. Most
    pixels are plain skin, of which any network is sure: the bins say more than the error.
    """
    pixels, probability, lesion = counts.T.tolist()
    total = sum(pixels)
    if not total:
        return None
    bins, error = [], 0.0
    for index in range(BINS):
        many = pixels[index]
        means = [sums[index] * _UNIT / many if many else None for sums in (probability, lesion)]
        error += abs(probability[index] - lesion[index]) * _UNIT / total
        bins.append(Bin(index / BINS, (index + 1) / BINS, many / total, *means))
    return Calibration(error, tuple(bins))
