"""DICOM photos for the tests: drawings as JPEG put in unchanged, and what real files lack."""

import io
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from helpers import drawing
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGBaseline8Bit

from lesionseg.clinic.objects import derive_uid

PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
DERMOSCOPY = "1.2.840.10008.5.1.4.1.1.77.1.7"
MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.7.4"  # Multi-frame True Color Secondary Capture
PATIENT: dict[str, Any] = {
    "PatientName": "Doe^Jane",
    "PatientID": "4711",
    "PatientBirthDate": "19700101",
    "PatientSex": "F",
    "StudyDate": "20260102",
    "StudyTime": "030405",
    "StudyID": "7",
    "AccessionNumber": "A1",
    "ReferringPhysicianName": "Roe^Richard",
    "PatientOrientation": ["L", "F"],
}


def jpeg(index: int = 0) -> bytes:
    """A drawing as a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(drawing(index)[0]).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def photo_dataset(index: int = 0, frames: int = 1, **attributes: Any) -> Dataset:
    """A dermoscopic photo of a drawing, with no more than it needs and these attributes."""
    height, width = drawing(index)[0].shape[:2]
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.SOPClassUID = UID(DERMOSCOPY if frames == 1 else MULTI_FRAME)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.SOPInstanceUID = derive_uid("photo", index, frames)
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(dataset.SOPInstanceUID)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = derive_uid("study"), derive_uid("series")
    dataset.Modality = "DMS"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = height, width, 3
    dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "YBR_FULL_422", 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    if frames > 1:
        dataset.NumberOfFrames = frames
    dataset.PixelData = encapsulate([jpeg(index) for _ in range(frames)])
    dataset["PixelData"].VR = "OB"
    return with_attributes(dataset, attributes)


def with_attributes(dataset: Dataset, attributes: dict[str, Any]) -> Dataset:
    """The dataset with these attributes in place of its own; those that are None are taken out."""
    for name, value in attributes.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    return dataset


def uncompressed(pixels: np.ndarray[Any, Any], photometric: str, **attributes: Any) -> Dataset:
    """A photo of (H, W) or (H, W, 3) unsigned integers as they are."""
    dataset = photo_dataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    content = pixels.tobytes()
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    return with_attributes(dataset, attributes)


def save(dataset: Dataset, path: Path) -> Path:
    """A DICOM file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_dicom_photo(path: Path, index: int = 0, **attributes: Any) -> Path:
    """A DICOM file of `photo_dataset`."""
    return save(photo_dataset(index, **attributes), path)


def dciodvfy(path: Path) -> list[str]:
    """The errors that David Clunie's dciodvfy finds in a file; skips where it is not installed."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("no dciodvfy here (apt-get install dicom3tools)")
    done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
    lines = [*done.stdout.splitlines(), *done.stderr.splitlines()]
    assert any(line in ("Segmentation", "ComprehensiveSR") for line in lines), lines
    return [line for line in lines if line.startswith("Error")]
