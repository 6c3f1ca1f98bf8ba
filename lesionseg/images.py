"""Read, write and resize photos and masks: the only module that imports Pillow.

Layouts, everywhere: a photo is (H, W, 3) uint8 RGB, 0 to 255, upright; a mask is (H, W) bool,
True where the lesion is; probabilities are (H, W) float32, 0 to 1.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from lesionseg import dicom
from lesionseg.errors import PhotoError, one_line

Photo = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Probabilities = NDArray[np.float32]
Source = Path | BinaryIO
PillowImage = Image.Image

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
LESION_ABOVE = 128  # the challenge's scorer: a pixel is lesion where the mask value is > 128

_EXPECTED = "expected JPEG, PNG, BMP, TIFF, WebP or DICOM"
_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
_STRIP = 32  # rows; of a wide photo they stay in a processor's cache
_MASK_PNG = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE),
)
_BILINEAR = Image.Resampling.BILINEAR
_ORIENTATION = 0x0112  # the EXIF tag, and what undoes each of its values
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@contextmanager
def _opened(source: Source, what: str) -> Iterator[Image.Image]:
    """Open an image, not decoded yet; any error in the block becomes one clear line."""
    name = source if isinstance(source, Path) else getattr(source, "name", "standard input")
    try:
        # Given a file's name, Pillow maps some TIFFs and then mixes up the rows of a turned one.
        with (
            source.open("rb") if isinstance(source, Path) else nullcontext(source) as file,
            _open(file, what) as image,
        ):
            yield image
    except PhotoError as error:
        raise PhotoError(f"{name}: {error}") from None
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise PhotoError(
            f"{name}: too large to decode safely, over {limit:.0f} megapixels; shrink it first"
        ) from error
    except UnidentifiedImageError as error:
        is_named_dicom = isinstance(source, Path) and source.suffix.lower() in dicom.SUFFIXES
        reason = "a DICOM file has DICM after 128 bytes" if is_named_dicom else _EXPECTED
        raise PhotoError(f"{name}: not a {what}: {reason}") from error
    except FileNotFoundError as error:
        raise PhotoError(f"{name}: no such file") from error
    except Exception as error:  # Pillow names no closed list of what a damaged file may raise
        reason = getattr(error, "strerror", None) or one_line(error)
        raise PhotoError(f"{name}: cannot read this {what}: {reason}") from error


def _open(file: BinaryIO, what: str) -> Image.Image:
    if not dicom.is_dicom(file):
        return Image.open(file, formats=_FORMATS)
    dataset = dicom.read_dataset(file)
    if what == "mask" and dicom.is_segmentation(dataset):
        masks = list(dicom.segmentation_masks(dataset).values())
        if len(masks) > 1:
            raise PhotoError(f"expected the mask of one photo, got those of {len(masks)}")
        return Image.fromarray(masks[0].view(np.uint8) * 255)
    return _of_frame(dicom.frame(dataset))


def _of_frame(frame: dicom.Frame) -> Image.Image:
    """A picture of a DICOM file, as viewers show it: no EXIF tag turns it."""
    if not isinstance(frame.content, bytes):
        return Image.fromarray(frame.content)
    image = Image.open(io.BytesIO(frame.content), formats=("JPEG",))
    if image.size != (frame.width, frame.height):
        raise PhotoError(
            f"expected {frame.width}x{frame.height} pixels as the DICOM header says, "
            f"got {image.width}x{image.height}"
        )
    image.getexif()[_ORIENTATION] = 1
    return image


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """Return the (height, width) of the upright image, before it is decoded."""
    width, height = image.size
    turned = image.format != "TIFF" and image.getexif().get(_ORIENTATION) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)  # Pillow turns a TIFF's size itself


def _upright(image: Image.Image) -> Image.Image:
    """Turn the image as its EXIF says; no other tag is read, so that none can do harm."""
    image.load()
    turn = None if image.format == "TIFF" else _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    return image if turn is None else image.transpose(turn)  # Pillow turns a TIFF itself


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to upright RGB: 16 bits to their high byte, transparency onto black."""
    image = _upright(image)
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise PhotoError("expected 8 or 16 bits a channel, got 32")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise PhotoError("expected 8 or 16 bits a channel, got floating point")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, (0, 0, 0, 255))  # as a dermoscope's corners
        image = Image.alpha_composite(background, image)
    return image.convert("RGB")


def read_photo(source: Source) -> Photo:
    """Read a photo at its own size, upright: (H, W, 3) uint8.

    EXIF orientation is applied; grey, palette, CMYK, 16-bit and transparent photos become RGB.
    Of a file with several images, the first is read. A photo in DICOM is as viewers show it.

    Raises:
        PhotoError: not a photo, damaged, or a decompression bomb.
    """
    with _opened(source, "photo") as image:
        return np.asarray(_to_rgb(image))


def read_photo_shrunk(source: Source, size: int) -> tuple[Photo, tuple[int, int]]:
    """Read a photo squeezed to `size` x `size`, as the network sees it, and its (height, width).

    A JPEG that is far larger is decoded at a reduced scale of at least twice `size`.
    Returns ((size, size, 3) uint8, (H, W)). Raises as `read_photo`.
    """
    with _opened(source, "photo") as image:
        own_size = _upright_size(image)
        image.draft(None, (2 * size, 2 * size))
        return np.asarray(_shrunk(_to_rgb(image), size)), own_size


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
            image = _of_frame(dicom.frame(dataset, index))
            image.draft(None, (2 * size, 2 * size))
            yield np.asarray(_shrunk(_to_rgb(image), size))
        except Exception as error:  # as of `_opened`
            raise PhotoError(f"{name}: frame {index + 1}: {one_line(error)}") from error


def photo_size(source: Source) -> tuple[int, int]:
    """Return the (height, width) of a photo, upright, without decoding it. Raises PhotoError."""
    with _opened(source, "photo") as image:
        return _upright_size(image)


def from_pillow(image: Image.Image) -> Photo:
    """Convert an open image of Pillow as `read_photo` does a file: (H, W, 3) uint8, upright.

    Raises:
        PhotoError: damaged, or of more than 16 bits per channel.
    """
    try:
        return np.asarray(_to_rgb(image))
    except PhotoError:
        raise
    except Exception as error:  # as in `_opened`
        raise PhotoError(f"cannot read this photo: {one_line(error)}") from error


def shrink(photo: Photo, size: int) -> Photo:
    """Resize a photo (H, W, 3) uint8 to what the network sees: (size, size, 3) uint8."""
    return np.asarray(_shrunk(Image.fromarray(photo), size))


def _shrunk(image: Image.Image, size: int) -> Image.Image:
    return image.resize((size, size), _BILINEAR, reducing_gap=2.0)


def shrink_mask(mask: Mask, size: int) -> Mask:
    """Resize a mask (H, W) bool to (size, size) bool: lesion where it covers half a pixel."""
    return _resized(mask, (size, size))


def _resized(mask: Mask, size: tuple[int, int]) -> Mask:
    """Resize a mask to (width, height): lesion where it covers at least half of a pixel."""
    cover = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, _BILINEAR)
    return np.asarray(cover) >= 128


def enlarge(probabilities: Probabilities, height: int, width: int) -> Probabilities:
    """Resize probabilities (h, w) float32 bilinearly to (height, width) float32, 0 to 1.

    A smaller side is left to Pillow, which averages over what a pixel covers; else OpenCV does the
    same ten times as fast.
    """
    if height < probabilities.shape[0] or width < probabilities.shape[1]:
        enlarged = np.array(Image.fromarray(probabilities).resize((width, height), _BILINEAR))
    else:
        enlarged = cv2.resize(probabilities, (width, height), interpolation=cv2.INTER_LINEAR)
    return enlarged.clip(0.0, 1.0, out=enlarged)


def enlarged_above(probabilities: Probabilities, height: int, width: int, threshold: float) -> Mask:
    """Compute `enlarge(probabilities, height, width) > threshold`, (height, width) bool.

    It works on a few rows at a time, so that the probabilities of a large photo are never all in
    memory; a probability within rounding of the threshold may fall on either side of it.
    """
    rows = probabilities.shape[0]
    if height < rows or width < probabilities.shape[1]:
        return enlarge(probabilities, height, width) > threshold
    wide = enlarge(probabilities, rows, width)
    place = ((np.arange(height, dtype=np.float32) + 0.5) * (rows / height) - 0.5).clip(0, rows - 1)
    above = place.astype(np.intp)
    below = np.minimum(above + 1, rows - 1)
    share = (place - above)[:, np.newaxis]
    mask = np.empty((height, width), np.bool_)
    for first in range(0, height, _STRIP):
        strip = np.s_[first : first + _STRIP]
        values = wide[below[strip]]
        start = wide[above[strip]]
        values -= start
        values *= share[strip]
        values += start
        np.greater(values, threshold, out=mask[strip])
    return mask


def read_mask(source: Source, *, truth: bool = True) -> tuple[Mask, bool]:
    """Read a mask, (H, W) bool, upright, and tell whether its file holds 0/1 rather than 0/255.

    A pixel is lesion where the value is > 128, the rule of the challenge's scorer
    (isic-challenge-scoring); in a file without a value above 1, where it is 1. In a DICOM
    segmentation it is lesion as `dicom.read_segmentation` says.

    Raises:
        PhotoError: unreadable; neither one channel nor three equal ones; transparent; or
            in a `truth`, values that are neither 0/1, 0/255 nor soft (a highest value of 2 to
            128: labels); elsewhere such a mask is empty, as a network's soft map may be.
    """
    with _opened(source, "mask") as image:
        if image.has_transparency_data:
            raise PhotoError(f"expected a mask of one channel, got {image.mode} with transparency")
        upright = _upright(image)
        if image.mode in ("1", "P"):
            upright = upright.convert("RGB" if image.mode == "P" else "L")
        values: NDArray[np.integer] = np.asarray(upright)
        if values.ndim == 3:
            if values.shape[2] != 3 or (values != values[:, :, :1]).any():
                raise PhotoError(
                    f"expected a mask of one channel or three equal ones, got {image.mode}"
                )
            values = values[:, :, 0]
        if image.mode == "F":
            raise PhotoError("expected a mask of 8 or 16 bits, got floating point")
        highest = int(values.max())
        zero_one = highest == 1
        if highest > 255:  # 16 bits
            values = values >> 8
        if truth and highest > 1 and values.max() <= LESION_ABOVE:
            raise PhotoError(
                f"expected a mask of 0/255 or 0/1, got a highest value of {highest}: labels?"
            )
        return values > (0 if zero_one else LESION_ABOVE), zero_one


def mask_png(mask: Mask, *, one_bit: bool = False) -> bytes:
    """Encode a mask (H, W) bool as a PNG: one channel, 0/255 or of one bit, no metadata.

    OpenCV without a filter, which rows of equal pixels do not need, takes half the time of Pillow.
    """
    options = (*_MASK_PNG, cv2.IMWRITE_PNG_BILEVEL, int(one_bit))
    return cv2.imencode(".png", mask.view(np.uint8) * 255, options)[1].tobytes()


def probability_png(probabilities: Probabilities) -> bytes:
    """Encode probabilities (H, W) float32 as a PNG: one channel, times 255, rounded."""
    return _png(Image.fromarray((probabilities * 255 + 0.5).astype(np.uint8)))


def overlay_png(photo: Photo, mask: Mask) -> bytes:
    """Encode a photo (H, W, 3) uint8 with the outline of a mask (H, W) bool as a PNG.

    The line lies just outside the lesion, so that its border stays visible: cyan between black, as
    wide as 1/250 of the photo's longer side, at least 4 pixels.
    """
    edge = max(1, round(max(mask.shape) / 1000))
    picture = photo.copy()
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    box = tuple(
        slice(max(0, first - 4 * edge), first + side + 4 * edge)
        for first, side in ((top, height), (left, width))
    )
    outside = np.logical_not(mask[box]).view(np.uint8)
    away = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_5)  # 1 beside the lesion
    for first, last, colour in ((0, 4, (0, 0, 0)), (1, 3, (0, 255, 255))):
        picture[box][(away > first * edge + 0.5) & (away < last * edge + 0.5)] = colour
    return _png(Image.fromarray(picture))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def photo_jpeg(photo: Photo) -> bytes:
    """Encode a photo (H, W, 3) uint8 as a JPEG: quality 95, colours at full size, no metadata."""
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def thumbnail(source: Source, side: int) -> bytes:
    """Shrink a photo to a longer side of at most `side` pixels, as a small WebP.

    The aspect is kept, metadata are not. Raises as `read_photo`.
    """
    with _opened(source, "photo") as image:
        image.draft(None, (2 * side, 2 * side))
        small = _to_rgb(image)
        small.thumbnail((side, side), _BILINEAR)
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(small)).save(buffer, "WEBP", quality=60)
        return buffer.getvalue()


def shrink_photo_file(data: bytes, side: int) -> bytes:
    """Shrink a photo file to a shorter side of at most `side` pixels, as JPEG; else keep it.

    The aspect is kept; `shrink_mask_file` shrinks a mask of the same size to the same size.
    Raises as `read_photo`.
    """
    with _opened(io.BytesIO(data), "photo") as image:
        height, width = _upright_size(image)
        size = _at_most(width, height, side)
        if size == (width, height):
            return data
        image.draft(None, (2 * side, 2 * side))
        return photo_jpeg(np.asarray(_to_rgb(image).resize(size, Image.Resampling.LANCZOS)))


def shrink_mask_file(data: bytes, side: int) -> bytes:
    """Shrink a mask file to a shorter side of at most `side` pixels, as a 0/255 PNG.

    Lesion where it covers at least half a pixel. Raises as `read_mask`.
    """
    mask, _ = read_mask(io.BytesIO(data))
    height, width = mask.shape
    size = _at_most(width, height, side)
    if size != (width, height):
        mask = _resized(mask, size)
    return mask_png(mask)


def _at_most(width: int, height: int, side: int) -> tuple[int, int]:
    """Return the (width, height) of the same aspect whose shorter side is at most `side`."""
    shorter = min(width, height)
    if shorter <= side:
        return width, height
    return round(width * side / shorter), round(height * side / shorter)
