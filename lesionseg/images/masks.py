"""Read masks as (H, W) bool, by the rule of the challenge's scorer or by chosen colours."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lesionseg.errors import PhotoError
from lesionseg.images.arrays import Mask
from lesionseg.images.decode import Source, decode_upright, open_image
from lesionseg.images.png import mask_png
from lesionseg.images.resize import resize_mask, size_at_most

LESION_ABOVE = 128  # the challenge's scorer: a pixel is lesion where the mask value is > 128
GREY_WITHIN = 8  # channels of a grey mask may differ so far after lossy compression
_MOST_COLOURS = 256  # of a mask in which colours distinguish labels
_FULL_SCALES = {1023: 2, 4095: 4, 16383: 6}  # highest values of masks of 10, 12 and 14 bits


def read_mask(
    source: Source, *, truth: bool = True, colours: frozenset[str] = frozenset()
) -> tuple[Mask, bool]:
    """Read a mask, (H, W) bool, upright, and tell whether its file holds 0/1 rather than 0/255.

    A pixel is lesion where the value is > 128, the rule of the challenge's scorer
    (isic-challenge-scoring); in a file without a value above 1, where it is 1. In a DICOM
    segmentation it is lesion as `dicom_masks.read_segmentation` says.

    Channels may differ by a few values, as lossy formats leave them, and a transparency that hides
    nothing, or everything, is ignored. Floating point holds 0 to 1, which stand for
    0 to 255, or 0 to 255. Where `colours` are chosen, such as "#fa3253", they are the lesion and
    all others are not; a grey value of 1 is "#010101".

    Raises:
        PhotoError: unreadable; neither one channel nor three equal ones; transparent in part; or
            in a `truth`, values that are neither 0/1, 0/255 nor soft (a highest value of 2 to
            128: labels); elsewhere such a mask is empty, as a network's soft map may be.
    """
    with open_image(source, "mask") as opened:
        mode = opened.image.mode
        if colours:
            return np.isin(_packed_colours(decode_upright(opened), mode), _packed(colours)), False
        values = _mask_values(decode_upright(opened), mode)
        highest = int(values.max())
        zero_one = highest == 1
        if highest in _FULL_SCALES:
            values = values >> _FULL_SCALES[highest]
        elif highest > 255:  # 16 bits
            values = values >> 8
        if truth and highest > 1 and values.max() <= LESION_ABOVE:
            raise PhotoError(
                f"expected a mask of 0/255 or 0/1, got a highest value of {highest}: labels?"
            )
        return values > (0 if zero_one else LESION_ABOVE), zero_one


def is_grey(source: Source) -> bool:
    """Tell, without decoding it, whether an image has one channel of grey; raises PhotoError."""
    with open_image(source, "mask") as opened:
        return opened.image.mode in ("1", "L", "LA", "F") or opened.image.mode.startswith("I")


def mask_colours(source: Source) -> tuple[str, ...]:
    """List the colours of a mask, such as "#fa3253", the most frequent first.

    A mask of over 256 colours, such as a lossy one, or of more than 8 bits has none to choose from.

    Raises:
        PhotoError: unreadable, or transparent in part.
    """
    with open_image(source, "mask") as opened:
        image = decode_upright(opened)
        if image.mode == "F" or image.mode.startswith("I"):
            return ()
        counts = _without_alpha(image, opened.image.mode).convert("RGB").getcolors(_MOST_COLOURS)
        ranked = sorted((-count, bytes(colour)) for count, colour in counts or ())  # type: ignore[arg-type]
        return tuple(f"#{colour.hex()}" for _, colour in ranked)


def _packed_colours(image: Image.Image, mode: str) -> NDArray[np.uint32]:
    """Return the colours of a mask, (H, W), as 0xRRGGBB."""
    if image.mode == "F" or image.mode.startswith("I"):
        raise PhotoError(f"expected a mask of 8 bits a channel to choose colours from, got {mode}")
    channels = np.asarray(_without_alpha(image, mode).convert("RGB")).astype(np.uint32)
    packed: NDArray[np.uint32] = channels @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    return packed


def _packed(colours: frozenset[str]) -> list[int]:
    return [int(colour[1:], 16) for colour in colours]


def _without_alpha(image: Image.Image, mode: str) -> Image.Image:
    """Drop a transparency that hides nothing, or everything; refuse any other."""
    if image.has_transparency_data:
        if _hides_in_part(image):
            raise PhotoError(f"expected a mask of one channel, got {mode} with transparency")
        if image.mode in ("RGBA", "PA"):
            return image.convert("RGB")
        if image.mode == "LA":
            return image.getchannel("L")
    return image


def _of_floats(values: NDArray[np.floating]) -> NDArray[np.integer]:
    """Turn a mask of floating point, of 0 to 1 or 0 to 255, into one of 8 bits."""
    lowest, highest = values.min(), values.max()
    if not (lowest >= 0 and highest <= 255):  # NaN fails this, too
        raise PhotoError(
            "expected a mask of 0 to 1 or 0 to 255 in floating point, "
            f"got {lowest:.4g} to {highest:.4g}"
        )
    is_zero_one = bool(((values == 0) | (values == 1)).all())
    scale = 1 if highest > 1 or is_zero_one else 255
    scaled: NDArray[np.uint8] = np.rint(values * scale).astype(np.uint8)
    return scaled


def _mask_values(image: Image.Image, mode: str) -> NDArray[np.integer]:
    """Return the one channel of a mask, (H, W), of 8 or 16 bits."""
    if image.mode == "F":
        return _of_floats(np.asarray(image))
    image = _without_alpha(image, mode)
    if image.mode in ("1", "P"):
        image = image.convert("RGB" if image.mode == "P" else "L")
    values: NDArray[np.integer] = np.asarray(image)
    if values.ndim == 2:
        return values
    lowest, highest = values.min(axis=2), values.max(axis=2)
    differences = highest - lowest
    if values.shape[2] != 3 or (
        differences.any() and (differences.max() > GREY_WITHIN or highest.max() <= LESION_ABOVE)
    ):
        raise PhotoError(f"expected a mask of one channel or three equal ones, got {mode}")
    return values[:, :, 1]  # green, which is nearest to grey


def _hides_in_part(image: Image.Image) -> bool:
    """Tell whether a transparency hides a part of an image, rather than nothing or everything."""
    if image.mode.startswith("I"):
        hidden = np.asarray(image) == image.info["transparency"]
        return bool(hidden.any() and not hidden.all())
    return image.convert("RGBA").getchannel("A").getextrema() not in ((255, 255), (0, 0))


def shrink_mask_file(data: bytes, side: int) -> bytes:
    """Shrink a mask file to a shorter side of at most `side` pixels, as a 0/255 PNG.

    Lesion where it covers at least half a pixel. Raises as `read_mask`.
    """
    mask, _ = read_mask(io.BytesIO(data))
    height, width = mask.shape
    size = size_at_most(width, height, side)
    if size != (width, height):
        mask = resize_mask(mask, size)
    return mask_png(mask)
