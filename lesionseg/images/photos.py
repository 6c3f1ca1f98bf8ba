"""Read photos as (H, W, 3) uint8 RGB, upright, at their own size or shrunk."""

import io
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from lesionseg.errors import LesionsegError, PhotoError
from lesionseg.images import dicom
from lesionseg.images.arrays import Photo
from lesionseg.images.decode import (
    OpenedImage,
    Source,
    fault_of,
    image_of_frame,
    open_image,
    to_rgb,
    upright_size,
)
from lesionseg.images.encode import photo_jpeg
from lesionseg.images.resize import BILINEAR, size_at_most, squeeze

ONE_COLOUR_BELOW = 3.0  # spread, of 255 levels; the smallest of 4,991 real photos is 6.2
_STRIP = 32  # rows; of a wide photo they stay in a processor's cache


def _as_array(image: Image.Image) -> Photo:
    """Copy an RGB image into an array, in strips, as Pillow needs twice the memory for a whole."""
    photo = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(_STRIP, 2**24 // (3 * image.width))
    for first in range(0, image.height, rows):
        last = min(first + rows, image.height)
        photo[first:last] = np.asarray(image.crop((0, first, image.width, last)))
    return photo


def read_photo(source: Source) -> Photo:
    """Read a photo at its own size, upright: (H, W, 3) uint8.

    EXIF orientation is applied; grey, palette, CMYK, 16-bit and transparent photos become RGB.
    Values of 16 bits that stay below a quarter of their range are stretched. Of a file with several
    images the first is read, of a TIFF the largest page. What a user should know of such a file is
    logged. A photo in DICOM is as viewers show it.

    Raises:
        PhotoError: not a photo, damaged, or a decompression bomb.
    """
    with open_image(source, "photo") as opened:
        return _as_array(to_rgb(opened))


def read_photo_shrunk(source: Source, size: int) -> tuple[Photo, tuple[int, int]]:
    """Read a photo squeezed to `size` x `size`, as the network sees it, and its (height, width).

    A JPEG that is far larger is decoded at a reduced scale of at least twice `size`.
    Returns ((size, size, 3) uint8, (H, W)). Raises as `read_photo`.
    """
    with open_image(source, "photo") as opened:
        own_size = upright_size(opened.image)
        opened.image.draft(None, (2 * size, 2 * size))
        return np.asarray(squeeze(to_rgb(opened), size)), own_size


def is_of_one_colour(photo: Photo) -> bool:
    """Tell whether a photo is of one colour but for noise, as with the lens covered.

    Its spread, the largest standard deviation of a channel, is below `ONE_COLOUR_BELOW`. Noise of
    one or two levels has a spread of 2 at most.

    Args:
        photo: (H, W, 3) uint8, RGB, at its own size or shrunk.
    """
    _, deviations = cv2.meanStdDev(photo)
    return float(deviations.max()) < ONE_COLOUR_BELOW


def read_later_frames(source: Source, size: int) -> Iterator[Photo]:
    """Read the pictures of a DICOM photo after the first, each squeezed to `size` x `size`.

    Yields (size, size, 3) uint8 each.

    Raises:
        PhotoError: one of them cannot be decoded.
    """
    name = source if isinstance(source, Path) else "standard input"
    with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
        dataset = dicom.read_dataset(file)
    for index in range(1, dicom.frame_count(dataset)):
        try:
            image = image_of_frame(dicom.frame(dataset, index))
            image.draft(None, (2 * size, 2 * size))
            yield np.asarray(squeeze(to_rgb(OpenedImage(image, file, name)), size))
        except LesionsegError as error:
            raise PhotoError(f"{name}: frame {index + 1}: {error}") from error
        except Exception as error:  # as for `open_image`
            fault = fault_of(error, "DICOM")
            raise PhotoError(f"{name}: frame {index + 1}: {fault}") from error


def photo_size(source: Source) -> tuple[int, int]:
    """Return the (height, width) of a photo, upright, without decoding it. Raises PhotoError."""
    with open_image(source, "photo") as opened:
        return upright_size(opened.image)


def from_pillow(image: Image.Image) -> Photo:
    """Convert an open image of Pillow as `read_photo` does a file: (H, W, 3) uint8, upright.

    Raises:
        PhotoError: damaged, or of more than 16 bits per channel.
    """
    try:
        return np.asarray(to_rgb(OpenedImage(image, io.BytesIO(), "this image")))
    except PhotoError:
        raise
    except Exception as error:  # as in `open_image`
        fault = fault_of(error, image.format or "image")
        raise PhotoError(f"cannot read this photo: {fault}") from error


def thumbnail(source: Source, side: int) -> bytes:
    """Shrink a photo to a longer side of at most `side` pixels, as a small WebP.

    The aspect is kept, metadata are not. Raises as `read_photo`.
    """
    with open_image(source, "photo") as opened:
        opened.image.draft(None, (2 * side, 2 * side))
        small = to_rgb(opened)
        small.thumbnail((side, side), BILINEAR)
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(small)).save(buffer, "WEBP", quality=60)
        return buffer.getvalue()


def shrink_photo_file(data: bytes, side: int) -> bytes:
    """Shrink a photo file to a shorter side of at most `side` pixels, as JPEG; else keep it.

    The aspect is kept; `shrink_mask_file` shrinks a mask of the same size to the same size.
    Raises as `read_photo`.
    """
    with open_image(io.BytesIO(data), "photo") as opened:
        height, width = upright_size(opened.image)
        size = size_at_most(width, height, side)
        if size == (width, height):
            return data
        opened.image.draft(None, (2 * side, 2 * side))
        return photo_jpeg(np.asarray(to_rgb(opened).resize(size, Image.Resampling.LANCZOS)))
