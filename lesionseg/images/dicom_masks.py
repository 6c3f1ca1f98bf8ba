"""Read masks in DICOM Segmentations (DICOM PS3.3, C.8.20)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesionseg.errors import PhotoError
from lesionseg.images.dicom import (
    MOST_PIXELS,
    SEGMENTATIONS,
    frame_count,
    is_dicom,
    kind_of,
    read_dataset,
    reason,
)

if TYPE_CHECKING:
    from pydicom import Dataset

_SKIN_LESION = ("95324001", "SCT")


def read_segmentation(path: Path) -> dict[str, NDArray[np.bool_]]:
    """Read the masks in a DICOM Segmentation, by the UID of the photo that each was drawn on.

    What any segment of a lesion covers is lesion: those whose code or label says lesion, or the
    only one. Of a photo of several frames it is the mask of the first. Fractional segments count
    from half their highest value on.

    Returns:
        (H, W) bool for each SOP Instance UID.

    Raises:
        PhotoError: not a segmentation, damaged, without a lesion, or it names no photo.
    """
    try:
        with path.open("rb") as file:
            if not is_dicom(file):
                raise PhotoError("not a DICOM file")
            return masks_of(read_dataset(file))
    except OSError as error:
        raise PhotoError(f"{path}: {error.strerror}") from error
    except PhotoError as error:
        raise PhotoError(f"{path}: {error}") from None


def is_segmentation(dataset: "Dataset") -> bool:
    """Tell whether a DICOM file holds a segmentation."""
    return kind_of(dataset) in SEGMENTATIONS.values()


def masks_of(dataset: "Dataset") -> dict[str, NDArray[np.bool_]]:
    """Collect the masks of `read_segmentation` from a file that was read."""
    if not is_segmentation(dataset):
        raise PhotoError(f"expected a DICOM segmentation, got {kind_of(dataset)}")
    try:
        if int(dataset.Rows) * int(dataset.Columns) * frame_count(dataset) > 16 * MOST_PIXELS:
            raise PhotoError("too large to decode safely")
        return _masks_of_lesions(dataset)
    except PhotoError:
        raise
    except Exception as error:  # a missing attribute, damaged pixels
        raise PhotoError(
            f"damaged DICOM segmentation; export it again ({reason(error)})"
        ) from error


def _masks_of_lesions(dataset: "Dataset") -> dict[str, NDArray[np.bool_]]:
    segments = _lesion_segments(dataset)
    pixels = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    kind = str(dataset.SegmentationType)
    (shared,) = dataset.get("SharedFunctionalGroupsSequence") or (None,)
    masks: dict[str, NDArray[np.bool_]] = {}
    for values, groups in zip(pixels, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        if kind != "LABELMAP":
            of = _first("SegmentIdentificationSequence", groups, shared)
            if int(of.ReferencedSegmentNumber) not in segments:
                continue
        derivation = _first("DerivationImageSequence", groups, shared)
        uid, number = _source(derivation, dataset)
        if number not in (None, 1):
            continue
        if kind == "LABELMAP":
            mask = np.isin(values, sorted(segments))
        elif kind == "FRACTIONAL":
            mask = values >= int(dataset.MaximumFractionalValue) / 2
        else:
            mask = values > 0
        masks[uid] = masks.get(uid, np.False_) | mask
    if not masks:
        raise PhotoError("no outline in this DICOM segmentation")
    return masks


def _lesion_segments(dataset: "Dataset") -> set[int]:
    """Return the numbers of the segments that are lesions."""
    labels = {int(item.SegmentNumber): str(item.SegmentLabel) for item in dataset.SegmentSequence}
    lesions = set()
    for item in dataset.SegmentSequence:
        (kind,) = item.get("SegmentedPropertyTypeCodeSequence") or (None,)
        code = kind is not None and (kind.get("CodeValue"), kind.get("CodingSchemeDesignator"))
        label = labels[int(item.SegmentNumber)]
        if code == _SKIN_LESION or "lesion" in label.casefold():
            lesions.add(int(item.SegmentNumber))
    if not lesions and len(labels) > 1:
        raise PhotoError(f"expected a segment called lesion, got {', '.join(labels.values())}")
    return lesions or set(labels)


def _first(name: str, *groups: "Dataset | None") -> Any:
    """Return the first item of a sequence, from the first functional groups that have it."""
    for group in groups:
        if group is not None and group.get(name):
            return group[name].value[0]
    return None


def _source(derivation: Any, dataset: "Dataset") -> tuple[str, int | None]:
    """Return the UID and the frame's number of the photo that a frame was drawn on."""
    image = _first("SourceImageSequence", derivation)
    if image is not None:
        number = image.get("ReferencedFrameNumber")
        return str(image.ReferencedSOPInstanceUID), None if number is None else int(number)
    uids = {
        str(item.ReferencedSOPInstanceUID)
        for series in dataset.get("ReferencedSeriesSequence") or ()
        for item in series.get("ReferencedInstanceSequence") or ()
    }
    if len(uids) != 1:
        raise PhotoError(f"expected the UID of one photo for each frame, got {len(uids)}")
    return uids.pop(), None
