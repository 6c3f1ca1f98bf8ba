"""DICOM segmentations as labels: the photo's UID takes the place of its name."""

from pathlib import Path

from lesionseg.errors import PhotoError
from lesionseg.images import dicom_masks
from lesionseg.labels import runlength
from lesionseg.labels.annotations import LabelledPhoto, Unusable
from lesionseg.labels.runlength import Box, Runs


def read(path: Path) -> list[LabelledPhoto | Unusable]:
    """Read the masks in a DICOM segmentation, one for each photo that it refers to.

    A mask without a lesion is kept: whoever made the file says that there is none.
    """
    try:
        masks = dicom_masks.read_segmentation(path)
    except PhotoError as error:
        return [Unusable(path.name, str(error))]
    entries: list[LabelledPhoto | Unusable] = []
    for uid, mask in masks.items():
        height, width = mask.shape
        runs = Runs(
            Box(0, 0, width, height), runlength.encode(mask, by_column=False), by_column=False
        )
        entries.append(LabelledPhoto(path, uid, height, width, (runs,)))
    return entries
