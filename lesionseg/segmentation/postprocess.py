"""Clean up a mask: keep its largest region, without holes, as the ground truth has it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from lesionseg.images.arrays import Mask

_SIDES_ONLY = 4  # neighbours of a pixel, of the lesion and of what is around it
_LARGEST, _OUTSIDE = 2, 3  # values beside 0 and 1
_FEW = 8  # regions that are faster filled than labelled


def keep_largest_region(mask: Mask) -> Mask:
    """Keep the largest region (the first of equal ones) with its holes filled, in place.

    A hole is enclosed by lesion; background between lesion and frame is not a hole.

    Args:
        mask: (H, W) bool; changed, as a copy for a large photo takes time and memory.

    Returns:
        The same mask; one region, or empty where it was.
    """
    pixels = mask.view(np.uint8)
    left, top, width, height = cv2.boundingRect(pixels)
    if not width:
        return mask
    box = np.s_[top : top + height, left : left + width]
    inside = np.pad(pixels[box], 1)  # a rim of background: what it reaches is outside
    if not _keep_largest(inside):
        _, labels = cv2.connectedComponents(pixels[box], connectivity=_SIDES_ONLY)
        inside[1:-1, 1:-1] = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    cv2.floodFill(inside, None, (0, 0), _OUTSIDE, flags=_SIDES_ONLY)
    np.not_equal(inside[1:-1, 1:-1], _OUTSIDE, out=mask[box])
    return mask


def _keep_largest(inside: NDArray[np.uint8]) -> bool:
    """Clear all regions but the largest, one by one; False where that would take too many steps.

    It ends as soon as what is left cannot be larger. `inside` has a rim of zeros, and a one in the
    row after it.
    """
    left, largest_area, largest_seed = cv2.countNonZero(inside), 0, (0, 0)
    seed = (int(inside[1].argmax()), 1)
    for _ in range(_FEW):
        area, *_ = cv2.floodFill(inside, None, seed, _LARGEST, flags=_SIDES_ONLY)
        left -= area
        smaller = seed if area <= largest_area else largest_seed
        if largest_area:
            cv2.floodFill(inside, None, smaller, 0, flags=_SIDES_ONLY)
        if area > largest_area:
            largest_area, largest_seed = area, seed
        if left <= largest_area:
            if left:
                inside[inside == 1] = 0
            return True
        row = seed[1]
        place = int((inside[row:] == 1).argmax())
        seed = (place % inside.shape[1], row + place // inside.shape[1])
    return False
