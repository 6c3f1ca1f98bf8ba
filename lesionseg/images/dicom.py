"""Read photos in DICOM files, and what their headers say.

`decode` uses it, so that whatever takes a photo takes one in a DICOM file, too: `segment`, `eval`,
`train`, the library. pydicom comes with the extra `dicom` and is imported for DICOM only.

References: DICOM PS3.3 (attributes), PS3.5 (transfer syntaxes), PS3.10 (files).
"""

import logging
import math
from collections.abc import Iterator
from contextlib import nullcontext
from copy import copy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lesionseg.errors import LesionsegError, PhotoError, one_line
from lesionseg.extras import install_hint

if TYPE_CHECKING:
    from pydicom import Dataset

SUFFIXES = frozenset({".dcm", ".dicom"})

_MAGIC, _PREAMBLE = b"DICM", 128
_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")  # baseline, extended
_PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422")
_PHOTOMETRIC_JPEG2000 = ("YBR_RCT", "YBR_ICT")
_DECODERS = {  # packages that decode what pydicom cannot alone; none is under the GPL
    "1.2.840.10008.1.2.4.51": "python-gdcm",
    "1.2.840.10008.1.2.4.57": "python-gdcm",
    "1.2.840.10008.1.2.4.70": "python-gdcm",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.91": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.201": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg pylibjpeg-openjpeg",
}
SEGMENTATIONS = {  # storage classes whose pixels are not from a camera
    "1.2.840.10008.5.1.4.1.1.66.4": "segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "label map segmentation",
}
MOST_PIXELS = 178_956_970  # of a photo; Pillow decodes no larger one
_APP14_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"  # "the colours are RGB"


class Frame(NamedTuple):
    """One picture of a DICOM file.

    Attributes:
        content: the JPEG file that the frame holds, as it is, or (H, W, 3) uint8 RGB.
        height, width: that the header tells, in pixels.
    """

    content: bytes | NDArray[np.uint8]
    height: int
    width: int


def is_dicom(file: BinaryIO) -> bool:
    """Tell whether a file starts as a DICOM file does; its position is 0 before and after."""
    head = file.read(_PREAMBLE + len(_MAGIC))
    file.seek(0)
    return head[_PREAMBLE:] == _MAGIC


def is_dicom_file(path: Path) -> bool:
    """Tell whether a file is DICOM by its content; False where it cannot be read."""
    try:
        if path.is_fifo():  # to open it may wait for ever
            return False
        with path.open("rb") as file:
            return is_dicom(file)
    except OSError:
        return False


def read_header(source: Path | BinaryIO) -> "Dataset":
    """Read all that a DICOM file says but its pixels.

    Raises:
        PhotoError: it is not there, not DICOM, or damaged, or pydicom is not installed.
    """
    name = source if isinstance(source, Path) else "standard input"
    try:
        with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
            if not is_dicom(file):
                raise PhotoError("not a DICOM file")
            return _read(file, stop_before_pixels=True)
    except OSError as error:
        raise PhotoError(f"{name}: {error.strerror}") from error
    except PhotoError as error:
        raise PhotoError(f"{name}: {error}") from None


def read_dataset(file: BinaryIO) -> "Dataset":
    """Read a whole DICOM file; `frame` gives its pictures.

    Raises:
        PhotoError: damaged, or pydicom is not installed.
    """
    return _read(file)


def _read(file: BinaryIO, **options: Any) -> "Dataset":
    try:
        import pydicom
    except ModuleNotFoundError as error:
        raise PhotoError(f"a DICOM file; to read it, {install_hint('dicom')}") from error
    from pydicom import config

    # Values that break the standard's rules are common and in nobody's way here.
    config.settings.reading_validation_mode = config.IGNORE
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    try:
        return pydicom.dcmread(file, **options)
    except Exception as error:  # pydicom names no closed list of what a damaged file may raise
        raise PhotoError(
            f"cannot read this DICOM file, which may be damaged; export it again ({reason(error)})"
        ) from error


def value(dataset: "Dataset", name: str) -> Any:
    """Return the value of an attribute; None where it is missing, or nothing that can be read."""
    try:
        return dataset.get(name)
    except Exception:  # pydicom decodes values here, and names no closed list of what may fail
        return None


def frame_count(dataset: "Dataset") -> int:
    """Return how many pictures the file holds by its header, 1 or more."""
    try:
        return max(1, int(value(dataset, "NumberOfFrames") or 1))
    except (TypeError, ValueError):
        return 1


def frame(dataset: "Dataset", index: int = 0) -> Frame:
    """Return one frame of a DICOM file, counted from 0.

    A JPEG of 8 bits is handed out as the file it is, so that it gives the very pixels that it gives
    outside of DICOM; everything else is decoded by pydicom. More than 8 bits a channel of a colour
    picture become their high 8; grey pictures of more are no photos and are refused.

    Raises:
        PhotoError: no photo, or one that cannot be decoded.
    """
    height, width = _check(dataset)
    syntax, photometric = _syntax(dataset), str(dataset.PhotometricInterpretation)
    if syntax in _JPEG and dataset.BitsStored == 8 and photometric != "MONOCHROME1":
        content = _encapsulated(dataset, index)
        if content[:2] == b"\xff\xd8":
            return Frame(_tell_colours(content, photometric), height, width)
    return Frame(_decoded(dataset, index, height, width), height, width)


def _check(dataset: "Dataset") -> tuple[int, int]:
    """Return the (height, width) of a photo; refuse all else."""
    kind = kind_of(dataset)
    if kind in SEGMENTATIONS.values():
        raise PhotoError(f"expected a photo, got a DICOM {kind}")
    syntax = _syntax(dataset)
    if any(name in syntax.name for name in ("MPEG", "HEVC", "SMPTE")):
        raise PhotoError(f"expected a photo, got a video ({syntax.name})")
    if not dataset.get("PixelData"):
        raise PhotoError(f"no pixels in this DICOM file ({kind}); expected a photo")
    needed = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated")
    if missing := [name for name in needed if not dataset.get(name)]:
        raise PhotoError(f"damaged DICOM: {', '.join(missing)} missing")
    if not dataset.get("BitsStored"):
        dataset.BitsStored = dataset.BitsAllocated
    height, width = int(dataset.Rows), int(dataset.Columns)
    if height * width > MOST_PIXELS:
        raise PhotoError(
            f"too large to decode safely: {width}x{height} pixels, over "
            f"{MOST_PIXELS / 1e6:.0f} megapixels; shrink it first"
        )
    photometric = str(dataset.PhotometricInterpretation)
    if photometric not in (*_PHOTOMETRIC, *_PHOTOMETRIC_JPEG2000):
        raise PhotoError(f"expected a colour or grey photo, got {photometric}")
    bits = int(dataset.BitsStored)
    grey = photometric.startswith("MONOCHROME")
    if bits > 16 or (grey and bits > 8) or (photometric.startswith("YBR") and bits > 8):
        expected = "8 bits" if grey or photometric.startswith("YBR") else "8 or 16 bits a channel"
        modality = dataset.get("Modality") or "no modality"
        raise PhotoError(f"expected a photo of {expected}, got {bits} ({photometric}, {modality})")
    if dataset.get("PixelRepresentation"):
        raise PhotoError("expected a photo of unsigned pixels, got signed ones")
    return height, width


def kind_of(dataset: "Dataset") -> str:
    """Return what a file holds, by the name of its storage class."""
    meta = getattr(dataset, "file_meta", None)
    uid = dataset.get("SOPClassUID") or (meta.get("MediaStorageSOPClassUID") if meta else None)
    if uid is None:
        return "no storage class"
    return SEGMENTATIONS.get(str(uid)) or str(getattr(uid, "name", uid))


def _syntax(dataset: "Dataset") -> Any:
    from pydicom.uid import UID

    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if not syntax:
        raise PhotoError("damaged DICOM: no transfer syntax")
    return UID(syntax)


def _encapsulated(dataset: "Dataset", index: int) -> bytes:
    from pydicom.encaps import get_frame

    try:
        return get_frame(dataset.PixelData, index, number_of_frames=frame_count(dataset))
    except Exception as error:
        raise PhotoError(
            f"damaged DICOM: its pixels cannot be found; export it again ({reason(error)})"
        ) from error


def _decoded(dataset: "Dataset", index: int, height: int, width: int) -> NDArray[np.uint8]:
    """Decode a frame by pydicom's decoders: (height, width, 3) uint8."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.processing import apply_color_lut

    syntax, photometric = _syntax(dataset), str(dataset.PhotometricInterpretation)
    package = _DECODERS.get(str(syntax))
    advice = f"; it can be read after 'pip install {package}'" if package else ""
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise PhotoError(f"cannot decode {syntax.name}{advice}") from error
    if not decoder.is_available:
        raise PhotoError(f"cannot decode {syntax.name}{advice}")
    _check_samples(dataset)
    try:
        values, _ = decoder.as_array(dataset, index=index)
        if photometric == "PALETTE COLOR":
            values = apply_color_lut(values, _with_little_endian_palette(dataset))
    except Exception as error:  # as many as there are decoders and ways to be damaged
        raise PhotoError(
            f"cannot decode {syntax.name} ({reason(error)})"
            f"{advice or '; export it again, it may be damaged'}"
        ) from error
    bits = 8 * values.dtype.itemsize if photometric == "PALETTE COLOR" else int(dataset.BitsStored)
    if values.shape[:2] != (height, width) or values.dtype.kind != "u":
        raise PhotoError(f"damaged DICOM: expected {width}x{height} pixels, got {values.shape}")
    if photometric == "MONOCHROME1":
        values = (1 << bits) - 1 - values
    if bits > 8:
        values = values >> (bits - 8)
    elif bits < 8:
        values = values.astype(np.uint16) * 255 // ((1 << bits) - 1)
    if values.ndim == 2:
        values = np.repeat(values[:, :, np.newaxis], 3, axis=2)
    if values.shape[2] != 3:
        raise PhotoError(f"expected a photo of 1 or 3 channels, got {values.shape[2]}")
    return np.ascontiguousarray(values.astype(np.uint8))


def _check_samples(dataset: "Dataset") -> None:
    """Refuse a header by which pydicom would decode other values than were meant."""
    photometric = str(dataset.PhotometricInterpretation)
    is_grey = photometric.startswith("MONOCHROME")
    samples = 1 if is_grey or photometric == "PALETTE COLOR" else 3
    if dataset.SamplesPerPixel != samples:
        raise PhotoError(
            f"damaged DICOM: expected {samples} samples per pixel ({photometric}), got "
            f"{dataset.SamplesPerPixel}"
        )
    high, stored = dataset.get("HighBit"), dataset.BitsStored
    if dataset.BitsAllocated > stored and high is not None and high != stored - 1:
        raise PhotoError(
            f"expected pixels in the low bits, with a high bit of {stored - 1}, got {high}"
        )


def _with_little_endian_palette(dataset: "Dataset") -> "Dataset":
    """Store the palette as pydicom 3.0 expects it: little-endian words, whatever the file has."""
    names = [f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")]
    if dataset.file_meta.TransferSyntaxUID.is_little_endian or names[0] not in dataset:
        return dataset
    swapped = copy(dataset)
    for name in names:
        if dataset[name].VR == "OW":
            setattr(
                swapped, name, np.frombuffer(dataset[name].value, ">u2").astype("<u2").tobytes()
            )
    return swapped


def _tell_colours(jpeg: bytes, photometric: str) -> bytes:
    """Return a JPEG file whose colours a decoder outside of DICOM takes for what they are.

    A JPEG tells by its markers whether it is YCbCr or RGB. Without any it is taken for YCbCr; where
    the header says RGB, and no channel is coarser than another, it gets a marker that says so.
    """
    if photometric != "RGB":
        return jpeg
    for marker, segment in _segments(jpeg):
        if (marker == 0xE0 and segment[:4] == b"JFIF") or (
            marker == 0xEE and segment[:5] == b"Adobe"
        ):
            return jpeg
        if marker in (0xC0, 0xC1, 0xC2):
            samplings = set(segment[7::3])
            return jpeg if len(samplings) > 1 else jpeg[:2] + _APP14_RGB + jpeg[2:]
    return jpeg


def _segments(jpeg: bytes) -> Iterator[tuple[int, bytes]]:
    """Return the marker segments of a JPEG file before its data."""
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        marker, length = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4])
        if marker == 0xDA:
            return
        yield marker, jpeg[at + 4 : at + 2 + length]
        at += 2 + length


def spacing(header: "Dataset") -> tuple[float, float] | None:
    """Return the millimetres between rows and between columns; None where the file gives none.

    It is `PixelSpacing`, else `ImagerPixelSpacing`.

    Raises:
        LesionsegError: one of them is neither two numbers nor more than 0.
    """
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        got: Any = "what cannot be read"
        try:
            got = header.get(name)
            if got is None or got == "":
                continue
            rows, columns = (float(part) for part in got)
        except Exception:  # of a value that pydicom cannot decode, too
            rows = columns = math.nan
        if not (0 < rows < math.inf and 0 < columns < math.inf):
            raise LesionsegError(f"{name}: expected two lengths of more than 0 mm, got {got}")
        return rows, columns
    return None


def scale(header: "Dataset", default: float | None) -> float | None:
    """Return the side of a pixel in millimetres: as the file says, else the default.

    None where the file's pixels are not square, as measurements are those of square ones.

    Raises:
        LesionsegError: the file's spacing is not a length.
    """
    sides = spacing(header)
    if sides is None:
        return default
    rows, columns = sides
    if abs(rows - columns) <= 1e-6 * rows:
        return rows
    _note_oblong(str(getattr(header, "filename", None) or "a DICOM photo"), rows, columns)
    return None


@cache
def _note_oblong(name: str, rows: float, columns: float) -> None:
    """Log, once per file, why it is not measured in millimetres."""
    logging.getLogger("lesionseg").warning(
        "%s: pixels of %g x %g mm are not square, so measurements are in pixels",
        name,
        rows,
        columns,
    )


def reason(error: BaseException) -> str:
    """Quote an exception of pydicom on one line, at most 200 characters, for who knows DICOM."""
    return f"pydicom: {one_line(error)[:200]}"
