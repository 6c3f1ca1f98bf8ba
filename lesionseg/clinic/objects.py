"""What a segmentation and a report share: who made them, their UIDs, what they copy of the photo.

A second run gives the same UIDs, as they are derived from the photo's UID, the checkpoint, the
options and the mask (PS3.5, B.2: UIDs from UUIDs), and so no second result of the same photo.
"""

import datetime
import io
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lesionseg.errors import LesionsegError
from lesionseg.version import __version__

if TYPE_CHECKING:
    from pydicom import Dataset

NAME = "lesionseg"
RESEARCH = "RESEARCH"  # the beginning of the series' descriptions
LESION = ("95324001", "SCT", "Skin lesion")
MORPHOLOGY = ("49755003", "SCT", "Morphologically Abnormal Structure")

_NAMESPACE = uuid.UUID("9d4c6c0e-6f0a-5d0e-8f6e-2b1d0c2f7a11")
_COPIED = (  # patient, study and frame of reference; also where the photo leaves them empty
    "SpecificCharacterSet",
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    *("PatientAge", "PatientSize", "PatientWeight", "PatientIdentityRemoved"),
    *("DeidentificationMethod", "DeidentificationMethodCodeSequence", "PatientComments"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"),
    *("ReferringPhysicianName", "StudyDescription", "ClinicalTrialSponsorName"),
    *("ClinicalTrialProtocolID", "ClinicalTrialSubjectID", "TimezoneOffsetFromUTC"),
)
_TYPE_2 = (  # that the classes written here must hold, be they empty
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
UIDS = ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID")


@dataclass(frozen=True)
class Algorithm:
    """What drew an outline.

    Attributes:
        checkpoint_sha256: of the checkpoint file.
        options: that change the mask, such as `threshold 0.5`.
        version: of lesionseg.
    """

    checkpoint_sha256: str
    options: tuple[str, ...] = ()
    version: str = field(default=__version__)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The checkpoint and the options, one per line."""
        return (f"checkpoint SHA-256 {self.checkpoint_sha256}", *self.options)


def derive_uid(*parts: object) -> str:
    """Derive a UID that is the same for the same parts, and another for others."""
    name = "\n".join(map(str, parts))
    return f"2.25.{uuid.uuid5(_NAMESPACE, name).int}"


def check_uids(header: "Dataset") -> None:
    """Refuse a photo that nothing can refer to.

    Raises:
        LesionsegError: a UID is missing.
    """
    if missing := [name for name in UIDS if not header.get(name)]:
        raise LesionsegError(
            f"no {', '.join(missing)} in the DICOM file, so no DICOM result can refer to it; "
            "write its mask as a PNG"
        )


def new_object(header: "Dataset", sop_class: str, modality: str, uid: str) -> "Dataset":
    """Create an object of the photo's patient and study, in a series of its own.

    Args:
        header: of the photo.
        sop_class: UID of the storage class.
        modality: SEG or SR.
        uid: of the object; that of its series is derived from it.

    Raises:
        LesionsegError: the photo lacks a UID.
    """
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    check_uids(header)
    new = complete(header)
    for name in [element.keyword for element in new if element.keyword not in _COPIED]:
        del new[name]
    new.file_meta = FileMetaDataset()
    new.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    new.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    new.file_meta.MediaStorageSOPInstanceUID = UID(uid)
    new.SOPClassUID, new.SOPInstanceUID, new.Modality = sop_class, uid, modality
    new.SeriesInstanceUID = derive_uid(uid, "series")
    new.InstanceNumber = 1
    now = datetime.datetime.now()
    new.ContentDate, new.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    new.Manufacturer = new.ManufacturerModelName = NAME
    new.SoftwareVersions = __version__
    assert isinstance(new, Dataset)
    return new


def complete(header: "Dataset") -> "Dataset":
    """Copy what is said of patient and study, with empty values where the photo lacks them."""
    from pydicom import Dataset

    whole = Dataset()
    for name in _COPIED:
        if name in header:
            whole[name] = header[name]
    for name in _TYPE_2:
        if name not in whole:
            setattr(whole, name, "")
    return whole


def code(value: str, scheme: str, meaning: str) -> "Dataset":
    """Make a coded concept."""
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def reference(header: "Dataset") -> "Dataset":
    """Make a reference to the photo."""
    from pydicom import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    return item


def as_file(dataset: "Dataset") -> bytes:
    """Return the bytes of a DICOM file."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
