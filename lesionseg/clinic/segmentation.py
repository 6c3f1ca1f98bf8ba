"""A mask -> a DICOM Segmentation object, in the photo's study.

Written by pydicom alone: highdicom 0.28 takes 0.3 s to import, and of a photo without a slice
thickness it writes Pixel Measures that its own reader and dciodvfy refuse. A photo has no place in
space, but viewers (OHIF) need one: it gets pixel measures of its spacing, orientation
(1, 0, 0, 0, 1, 0) and position (0, 0, 0). Where its spacing is unknown it is written as 1, and the
series says that this is a placeholder.

References: DICOM PS3.3, A.51 (the object), C.8.20 (its modules), CID 7150 and 7151 of PS3.16.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesionseg.clinic.objects import (
    LESION,
    MORPHOLOGY,
    NAME,
    RESEARCH,
    Algorithm,
    as_file,
    code,
    derive_uid,
    new_object,
    reference,
)
from lesionseg.errors import LesionsegError

if TYPE_CHECKING:
    from pydicom import Dataset

SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"

_SERIES_NUMBER = 9001
_LOSSY = {  # transfer syntaxes, and what the compression of each is called (PS3.3, C.7.6.1.1.5.1)
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
    "1.2.840.10008.1.2.4.91": "ISO_15444_1",
    "1.2.840.10008.1.2.4.203": "ISO_15444_15",
}
_ONE_FRAME = (  # storage classes of one frame
    *("1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.6.1"),  # secondary capture, ultrasound
    *(f"1.2.840.10008.5.1.4.1.1.77.1.{number}" for number in (1, 2, 3, 4, 7)),  # visible light
)
_SCALE_UNKNOWN = "The pixel spacing is unknown: 1 mm is a placeholder, and no length is valid."


def encode_segmentation(
    header: "Dataset",
    masks: NDArray[np.bool_],
    algorithm: Algorithm,
    spacing: tuple[float, float] | None,
) -> bytes:
    """Encode the masks of a photo's frames as a DICOM Segmentation file.

    Args:
        header: of the photo's DICOM file.
        masks: (N, H, W) bool, one for each frame.
        algorithm: what drew them.
        spacing: millimetres between rows and between columns, None where unknown.

    Raises:
        LesionsegError: a UID is missing, or the masks are not of the photo's size.
    """
    from pydicom import Dataset

    frames, height, width = masks.shape
    if (height, width) != (header.Rows, header.Columns):
        raise LesionsegError(
            f"expected a mask of {header.Columns}x{header.Rows} pixels, the size of its photo, "
            f"got {width}x{height}"
        )
    seg = new_object(
        header, SEGMENTATION_STORAGE, "SEG", segmentation_uid(header, masks, algorithm)
    )
    seg.SeriesNumber = _SERIES_NUMBER
    seg.SeriesDescription = f"{RESEARCH} lesion outline"
    if spacing is None:
        seg.SeriesDescription += ", spacing is a placeholder"
        seg.ImageComments = _SCALE_UNKNOWN
    seg.DeviceSerialNumber = algorithm.checkpoint_sha256
    if "PatientOrientation" in header:
        seg.PatientOrientation = header.PatientOrientation
    seg.FrameOfReferenceUID = header.get("FrameOfReferenceUID") or derive_uid(
        header.SOPInstanceUID, "frame of reference"
    )
    seg.PositionReferenceIndicator = ""

    seg.ImageType = ["DERIVED", "PRIMARY"]
    seg.SamplesPerPixel, seg.PhotometricInterpretation = 1, "MONOCHROME2"
    seg.Rows, seg.Columns, seg.NumberOfFrames = height, width, frames
    seg.BitsAllocated, seg.BitsStored, seg.HighBit, seg.PixelRepresentation = 1, 1, 0, 0
    _copy_compression(header, seg)
    seg.SegmentationType, seg.SegmentsOverlap = "BINARY", "NO"
    seg.ContentLabel, seg.ContentDescription = "SKIN_LESION", "Outline of a skin lesion"
    seg.ContentCreatorName = ""
    seg.SegmentSequence = [_segment(header, algorithm)]

    referenced = Dataset()
    referenced.SeriesInstanceUID = header.SeriesInstanceUID
    referenced.ReferencedInstanceSequence = [reference(header)]
    seg.ReferencedSeriesSequence = [referenced]
    _add_frames(seg, header, frames, spacing)
    packed = np.packbits(masks.ravel(), bitorder="little").tobytes()
    seg.PixelData = packed + b"\0" * (len(packed) % 2)
    seg["PixelData"].VR = "OB"
    return as_file(seg)


def _copy_compression(header: "Dataset", seg: "Dataset") -> None:
    """Record that the photo was compressed with loss, if its header or encoding says so."""
    names = ("LossyImageCompressionRatio", "LossyImageCompressionMethod")
    method = _LOSSY.get(str(header.file_meta.get("TransferSyntaxUID")))
    is_lossy = method is not None or header.get("LossyImageCompression") == "01"
    seg.LossyImageCompression = "01" if is_lossy else "00"
    for name in names if is_lossy else ():
        if header.get(name):
            seg[name] = header[name]
    if is_lossy and method and names[1] not in seg:
        seg.LossyImageCompressionMethod = method


def segmentation_uid(header: "Dataset", masks: NDArray[np.bool_], algorithm: Algorithm) -> str:
    """Derive the UID of the object, the same in each run that draws the same."""
    import hashlib

    drawn = hashlib.sha256(np.packbits(masks).tobytes()).hexdigest()
    return derive_uid(
        header.get("SOPInstanceUID"), "SEG", algorithm.version, *algorithm.parameters, drawn
    )


def _segment(header: "Dataset", algorithm: Algorithm) -> "Dataset":
    from pydicom import Dataset

    identification = Dataset()
    identification.AlgorithmFamilyCodeSequence = [code("123109", "DCM", "Artificial Intelligence")]
    identification.AlgorithmName, identification.AlgorithmVersion = NAME, algorithm.version
    identification.AlgorithmParameters = "; ".join(algorithm.parameters)
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel = 1, "Skin lesion"
    segment.SegmentAlgorithmType, segment.SegmentAlgorithmName = "AUTOMATIC", NAME
    segment.SegmentationAlgorithmIdentificationSequence = [identification]
    segment.SegmentedPropertyCategoryCodeSequence = [code(*MORPHOLOGY)]
    segment.SegmentedPropertyTypeCodeSequence = [code(*LESION)]
    segment.TrackingID = "Skin lesion"
    segment.TrackingUID = tracking_uid(header)
    segment.RecommendedDisplayCIELabValue = [59630, 20563, 29163]  # cyan, as in overlays
    return segment


def tracking_uid(header: "Dataset", region: int = 0) -> str:
    """Return the UID by which segmentations and reports refer to a photo's lesion."""
    return derive_uid(header.SOPInstanceUID, "lesion", region)


def _add_frames(
    seg: "Dataset", header: "Dataset", frames: int, spacing: tuple[float, float] | None
) -> None:
    """Add the dimensions and functional groups."""
    from pydicom import Dataset

    organization = Dataset()
    organization.DimensionOrganizationUID = derive_uid(seg.SOPInstanceUID, "dimensions")
    seg.DimensionOrganizationSequence = [organization]
    seg.DimensionIndexSequence = []
    for pointer, group, label in (
        (0x0062000B, 0x0062000A, "Segment Number"),
        (0x00209057, 0x00209111, "Frame"),  # In-Stack Position Number, of Frame Content
    ):
        index = Dataset()
        index.DimensionOrganizationUID = organization.DimensionOrganizationUID
        index.DimensionIndexPointer, index.FunctionalGroupPointer = pointer, group
        index.DimensionDescriptionLabel = label
        seg.DimensionIndexSequence.append(index)

    measures = Dataset()
    measures.PixelSpacing = [float(f"{side:.8g}") for side in spacing or (1, 1)]
    measures.SliceThickness = 1
    orientation = Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared = Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    seg.SharedFunctionalGroupsSequence = [shared]
    seg.PerFrameFunctionalGroupsSequence = [
        _frame_groups(header, number, frames) for number in range(1, frames + 1)
    ]


def frames_have_numbers(header: "Dataset") -> bool:
    """Tell whether frames may be referred to: files of one-frame classes with several exist."""
    return header.SOPClassUID not in _ONE_FRAME


def _frame_groups(header: "Dataset", number: int, frames: int) -> "Dataset":
    from pydicom import Dataset

    content = Dataset()
    content.StackID, content.InStackPositionNumber = "1", number
    content.DimensionIndexValues = [1, number]
    position = Dataset()
    position.ImagePositionPatient = [0, 0, 0]
    source = reference(header)
    if frames > 1 and frames_have_numbers(header):
        source.ReferencedFrameNumber = number
    source.SpatialLocationsPreserved = "YES"
    source.PurposeOfReferenceCodeSequence = [
        code("121322", "DCM", "Source image for image processing operation")
    ]
    derivation = Dataset()
    derivation.SourceImageSequence = [source]
    derivation.DerivationCodeSequence = [code("113076", "DCM", "Segmentation")]
    segment = Dataset()
    segment.ReferencedSegmentNumber = 1
    groups = Dataset()
    groups.FrameContentSequence, groups.PlanePositionSequence = [content], [position]
    groups.DerivationImageSequence = [derivation]
    groups.SegmentIdentificationSequence = [segment]
    return groups
