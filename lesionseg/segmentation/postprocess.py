"""Clean up a mask: keep its largest region, without holes, as the ground truth has it."""

import cv2
import numpy as np

from lesionseg.images import Mask

_SIDES_ONLY = 4  # neighbours of a pixel, of the lesion and of what is around it
_LARGEST, _OUTSIDE = 2, 3  # values beside 0 and 1


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
    first = 1 + int(pixels[top, left : left + width].argmax())
    area, *_ = cv2.floodFill(inside, None, (first, 1), _LARGEST, flags=_SIDES_ONLY)
    total = cv2.countNonZero(pixels[box])
    if total > 2 * area:  # the first region may not be the largest
        _, labels = cv2.connectedComponents(pixels[box], connectivity=_SIDES_ONLY)
        inside[1:-1, 1:-1] = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    elif total > area:
        inside[inside == 1] = 0
    cv2.floodFill(inside, None, (0, 0), _OUTSIDE, flags=_SIDES_ONLY)
    np.not_equal(inside[1:-1, 1:-1], _OUTSIDE, out=mask[box])
    return mask
