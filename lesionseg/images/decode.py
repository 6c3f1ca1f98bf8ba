"""Open and decode image files with Pillow: upright, 8 bits a channel, RGB; errors in one line."""

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

from lesionseg.errors import LesionsegError, PhotoError
from lesionseg.images import dicom, dicom_masks, filetypes, tiff

Source = Path | BinaryIO
PillowImage = Image.Image

# Bytes; colour profiles and XMP of scanners and editors exceed Pillow's 1 MB.
_PNG_TEXT = 64 * 2**20
_SHORT_DEPTHS = (8, 10, 12, 14)  # bits that cameras have, stored in 16
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
class OpenedImage:
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
def open_image(source: Source, what: str) -> Iterator[OpenedImage]:
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
                yield OpenedImage(_open_dicom(file, what), file, name)
                return
            _prepare(kind)
            with Image.open(file, formats=("HEIF" if kind == "HEIC" else kind,)) as image:
                yield _describe(image, file, name, head)
    except LesionsegError as error:
        raise PhotoError(f"{name}: {error}") from None
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise PhotoError(
            f"{name}: too large to decode safely, over {limit:.0f} megapixels; shrink it first"
        ) from error
    except UnidentifiedImageError as error:
        if kind in filetypes.readable():
            reason = f"cannot read this {what}: {fault_of(error, str(kind))}"
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
        raise PhotoError(
            f"{name}: cannot read this {what}: {fault_of(error, str(kind))}"
        ) from error


def fault_of(error: Exception, kind: str) -> str:
    """Say in plain words why a picture cannot be decoded.

    Args:
        error: any that a decoder raised, whose text is the decoder's own.
        kind: of the file, such as "PNG".
    """
    if isinstance(error, OSError) and error.strerror:  # of the operating system
        return error.strerror
    if isinstance(error, MemoryError):
        return "not enough memory for a picture of its size; shrink it first"
    if "truncated" in str(error).lower():
        return f"the end of this {kind} file is missing; copy it again from where it came from"
    return f"a form of {kind} that is not supported, or damaged; copy it again, or save it as PNG"


def _open_dicom(file: BinaryIO, what: str) -> Image.Image:
    dataset = dicom.read_dataset(file)
    if what == "mask" and dicom_masks.is_segmentation(dataset):
        masks = list(dicom_masks.masks_of(dataset).values())
        if len(masks) > 1:
            raise PhotoError(f"expected the mask of one photo, got those of {len(masks)}")
        return Image.fromarray(masks[0].view(np.uint8) * 255)
    return image_of_frame(dicom.frame(dataset))


def image_of_frame(frame: dicom.Frame) -> Image.Image:
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


def _describe(image: Image.Image, file: BinaryIO, name: Path | str, head: bytes) -> OpenedImage:
    """Go to the page of the photo, and describe how its values are stored where Pillow does not."""
    if image.format == "TIFF":
        tags = _go_to_photo(image, file)
        tiff.check(tags)
        palette = tiff.small_palette(tags)
        return OpenedImage(image, file, name, tiff.bits_of(tags), tiff.is_inverted(tags), palette)
    bits = head[24] if image.format == "PNG" else 8
    opened = OpenedImage(image, file, name, bits)
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


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return the (height, width) of the upright image, before it is decoded."""
    width, height = image.size
    turned = image.format != "TIFF" and image.getexif().get(_ORIENTATION) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)  # Pillow turns a TIFF's size itself


def decode_upright(opened: OpenedImage) -> Image.Image:
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


def _with_full_range(opened: OpenedImage) -> Image.Image:
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


def _to_8_bits(values: NDArray[np.integer], opened: OpenedImage) -> NDArray[np.uint8]:
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


def to_rgb(opened: OpenedImage) -> Image.Image:
    """Convert any mode to upright RGB: 16 bits to 8, transparency onto black."""
    image = decode_upright(opened)
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
