"""Tell what a file is by its first bytes: photo formats, and other files beside photos."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from lesionseg.extras import PACKAGES

HEAD = 160  # bytes of a file that tell what it is
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".avif"}
)
HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"})

NAMES = "JPEG, PNG, BMP, TIFF, WebP, GIF, AVIF, HEIC or DICOM"
_PHOTOS = ("JPEG", "PNG", "BMP", "TIFF", "WebP", "GIF", "AVIF", "DICOM")
_STARTS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"BM", "BMP"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0\x10\0\0\0CR", "camera raw"),
    (b"IIRO", "camera raw"),
    (b"IIU\0", "camera raw"),
    (b"FUJIFILMCCD-RAW", "camera raw"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),  # BigTIFF
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"8BPS", "Photoshop"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "zip"),
    (b"\x1f\x8b", "gzip"),
    (b"\x89HDF", "HDF5"),
    (b"\x93NUMPY", "NumPy"),
)
_BRANDS = {  # of files that begin with an `ftyp` box (ISO/IEC 14496-12)
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "HEIC"),
    b"crx ": "camera raw",
}


def kind_of(head: bytes) -> str | None:
    """Name the kind of a file that begins with `head`, its first `HEAD` bytes, or None.

    Photos are JPEG, PNG, BMP, TIFF, WebP, GIF, AVIF and HEIC; other kinds are named for messages.
    """
    if head[128:132] == b"DICM":  # first, as what stands before it may look like a TIFF
        return "DICOM"
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF":
        return "WebP" if head[8:12] == b"WEBP" else "video or sound"
    if head[4:8] == b"ftyp":
        brands = [head[8:12], *(head[first : first + 4] for first in range(16, len(head), 4))]
        return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), "video or sound")
    if not head:
        return "empty"
    text = head.decode("utf-8", errors="ignore")
    if len(text.encode()) > len(head) - 4 and all(c.isprintable() or c.isspace() for c in text):
        return "text"
    return None


def kind_of_file(path: Path) -> str | None:
    """Name the kind of a file, as `kind_of`; None also if it cannot be opened."""
    try:
        with path.open("rb") as file:
            return kind_of(file.read(HEAD))
    except OSError:
        return None


def readable() -> tuple[str, ...]:
    """List the kinds that are photos here: HEIC only with one of its readers installed."""
    return (*_PHOTOS, "HEIC") if heif_reader() else _PHOTOS


@cache
def heif_reader() -> str | None:
    """Name the installed package that reads HEIC, or None; it is not imported."""
    return next((name for name in ("pi_heif", "pillow_heif") if find_spec(name)), None)


def advice(kind: str | None) -> str:
    """Say in brackets what would make an unreadable kind readable; empty if nothing would."""
    missing = kind == "HEIC" and not heif_reader()
    return f" (pip install {' '.join(PACKAGES['heif'])})" if missing else ""
