"""Structured reports by TID 1500, read back by highdicom."""

from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from dicom_files import PATIENT, dciodvfy, photo_dataset, save
from helpers import drawing

from lesionseg.clinic.objects import Algorithm
from lesionseg.clinic.report import encode_report
from lesionseg.errors import LesionsegError
from lesionseg.images import dicom
from lesionseg.images.arrays import Mask
from lesionseg.labels import outline
from lesionseg.segmentation.measurements import measure

ALGORITHM = Algorithm("0123456789abcdef" * 4, ("threshold 0.5",))


def written(
    tmp_path: Path, mask: Mask, mm_per_pixel: float | None = None, **attributes: Any
) -> Path:
    """The file of the report of a mask."""
    header = dicom.read_header(save(photo_dataset(**attributes), tmp_path / "photo.dcm"))
    path = tmp_path / "report.dcm"
    path.write_bytes(encode_report(header, mask, 0.75, ALGORITHM, mm_per_pixel))
    return path


def groups(path: Path) -> list[Any]:
    """The measurement groups of planar regions, as highdicom reads them."""
    report = highdicom.sr.srread(path)
    assert isinstance(report, highdicom.sr.ComprehensiveSR)
    content = report.content
    assert isinstance(content, highdicom.sr.MeasurementReport)
    return list(content.get_planar_roi_measurement_groups())


def measured(group: Any) -> dict[str, tuple[float, str]]:
    """The values of a group by the meaning of their names, with their units."""
    return {
        item.name.meaning.split(":")[0]: (item.value, item.unit.value)
        for item in group.get_measurements()
    }


@pytest.mark.parametrize("scale", [None, 0.02])
def test_measurements_are_those_of_the_mask(tmp_path: Path, scale: float | None) -> None:
    mask = outline_only(drawing(0)[1])
    (group,) = groups(written(tmp_path, mask, scale))
    expected = measure(mask, 0.75, scale)
    values = measured(group)
    lengths: tuple[float | None, ...]
    if scale is None:
        lengths = (expected.area_px, expected.perimeter_px, expected.longest_diameter_px)
        units = ("{pixels}", "{pixels}", "{pixels}")
    else:
        lengths = (expected.area_mm2, expected.perimeter_mm, expected.longest_diameter_mm)
        units = ("mm2", "mm", "mm")
    for name, length, unit in zip(("Area", "Perimeter", "Long axis"), lengths, units, strict=True):
        assert length is not None
        assert values[name][0] == pytest.approx(length, rel=1e-7)
        assert values[name][1] == unit
    assert values["Quality of the outline"] == (0.75, "1")
    assert group.finding_type.value == "95324001"


def outline_only(mask: Mask) -> Mask:
    """The largest region of a drawing, as the command keeps it."""
    largest = max(outline.regions(mask), key=lambda region: float(np.ptp(region.outer)))
    alone = np.zeros_like(mask)
    outline.fill(alone, [largest.outer])
    return alone


def test_the_polyline_encloses_the_mask(tmp_path: Path) -> None:
    mask = outline_only(drawing(0)[1])
    (group,) = groups(written(tmp_path, mask))
    points = group.roi.value
    np.testing.assert_array_equal(points[0], points[-1])
    drawn = np.zeros_like(mask)
    outline.fill(drawn, [points[:-1].astype(np.float64)])
    assert (drawn != mask).sum() < 0.01 * mask.sum()


def test_each_region_is_a_group(tmp_path: Path) -> None:
    mask = np.zeros_like(drawing(0)[1])
    mask[2:12, 3:13] = mask[20:40, 20:40] = True
    both = groups(written(tmp_path, mask))
    assert [measured(group)["Area"][0] for group in both] == [100, 400]
    assert len({group.tracking_uid for group in both}) == 2


def test_a_photo_without_a_lesion_says_so(tmp_path: Path) -> None:
    path = written(tmp_path, np.zeros_like(drawing(0)[1]))
    assert groups(path) == []
    content = highdicom.sr.srread(path).content
    assert isinstance(content, highdicom.sr.MeasurementReport)
    (group,) = content.get_image_measurement_groups()
    assert measured(group)["Area"] == (0, "{pixels}")
    assert dciodvfy(path) == []


@pytest.mark.parametrize("attributes", [{}, PATIENT], ids=["bare", "whole"])
@pytest.mark.parametrize("scale", [None, 0.02])
def test_dciodvfy_finds_no_error(
    tmp_path: Path, attributes: dict[str, Any], scale: float | None
) -> None:
    assert dciodvfy(written(tmp_path, drawing(0)[1], scale, **attributes)) == []


def test_patient_and_study_are_those_of_the_photo(tmp_path: Path) -> None:
    report = pydicom.dcmread(written(tmp_path, drawing(0)[1], **PATIENT))
    for name in ("PatientName", "PatientID", "StudyDate", "AccessionNumber"):
        assert str(report[name].value) == PATIENT[name]
    assert report.SeriesDescription.startswith("RESEARCH")
    assert report.VerificationFlag == "UNVERIFIED"
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    referenced = study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert referenced.ReferencedSOPInstanceUID == photo_dataset().SOPInstanceUID


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("StudyTime", "14:04:38"),
        ("StudyDate", "2026.01.02"),
        ("PatientBirthDate", "00000000"),
        ("PatientSex", "MALE"),
        ("SpecificCharacterSet", ["", "ISO 2022 IR 87"]),
        ("SpecificCharacterSet", "ISO 2022 IR 100"),
        ("PatientName", ["Doe^Jane", "Roe^Jane"]),
    ],
)
def test_values_that_highdicom_refuses_stay_as_they_are(
    tmp_path: Path, name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.IGNORE)
    report = pydicom.dcmread(written(tmp_path, drawing(0)[1], **PATIENT | {name: value}))
    assert report[name].value == value
    assert report.PatientID == PATIENT["PatientID"]


def test_a_name_in_another_script_is_that_of_the_photo(tmp_path: Path) -> None:
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    charset = ["", "ISO 2022 IR 87"]
    path = written(tmp_path, drawing(0)[1], SpecificCharacterSet=charset, PatientName=name)
    assert pydicom.dcmread(path).PatientName == name


def test_a_second_run_gives_the_same_uids(tmp_path: Path) -> None:
    first, second = (
        pydicom.dcmread(written(tmp_path, drawing(0)[1], 0.02)).SOPInstanceUID for _ in range(2)
    )
    other = pydicom.dcmread(written(tmp_path, drawing(0)[1], 0.03)).SOPInstanceUID
    assert first == second != other


def test_a_photo_without_uids_is_refused(tmp_path: Path) -> None:
    header = dicom.read_header(save(photo_dataset(), tmp_path / "photo.dcm"))
    del header.StudyInstanceUID
    with pytest.raises(LesionsegError, match="no StudyInstanceUID"):
        encode_report(header, drawing(0)[1], 0.5, ALGORITHM, None)
