"""Photos in DICOM files: the pixels of pydicom's own files, and one line for all that is none."""

import io
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_files import (
    PYDICOM_FILES,
    jpeg,
    photo_dataset,
    save,
    uncompressed,
    write_dicom_photo,
)
from helpers import drawing, segmenter
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array

from lesionseg.errors import LesionsegError, PhotoError
from lesionseg.images import dicom
from lesionseg.images.photos import read_photo, read_photo_shrunk, thumbnail

# What pydicom's own test files are: photos, or why not. A new file there is a test that fails.
PHOTOS = {
    *("ExplVR_BigEnd.dcm", "GDCMJ2K_TextGBR.dcm", "JPEGLSNearLossless_08.dcm", "SC_rgb_jpeg.dcm"),
    *("SC_jpeg_no_color_transform.dcm", "SC_jpeg_no_color_transform_2.dcm", "SC_rgb_gdcm_KY.dcm"),
    *(f"SC_rgb_dcmtk_+eb+c{kind}.dcm" for kind in ("r", "y+n1", "y+n2", "y+np", "y+s2", "y+s4")),
    *("SC_rgb_jls_lossy_line.dcm", "SC_rgb_jls_lossy_sample.dcm", "SC_rgb_jpeg_app14_dcmd.dcm"),
    *("SC_rgb_jpeg_dcmd.dcm", "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_jpeg_lossy_gdcm.dcm"),
    *("SC_rgb_rle.dcm", "SC_rgb_rle_16bit.dcm", "SC_rgb_rle_16bit_2frame.dcm"),
    *("SC_rgb_rle_2frame.dcm", "SC_rgb_small_odd.dcm", "SC_rgb_small_odd_big_endian.dcm"),
    *("SC_rgb_small_odd_jpeg.dcm", "SC_ybr_full_422_uncompressed.dcm", "examples_jpeg2k.dcm"),
    *("examples_palette.dcm", "examples_rgb_color.dcm", "examples_ybr_color.dcm", "image_dfl.dcm"),
}
REFUSED = {
    "SC_rgb_jpeg_gdcm.dcm": r"JPEG Lossless.*; it can be read after 'pip install python-gdcm'",
    "SC_rgb_rle_32bit.dcm": "expected a photo of 8 or 16 bits a channel, got 32",
    "JPGExtended.dcm": r"expected a photo of 8 bits, got 12 \(MONOCHROME2, NM\)",
    "CT_small.dcm": r"expected a photo of 8 bits, got 16 \(MONOCHROME2, CT\)",
    "MR_truncated.dcm": "expected a photo of 8 bits, got 16",
    "liver_1frame.dcm": "expected a photo, got a DICOM segmentation",
    "rtplan.dcm": r"no pixels in this DICOM file \(RT Plan Storage\)",
    "test-SR.dcm": r"no pixels in this DICOM file \(Comprehensive SR Storage\)",
    "meta_missing_tsyntax.dcm": "damaged DICOM: no transfer syntax",
    "no_meta.dcm": "a DICOM file has DICM after 128 bytes",
}
DICOMDIR = PYDICOM_FILES / "dicomdirtests" / "DICOMDIR"


@pytest.mark.parametrize("path", sorted(PYDICOM_FILES.glob("*.dcm")), ids=lambda path: path.stem)
def test_each_of_pydicoms_files_is_read_as_its_decoders_do_or_refused(path: Path) -> None:
    if path.name not in PHOTOS:
        with pytest.raises(LesionsegError, match=REFUSED.get(path.name, r"\S")) as error:
            read_photo(path)
        assert str(error.value).startswith(f"{path}: ")
        assert "\n" not in str(error.value)
        return
    if path.name == "GDCMJ2K_TextGBR.dcm" and find_spec("openjpeg") is None:  # not by Pillow alone
        with pytest.raises(PhotoError, match=r"'pip install pylibjpeg pylibjpeg-openjpeg'$"):
            read_photo(path)
        return
    photo = read_photo(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
        if path.name in ("SC_rgb_jpeg.dcm", "image_dfl.dcm"):  # that pixel_array cannot find
            expected = None if path.name == "SC_rgb_jpeg.dcm" else dataset.pixel_array
        else:
            expected = pixel_array(path, index=0)
    if expected is None:
        assert photo.shape == (dataset.Rows, dataset.Columns, 3)
        return
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        expected = apply_color_lut(expected, dataset)
        expected = expected >> 8 if expected.dtype == np.uint16 else expected
    elif expected.dtype == np.uint16:
        expected = expected >> 8
    if expected.ndim == 2:
        expected = np.repeat(expected[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(photo, expected)


def test_every_refused_file_is_there() -> None:
    assert {*PHOTOS, *REFUSED} <= {path.name for path in PYDICOM_FILES.glob("*.dcm")}


def test_a_jpeg_gives_the_same_pixels_in_dicom_at_every_size(tmp_path: Path) -> None:
    path = write_dicom_photo(tmp_path / "photo.dcm", 3)
    bare = io.BytesIO(jpeg(3))
    np.testing.assert_array_equal(read_photo(path), read_photo(bare))
    bare.seek(0)
    shrunk, size = read_photo_shrunk(path, 32)
    np.testing.assert_array_equal(shrunk, read_photo_shrunk(bare, 32)[0])
    assert size == drawing(3)[0].shape[:2]
    assert thumbnail(path, 16)[8:12] == b"WEBP"


def test_a_photo_without_suffix_is_known_by_its_content(tmp_path: Path) -> None:
    path = write_dicom_photo(tmp_path / "IM0001")
    assert dicom.is_dicom_file(path)
    assert not dicom.is_dicom_file(tmp_path / "none")
    assert read_photo(path).shape == drawing(0)[0].shape
    assert read_photo(io.BytesIO(path.read_bytes())).shape == drawing(0)[0].shape


def test_the_masks_of_a_photo_in_dicom_and_out_of_it_are_equal(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(jpeg(1))
    inside = segmenter()(write_dicom_photo(tmp_path / "photo.dcm", 1))
    outside = segmenter()(tmp_path / "photo.jpg")
    assert inside.mask.any()
    np.testing.assert_array_equal(inside.mask, outside.mask)


def test_exif_turns_no_photo_in_dicom_as_it_turns_none_in_viewers(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(drawing(0)[0]).save(buffer, "JPEG", exif=exif)
    path = write_dicom_photo(tmp_path / "photo.dcm", PixelData=encapsulate([buffer.getvalue()]))
    assert read_photo(path).shape == drawing(0)[0].shape


@pytest.mark.parametrize("subsampling", [0, 2])
def test_colours_are_told_by_the_jpegs_markers_before_the_header(
    tmp_path: Path, subsampling: int
) -> None:
    """Headers that say RGB of a JPEG in YCbCr are common; JFIF says what is true."""
    buffer = io.BytesIO()
    Image.fromarray(drawing(0)[0]).save(buffer, "JPEG", quality=95, subsampling=subsampling)
    content = encapsulate([buffer.getvalue()])
    path = write_dicom_photo(
        tmp_path / "photo.dcm", PhotometricInterpretation="RGB", PixelData=content
    )
    np.testing.assert_array_equal(read_photo(path), read_photo(buffer))


@pytest.mark.parametrize(
    ("photometric", "dtype"),
    [("RGB", np.uint8), ("RGB", np.uint16), ("MONOCHROME2", np.uint8), ("MONOCHROME1", np.uint8)],
)
def test_uncompressed_photos(tmp_path: Path, photometric: str, dtype: type) -> None:
    photo = drawing(0)[0]
    if photometric.startswith("MONOCHROME"):
        grey = np.ascontiguousarray(photo[:, :, 1])
        pixels = grey if photometric == "MONOCHROME2" else 255 - grey
        photo = np.repeat(grey[:, :, None], 3, axis=2)
    else:
        pixels = photo.astype(dtype) * (257 if dtype is np.uint16 else 1)
    path = save(uncompressed(pixels, photometric), tmp_path / "photo.dcm")
    np.testing.assert_array_equal(read_photo(path), photo)


def test_a_palette_of_a_big_endian_file(tmp_path: Path) -> None:
    """pydicom 3.0 takes the words of a palette for little-endian, whatever the file is."""
    grey = np.ascontiguousarray(drawing(0)[0][:, :, 1])
    words = (np.arange(256) * 257)[::-1]
    photos = []
    for order in "<>":
        dataset = uncompressed(grey, "PALETTE COLOR")
        for colour in ("Red", "Green", "Blue"):
            setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
            data = words.astype(f"{order}u2").tobytes()
            setattr(dataset, f"{colour}PaletteColorLookupTableData", data)
        if order == ">":
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
            dataset["PixelData"].VR = "OW"
        path = tmp_path / f"{ord(order)}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        photos.append(read_photo(path))
    np.testing.assert_array_equal(photos[0], np.repeat(255 - grey[:, :, None], 3, axis=2))
    np.testing.assert_array_equal(photos[1], photos[0])


@pytest.mark.parametrize(
    ("attributes", "line"),
    [
        ({"Rows": 7}, "expected 5[0-9]x7 pixels, as in the DICOM header, got"),
        ({"Rows": 0}, "damaged DICOM: Rows missing"),
        ({"Rows": 65535, "Columns": 65535}, "too large to decode safely: 65535x65535 pixels"),
        ({"PhotometricInterpretation": "HSV"}, "expected a colour or grey photo, got HSV"),
        ({"PixelRepresentation": 1}, "expected a photo of unsigned pixels"),
        ({"PixelData": None}, "no pixels in this DICOM file"),
        ({"PixelData": encapsulate([b"\xff\xd8\xff\xe0 no JPEG"])}, "photo"),
        ({"BitsStored": 12, "BitsAllocated": 16}, "expected a photo of 8 bits, got 12"),
    ],
)
def test_what_is_no_photo_is_one_line(
    tmp_path: Path, attributes: dict[str, Any], line: str
) -> None:
    path = write_dicom_photo(tmp_path / "photo.dcm", **attributes)
    with pytest.raises(LesionsegError, match=line) as error:
        read_photo(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("attributes", "line"),
    [
        ({"SamplesPerPixel": 1}, "expected 3 samples per pixel \\(RGB\\), got 1"),
        ({"BitsStored": 8, "HighBit": 15}, "with a high bit of 7, got 15"),
    ],
)
def test_a_header_that_would_give_another_picture_is_refused(
    tmp_path: Path, attributes: dict[str, Any], line: str
) -> None:
    pixels = drawing(0)[0].astype(np.uint16) << 8
    path = save(uncompressed(pixels, "RGB", **attributes), tmp_path / "photo.dcm")
    with pytest.raises(LesionsegError, match=line):
        read_photo(path)


@pytest.mark.parametrize(
    ("syntax", "line"),
    [
        ("1.2.840.10008.1.2.4.100", "got a video"),
        ("1.2.840.10008.1.2.4.107", "got a video"),
        ("1.2.840.10008.1.2.4.57", "python-gdcm"),
        ("1.2.840.10008.1.2.4.201", "pylibjpeg pylibjpeg-openjpeg"),
        ("1.2.840.10008.1.2.4.52", "cannot decode"),
    ],
)
def test_what_cannot_be_decoded_names_the_package_that_would(
    tmp_path: Path, syntax: str, line: str
) -> None:
    dataset = photo_dataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    path = save(dataset, tmp_path / "photo.dcm")
    with pytest.raises(LesionsegError, match=line):
        read_photo(path)


def test_a_truncated_file_is_one_line_wherever_it_ends(tmp_path: Path) -> None:
    whole = write_dicom_photo(tmp_path / "whole.dcm").read_bytes()
    path = tmp_path / "photo.dcm"
    for length in [*range(132, len(whole) - 40, 97), len(whole) - 40]:
        path.write_bytes(whole[:length])
        with pytest.raises(LesionsegError) as error:
            read_photo(path)
        assert "\n" not in str(error.value)


def test_a_claim_of_two_gigabytes(tmp_path: Path) -> None:
    dataset = uncompressed(drawing(0)[0], "RGB")
    whole = save(dataset, tmp_path / "photo.dcm").read_bytes()
    length = len(dataset.PixelData).to_bytes(4, "little")
    at = whole.rindex(length, 0, len(whole) - len(dataset.PixelData))
    (tmp_path / "photo.dcm").write_bytes(whole[:at] + b"\xfe\xff\xff\x7f" + whole[at + 4 : -99])
    with pytest.raises(LesionsegError, match=r"photo\.dcm: "):
        read_photo(tmp_path / "photo.dcm")


def test_a_dicomdir_is_no_photo() -> None:
    with pytest.raises(LesionsegError, match="no pixels in this DICOM file"):
        read_photo(DICOMDIR)


def test_without_pydicom_a_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_dicom_photo(tmp_path / "photo.dcm")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(LesionsegError, match="pip install pydicom highdicom"):
        read_photo(path)


def test_headers(tmp_path: Path) -> None:
    path = write_dicom_photo(tmp_path / "photo.dcm", PatientName="Doe^Jane")
    header = dicom.read_header(path)
    assert (header.PatientName, "PixelData" in header) == ("Doe^Jane", False)
    (tmp_path / "photo.jpg").write_bytes(jpeg())
    for missing in (tmp_path / "photo.jpg", tmp_path / "none.dcm", tmp_path):
        with pytest.raises(PhotoError, match=missing.name):
            dicom.read_header(missing)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, None),
        ({"PixelSpacing": [0.02, 0.03]}, (0.02, 0.03)),
        ({"ImagerPixelSpacing": [0.5, 0.5]}, (0.5, 0.5)),
        ({"PixelSpacing": [0.1, 0.1], "ImagerPixelSpacing": [0.5, 0.5]}, (0.1, 0.1)),
        ({"PixelSpacing": "", "ImagerPixelSpacing": [0.5, 0.5]}, (0.5, 0.5)),
    ],
)
def test_spacing(
    tmp_path: Path, attributes: dict[str, Any], expected: tuple[float, float] | None
) -> None:
    path = write_dicom_photo(tmp_path / "photo.dcm", **attributes)
    assert dicom.spacing(dicom.read_header(path)) == expected


@pytest.mark.parametrize("value", [[0, 0], [-1, 1], [1, 0]])
def test_a_spacing_that_is_no_length_is_refused(tmp_path: Path, value: list[float]) -> None:
    header = dicom.read_header(write_dicom_photo(tmp_path / "photo.dcm", PixelSpacing=value))
    with pytest.raises(LesionsegError, match="PixelSpacing: expected two lengths of more than 0"):
        dicom.spacing(header)


def test_a_spacing_that_is_no_number_is_one_line(tmp_path: Path) -> None:
    path = write_dicom_photo(tmp_path / "photo.dcm", PixelSpacing=[0.02, 0.02])
    path.write_bytes(path.read_bytes().replace(b"0.02\\0.02", b"far\\so far"))
    with pytest.raises(LesionsegError, match="PixelSpacing: expected two lengths"):
        dicom.spacing(dicom.read_header(path))


def test_the_frames_of_a_photo(tmp_path: Path) -> None:
    dataset = photo_dataset(frames=3)
    path = save(dataset, tmp_path / "photo.dcm")
    with path.open("rb") as file:
        whole = dicom.read_dataset(file)
    assert dicom.frame_count(whole) == 3
    contents = [dicom.frame(whole, index).content for index in range(3)]
    assert all(isinstance(content, bytes) for content in contents)
    assert contents[0] == contents[2]


def test_pixels_that_are_not_square_are_said_once_of_a_file(
    caplog: pytest.LogCaptureFixture,
) -> None:
    header = photo_dataset(PixelSpacing=[0.02, 0.03])
    assert [dicom.scale(header, 0.5) for _ in range(2)] == [None, None]
    (record,) = caplog.records
    assert "0.02 x 0.03 mm are not square" in record.getMessage()
