"""DICOM segmentations, read back by pydicom, by highdicom and by this package."""

import io
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from dicom_files import PATIENT, dciodvfy, photo_dataset, save
from helpers import drawing, write_mask
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from lesionseg.clinic.objects import Algorithm
from lesionseg.clinic.segmentation import encode_segmentation
from lesionseg.errors import LesionsegError, PhotoError
from lesionseg.images import dicom, dicom_masks
from lesionseg.images.masks import read_mask

ALGORITHM = Algorithm("0123456789abcdef" * 4, ("threshold 0.5",))
SOURCES: dict[str, dict[str, Any]] = {
    "bare": {},
    "whole": {**PATIENT, "PixelSpacing": [0.02, 0.03], "FrameOfReferenceUID": "1.2.3"},
    "umlauts": {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Grüßner^Jürgen"},
    "lossless": {"LossyImageCompression": "00"},
}


def written(
    tmp_path: Path, frames: int = 1, mask: Any = None, **attributes: Any
) -> tuple[Dataset, Path]:
    """A photo's header and the file of its segmentation."""
    photo = save(photo_dataset(0, frames, **attributes), tmp_path / "photo.dcm")
    header = dicom.read_header(photo)
    masks = np.stack([drawing(0)[1] if mask is None else mask] * frames)
    path = tmp_path / "outline.dcm"
    path.write_bytes(encode_segmentation(header, masks, ALGORITHM, dicom.spacing(header)))
    return header, path


@pytest.mark.parametrize("source", SOURCES)
def test_three_readers_give_the_mask_back(tmp_path: Path, source: str) -> None:
    header, path = written(tmp_path, **SOURCES[source])
    truth = drawing(0)[1]
    np.testing.assert_array_equal(pydicom.dcmread(path).pixel_array, truth)
    seg = highdicom.seg.segread(path)
    pixels = seg.get_pixels_by_source_instance([header.SOPInstanceUID])
    np.testing.assert_array_equal(pixels[0, :, :, 0], truth)
    np.testing.assert_array_equal(dicom_masks.read_segmentation(path)[header.SOPInstanceUID], truth)
    np.testing.assert_array_equal(read_mask(path)[0], truth)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("frames", [1, 3])
def test_dciodvfy_finds_no_error(tmp_path: Path, source: str, frames: int) -> None:
    _, path = written(tmp_path, frames, **SOURCES[source])
    assert dciodvfy(path) == []


def test_patient_study_and_source_are_those_of_the_photo(tmp_path: Path) -> None:
    header, path = written(tmp_path, **SOURCES["whole"])
    seg = pydicom.dcmread(path)
    for name in (*PATIENT, "StudyInstanceUID", "FrameOfReferenceUID"):
        assert seg[name].value == header[name].value, name
    assert seg.Modality == "SEG"
    assert seg.SeriesInstanceUID != header.SeriesInstanceUID
    assert seg.SeriesDescription == "RESEARCH lesion outline"
    (segment,) = seg.SegmentSequence
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "95324001"
    (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
    assert ALGORITHM.checkpoint_sha256 in algorithm.AlgorithmParameters
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert (list(measures.PixelSpacing), measures.SliceThickness) == ([0.02, 0.03], 1)


def test_nothing_is_invented_where_the_photo_is_silent(tmp_path: Path) -> None:
    _, path = written(tmp_path)
    seg = pydicom.dcmread(path)
    for name in ("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "AccessionNumber"):
        assert name in seg
        assert not seg[name].value
    assert "spacing is a placeholder" in seg.SeriesDescription
    assert "placeholder" in seg.ImageComments
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert list(measures.PixelSpacing) == [1, 1]


def test_a_second_run_gives_the_same_object_and_another_mask_another(tmp_path: Path) -> None:
    uids = []
    for mask in (None, None, np.zeros_like(drawing(0)[1])):
        _, path = written(tmp_path, mask=mask)
        seg = pydicom.dcmread(path)
        uids.append((seg.SOPInstanceUID, seg.SeriesInstanceUID))
        assert all(pydicom.uid.UID(uid).is_valid for uid in uids[-1])
    assert uids[0] == uids[1] != uids[2]


def test_a_photo_without_a_lesion_has_an_empty_frame(tmp_path: Path) -> None:
    header, path = written(tmp_path, mask=np.zeros_like(drawing(0)[1]))
    assert not dicom_masks.read_segmentation(path)[header.SOPInstanceUID].any()
    assert dciodvfy(path) == []


def test_a_photo_of_several_frames(tmp_path: Path) -> None:
    header, path = written(tmp_path, frames=3)
    seg = pydicom.dcmread(path)
    assert seg.pixel_array.shape == (3, *drawing(0)[1].shape)
    numbers = [
        groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        for groups in seg.PerFrameFunctionalGroupsSequence
    ]
    assert numbers == [1, 2, 3]
    np.testing.assert_array_equal(
        dicom_masks.read_segmentation(path)[header.SOPInstanceUID], drawing(0)[1]
    )


@pytest.mark.parametrize("name", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_a_photo_without_uids_is_refused(tmp_path: Path, name: str) -> None:
    header = dicom.read_header(save(photo_dataset(), tmp_path / "photo.dcm"))
    delattr(header, name)
    with pytest.raises(LesionsegError, match=f"no {name} in the DICOM file"):
        encode_segmentation(header, drawing(0)[1][None], ALGORITHM, None)


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    header = dicom.read_header(save(photo_dataset(), tmp_path / "photo.dcm"))
    with pytest.raises(LesionsegError, match="expected a mask of"):
        encode_segmentation(header, np.zeros((1, 4, 5), np.bool_), ALGORITHM, None)


# Segmentations of other programs


def other_program(tmp_path: Path, kind: str, **changes: Any) -> tuple[str, Path]:
    """A segmentation that highdicom wrote, of one photo with all that it asks for."""
    photo = photo_dataset(**PATIENT)
    truth = drawing(0)[1]
    pixels = truth.astype(np.float32) if kind == "FRACTIONAL" else truth.astype(np.uint8)
    description = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label="Lesion",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.SkinLesion,
        algorithm_type="MANUAL",
    )
    seg = highdicom.seg.Segmentation(
        source_images=[photo],
        pixel_array=pixels[None],
        segmentation_type=kind,
        segment_descriptions=[description],
        series_instance_uid="1.2.3",
        series_number=1,
        sop_instance_uid="1.2.3.4",
        instance_number=1,
        manufacturer="other",
        manufacturer_model_name="other",
        software_versions="1",
        device_serial_number="1",
    )
    for name, value in changes.items():
        setattr(seg, name, value)
    return str(photo.SOPInstanceUID), save(seg, tmp_path / "other.dcm")


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segmentations_of_highdicom_are_read(tmp_path: Path, kind: str) -> None:
    uid, path = other_program(tmp_path, kind)
    (item,) = dicom_masks.read_segmentation(path).items()
    assert item[0] == uid
    np.testing.assert_array_equal(item[1], drawing(0)[1])


def test_of_several_segments_the_lesion_counts(tmp_path: Path) -> None:
    uid, path = other_program(tmp_path, "BINARY")
    seg = pydicom.dcmread(path)
    second = pydicom.dcmread(path).SegmentSequence[0]
    second.SegmentNumber, second.SegmentLabel = 2, "Ruler"
    second.SegmentedPropertyTypeCodeSequence[0].CodeValue = "1"
    seg.SegmentSequence.append(second)
    save(seg, path)
    assert list(dicom_masks.read_segmentation(path)) == [uid]
    for segment in seg.SegmentSequence:
        segment.SegmentLabel = f"Part {segment.SegmentNumber}"
        segment.SegmentedPropertyTypeCodeSequence[0].CodeValue = "1"
    save(seg, path)
    with pytest.raises(PhotoError, match="expected a segment called lesion, got Part 1, Part 2"):
        dicom_masks.read_segmentation(path)


def test_what_is_no_segmentation_is_one_line(tmp_path: Path) -> None:
    photo = save(photo_dataset(), tmp_path / "photo.dcm")
    _, damaged = other_program(tmp_path, "BINARY", PixelData=b"\0\0")
    mask = write_mask(tmp_path / "mask.png", drawing(0)[1])
    for path in (photo, damaged, mask, tmp_path / "none.dcm"):
        with pytest.raises(PhotoError) as error:
            dicom_masks.read_segmentation(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


def test_a_segmentation_in_memory_is_a_mask(tmp_path: Path) -> None:
    _, path = written(tmp_path)
    mask, zero_one = read_mask(io.BytesIO(path.read_bytes()))
    assert not zero_one
    np.testing.assert_array_equal(mask, drawing(0)[1])
