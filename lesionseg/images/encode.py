"""Encode probabilities, outlines and photos as image files; `png` has masks."""

import io

import cv2
import numpy as np
from PIL import Image

from lesionseg.images.arrays import Mask, Photo, Probabilities

_OVERLAY_PNG = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB),
)
_STRIP = 32  # rows; of a wide photo they stay in a processor's cache


def probability_png(probabilities: Probabilities) -> bytes:
    """Encode probabilities (H, W) float32 as a PNG: one channel, times 255, rounded."""
    grey = np.empty(probabilities.shape, np.uint8)
    for first in range(0, len(grey), _STRIP):  # so that no second map of a large photo is needed
        strip = np.s_[first : first + _STRIP]
        grey[strip] = probabilities[strip] * 255 + 0.5
    return _png(Image.fromarray(grey))


def overlay_png(photo: Photo, mask: Mask) -> bytes:
    """Encode a photo (H, W, 3) uint8 with the outline of a mask (H, W) bool as a PNG.

    The line lies just outside the lesion, so that its border stays visible: cyan between black, as
    wide as 1/250 of the photo's longer side, at least 4 pixels.
    """
    edge = max(1, round(max(mask.shape) / 1000))
    picture = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR)  # as OpenCV encodes it, without a copy
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    box = tuple(
        slice(max(0, first - 4 * edge), first + side + 4 * edge)
        for first, side in ((top, height), (left, width))
    )
    outside = np.logical_not(mask[box]).view(np.uint8)
    away = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_5)  # 1 beside the lesion
    for first, last, colour in ((0, 4, (0, 0, 0)), (1, 3, (255, 255, 0))):
        for row in range(0, len(away), _STRIP):
            strip = away[row : row + _STRIP]
            line = (strip > first * edge + 0.5) & (strip < last * edge + 0.5)
            picture[box][row : row + _STRIP][line] = colour
    return cv2.imencode(".png", picture, _OVERLAY_PNG)[1].tobytes()


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def photo_jpeg(photo: Photo) -> bytes:
    """Encode a photo (H, W, 3) uint8 as a JPEG: quality 95, colours at full size, no metadata."""
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()
