"""Photos and masks in every form that people have them, and what is written of them."""

import base64
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lesionseg.errors import LesionsegError
from lesionseg.images import dicom, filetypes
from lesionseg.images.arrays import Mask, Photo, Probabilities
from lesionseg.images.encode import overlay_png, photo_jpeg, probability_png
from lesionseg.images.masks import mask_colours, read_mask, shrink_mask_file
from lesionseg.images.photos import read_photo, read_photo_shrunk, shrink_photo_file
from lesionseg.images.png import mask_png
from lesionseg.images.resize import enlarge, enlarged_above, shrink, shrink_mask

GREY = np.kron(np.array([[0, 64, 128], [160, 208, 255]]), np.ones((16, 16))).astype(np.uint8)
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], axis=2)  # (32, 48, 3)
LEFT_HALF = np.tile(np.arange(8) < 4, (6, 1))  # a mask (6, 8)

# How a picture is stored whose orientation is the key: the reverse of what a viewer does.
STORED: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


def orientation(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


def picture(array: NDArray[Any], mode: str | None = None) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(array))
    return image.convert(mode) if mode else image


def close(got: Photo, expected: NDArray[Any], tolerance: int) -> bool:
    """Whether two pictures have the same shape and nowhere differ by more."""
    return got.shape == expected.shape and bool(
        (np.abs(got.astype(int) - expected.astype(int)) <= tolerance).all()
    )


def assert_photo(file: Path, expected: NDArray[Any], tolerance: int = 0) -> None:
    """The file holds the picture, and every way of reading it says so."""
    photo = read_photo(file)
    assert photo.dtype == np.uint8
    assert close(photo, expected, tolerance)
    shrunk, size = read_photo_shrunk(file, 16)
    assert size == photo.shape[:2]
    assert (shrunk == shrink(photo, 16)).all()


@pytest.mark.parametrize("number", STORED)
@pytest.mark.parametrize(
    ("format", "options", "tolerance"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}, 4),
        ("PNG", {}, 0),
        ("TIFF", {}, 0),
        ("WEBP", {"lossless": True}, 0),
    ],
)
def test_photos_are_turned_upright(
    tmp_path: Path, number: int, format: str, options: dict[str, Any], tolerance: int
) -> None:
    file = tmp_path / f"photo.{format}"  # the suffix in upper case
    picture(STORED[number](COLOUR)).save(file, format, exif=orientation(number), **options)
    assert_photo(file, COLOUR, tolerance)


@pytest.mark.parametrize("number", [1, 2, 6])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA", "I;16"])
def test_modes_become_upright_rgb(tmp_path: Path, mode: str, format: str, number: int) -> None:
    file = tmp_path / "photo"
    stored = STORED[number](GREY)
    if mode == "I;16":
        image = picture(stored.astype(np.uint16) * 256 + 255)
    elif mode == "1":
        image = picture(stored > 128)
    else:
        image = picture(stored, mode)
    assert image.mode == mode
    image.save(file, format, exif=orientation(number))
    expected = (GREY > 128) * 255 if mode == "1" else GREY
    assert_photo(file, np.dstack([expected] * 3))


@pytest.mark.parametrize(("format", "tolerance"), [("JPEG", 4), ("TIFF", 1)])
def test_cmyk(tmp_path: Path, format: str, tolerance: int) -> None:
    file = tmp_path / "photo"
    picture(COLOUR, "CMYK").save(file, format, quality=95, subsampling=0)
    assert_photo(file, COLOUR, tolerance)


def test_bmp(tmp_path: Path) -> None:
    file = tmp_path / "photo.bmp"
    picture(COLOUR).save(file)
    assert_photo(file, COLOUR)


def test_a_file_of_several_pictures_gives_the_first(tmp_path: Path) -> None:
    file = tmp_path / "phone.jpg"
    turned, other = picture(STORED[6](COLOUR)), picture(255 - COLOUR)
    options: dict[str, Any] = {"exif": orientation(6), "quality": 95, "subsampling": 0}
    turned.save(file, "MPO", save_all=True, append_images=[other], **options)
    with Image.open(file) as image:
        assert image.format == "MPO"
    assert_photo(file, COLOUR, 4)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_what_is_transparent_becomes_black(tmp_path: Path, mode: str) -> None:
    file = tmp_path / "photo.png"
    opaque = np.where(np.arange(48) < 24, 255, 0).astype(np.uint8)
    image = Image.new("L", (48, 32), 200)
    if mode in ("RGBA", "LA"):
        image = image.convert(mode)
        image.putalpha(picture(np.tile(opaque, (32, 1))))
        image.save(file)
    else:  # one value, or one colour of the palette, is transparent
        image = picture(np.tile(np.where(opaque, 200, 70).astype(np.uint8), (32, 1)), mode)
        image.save(file, transparency=70)
    assert_photo(file, np.dstack([np.tile(np.where(opaque, 200, 0), (32, 1))] * 3))


@pytest.mark.parametrize(
    ("values", "message"),
    [(np.int32(70_000), "8 or 16 bits a channel, got 32"), (np.float32(0.5), "floating point")],
)
def test_photos_of_more_than_16_bits_are_refused(tmp_path: Path, values: Any, message: str) -> None:
    file = tmp_path / "photo.tif"
    Image.fromarray(np.full((8, 8), values)).save(file)
    with pytest.raises(LesionsegError, match=rf"^{file}: expected .*{message}$"):
        read_photo(file)


def test_a_large_jpeg_is_read_at_a_reduced_scale_and_looks_the_same(tmp_path: Path) -> None:
    file = tmp_path / "large.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    picture(noise).resize((1600, 1200), Image.Resampling.BICUBIC).save(file, quality=90)
    shrunk, size = read_photo_shrunk(file, 64)
    full = shrink(read_photo(file), 64)
    assert size == (1200, 1600)
    assert 0 < np.abs(shrunk.astype(int) - full.astype(int)).mean() < 1


@pytest.mark.parametrize(("number", "size"), [(1, (1003, 1001)), (6, (1001, 1003))])
def test_the_size_of_a_nearly_square_photo(
    tmp_path: Path, number: int, size: tuple[int, int]
) -> None:
    file = tmp_path / "photo.jpg"  # an eighth of it is square
    Image.new("RGB", (1001, 1003)).save(file, exif=orientation(number))
    assert read_photo_shrunk(file, 32)[1] == size


HEIC = (  # COLOUR, as pillow-heif wrote it; deflated, in base 85
    "c-muNV30{GsVvAy&8%Pmg51nBLl8SRGck>Ufw3+(wIq=N0u(b+a*CjAhJwuG5(YG&l$n#C3}U!AFfalk5HK!+&_Hkj"
    "h?O%l^U}aPkf<n-lgb3;Wt1fwf|z^-nI*Y!CI2!DiVA@Az088-d>~y8ROZac!U1H?vj8cQ`@rz$|BoLG4E)RqKpo-^"
    "j6970|AQ1TgH<pCmF!}2NCe7hIWaP#N=#r8P}p=gX3BMQMqV}+kXQ<cU{Oc{D(7%vJXkDYz%c=6i*Ry&PElTRP6be$"
    "mw~MTC?t|uT#yR&ngbMTB<Cc8Tx$Szy#k2-|Ns97Ak74%AAo2e7AVN9$OLI*=HLK%MIy5x7Z%FEfMacBVrFdtvTx+3"
    "B!WWuj0WR+HjAk5>*ISH|Ns9q;rRc*y<Nel-_%sfJIBuc_4DEN^V{|r?&I8F`6FNA*!_!A8@`->Q}y^%=;jA|*+0vM"
    "*UsYDzgpnlGwpc4@co)cWUlx3ghzat@>jpiz^1=%zQL1EWzG}(tNwgHuybvc?8gwh^@7tkg>3K&ce|q!_59wCMyc*Z"
    "W(}i+CE7l#TXTO3Kal(H(ie9*b?U~>9?zYOrROWQz1A&~Z1--cW{hhudLhGJFv}xN>TuI;D`Q1jiIy*4wgzbxv2R-V"
    "!)QYR03AiPIs"
)


@pytest.mark.skipif(filetypes.heif_reader() is None, reason="needs pi-heif")
def test_a_heic_photo(tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"  # its content counts
    file.write_bytes(zlib.decompress(base64.b85decode(HEIC)))
    assert_photo(file, COLOUR, 12)


def test_a_heic_photo_without_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filetypes, "heif_reader", lambda: None)
    file = tmp_path / "photo.heic"
    file.write_bytes(zlib.decompress(base64.b85decode(HEIC)))
    with pytest.raises(LesionsegError, match=r"DICOM, got HEIC \(pip install pi-heif\)$"):
        read_photo(file)


# What is said of a photo that is read all the same


def notes(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_alpha_that_is_0_everywhere_is_ignored(
    tmp_path: Path, format: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "photo"
    image = picture(COLOUR)
    image.putalpha(0)
    options: dict[str, Any] = {"lossless": True, "exact": True} if format == "WEBP" else {}
    image.save(file, format, **options)
    assert_photo(file, COLOUR)
    assert notes(caplog)[0] == f"{file}: transparent everywhere; its transparency is ignored"


@pytest.mark.parametrize("depth", [10, 12, 14, 16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_fewer_bits_in_16_are_stretched(
    tmp_path: Path, format: str, channels: int, depth: int, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "photo"
    stored = (COLOUR if channels == 3 else GREY).astype(np.uint16) << (depth - 8)
    ending = ".tif" if format == "TIFF" else ".png"
    file.write_bytes(
        cv2.imencode(ending, stored[:, :, ::-1] if channels == 3 else stored)[1].tobytes()
    )
    assert_photo(file, COLOUR if channels == 3 else np.dstack([GREY] * 3))
    highest = 255 << (depth - 8)
    said = f"{file}: no 16-bit value is above {highest}; read as {depth}-bit values"
    assert set(notes(caplog)) == ({said} if depth < 16 else set())


def test_colours_of_fewer_bits_with_transparency(tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    left = np.tile(np.arange(48) < 24, (32, 1))
    stored = np.dstack([COLOUR[:, :, ::-1].astype(np.uint16) << 4, left * np.uint16(65535)])
    file.write_bytes(cv2.imencode(".png", stored)[1].tobytes())
    assert_photo(file, COLOUR * left[:, :, np.newaxis])


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "AVIF"])
def test_of_an_animation_the_first_frame_is_read(
    tmp_path: Path, format: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "photo"
    qualities: dict[str, Any] = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100}}
    options = qualities.get(format, {})
    frames = [picture(np.dstack([grey] * 3)) for grey in (GREY, 255 - GREY)]
    frames[0].save(file, format, save_all=True, append_images=frames[1:], **options)
    assert_photo(file, np.dstack([GREY] * 3), 2)
    assert set(notes(caplog)) == {f"{file}: animated; only its first frame is read"}


def test_an_avif_photo(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "photo"
    picture(STORED[6](COLOUR)).save(
        file, "AVIF", quality=100, subsampling="4:4:4", exif=orientation(6)
    )
    photo = read_photo(file)
    assert photo.shape == COLOUR.shape
    assert np.abs(photo.astype(int) - COLOUR).mean() < 3
    assert notes(caplog) == []


@pytest.mark.parametrize("kind", ["icc", "text"])
def test_a_png_with_large_metadata(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "photo.png"
    large = np.random.default_rng(0).bytes(3_000_000)
    if kind == "icc":
        picture(COLOUR).save(file, icc_profile=large)
    else:
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", large.hex(), zip=True)
        picture(COLOUR).save(file, pnginfo=info)
    assert_photo(file, COLOUR)


# What is no photo


FORMATS = "JPEG, PNG, BMP, TIFF, WebP, GIF, AVIF, HEIC or DICOM"


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in (*chunks, (b"IEND", b"")):
        checksum = zlib.crc32(kind + data)
        parts.append(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum))
    return b"".join(parts)


BOMB = png((b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)), (b"IDAT", b""))


@pytest.mark.parametrize("read", [read_photo, read_mask])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a line of text\n" * 20, "not a {what}: expected " + FORMATS + ", got text"),
        (b"", "not a {what}: expected " + FORMATS + ", got an empty file"),
        (bytes(200), "not a {what}: expected " + FORMATS),
        (b"BM" + bytes(200), "cannot read this {what}: .*BMP.*"),
        (BOMB, "too large to decode safely, over [0-9]+ megapixels; shrink it first"),
        ("folder", "cannot read this {what}: Is a directory"),
        ("missing", "no such file"),
        ("pipe", "expected a file, got a pipe; give this {what} on standard input, as '-'"),
    ],
    ids=["text", "empty", "zeros", "bmp", "bomb", "folder", "missing", "pipe"],
)
def test_other_files_are_refused_in_one_line(
    tmp_path: Path, read: Callable[[Path], object], content: bytes | str, message: str
) -> None:
    file = tmp_path / "photo.png"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content == "folder":
        file.mkdir()
    elif content == "pipe":
        os.mkfifo(file)  # to open it would wait for ever
        assert not dicom.is_dicom_file(file)
    what = "mask" if read is read_mask else "photo"
    with pytest.raises(LesionsegError, match=rf"^{file}: {message.format(what=what)}$"):
        read(file)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "TIFF", "WEBP"])
def test_a_file_cut_short_is_refused(tmp_path: Path, format: str) -> None:
    file = tmp_path / "photo"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    picture(noise).save(file, format)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    for read in (read_photo, lambda path: read_photo_shrunk(path, 16)):
        with pytest.raises(LesionsegError, match=rf"^{file}: [^\n]+$"):
            read(file)


def test_a_stream_is_called_standard_input() -> None:
    with pytest.raises(LesionsegError, match=r"^standard input: not a photo"):
        read_photo(io.BytesIO(b"text"))


# Masks


def save(array: NDArray[Any], folder: Path, mode: str | None = None, **options: Any) -> Path:
    file = folder / "mask.png"
    picture(array, mode).save(file, **options)
    return file


@pytest.mark.parametrize(
    ("values", "mode", "zero_one"),
    [
        (LEFT_HALF * np.uint8(255), None, False),
        (LEFT_HALF * np.uint8(1), None, True),
        (LEFT_HALF * np.uint8(129), None, False),
        (np.where(LEFT_HALF, 129, 128).astype(np.uint8), None, False),  # soft edges
        (LEFT_HALF, "1", False),
        (LEFT_HALF * np.uint8(255), "P", False),
        (LEFT_HALF * np.uint8(255), "RGB", False),
        (LEFT_HALF * np.uint16(65535), None, False),
        (LEFT_HALF * np.uint16(255), None, False),
        (LEFT_HALF * np.uint16(1), None, True),
        (LEFT_HALF * np.uint16(4095), None, False),  # 12 bits
        (LEFT_HALF * np.uint8(255), "LA", False),  # opaque all over
        (LEFT_HALF * np.uint8(255), "RGBA", False),
        (
            np.dstack([*[LEFT_HALF * np.uint8(255)] * 3, LEFT_HALF * 0]).astype(np.uint8),
            None,
            False,
        ),
        (np.dstack([LEFT_HALF * np.uint8(n) for n in (255, 254, 253)]), None, False),
    ],
)
def test_masks(tmp_path: Path, values: NDArray[Any], mode: str | None, zero_one: bool) -> None:
    mask, is_zero_one = read_mask(save(values, tmp_path, mode))
    assert mask.dtype == np.bool_
    assert (mask == LEFT_HALF).all()
    assert is_zero_one == zero_one


@pytest.mark.parametrize(
    ("values", "transparency"),
    [(LEFT_HALF * np.uint8(255), 7), (LEFT_HALF * np.uint16(65535), 7)],
)
def test_a_mask_with_a_transparent_value_that_it_does_not_hold(
    tmp_path: Path, values: NDArray[Any], transparency: int
) -> None:
    file = save(values, tmp_path, transparency=transparency)
    assert b"tRNS" in chunks(file.read_bytes())
    assert (read_mask(file)[0] == LEFT_HALF).all()


@pytest.mark.parametrize("suffix", [".gif", ".tif", ".png"])
@pytest.mark.parametrize(
    ("values", "mode", "zero_one"),
    [
        (LEFT_HALF * np.uint8(255), "L", False),
        (LEFT_HALF * np.uint8(255), "1", False),
        (LEFT_HALF * np.uint8(255), "P", False),
        (LEFT_HALF * np.uint8(255), "RGB", False),
        (LEFT_HALF * np.uint8(255), "LA", False),
        (LEFT_HALF * np.uint8(255), "RGBA", False),
        (LEFT_HALF * np.uint8(1), "L", True),
    ],
)
def test_masks_of_other_kinds_of_files(
    tmp_path: Path, suffix: str, values: NDArray[Any], mode: str, zero_one: bool
) -> None:
    file = tmp_path / f"mask{suffix}"
    picture(values, mode).save(file)
    mask, is_zero_one = read_mask(file)
    assert (mask == LEFT_HALF).all()
    assert is_zero_one == zero_one


@pytest.mark.parametrize(
    ("values", "zero_one"),
    [
        (LEFT_HALF * np.float32(1), True),
        (LEFT_HALF * np.float32(255), False),
        (LEFT_HALF * np.float32(0.5) + np.float32(0.4), False),
        (np.zeros((6, 8), np.float32), False),
    ],
)
def test_masks_of_floating_point(tmp_path: Path, values: NDArray[Any], zero_one: bool) -> None:
    file = tmp_path / "mask.tif"
    Image.fromarray(values).save(file)
    mask, is_zero_one = read_mask(file)
    assert (mask == (LEFT_HALF if values.any() else False)).all()
    assert is_zero_one == zero_one


COLOURS = np.array([[[0, 0, 0], [250, 50, 83], [250, 50, 83], [0, 128, 0]]], np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA"])
@pytest.mark.parametrize("suffix", [".png", ".gif", ".tif", ".bmp"])
def test_colours_of_a_mask(tmp_path: Path, mode: str, suffix: str) -> None:
    file = tmp_path / f"mask{suffix}"
    picture = Image.fromarray(COLOURS)
    (picture.quantize(4) if mode == "P" else picture.convert(mode)).save(file)
    assert mask_colours(file) == ("#fa3253", "#000000", "#008000")
    for colours, expected in (
        ({"#fa3253"}, [False, True, True, False]),
        ({"#fa3253", "#000000"}, [True, True, True, False]),
        ({"#fa3254"}, [False] * 4),
    ):
        mask, zero_one = read_mask(file, colours=frozenset(colours))
        assert (mask[0].tolist(), zero_one) == (expected, False)


def test_masks_without_colours_to_choose(tmp_path: Path) -> None:
    file = tmp_path / "mask.png"
    Image.fromarray(LEFT_HALF * np.uint16(300)).save(file)
    assert mask_colours(file) == ()
    with pytest.raises(LesionsegError, match="8 bits a channel to choose colours from, got I;16"):
        read_mask(file, colours=frozenset({"#000001"}))
    Image.fromarray(
        np.arange(3 * 400, dtype=np.uint16).view(np.uint8)[:1200].reshape(20, 20, 3)
    ).save(file)
    assert mask_colours(file) == ()
    Image.fromarray(np.full((3, 3), 2, np.uint8)).save(file)
    assert mask_colours(file) == ("#020202",)


def test_a_mask_without_lesion(tmp_path: Path) -> None:
    mask, zero_one = read_mask(save(np.zeros((6, 8), np.uint8), tmp_path))
    assert not mask.any()
    assert not zero_one


@pytest.mark.parametrize("number", STORED)
def test_masks_are_turned_as_their_photos(tmp_path: Path, number: int) -> None:
    corner = np.zeros((6, 8), bool)
    corner[:2, :3] = True
    stored = STORED[number](corner * np.uint8(255))
    mask, _ = read_mask(save(stored, tmp_path, exif=orientation(number)))
    assert mask.shape == corner.shape
    assert (mask == corner).all()


RED = np.dstack([LEFT_HALF * np.uint8(255), np.zeros((6, 8, 2), np.uint8)])
WHITE_LEFT = np.dstack([np.full((6, 8, 3), 255, np.uint8), LEFT_HALF * np.uint8(255)])


@pytest.mark.parametrize(
    ("values", "mode", "message"),
    [
        (RED, None, "one channel or three equal ones, got RGB"),
        (RED, "CMYK", "one channel or three equal ones, got CMYK"),
        (RED, "P", "one channel or three equal ones, got P"),
        (RED, "RGBA", "one channel or three equal ones, got RGBA"),
        (WHITE_LEFT, None, "one channel, got RGBA with transparency"),
        (RED // np.uint8(255), None, "one channel or three equal ones, got RGB"),
        (np.dstack([LEFT_HALF * np.uint8(255), *[LEFT_HALF * np.uint8(240)] * 2]), None, "got RGB"),
        (np.arange(8, dtype=np.uint8), None, "0/255 or 0/1, got a highest value of 7: labels[?]"),
        (LEFT_HALF * np.uint8(128), None, "got a highest value of 128: labels[?]"),
        (LEFT_HALF * np.uint16(300), None, "got a highest value of 300: labels[?]"),
        (LEFT_HALF * np.float32(300), None, "0 to 255 in floating point, got 0 to 300"),
        (LEFT_HALF * np.float32(-1), None, "0 to 255 in floating point, got -1 to -?0"),
        (LEFT_HALF * np.float32(np.nan), None, "in floating point, got nan to nan"),
        (LEFT_HALF * np.float32(0.4), None, "got a highest value of 102: labels[?]"),
    ],
)
def test_what_is_no_mask(
    tmp_path: Path, values: NDArray[Any], mode: str | None, message: str
) -> None:
    file = tmp_path / "mask.tif"
    picture(np.atleast_2d(values), mode).save(file)
    with pytest.raises(LesionsegError, match=rf"^{file}: expected a mask of .*{message}$"):
        read_mask(file)


# Sizes


def masks(side: int = 20) -> st.SearchStrategy[Mask]:
    return arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=side))


@given(masks(), st.integers(1, 30))
def test_a_mask_and_its_complement_shrink_alike(mask: Mask, size: int) -> None:
    lesion, rest = shrink_mask(mask, size), shrink_mask(~mask, size)
    assert lesion.shape == (size, size)
    assert lesion.dtype == np.bool_
    assert (lesion | rest).all()
    if mask.all() or not mask.any():
        assert (lesion != rest).all()


def test_shrinking_keeps_the_place() -> None:
    assert (shrink_mask(LEFT_HALF, 4) == [[True, True, False, False]] * 4).all()
    assert (shrink_mask(LEFT_HALF.repeat(50, 0).repeat(50, 1), 8)[:, :4]).all()


@given(
    arrays(
        np.float32,
        array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.floats(0, 1, width=32),
    ),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_enlarging_keeps_the_range(soft: Probabilities, height: int, width: int) -> None:
    large = enlarge(soft, height, width)
    assert large.shape == (height, width)
    assert large.dtype == np.float32
    assert soft.min() - 1e-6 <= large.min()
    assert large.max() <= soft.max() + 1e-6
    assert 0 <= large.min() <= large.max() <= 1


def test_enlarging_is_bilinear_between_pixel_centres() -> None:
    large = enlarge(np.array([[0, 1]], np.float32), 1, 4)
    assert large.tolist() == [[0, 0.25, 0.75, 1]]


@pytest.mark.parametrize("number", [1, 6])
def test_a_shrunk_photo_file_and_its_mask_match(number: int) -> None:
    photo, mask = io.BytesIO(), io.BytesIO()
    stored = STORED[number](COLOUR.repeat(20, 0).repeat(20, 1))  # a grid of 320-pixel squares
    picture(stored).save(photo, "JPEG", exif=orientation(number))
    picture(stored[:, :, 0]).save(mask, "PNG", exif=orientation(number))
    small = read_photo(io.BytesIO(shrink_photo_file(photo.getvalue(), 64)))
    shrunk, _ = read_mask(io.BytesIO(shrink_mask_file(mask.getvalue(), 64)))
    assert small.shape == (64, 96, 3)
    assert np.abs(small.astype(int) - COLOUR.repeat(2, 0).repeat(2, 1)).mean() < 4
    assert (shrunk == (GREY > 128).repeat(2, 0).repeat(2, 1)).all()
    assert shrink_photo_file(photo.getvalue(), 640) == photo.getvalue()


# What is written


def chunks(data: bytes) -> set[bytes]:
    """The kinds of the chunks in a PNG."""
    kinds, at = set(), 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kinds.add(data[at + 4 : at + 8])
        at += length + 12
    return kinds


@given(masks(), st.booleans())
def test_a_mask_comes_back_as_it_was_written(mask: Mask, one_bit: bool) -> None:
    data = mask_png(mask, one_bit=one_bit)
    assert chunks(data) == {b"IHDR", b"IDAT", b"IEND"}
    assert data[24] == (1 if one_bit else 8)  # bits a pixel
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.mode) == ("PNG", "1" if one_bit else "L")
        assert (np.asarray(image.convert("L")) == mask * 255).all()
    again, zero_one = read_mask(io.BytesIO(data))
    assert again.shape == mask.shape
    assert (again == mask).all()
    assert not zero_one


def test_probabilities_are_written_as_grey() -> None:
    probabilities = np.array([[0, 0.1, 0.5, 0.999, 1]], np.float32)
    data = probability_png(probabilities)
    assert chunks(data) == {b"IHDR", b"IDAT", b"IEND"}
    with Image.open(io.BytesIO(data)) as image:
        assert np.asarray(image).tolist() == [[0, 26, 128, 255, 255]]


def test_a_photo_written_as_jpeg() -> None:
    data = photo_jpeg(COLOUR)
    assert close(read_photo(io.BytesIO(data)), COLOUR, 4)
    with Image.open(io.BytesIO(data)) as image:
        assert not image.getexif()


def outlined(photo: Photo, mask: Mask) -> Photo:
    """The overlay; the photo and the lesion on it are as they were."""
    before = photo.copy()
    drawn = read_photo(io.BytesIO(overlay_png(photo, mask)))
    assert (photo == before).all()  # the caller's own
    assert drawn.shape == photo.shape
    assert (drawn[mask] == photo[mask]).all()
    return drawn


@pytest.mark.parametrize("side", [40, 256, 1022, 2000])
def test_the_outline_lies_around_the_lesion(side: int) -> None:
    photo = np.full((side, side + 10, 3), 90, np.uint8)
    mask = np.zeros(photo.shape[:2], bool)
    first, last = side // 4, side // 2
    mask[first:last, first:last] = True
    drawn = outlined(photo, mask)
    line = (drawn != 90).any(axis=2)
    width = first - int(np.flatnonzero(line.any(axis=0))[0])
    assert width == pytest.approx(max(4, side / 250), abs=1)
    for across in (drawn[side // 3, first - width : first], drawn[side // 3, last:][:width][::-1]):
        edge = width // 4
        assert (across[:edge] == 0).all()
        assert (across[edge:-edge] == (0, 255, 255)).all()
        assert (across[-edge:] == 0).all()
    rows, columns = np.indices(mask.shape)
    beside = [np.maximum(first - at, at - last + 1).clip(0) for at in (rows, columns)]
    away = np.hypot(*beside)  # round at the corners
    assert line[(away > 0) & (away <= width)].all()
    assert not line[away > width + 1].any()


@pytest.mark.parametrize("turns", range(4))
def test_a_lesion_at_the_frame_is_outlined_on_its_other_sides(turns: int) -> None:
    mask = np.zeros((60, 80), bool)
    mask[:20, 30:50] = True
    mask = np.ascontiguousarray(np.rot90(mask, turns))
    drawn = outlined(np.full((*mask.shape, 3), 90, np.uint8), mask)
    line = np.rot90((drawn != 90).any(axis=2), -turns)
    assert line[:20, 26:30].all()
    assert line[:20, 50:54].all()
    assert line[20:24, 30:50].all()
    assert not line[:, :26].any()
    assert not line[24:].any()


@pytest.mark.parametrize("place", [(0, 0), (30, 40), (59, 79)])
def test_a_lesion_of_one_pixel_is_outlined(place: tuple[int, int]) -> None:
    mask = np.zeros((60, 80), bool)
    mask[place] = True
    drawn = outlined(np.full((60, 80, 3), 90, np.uint8), mask)
    assert 8 < (drawn == (0, 255, 255)).all(axis=2).sum() < 50
    assert (drawn[:, 50] == 90).all()


@pytest.mark.parametrize("lesion", [False, True])
def test_no_outline_where_all_is_the_same(lesion: bool) -> None:
    mask = np.full(COLOUR.shape[:2], lesion)
    assert (read_photo(io.BytesIO(overlay_png(COLOUR, mask))) == COLOUR).all()


def test_an_odd_exif_tag_is_in_nobodys_way(tmp_path: Path) -> None:
    """Width is text here, which Pillow cannot write back when it turns a photo by itself."""
    exif = (
        b"Exif\0\0MM\0*\0\0\0\x08\0\x02"
        b"\x01\0\0\x02\0\0\0\x04abc\0"
        b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    )
    stored = np.arange(30 * 20 * 3, dtype=np.uint8).reshape(30, 20, 3)
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    assert (read_photo(tmp_path / "a.png") == np.rot90(stored, -1)).all()


@given(st.integers(1, 80), st.integers(1, 80), st.integers(0, 2**16), st.floats(0, 1))
def test_enlarged_above_is_enlarged_and_thresholded(
    height: int, width: int, seed: int, threshold: float
) -> None:
    soft = np.random.default_rng(seed).random((32, 32), np.float32)
    enlarged = enlarge(soft, height, width)
    mask = enlarged_above(soft, height, width, threshold)
    assert mask.shape == (height, width)
    certain = np.abs(enlarged - threshold) > 1e-6  # of the others rounding decides
    assert (mask == (enlarged > threshold))[certain].all()
    assert not enlarged_above(np.ones_like(soft), height, width, 1.0).any()
