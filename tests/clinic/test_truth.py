"""DICOM segmentations as truth, and the commands that read and write them."""

import json
import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import (
    PATIENT,
    PYDICOM_FILES,
    dciodvfy,
    jpeg,
    photo_dataset,
    save,
    write_dicom_photo,
)
from helpers import Command, drawing, write_mask, write_pairs

from lesionseg.clinic.objects import Algorithm
from lesionseg.clinic.segmentation import encode_segmentation
from lesionseg.data import discovery
from lesionseg.data.pairs import read_truth
from lesionseg.images import dicom
from lesionseg.images.masks import read_mask


def write_segmentation(path: Path, photo: Path, index: int) -> Path:
    """The mask of a drawing as the segmentation of a DICOM photo."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = dicom.read_header(photo)
    mask = drawing(index)[1][np.newaxis]
    path.write_bytes(encode_segmentation(header, mask, Algorithm("0" * 64), None))
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Photos and segmentations whose names say nothing of each other, as a PACS gives them."""
    for index in range(3):
        photo = write_dicom_photo(tmp_path / "photos" / f"1.2.840.{index}", index)
        write_segmentation(tmp_path / "truth" / f"IM{7 - index}", photo, index)
    return tmp_path


def test_segmentations_are_matched_by_the_photo_that_they_refer_to(archive: Path) -> None:
    dataset = discovery.find(None, archive / "photos", archive / "truth")
    pairs = dataset.split("all")
    assert [pair.id for pair in pairs] == ["1.2.840.0", "1.2.840.1", "1.2.840.2"]
    assert not dataset.problems
    for index, pair in enumerate(pairs):
        mask, zero_one = read_truth(pair, drawing(index)[1].shape)
        assert not zero_one
        np.testing.assert_array_equal(mask, drawing(index)[1])


def test_what_has_no_partner_is_named(archive: Path) -> None:
    truth = archive / "truth"
    write_segmentation(truth / "again.dcm", archive / "photos" / "1.2.840.0", 0)
    (truth / "IM5").rename(archive / "elsewhere")  # that of the third photo
    (truth / "damaged.dcm").write_bytes((truth / "again.dcm").read_bytes()[:900])
    other = write_dicom_photo(archive / "other.dcm", 9)
    write_segmentation(truth / "other.dcm", other, 9)
    dataset = discovery.find(None, archive / "photos", truth)
    assert [pair.id for pair in dataset.split("all")] == ["1.2.840.1"]
    problems = "\n".join(dataset.problems)
    assert "a second segmentation of" in problems
    assert f"{archive / 'photos' / '1.2.840.2'}: no segmentation" in problems
    assert f"{truth / 'damaged.dcm'}: " in problems
    assert re.search(r"other\.dcm: no photo with UID", problems)


def test_segmentations_and_masks_together(archive: Path) -> None:
    (archive / "photos" / "bare.jpg").write_bytes(jpeg(4))
    write_mask(archive / "truth" / "bare_segmentation.png", drawing(4)[1])
    dataset = discovery.find(None, archive / "photos", archive / "truth")
    assert len(dataset.split("all")) == 4
    assert not dataset.problems


def test_a_corrected_segmentation_comes_back(lesionseg: Command, tmp_path: Path) -> None:
    """segment photos -> correct -> eval and train with the corrected outlines as truth."""
    for index in range(4):
        write_dicom_photo(tmp_path / "photos" / f"IM{index}", index, **PATIENT)
    words = ("segment", tmp_path / "photos", "-o", tmp_path / "masks")
    drawn = lesionseg(*words, "--dicom-seg", tmp_path / "seg", "--checkpoint", "bundled")
    assert drawn.status == 0, drawn.err
    scored = lesionseg(
        *("eval", "--photos", tmp_path / "photos", "--truth", tmp_path / "seg"),
        *("--checkpoint", "bundled", "--json"),
    )
    assert scored.status == 0, scored.err
    result = json.loads(scored.out)
    assert (result["photos"], result["dice"]["mean"]) == (4, 1.0)
    trained = lesionseg(
        *("train", "--photos", tmp_path / "photos", "--truth", tmp_path / "seg"),
        *("--epochs", "1", "--width", "1", "--image-size", "32"),
    )
    assert trained.status == 0, trained.err


def test_masks_of_another_program_are_scored(lesionseg: Command, tmp_path: Path) -> None:
    write_pairs(tmp_path / "set", 0, 1)
    for index in range(2):
        photo = write_dicom_photo(tmp_path / f"{index}.dcm", index)
        name = f"ISIC_{index:07d}_segmentation.dcm"
        write_segmentation(tmp_path / "theirs" / name, photo, index)
    words = ("eval", "--data", tmp_path / "set", "--predictions", tmp_path / "theirs", "--json")
    ended = lesionseg(*words, "--split", "train")
    assert ended.status == 0, ended.err
    assert json.loads(ended.out)["dice"]["mean"] == 1.0


# The command


def test_a_photo_in_dicom_gives_a_segmentation_and_a_report(
    lesionseg: Command, tmp_path: Path
) -> None:
    photo = write_dicom_photo(tmp_path / "photo.dcm", 1, PixelSpacing=[0.02, 0.02], **PATIENT)
    words = ("segment", photo, "-o", tmp_path / "outline.dcm", "-c", "bundled", "--json")
    ended = lesionseg(*words, "--report", tmp_path / "report.dcm", "--mm-per-pixel", "5")
    assert ended.status == 0, ended.err
    line = json.loads(ended.out)
    source = photo_dataset(1)
    assert line["dicom"]["instance"] == source.SOPInstanceUID
    assert line["dicom"]["study"] == source.StudyInstanceUID
    assert line["measurements"]["mm_per_pixel"] == 0.02
    for name, key in (("outline.dcm", "segmentation"), ("report.dcm", "report")):
        written = pydicom.dcmread(tmp_path / name)
        assert written.SOPInstanceUID == line["dicom"][key]
        assert written.PatientID == PATIENT["PatientID"]
        assert dciodvfy(tmp_path / name) == []
    assert lesionseg("segment", photo, "-o", tmp_path / "mask.png", "-c", "bundled").status == 0
    mask, _ = read_mask(tmp_path / "mask.png")
    assert mask.any()
    np.testing.assert_array_equal(mask, read_mask(tmp_path / "outline.dcm")[0])
    (tmp_path / "photo.jpg").write_bytes(jpeg(1))
    bare = tmp_path / "photo.jpg"
    assert lesionseg("segment", bare, "-o", tmp_path / "bare.png", "-c", "bundled").status == 0
    assert (tmp_path / "bare.png").read_bytes() == (tmp_path / "mask.png").read_bytes()


def test_a_folder_of_all_kinds(lesionseg: Command, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    write_dicom_photo(folder / "1.2.840.1", 0)
    write_dicom_photo(folder / "1.2.840.2", 1)
    write_dicom_photo(folder / "below" / "IM1", 2)
    (folder / "photo.jpg").write_bytes(jpeg(3))
    (folder / "notes").write_text("no photo")
    directory = PYDICOM_FILES / "dicomdirtests" / "DICOMDIR"
    (folder / "DICOMDIR").write_bytes(directory.read_bytes())
    words = ("segment", folder, "-o", tmp_path / "masks", "-c", "bundled", "--json", "--recursive")
    dicoms = ("--dicom-seg", tmp_path / "seg", "--report", tmp_path / "sr")
    ended = lesionseg(*words, *dicoms)
    assert ended.status == 1
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert len(lines) == 5
    assert [line["file"] for line in lines if "error" in line] == [str(folder / "DICOMDIR")]
    assert "2 photos are not DICOM" in ended.err or "1 photo not DICOM" in ended.err
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*_*.*") if path.is_file()}
    names = ("1.2.840.1", "1.2.840.2", "below/IM1")
    assert files == {
        *(f"masks/{name}_segmentation.png" for name in (*names, "photo")),
        *(f"seg/{name}_segmentation.dcm" for name in names),
        *(f"sr/{name}_report.dcm" for name in names),
    }
    again = lesionseg(*words, *dicoms, "--skip-existing")
    assert sum("skipped" in json.loads(line) for line in again.out.splitlines()) == 4


def test_a_photo_of_several_frames(lesionseg: Command, tmp_path: Path) -> None:
    photo = save(photo_dataset(1, frames=3), tmp_path / "photo.dcm")
    ended = lesionseg("segment", photo, "-o", tmp_path / "outline.dcm", "-c", "bundled")
    assert ended.status == 0, ended.err
    frames = pydicom.dcmread(tmp_path / "outline.dcm").pixel_array
    assert frames.shape == (3, *drawing(1)[1].shape)
    np.testing.assert_array_equal(frames[0], frames[2])


@pytest.mark.parametrize(
    ("attributes", "line"),
    [
        ({"SOPInstanceUID": ""}, "no SOPInstanceUID in the DICOM file"),
        ({"PixelSpacing": [0, 0]}, "PixelSpacing: expected two lengths of more than 0"),
    ],
)
def test_what_nothing_can_be_written_of_is_one_line(
    lesionseg: Command, tmp_path: Path, attributes: dict[str, object], line: str
) -> None:
    dataset = photo_dataset(1)
    for name, value in attributes.items():
        setattr(dataset, name, value)
    photo = tmp_path / "photo.dcm"
    dataset.save_as(photo, enforce_file_format=True)
    ended = lesionseg("segment", photo, "-o", tmp_path / "outline.dcm", "-c", "bundled")
    assert ended.status == 1
    assert f"{photo}: {line}" in ended.err
    assert not (tmp_path / "outline.dcm").exists()
    assert lesionseg("segment", photo, "-o", tmp_path / "mask.png", "-c", "bundled").status == 0


def test_a_photo_that_no_report_can_refer_to_fails_alone(
    lesionseg: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    write_dicom_photo(folder / "a.dcm", 0, SOPClassUID="1.2.840.10008.5.1.4.1.1.6")  # retired
    unread = write_dicom_photo(folder / "b.dcm", 1)
    series = b"\x20\x00\x0e\x00"
    unread.write_bytes(unread.read_bytes().replace(series + b"UI", series + b"ZZ"))
    write_dicom_photo(folder / "c.dcm", 2)
    words = ("segment", folder, "-o", tmp_path / "masks", "-c", "bundled", "--json")
    ended = lesionseg(*words, "--report", tmp_path / "reports")
    assert ended.status == 1
    errors = [line for line in ended.err.splitlines() if "error: " in line]
    assert [line.split(": ")[1] for line in errors] == [str(folder / "a.dcm"), str(unread)]
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["c_report.dcm"]
    alone = lesionseg("segment", unread, "-o", tmp_path / "mask.png", "-c", "bundled", "--json")
    assert alone.status == 0
    assert json.loads(alone.out)["dicom"]["series"] is None


def test_wrong_names_are_refused_before_anything_is_written(
    lesionseg: Command, tmp_path: Path
) -> None:
    photo = write_dicom_photo(tmp_path / "photo.dcm")
    (tmp_path / "photo.jpg").write_bytes(jpeg())
    mask = tmp_path / "mask.png"
    for words, expected in (
        ((tmp_path / "photo.jpg", "-o", tmp_path / "mask.dcm"), "not a DICOM file"),
        ((photo, "-o", mask, "--report", tmp_path / "report.pdf"), "name it report.dcm"),
        ((photo, "-o", mask, "--dicom-seg", tmp_path / "seg.png"), "name it seg.dcm"),
        ((photo, "-o", tmp_path / "photo.dcm"), "is an input"),
        ((photo, photo.with_suffix(".jpg"), "-o", tmp_path / "seg.dcm"), "expected a folder"),
    ):
        ended = lesionseg("segment", *words, "-c", "bundled")
        assert ended.status == 1
        assert expected in ended.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.dcm", "photo.jpg"]
