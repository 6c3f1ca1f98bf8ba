"""A mask -> the one lesion in it: its largest region, without holes, as the truth has it."""

import cv2
import numpy as np

from lesionseg.images import Mask

_SIDES_ONLY = 4  # neighbours of a pixel, of the lesion and of what is around it


def one_lesion(mask: Mask) -> Mask:
    """The largest region of a mask (the first of equal ones) with its holes filled.

    A hole is what lesion encloses; what lies between lesion and frame is none.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) bool; one region, or empty where the mask is.
    """
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(
        mask.view(np.uint8), connectivity=_SIDES_ONLY
    )
    if len(statistics) == 1:  # the background alone
        return mask
    largest = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
    left, top, width, height = statistics[largest, :4]
    box = np.s_[top : top + height, left : left + width]
    # A rim of background around the region's box: what it reaches is outside.
    inside = np.pad((labels[box] == largest).astype(np.uint8), 1)
    cv2.floodFill(inside, None, (0, 0), 2, flags=_SIDES_ONLY)
    lesion = np.zeros_like(mask)
    lesion[box] = inside[1:-1, 1:-1] != 2
    return lesion
