"""Measurements of a mask -> a DICOM structured report by template TID 1500, in the photo's study.

Each region is a group of its own: area, perimeter and longest diameter, and the polyline of its
outer border on the photo. Lengths are in millimetres where the scale is known, else in pixels.
By highdicom, which knows the template.

References: DICOM PS3.16, TID 1500 (Measurement Report) and TID 1410 (Planar ROI).
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from lesionseg.clinic.objects import (
    LESION,
    NAME,
    RESEARCH,
    UIDS,
    Algorithm,
    as_file,
    check_uids,
    complete,
    derive_uid,
)
from lesionseg.clinic.segmentation import tracking_uid
from lesionseg.errors import LesionsegError
from lesionseg.extras import install_hint
from lesionseg.images.arrays import Mask
from lesionseg.labels import outline
from lesionseg.segmentation.measurements import Measurements, measure

if TYPE_CHECKING:
    from pydicom import Dataset

_SERIES_NUMBER = 9002
_SCHEME = "99LESIONSEG"  # of the one concept that no public scheme has
_QUALITY = ("quality", _SCHEME, "Quality of the outline")


def encode_report(
    header: "Dataset",
    mask: Mask,
    quality: float,
    algorithm: Algorithm,
    mm_per_pixel: float | None,
    frame_number: int | None = None,
) -> bytes:
    """Encode what is measured on a mask as a DICOM structured report.

    Args:
        header: of the photo's DICOM file.
        mask: (H, W) bool.
        quality: 0 to 1, of the mask as a whole.
        algorithm: what drew it.
        mm_per_pixel: the side of a pixel in millimetres; None where unknown.
        frame_number: from 1, of the frame that the mask is of, in a photo of several.

    Raises:
        LesionsegError: a UID is missing, or highdicom is not installed.
    """
    check_uids(header)
    try:
        import highdicom  # noqa: F401
    except ModuleNotFoundError as error:
        raise LesionsegError(f"a report needs highdicom: {install_hint('dicom')}") from error
    from highdicom import sr

    source = _evidence(header)
    uid = report_uid(header, mask, algorithm, mm_per_pixel)
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=derive_uid(NAME, algorithm.version, algorithm.checkpoint_sha256),
        name=NAME,
        manufacturer_name=NAME,
        model_name=f"{NAME} {algorithm.version}",
        serial_number=algorithm.checkpoint_sha256,
    )
    context = sr.ObservationContext(
        observer_device_context=sr.ObserverContext(_code("121007", "DCM", "Device"), device)
    )
    groups = _groups(source, mask, quality, algorithm, mm_per_pixel, frame_number)
    content = sr.MeasurementReport(
        observation_context=context,
        procedure_reported=_code("363679005", "SCT", "Imaging procedure"),
        imaging_measurements=groups,
        title=_code("126000", "DCM", "Imaging Measurement Report"),
        language_of_content_item_and_descendants=sr.LanguageOfContentItemAndDescendants(
            _code("en", "RFC5646", "English")
        ),
    )
    scale = "" if mm_per_pixel else " in pixels"
    report = sr.ComprehensiveSR(
        evidence=[source],
        content=content[0],
        series_instance_uid=derive_uid(uid, "series"),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer=NAME,
        manufacturer_model_name=NAME,
        software_versions=algorithm.version,
        series_description=f"{RESEARCH} lesion measurements{scale}",
        is_complete=True,
    )
    patient_and_study = complete(header)
    for element in patient_and_study:  # as they are, also where highdicom would refuse them
        report[element.tag] = element
    return as_file(report)


def report_uid(
    header: "Dataset", mask: Mask, algorithm: Algorithm, mm_per_pixel: float | None
) -> str:
    """Derive the UID of the report, the same in each run that says the same."""
    import hashlib

    drawn = hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()
    return derive_uid(
        header.get("SOPInstanceUID"),
        *("SR", algorithm.version, *algorithm.parameters, mm_per_pixel, drawn),
    )


def _evidence(header: "Dataset") -> "Dataset":
    """Return what highdicom needs of the photo: its UIDs, and no value that it could refuse."""
    from pydicom import Dataset

    source = complete(Dataset())
    for name in UIDS:
        source[name] = header[name]
    return source


def _groups(
    source: "Dataset",
    mask: Mask,
    quality: float,
    algorithm: Algorithm,
    mm_per_pixel: float | None,
    frame_number: int | None,
) -> list[Any]:
    """Return a measurement group for each region; one without an outline where there is none."""
    from highdicom import sr

    frames = None if frame_number is None else [frame_number]
    common = {
        "algorithm_id": sr.AlgorithmIdentification(
            NAME, algorithm.version, parameters=algorithm.parameters
        ),
        "finding_type": _code(*LESION),
    }
    regions = outline.regions(mask)
    if not regions:
        image = sr.SourceImageForMeasurementGroup(
            source.SOPClassUID, source.SOPInstanceUID, referenced_frame_numbers=frames
        )
        return [
            sr.MeasurementsAndQualitativeEvaluations(
                tracking_identifier=sr.TrackingIdentifier(tracking_uid(source), "No skin lesion"),
                source_images=[image],
                measurements=_measurements(measure(mask, quality, mm_per_pixel), quality),
                **common,
            )
        ]
    groups = []
    for number, region in enumerate(regions):
        alone = mask
        if len(regions) > 1:
            alone = np.zeros_like(mask)
            outline.fill(alone, [region.outer, *region.holes])
        photo = sr.SourceImageForRegion(
            source.SOPClassUID, source.SOPInstanceUID, referenced_frame_numbers=frames
        )
        closed = np.concatenate([region.outer, region.outer[:1]])
        groups.append(
            sr.PlanarROIMeasurementsAndQualitativeEvaluations(
                tracking_identifier=sr.TrackingIdentifier(
                    tracking_uid(source, number), f"Skin lesion {number + 1}"
                ),
                referenced_region=sr.ImageRegion(sr.GraphicTypeValues.POLYLINE, closed, photo),
                measurements=_measurements(measure(alone, quality, mm_per_pixel), quality),
                **common,
            )
        )
    return groups


def _measurements(values: Measurements, quality: float) -> list[Any]:
    from highdicom import sr

    if values.mm_per_pixel is None:
        area_unit = length_unit = _code("{pixels}", "UCUM", "pixels")
        area, perimeter, diameter = (
            *(float(values.area_px), values.perimeter_px, values.longest_diameter_px),
        )
    else:
        length_unit = _code("mm", "UCUM", "mm")
        area_unit = _code("mm2", "UCUM", "mm2")
        assert values.area_mm2 is not None
        assert values.perimeter_mm is not None
        assert values.longest_diameter_mm is not None
        area, perimeter, diameter = values.area_mm2, values.perimeter_mm, values.longest_diameter_mm
    return [
        sr.Measurement(_code("42798000", "SCT", "Area"), _rounded(area), area_unit),
        sr.Measurement(_code("131191004", "SCT", "Perimeter"), _rounded(perimeter), length_unit),
        sr.Measurement(_code("103339001", "SCT", "Long axis"), _rounded(diameter), length_unit),
        sr.Measurement(_code(*_QUALITY), _rounded(quality), _code("1", "UCUM", "no units")),
    ]


def _rounded(value: float) -> float:
    """Return a number that fits into the 16 characters of a decimal string."""
    return float(f"{value:.8g}")


def _code(value: str, scheme: str, meaning: str) -> Any:
    from pydicom.sr.coding import Code

    return Code(value, scheme, meaning)
