"""A matrix of TIFFs, written by tifffile: each is read as what went in, or refused in one line."""

import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from lesionseg.errors import LesionsegError
from lesionseg.images import tiff
from lesionseg.images.masks import LESION_ABOVE, read_mask
from lesionseg.images.photos import read_photo, read_photo_shrunk
from lesionseg.images.resize import shrink

HEIGHT, WIDTH = 32, 48
_Y, _X = np.mgrid[:HEIGHT, :WIDTH]
BANDS = np.stack([_X * 5, _Y * 7, (_X + _Y) * 3, _X * 2], axis=2).astype(np.uint8)
PALETTE = np.stack([np.arange(256), 255 - np.arange(256), np.arange(256) // 2])  # (3, 256)
NOT_PREDICTED = (None, "packbits", "jpeg")  # compressions
CHANNELS = {"minisblack": 1, "miniswhite": 1, "palette": 1, "rgb": 3, "ycbcr": 3, "separated": 4}


def cases() -> Iterator[Any]:
    """All that tifffile writes of what TIFF allows."""
    for photometric, bits, planar, compression, predictor, tile in itertools.product(
        CHANNELS,
        (1, 8, 16),
        ("contig", "separate"),
        (None, "lzw", "zlib", "packbits", "jpeg"),
        (False, True),
        (None, (16, 16)),
    ):
        channels = CHANNELS[photometric]
        if (
            (channels == 1 and planar == "separate")
            or (bits == 1 and (channels > 1 or photometric == "palette" or predictor))
            or (bits == 16 and photometric in ("palette", "ycbcr"))
            or (compression == "jpeg" and (bits != 8 or photometric in ("palette", "miniswhite")))
            or (compression == "jpeg" and (planar == "separate" or photometric == "separated"))
            or (predictor and compression in NOT_PREDICTED)
        ):
            continue
        name = f"{photometric}-{bits}-{planar}-{compression}-{predictor}-{tile}"
        values = (photometric, bits, planar, compression, predictor, tile)
        yield pytest.param(*values, id=name)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    ("photometric", "bits", "planar", "compression", "predictor", "tile"), list(cases())
)
def test_a_tiff_is_read_as_what_went_in(
    tmp_path: Path,
    photometric: str,
    bits: int,
    planar: str,
    compression: str | None,
    predictor: bool,
    tile: tuple[int, int] | None,
    byteorder: str,
) -> None:
    file = tmp_path / "photo.tif"
    stored, expected = picture(photometric, bits)
    write(file, stored, photometric, planar, compression, predictor, tile, byteorder)
    tolerance = {"jpeg": 12}.get(compression or "", 2 if photometric == "ycbcr" else 0)
    photo = read_photo(file)
    assert photo.shape == expected.shape
    assert np.abs(photo.astype(int) - expected).max() <= tolerance
    shrunk, size = read_photo_shrunk(file, 16)
    assert size == (HEIGHT, WIDTH)
    assert (shrunk == shrink(photo, 16)).all()
    if photometric in ("minisblack", "miniswhite"):
        grey = expected[:, :, 0]
        if compression != "jpeg":
            assert (read_mask(file)[0] == (grey > LESION_ABOVE)).all()


def picture(photometric: str, bits: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """What is stored, (H, W) or (H, W, C), and the photo that it means, (H, W, 3)."""
    values = BANDS[:, :, : CHANNELS[photometric]].squeeze()
    if bits == 1:
        stored: NDArray[Any] = values > 100
        values = stored * np.uint8(255)
    else:
        # the low byte differs from the high one, so that a mix-up of the two is seen
        stored = values if bits == 8 else values.astype(np.uint16) * 256 + (255 - values)
    if photometric == "palette":
        return stored, PALETTE.T[values].astype(np.uint8)
    if photometric in ("ycbcr", "separated"):
        mode = "YCbCr" if photometric == "ycbcr" else "CMYK"
        return stored, np.asarray(Image.fromarray(values, mode=mode).convert("RGB"))
    if photometric == "miniswhite":
        values = 255 - values
    return stored, values if values.ndim == 3 else np.dstack([values] * 3)


def write(
    file: Path,
    stored: NDArray[Any],
    photometric: str,
    planar: str = "contig",
    compression: str | None = None,
    predictor: bool = False,
    tile: tuple[int, int] | None = None,
    byteorder: str = "<",
) -> None:
    """Write a TIFF; what tifffile cannot compress by itself is given to it compressed."""
    planes = planar == "separate"
    data: Any = np.ascontiguousarray(np.moveaxis(stored, 2, 0)) if planes else stored
    options: dict[str, Any] = {
        "photometric": photometric,
        "planarconfig": planar if stored.ndim == 3 else None,
        "compression": compression,
        "predictor": predictor,
        "tile": tile,
        "byteorder": byteorder,
    }
    if photometric == "palette":
        options["colormap"] = (PALETTE * 257).astype(np.uint16)
    if compression not in ENCODERS:
        tifffile.imwrite(file, data, **options)
        return
    rows, columns = tile or (HEIGHT, WIDTH)
    segments = [
        ENCODERS[compression](segment, predictor, byteorder, photometric)
        for plane in (data if planes else [data])
        for segment in cut(plane, rows, columns)
    ]
    options |= {"compression": "zlib", "shape": data.shape, "dtype": data.dtype}
    options["rowsperstrip"] = None if tile else HEIGHT
    tifffile.imwrite(file, iter(segments), **options)
    with tifffile.TiffFile(file, mode="r+") as written:
        written.pages.first.tags[259].overwrite(
            {"lzw": 5, "jpeg": 7, "packbits": 32773}[compression]
        )


def cut(plane: NDArray[Any], rows: int, columns: int) -> Iterator[NDArray[Any]]:
    for top, left in itertools.product(range(0, HEIGHT, rows), range(0, WIDTH, columns)):
        yield plane[top : top + rows, left : left + columns]


def raw(segment: NDArray[Any], predictor: bool, byteorder: str) -> bytes:
    if segment.dtype == np.bool_:
        return np.packbits(segment, axis=1).tobytes()
    if predictor:
        segment = np.diff(segment, axis=1, prepend=np.zeros_like(segment[:, :1]))
    return segment.astype(segment.dtype.newbyteorder("<" if byteorder == "<" else ">")).tobytes()


def lzw(segment: NDArray[Any], predictor: bool, byteorder: str, photometric: str) -> bytes:
    """Codes of 9 bits, cleared before they would need 10."""
    codes: list[int] = []
    for index, value in enumerate(raw(segment, predictor, byteorder)):
        codes += [256, value] if index % 250 == 0 else [value]
    bits = "".join(f"{code:09b}" for code in [*codes, 257])
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def packbits(segment: NDArray[Any], predictor: bool, byteorder: str, photometric: str) -> bytes:
    """Literal runs, each row for itself."""
    data = raw(segment, predictor, byteorder)
    width = len(data) // len(segment)
    rows = [data[first : first + width] for first in range(0, len(data), width)]
    runs = (row[first : first + 128] for row in rows for first in range(0, width, 128))
    return b"".join(bytes([len(run) - 1]) + run for run in runs)


def jpeg(segment: NDArray[Any], predictor: bool, byteorder: str, photometric: str) -> bytes:
    """A JPEG whose channels are stored as they are, except that YCbCr are those of an RGB."""
    buffer = io.BytesIO()
    options: dict[str, Any] = {"quality": 100, "subsampling": 0}
    if photometric == "ycbcr":
        image = Image.fromarray(np.ascontiguousarray(segment), mode="YCbCr")
    else:
        image = Image.fromarray(np.ascontiguousarray(segment))
        options["keep_rgb"] = photometric == "rgb"
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


ENCODERS = {"lzw": lzw, "jpeg": jpeg, "packbits": packbits}
GREY = BANDS[:, :, 0]


def write_packed(file: Path, values: NDArray[Any], bits: int, photometric: Any) -> None:
    """Write grey values of a number of bits that no array has."""
    places = np.arange(bits)[::-1]
    packed = np.packbits((values[:, :, np.newaxis] >> places & 1).reshape(HEIGHT, -1), axis=1)
    tifffile.imwrite(file, packed.astype(np.uint8), photometric=photometric)
    with tifffile.TiffFile(file, mode="r+") as written:
        written.pages.first.tags[258].overwrite(bits)
        written.pages.first.tags[256].overwrite(WIDTH)


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_few_bits(tmp_path: Path, bits: int, white_is_zero: bool) -> None:
    file = tmp_path / "photo.tif"
    stored = np.right_shift(GREY, 8 - bits).astype(np.uint8)
    photometric = "miniswhite" if white_is_zero else "minisblack"
    write_packed(file, stored, bits, photometric)
    grey: NDArray[np.uint8] = stored * np.uint8(255 // (2**bits - 1))
    expected = np.dstack([255 - grey if white_is_zero else grey] * 3)
    assert (read_photo(file) == expected).all()


def test_12_bits(tmp_path: Path) -> None:
    file = tmp_path / "photo.tif"
    write_packed(file, GREY.astype(np.uint16) << 4, 12, "minisblack")
    assert (read_photo(file) == np.dstack([GREY] * 3)).all()


def test_a_palette_of_8_bits(tmp_path: Path) -> None:
    file = tmp_path / "photo.tif"
    colours = PALETTE.astype(np.uint16)
    tifffile.imwrite(file, GREY, photometric="palette", colormap=colours)
    assert (read_photo(file) == PALETTE.T[GREY]).all()


@pytest.mark.parametrize("alpha", ["unspecified", "assocalpha", "unassalpha"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_opaque_colours_with_a_fourth_channel(
    tmp_path: Path, dtype: type, planar: str, alpha: str
) -> None:
    file = tmp_path / "photo.tif"
    opaque = np.full((HEIGHT, WIDTH), 255, np.uint8)
    stored: NDArray[Any] = np.dstack([BANDS[:, :, :3], opaque]).astype(dtype)
    stored = stored * stored.dtype.type(257 if dtype is np.uint16 else 1)
    data = np.ascontiguousarray(np.moveaxis(stored, 2, 0)) if planar == "separate" else stored
    options: dict[str, Any] = {"planarconfig": planar, "extrasamples": [alpha]}
    tifffile.imwrite(file, data, photometric="rgb", **options)
    assert (read_photo(file) == BANDS[:, :, :3]).all()


# Pages

RGB = BANDS[:, :, :3]
SMALL = np.ascontiguousarray(255 - RGB[::4, ::4])


def pages(file: Path, *arrays: NDArray[Any], flags: dict[int, int] | None = None) -> Path:
    with tifffile.TiffWriter(file) as writer:
        for array in arrays:
            photometric = "rgb" if array.ndim == 3 else "minisblack"
            writer.write(array, photometric=photometric, subfiletype=1, metadata=None)
    with tifffile.TiffFile(file, mode="r+") as written:
        for index, page in enumerate(list(written.pages)):
            assert isinstance(page, tifffile.TiffPage)
            page.tags[254].overwrite((flags or {}).get(index, 0))
    return file


@pytest.mark.parametrize("small_first", [False, True])
@pytest.mark.parametrize("flagged", [False, True])
def test_a_small_page_is_not_the_photo(tmp_path: Path, small_first: bool, flagged: bool) -> None:
    arrays = (SMALL, RGB) if small_first else (RGB, SMALL)
    flags = {0 if small_first else 1: 1 if flagged else 0}
    file = pages(tmp_path / "photo.tif", *arrays, flags=flags)
    assert (read_photo(file) == RGB).all()
    assert read_photo_shrunk(file, 16)[1] == (HEIGHT, WIDTH)


def test_of_a_mask_too_the_largest_page_is_read(tmp_path: Path) -> None:
    mask = (GREY > 128) * np.uint8(255)
    file = pages(tmp_path / "mask.tif", 255 - mask[::4, ::4], mask)
    assert (read_mask(file)[0] == (GREY > 128)).all()


def test_a_page_of_transparency_is_not_the_photo(tmp_path: Path) -> None:
    file = pages(tmp_path / "photo.tif", RGB, GREY, flags={1: 4})
    assert (read_photo(file) == RGB).all()


@pytest.mark.parametrize(
    ("arrays", "flags", "message"),
    [
        ((GREY, GREY + 1, GREY + 2), {}, "one photo, got 3 pages of 48x32 pixels; .*on one page"),
        ((RGB, 255 - RGB), {}, "one photo, got 2 pages of 48x32 pixels; .*"),
        ((SMALL,), {0: 1}, "with a photo, got only a thumbnail, .*"),
    ],
)
def test_pages_of_which_none_is_the_photo(
    tmp_path: Path, arrays: tuple[NDArray[Any], ...], flags: dict[int, int], message: str
) -> None:
    file = pages(tmp_path / "photo.tif", *arrays, flags=flags)
    with pytest.raises(LesionsegError, match=rf"^{file}: expected a TIFF [^\n]*{message}$"):
        read_photo(file)


# What is refused

SIGNED = GREY.astype(np.int16)
WITH_ALPHA = np.stack([GREY, GREY])


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (SIGNED, {}, "expected unsigned values, got signed 16-bit ones"),
        (SIGNED.astype(np.int8), {}, "expected unsigned values, got signed 8-bit ones"),
        (RGB, {"photometric": "cielab"}, "got photometric interpretation 8; save it as RGB"),
        (GREY.astype(np.float32), {}, "got floating point"),
        (
            GREY.astype(np.float64),
            {},
            "a form of TIFF that is not supported, or damaged; copy it again, or save it as PNG",
        ),
        (
            RGB.astype(np.float32),
            {},
            "a form of TIFF that is not supported, or damaged; copy it again, or save it as PNG",
        ),
        (
            RGB.astype(np.uint32),
            {},
            "a form of TIFF that is not supported, or damaged; copy it again, or save it as PNG",
        ),
        (
            WITH_ALPHA,
            {"planarconfig": "separate", "extrasamples": ["unassalpha"]},
            "expected grey and transparency interleaved, got separate planes",
        ),
    ],
)
def test_what_would_be_read_wrongly_is_refused(
    tmp_path: Path, array: NDArray[Any], options: dict[str, Any], message: str, byteorder: Any
) -> None:
    file = tmp_path / "photo.tif"
    photometric = "rgb" if array.shape[-1] == 3 else "minisblack"
    tifffile.imwrite(file, array, byteorder=byteorder, **{"photometric": photometric, **options})
    with pytest.raises(LesionsegError, match=rf"^{file}: [^\n]*{message}$"):
        read_photo(file)


def test_a_predictor_that_the_compression_does_not_take_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "photo.tif"
    write(file, RGB, "rgb", compression="packbits", predictor=True)
    with pytest.raises(LesionsegError, match="expected a TIFF without a predictor"):
        read_photo(file)


def test_inks_that_are_not_those_of_cmyk_are_refused() -> None:
    tags = {258: (8, 8, 8, 8), 262: 5, 277: 4}
    tiff.check(tags)
    with pytest.raises(LesionsegError, match="the inks of CMYK"):
        tiff.check({**tags, 332: 2})


def test_libtiff_writes_nothing_of_its_own(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "photo.tif"
    write(file, RGB, "rgb", compression="lzw")
    content = bytearray(file.read_bytes())
    with tifffile.TiffFile(file) as opened:
        first = opened.pages[0].dataoffsets[0]
    content[first + 2 : first + 200] = b"\xff" * 198
    file.write_bytes(content)
    with pytest.raises(LesionsegError, match=rf"^{file}: cannot read this photo: [^\n]+$"):
        read_photo(file)
    assert capfd.readouterr() == ("", "")
