"""Resize photos, masks and probabilities."""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lesionseg.images.arrays import Mask, Photo, Probabilities

_GAP = 2.0  # see `shrink`
BILINEAR = Image.Resampling.BILINEAR
_MASK_STRIP = 128  # rows of a mask, of which few columns need arithmetic
_MARGIN = 1e-4  # of probabilities between others, well above their rounding


def shrink(photo: Photo, size: int, *, gap: float | None = _GAP) -> Photo:
    """Resize a photo (H, W, 3) uint8 to what the network sees: (size, size, 3) uint8.

    A photo of more than `gap` times that size is first averaged down to it, which is faster.
    """
    return np.asarray(squeeze(Image.fromarray(photo), size, gap))


def squeeze(image: Image.Image, size: int, gap: float | None = _GAP) -> Image.Image:
    """Resize an image of Pillow to `size` x `size`, as `shrink` does an array."""
    return image.resize((size, size), BILINEAR, reducing_gap=gap)


def shrink_mask(mask: Mask, size: int) -> Mask:
    """Resize a mask (H, W) bool to (size, size) bool: lesion where it covers half a pixel."""
    return resize_mask(mask, (size, size))


def resize_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """Resize a mask to (width, height): lesion where it covers at least half of a pixel."""
    cover = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, BILINEAR)
    return np.asarray(cover) >= 128


def enlarge(probabilities: Probabilities, height: int, width: int) -> Probabilities:
    """Resize probabilities (h, w) float32 bilinearly to (height, width) float32, 0 to 1.

    A smaller side is left to Pillow, which averages over what a pixel covers; else OpenCV does the
    same ten times as fast.
    """
    if height < probabilities.shape[0] or width < probabilities.shape[1]:
        enlarged = np.array(Image.fromarray(probabilities).resize((width, height), BILINEAR))
    else:
        enlarged = cv2.resize(probabilities, (width, height), interpolation=cv2.INTER_LINEAR)
    return enlarged.clip(0.0, 1.0, out=enlarged)


def enlarged_above(probabilities: Probabilities, height: int, width: int, threshold: float) -> Mask:
    """Compute `enlarge(probabilities, height, width) > threshold`, (height, width) bool.

    Rows are enlarged a few at a time, and only in the columns that the outline crosses there: a
    large photo takes neither the memory nor the time of all its probabilities. One within rounding
    of the threshold may fall on either side of it.
    """
    rows, columns = probabilities.shape
    if height < rows or width < columns:
        return enlarge(probabilities, height, width) > threshold
    wide = enlarge(probabilities, rows, width)
    above, below, share = _neighbours(rows, height)
    left, right, _ = _neighbours(columns, width)
    mask = np.zeros((height, width), np.bool_)
    for first in range(0, height, _MASK_STRIP):
        strip = np.s_[first : first + _MASK_STRIP]
        band = np.s_[above[first] : below[strip][-1] + 1]
        # What lies between values that are all on one side of the threshold is there, too.
        may_be_above = probabilities[band].max(axis=0) > threshold - _MARGIN
        if not may_be_above.any():
            continue
        is_above = probabilities[band].min(axis=0) > threshold + _MARGIN
        inside = is_above[left] & is_above[right]
        crossed = np.flatnonzero(~inside & (may_be_above[left] | may_be_above[right]))
        mask[strip] = inside
        source = wide[band][:, crossed]
        start = source[above[strip] - above[first]]
        values = source[below[strip] - above[first]]
        values -= start
        values *= share[strip, np.newaxis]
        values += start
        mask[strip, crossed] = values > threshold
    return mask


def _neighbours(
    size: int, enlarged: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return between which two of `size` pixels each enlarged one lies, and the second's share."""
    centres = np.arange(enlarged, dtype=np.float32) + 0.5
    place = (centres * (size / enlarged) - 0.5).clip(0, size - 1)
    first = place.astype(np.intp)
    return first, np.minimum(first + 1, size - 1), (place - first).astype(np.float32)


def size_at_most(width: int, height: int, side: int) -> tuple[int, int]:
    """Return the (width, height) of the same aspect whose shorter side is at most `side`."""
    shorter = min(width, height)
    if shorter <= side:
        return width, height
    return round(width * side / shorter), round(height * side / shorter)
