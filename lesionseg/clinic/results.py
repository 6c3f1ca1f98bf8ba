"""What is made of a DICOM photo: its segmentation, its report, and the UIDs of all of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lesionseg.clinic.objects import Algorithm
from lesionseg.errors import LesionsegError, one_line
from lesionseg.images import dicom
from lesionseg.network.ensemble import Ensemble, joint_checksum
from lesionseg.network.runtime import OnnxNetwork, checksum
from lesionseg.segmentation.segmenter import Segmentation, Segmenter

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True)
class Uids:
    """What a DICOM photo and its results go by; None where there is none.

    Attributes:
        study, series, instance: of the photo.
        segmentation, report: the instances that were written.
    """

    study: str | None
    series: str | None
    instance: str | None
    segmentation: str | None = None
    report: str | None = None


def algorithm_of(segmenter: Segmenter) -> Algorithm:
    """Describe what draws the masks: the checkpoints, and the options that change them."""
    network = segmenter.network
    networks = network.networks if isinstance(network, Ensemble) else (network,)
    paths = segmenter.paths or (None,) * len(networks)
    sha256 = joint_checksum(
        [
            part.source if isinstance(part, OnnxNetwork) else checksum(path) if path else ""
            for part, path in zip(networks, paths, strict=True)
        ]
    )
    regions = "all regions" if segmenter.all_regions else "the largest region, holes filled"
    return Algorithm(sha256, (f"threshold {segmenter.threshold:g}", regions))


def uids_of(header: "Dataset") -> Uids:
    """Collect the UIDs of a photo."""

    def text(name: str) -> str | None:
        value = dicom.value(header, name)
        return str(value) if value else None

    return Uids(text("StudyInstanceUID"), text("SeriesInstanceUID"), text("SOPInstanceUID"))


@dataclass(frozen=True)
class Encoded:
    """Files to be written of a photo, and the UIDs of their objects and of the photo."""

    segmentation: bytes
    report: bytes | None
    uids: Uids


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn what pydicom or highdicom raises into one clear line."""
    try:
        yield
    except LesionsegError:
        raise
    except Exception as error:  # as many as there are values that break the standard's rules
        raise LesionsegError(
            "cannot write DICOM results of this file, as its header breaks a rule of DICOM; its "
            f"mask can still be a PNG ({one_line(error)})"
        ) from error


@_refusing()
def encode(
    header: "Dataset",
    frames: Sequence[Segmentation],
    algorithm: Algorithm,
    mm_per_pixel: float | None,
    *,
    report: bool,
) -> Encoded:
    """Encode the masks of a photo's frames as a DICOM Segmentation, and the first in a report.

    Args:
        header: of the photo's DICOM file.
        frames: what was drawn on each frame.
        algorithm: what drew it.
        mm_per_pixel: the scale where the file does not know its own.
        report: whether a report is wanted.

    Raises:
        LesionsegError: a UID is missing, a spacing is not a length, a package is not installed, or
            a value of the header is one that cannot be written.
    """
    from lesionseg.clinic.segmentation import (
        encode_segmentation,
        frames_have_numbers,
        segmentation_uid,
    )

    spacing = dicom.spacing(header)
    if spacing is None and mm_per_pixel is not None:
        spacing = mm_per_pixel, mm_per_pixel
    masks = np.stack([frame.mask for frame in frames])
    segmentation = encode_segmentation(header, masks, algorithm, spacing)
    uids = replace(uids_of(header), segmentation=segmentation_uid(header, masks, algorithm))
    if not report:
        return Encoded(segmentation, None, uids)
    from lesionseg.clinic.report import encode_report, report_uid

    mask, quality = frames[0].mask, frames[0].quality
    scale = dicom.scale(header, mm_per_pixel)
    number = 1 if len(frames) > 1 and frames_have_numbers(header) else None
    return Encoded(
        segmentation,
        encode_report(header, mask, quality, algorithm, scale, number),
        replace(uids, report=report_uid(header, mask, algorithm, scale)),
    )
