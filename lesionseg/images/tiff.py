"""Decide from a TIFF's tags which of its pages is the photo, and whether libtiff reads it right.

What is not known to be read right is refused; tests compare a matrix of files with what went in.
Tags and values: TIFF revision 6.0 (Adobe 1992), Technical Note 2, and Supplement 1.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lesionseg.errors import PhotoError

Tags = Mapping[int, Any]

MOST_PAGES = 1000
_SUBFILE, _WIDTH, _LENGTH, _BITS, _COMPRESSION = 254, 256, 257, 258, 259
_PHOTOMETRIC, _PLANAR, _PREDICTOR, _COLOURS = 262, 284, 317, 320
_INKS, _EXTRA, _FORMAT = 332, 338, 339
TAGS = (  # all that are looked at
    *(_SUBFILE, _WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _PLANAR, _PREDICTOR),
    *(_COLOURS, _INKS, _EXTRA, _FORMAT),
)
_REDUCED, _TRANSPARENCY = 1, 4  # bits of NewSubfileType
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _PALETTE, _CMYK, _YCBCR = 0, 1, 3, 5, 6
_READ = (_WHITE_IS_ZERO, _BLACK_IS_ZERO, 2, _PALETTE, _CMYK, _YCBCR)
_PREDICTED = (5, 8, 32946, 34925, 50000)  # LZW, deflate (two numbers), LZMA, Zstandard


def photo_page(pages: Sequence[Tags]) -> int:
    """Find the page that holds the photo: the largest that is no reduced copy and no mask.

    Raises:
        PhotoError: there is none, or several pages have its size.
    """
    areas = {
        index: _number(tags, _WIDTH) * _number(tags, _LENGTH)
        for index, tags in enumerate(pages)
        if not _number(tags, _SUBFILE) & (_REDUCED | _TRANSPARENCY)
    }
    if not areas:
        raise PhotoError(
            "expected a TIFF with a photo, got only a thumbnail, as in camera raw files; export "
            "the photo as JPEG, PNG or TIFF"
        )
    largest = max(areas.values())
    indices = [index for index, area in areas.items() if area == largest]
    if len(indices) > 1:
        tags = pages[indices[0]]
        raise PhotoError(
            f"expected a TIFF of one photo, got {len(indices)} pages of "
            f"{_number(tags, _WIDTH)}x{_number(tags, _LENGTH)} pixels; save the photo alone, its "
            "channels on one page"
        )
    return indices[0]


def check(tags: Tags) -> None:
    """Refuse a page that Pillow and libtiff would read as something else than it means.

    Raises:
        PhotoError: says what was expected and what the page has.
    """
    bits = bits_of(tags)
    photometric = _number(tags, _PHOTOMETRIC)
    if photometric not in _READ:
        raise PhotoError(
            "expected a TIFF in grey, RGB, palette, CMYK or YCbCr, got photometric interpretation "
            f"{photometric}; save it as RGB"
        )
    if _first(tags, _FORMAT, 1) == 2 and bits <= 16:
        raise PhotoError(f"expected unsigned values, got signed {bits}-bit ones")
    if _first(tags, _FORMAT, 1) == 3 and photometric == _WHITE_IS_ZERO:
        raise PhotoError("expected floating point with 0 as black, got 0 as white")
    if _number(tags, _PREDICTOR, 1) != 1 and _number(tags, _COMPRESSION, 1) not in _PREDICTED:
        raise PhotoError(
            "expected a TIFF without a predictor, which its compression does not support; save "
            "it again"
        )
    grey = photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    if _number(tags, _PLANAR, 1) == 2 and grey and any(_all(tags, _EXTRA)):
        raise PhotoError("expected grey and transparency interleaved, got separate planes")
    if photometric == _CMYK and _number(tags, _INKS, 1) != 1:
        raise PhotoError("expected the inks of CMYK, got others; save it as RGB")


def bits_of(tags: Tags) -> int:
    """Return the bits per channel."""
    return int(_first(tags, _BITS, 1))


def is_inverted(tags: Tags) -> bool:
    """Tell whether 0 is white and Pillow does not see to it: in grey of 16 bits."""
    return _number(tags, _PHOTOMETRIC) == _WHITE_IS_ZERO and bits_of(tags) == 16


def small_palette(tags: Tags) -> list[int] | None:
    """Return a palette that holds 8-bit values in place of 16-bit ones, or None.

    As [red, green, blue, red, ...]; such files are against the rule, but libtiff reads them, too.
    """
    values = _all(tags, _COLOURS)
    if _number(tags, _PHOTOMETRIC) != _PALETTE or not values or max(values) > 255:
        return None
    colours = len(values) // 3
    return [values[band * colours + index] for index in range(colours) for band in range(3)]


def _number(tags: Tags, tag: int, default: int = 0) -> int:
    return int(_first(tags, tag, default))


def _first(tags: Tags, tag: int, default: int) -> Any:
    values = _all(tags, tag)
    return values[0] if values else default


def _all(tags: Tags, tag: int) -> tuple[Any, ...]:
    values = tags.get(tag)
    if values is None:
        return ()
    return tuple(values) if isinstance(values, tuple | list) else (values,)
