"""Read, write and resize photos and masks: the only module that imports Pillow.

Layouts, everywhere: a photo is (H, W, 3) uint8 RGB, 0 to 255, upright; a mask is (H, W) bool,
True where the lesion is; probabilities are (H, W) float32, 0 to 1.
"""

import ctypes
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from lesionseg import dicom, filetypes, png, tiff
from lesionseg.errors import PhotoError, one_line

Photo = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Probabilities = NDArray[np.float32]
Source = Path | BinaryIO
PillowImage = Image.Image

LESION_ABOVE = 128  # the challenge's scorer: a pixel is lesion where the mask value is > 128

_PNG_TEXT = (
    64 * 2**20
)  # bytes; colour profiles and XMP of scanners and editors exceed Pillow's 1 MB
_SHORT_DEPTHS = (8, 10, 12, 14)  # bits that cameras have, stored in 16
GREY_WITHIN = 8  # channels of a grey mask may differ so far after lossy compression
_MOST_COLOURS = 256  # of a mask in which colours distinguish labels
_STRIP = 32  # rows; of a wide photo they stay in a processor's cache
_MASK_STRIP = 128  # rows of a mask, of which few columns need arithmetic
_MARGIN = 1e-4  # of probabilities between others, well above their rounding
_OVERLAY_PNG = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB),
)
_FULL_SCALES = {1023: 2, 4095: 4, 16383: 6}  # highest values of masks of 10, 12 and 14 bits
_GAP = 2.0  # see `shrink`
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


_log = logging.getLogger("lesionseg")


@dataclass(frozen=True)
class _Opened:
    """An image, not decoded yet, and what Pillow does not say about it.

    Attributes:
        image: what Pillow opened.
        file: what it was opened from.
        name: for messages.
        bits: per channel, as stored; 8 also where a format has no other.
        inverted: whether 0 is white and Pillow does not see to it.
        palette: red, green, blue, red, ..., where Pillow reads another.
    """

    image: Image.Image
    file: BinaryIO
    name: Path | str
    bits: int = 8
    inverted: bool = False
    palette: list[int] | None = None

    def note(self, text: str) -> None:
        """Log what a user should know of a file that is read all the same."""
        _log.warning("%s: %s", self.name, text)


@contextmanager
def _opened(source: Source, what: str) -> Iterator[_Opened]:
    """Open an image, not decoded yet; any error in the block becomes one clear line."""
    name = source if isinstance(source, Path) else getattr(source, "name", "standard input")
    kind: str | None = None
    try:
        if isinstance(source, Path) and source.is_fifo():  # to open it may wait for ever
            raise PhotoError(
                f"expected a file, got a pipe; give this {what} on standard input, as '-'"
            )
        # Given a file's name, Pillow maps some TIFFs and then mixes up the rows of a turned one.
        with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
            file.seek(0)
            head = file.read(filetypes.HEAD)
            file.seek(0)
            kind = filetypes.kind_of(head)
            if kind not in filetypes.readable():
                raise UnidentifiedImageError
            if kind == "DICOM":
                yield _Opened(_open_dicom(file, what), file, name)
                return
            _prepare(kind)
            with Image.open(file, formats=("HEIF" if kind == "HEIC" else kind,)) as image:
                yield _describe(image, file, name, head)
    except PhotoError as error:
        raise PhotoError(f"{name}: {error}") from None
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise PhotoError(
            f"{name}: too large to decode safely, over {limit:.0f} megapixels; shrink it first"
        ) from error
    except UnidentifiedImageError as error:
        if kind in filetypes.readable():
            reason = f"cannot read this {what}: a form of {kind} that is not supported, or damaged"
        else:
            expected = f"expected {filetypes.NAMES}"
            description = "an empty file" if kind == "empty" else f"{kind}{filetypes.advice(kind)}"
            got = f", got {description}" if kind else ""
            if isinstance(source, Path) and source.suffix.lower() in dicom.SUFFIXES:
                expected, got = "a DICOM file has DICM after 128 bytes", ""
            reason = f"not a {what}: {expected}{got}"
        raise PhotoError(f"{name}: {reason}") from error
    except FileNotFoundError as error:
        raise PhotoError(f"{name}: no such file") from error
    except Exception as error:  # Pillow names no closed list of what a damaged file may raise
        reason = getattr(error, "strerror", None) or one_line(error)
        raise PhotoError(f"{name}: cannot read this {what}: {reason}") from error


def _open_dicom(file: BinaryIO, what: str) -> Image.Image:
    dataset = dicom.read_dataset(file)
    if what == "mask" and dicom.is_segmentation(dataset):
        masks = list(dicom.segmentation_masks(dataset).values())
        if len(masks) > 1:
            raise PhotoError(f"expected the mask of one photo, got those of {len(masks)}")
        return Image.fromarray(masks[0].view(np.uint8) * 255)
    return _of_frame(dicom.frame(dataset))


def _of_frame(frame: dicom.Frame) -> Image.Image:
    """Return a picture of a DICOM file, as viewers show it: no EXIF tag turns it."""
    if not isinstance(frame.content, bytes):
        return Image.fromarray(frame.content)
    image = Image.open(io.BytesIO(frame.content), formats=("JPEG",))
    if image.size != (frame.width, frame.height):
        raise PhotoError(
            f"expected {frame.width}x{frame.height} pixels, as in the DICOM header, got "
            f"{image.width}x{image.height}"
        )
    image.getexif()[_ORIENTATION] = 1
    return image


@cache
def _prepare(kind: str) -> None:
    """Set up Pillow for files of a kind."""
    if kind == "PNG":
        PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, _PNG_TEXT)
    elif kind == "HEIC":
        import_module(str(filetypes.heif_reader())).register_heif_opener()
    elif kind == "TIFF":
        from PIL import TiffImagePlugin

        TiffImagePlugin.READ_LIBTIFF = True  # Pillow's own way mixes up 16-bit planes
        prefix = TiffImagePlugin.MM
        key = (prefix, 0, (1,), 1, (16,), ())  # which Pillow knows in the other byte order alone
        TiffImagePlugin.OPEN_INFO.setdefault(key, ("I;16B", "I;16B"))
        # libtiff's own lines on standard error name no file, and Pillow raises an error besides.
        library = ctypes.CDLL(
            import_module("PIL._imaging").__file__
        )  # finds what it is linked with, too
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            with suppress(AttributeError):  # linked in without its names
                set_handler = getattr(library, name)
                set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
                set_handler(None)


def _describe(image: Image.Image, file: BinaryIO, name: Path | str, head: bytes) -> _Opened:
    """Go to the page of the photo, and describe how its values are stored where Pillow does not."""
    if image.format == "TIFF":
        tags = _go_to_photo(image, file)
        tiff.check(tags)
        palette = tiff.small_palette(tags)
        return _Opened(image, file, name, tiff.bits_of(tags), tiff.is_inverted(tags), palette)
    bits = head[24] if image.format == "PNG" else 8
    opened = _Opened(image, file, name, bits)
    if image.format in ("GIF", "PNG", "WEBP", "AVIF") and getattr(image, "is_animated", False):
        opened.note("animated; only its first frame is read")
    return opened


def _go_to_photo(image: Image.Image, file: BinaryIO) -> tiff.Tags:
    """Make the page that holds the photo the current one, and return its tags."""
    from PIL import TiffImagePlugin

    place = file.tell()
    file.seek(0)
    head = file.read(8)
    head += file.read(8) if head[2] == 43 else b""  # BigTIFF
    directory = TiffImagePlugin.ImageFileDirectory_v2(head)
    pages: list[tiff.Tags] = []
    while directory.next and len(pages) < tiff.MOST_PAGES:
        file.seek(directory.next)
        directory.load(file)
        pages.append({tag: directory[tag] for tag in tiff.TAGS if tag in directory})
    file.seek(place)
    index = tiff.photo_page(pages)
    image.seek(index)
    return pages[index]


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """Return the (height, width) of the upright image, before it is decoded."""
    width, height = image.size
    turned = image.format != "TIFF" and image.getexif().get(_ORIENTATION) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)  # Pillow turns a TIFF's size itself


def _upright(opened: _Opened) -> Image.Image:
    """Decode the image, and turn it as its EXIF says; no other tag is read that can do harm.

    Channels of 16 bits come out as one of 16, or several of 8.
    """
    image = opened.image
    image.load()
    format = image.format
    if opened.palette:
        image.putpalette(opened.palette)
    if opened.bits == 16 and image.mode in ("RGB", "RGBA"):
        image = _with_full_range(opened)
    if image.mode == "La":
        image = image.convert("LA")
    if opened.inverted:
        image = Image.fromarray(np.uint16(65535) - np.asarray(image).astype(np.uint16))
    # Pillow turns a TIFF itself, and its reader of HEIC a HEIC
    turns = format not in ("TIFF", "HEIF")
    turn = _TURNS.get(opened.image.getexif().get(_ORIENTATION, 1)) if turns else None
    return image if turn is None else image.transpose(turn)


def _with_full_range(opened: _Opened) -> Image.Image:
    """Read 16-bit colours that use a fraction of the range again; Pillow drops their low bytes."""
    image = opened.image
    bands = image.getextrema()[:3]
    highest = max(band[1] for band in bands if isinstance(band, tuple))
    if highest >= 1 << (_SHORT_DEPTHS[-1] - 8):
        return image
    opened.file.seek(0)
    encoded = np.frombuffer(opened.file.read(), np.uint8)
    decoded = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    high = np.asarray(image)[:, :, :3]
    values = np.zeros_like(high, np.uint16)
    if decoded is not None and decoded.shape[:2] == high.shape[:2] and decoded.ndim == 3:
        values = decoded[:, :, 2::-1].astype(np.uint16)
    if decoded is None or decoded.dtype != np.uint16 or (values >> 8 != high).any():
        raise PhotoError(
            f"expected 16-bit colours, got no value above {256 * (highest + 1) - 1} of 65535; "
            "save it with 8 bits a channel"
        )
    colours = Image.fromarray(_to_8_bits(values, opened))
    if image.mode == "RGBA":
        colours.putalpha(image.getchannel("A"))
    return colours


def _to_8_bits(values: NDArray[np.integer], opened: _Opened) -> NDArray[np.uint8]:
    """Reduce values of 16 bits, or fewer in a file of 16, to 8 bits.

    Cameras store 10, 12 or 14 bits in 16 as they are: nearly black unless they are stretched. So
    is what stays below a quarter of the range.
    """
    if opened.bits in _SHORT_DEPTHS:  # as TIFF says of 12
        return (values >> (opened.bits - 8)).astype(np.uint8)
    highest = int(values.max())
    depth = next((depth for depth in _SHORT_DEPTHS if highest < 1 << depth), 16)
    if depth < 16 and highest:
        opened.note(f"no 16-bit value is above {highest}; read as {depth}-bit values")
    return (values >> (depth - 8)).astype(np.uint8)


def _to_rgb(opened: _Opened) -> Image.Image:
    """Convert any mode to upright RGB: 16 bits to 8, transparency onto black."""
    image = _upright(opened)
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise PhotoError("expected 8 or 16 bits a channel, got 32")
        image = Image.fromarray(_to_8_bits(values, opened))
    elif image.mode == "F":
        raise PhotoError("expected 8 or 16 bits a channel, got floating point")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() == (0, 0):
            opened.note("transparent everywhere; its transparency is ignored")
        else:
            background = Image.new("RGBA", image.size, (0, 0, 0, 255))  # as a dermoscope's corners
            image = Image.alpha_composite(background, image)
    return image if image.mode == "RGB" else image.convert("RGB")


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
    with _opened(source, "photo") as opened:
        return _as_array(_to_rgb(opened))


def read_photo_shrunk(source: Source, size: int) -> tuple[Photo, tuple[int, int]]:
    """Read a photo squeezed to `size` x `size`, as the network sees it, and its (height, width).

    A JPEG that is far larger is decoded at a reduced scale of at least twice `size`.
    Returns ((size, size, 3) uint8, (H, W)). Raises as `read_photo`.
    """
    with _opened(source, "photo") as opened:
        own_size = _upright_size(opened.image)
        opened.image.draft(None, (2 * size, 2 * size))
        return np.asarray(_shrunk(_to_rgb(opened), size)), own_size


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
            yield np.asarray(_shrunk(_to_rgb(_Opened(image, file, name)), size))
        except Exception as error:  # as for `_opened`
            raise PhotoError(f"{name}: frame {index + 1}: {one_line(error)}") from error


def photo_size(source: Source) -> tuple[int, int]:
    """Return the (height, width) of a photo, upright, without decoding it. Raises PhotoError."""
    with _opened(source, "photo") as opened:
        return _upright_size(opened.image)


def from_pillow(image: Image.Image) -> Photo:
    """Convert an open image of Pillow as `read_photo` does a file: (H, W, 3) uint8, upright.

    Raises:
        PhotoError: damaged, or of more than 16 bits per channel.
    """
    try:
        return np.asarray(_to_rgb(_Opened(image, io.BytesIO(), "this image")))
    except PhotoError:
        raise
    except Exception as error:  # as in `_opened`
        raise PhotoError(f"cannot read this photo: {one_line(error)}") from error


def shrink(photo: Photo, size: int, *, gap: float | None = _GAP) -> Photo:
    """Resize a photo (H, W, 3) uint8 to what the network sees: (size, size, 3) uint8.

    A photo of more than `gap` times that size is first averaged down to it, which is faster.
    """
    return np.asarray(_shrunk(Image.fromarray(photo), size, gap))


def _shrunk(image: Image.Image, size: int, gap: float | None = _GAP) -> Image.Image:
    return image.resize((size, size), _BILINEAR, reducing_gap=gap)


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


def read_mask(
    source: Source, *, truth: bool = True, colours: frozenset[str] = frozenset()
) -> tuple[Mask, bool]:
    """Read a mask, (H, W) bool, upright, and tell whether its file holds 0/1 rather than 0/255.

    A pixel is lesion where the value is > 128, the rule of the challenge's scorer
    (isic-challenge-scoring); in a file without a value above 1, where it is 1. In a DICOM
    segmentation it is lesion as `dicom.read_segmentation` says.

    Channels may differ by a few values, as lossy formats leave them, and a transparency that hides
    nothing, or everything, is ignored. Floating point holds 0 to 1, which stand for
    0 to 255, or 0 to 255. Where `colours` are chosen, such as "#fa3253", they are the lesion and
    all others are not; a grey value of 1 is "#010101".

    Raises:
        PhotoError: unreadable; neither one channel nor three equal ones; transparent in part; or
            in a `truth`, values that are neither 0/1, 0/255 nor soft (a highest value of 2 to
            128: labels); elsewhere such a mask is empty, as a network's soft map may be.
    """
    with _opened(source, "mask") as opened:
        mode = opened.image.mode
        if colours:
            return np.isin(_packed_colours(_upright(opened), mode), _packed(colours)), False
        values = _mask_values(_upright(opened), mode)
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
    with _opened(source, "mask") as opened:
        return opened.image.mode in ("1", "L", "LA", "F") or opened.image.mode.startswith("I")


def mask_colours(source: Source) -> tuple[str, ...]:
    """List the colours of a mask, such as "#fa3253", the most frequent first.

    A mask of over 256 colours, such as a lossy one, or of more than 8 bits has none to choose from.

    Raises:
        PhotoError: unreadable, or transparent in part.
    """
    with _opened(source, "mask") as opened:
        image = _upright(opened)
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


def mask_png(mask: Mask, *, one_bit: bool = False) -> bytes:
    """Encode a mask (H, W) bool as a PNG: one channel, 0/255 or of one bit, no metadata."""
    return png.encode(mask, one_bit=one_bit)


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


def thumbnail(source: Source, side: int) -> bytes:
    """Shrink a photo to a longer side of at most `side` pixels, as a small WebP.

    The aspect is kept, metadata are not. Raises as `read_photo`.
    """
    with _opened(source, "photo") as opened:
        opened.image.draft(None, (2 * side, 2 * side))
        small = _to_rgb(opened)
        small.thumbnail((side, side), _BILINEAR)
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(small)).save(buffer, "WEBP", quality=60)
        return buffer.getvalue()


def shrink_photo_file(data: bytes, side: int) -> bytes:
    """Shrink a photo file to a shorter side of at most `side` pixels, as JPEG; else keep it.

    The aspect is kept; `shrink_mask_file` shrinks a mask of the same size to the same size.
    Raises as `read_photo`.
    """
    with _opened(io.BytesIO(data), "photo") as opened:
        height, width = _upright_size(opened.image)
        size = _at_most(width, height, side)
        if size == (width, height):
            return data
        opened.image.draft(None, (2 * side, 2 * side))
        return photo_jpeg(np.asarray(_to_rgb(opened).resize(size, Image.Resampling.LANCZOS)))


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
