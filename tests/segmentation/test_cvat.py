"""The function for CVAT, called as CVAT's own driver calls it, without a server."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers import SIZE, drawing, saved
from PIL import Image

from lesionseg.labels.outline import fill
from lesionseg.segmentation.segmenter import load

pytest.importorskip("cvat_sdk", reason="needs CVAT's own package: pip install cvat-sdk")

from cvat_sdk.auto_annotation import driver
from cvat_sdk.masks import decode_mask

from lesionseg import cvat


def annotate(function: Any, photo: Any, threshold: float | None, polygons: bool) -> list[Any]:
    """What reaches the server: shapes for the label of id 7, checked by CVAT's own mapper."""
    mapper = driver._AnnotationMapper(
        logging.getLogger(),
        function.spec.labels,
        [SimpleNamespace(id=7, name="lesion", type="any", attributes=[], sublabels=[])],
        allow_unmatched_labels=False,
        conv_mask_to_poly=polygons,
    )
    context = driver._DetectionFunctionContextImpl(
        frame_name="a.png", conf_threshold=threshold, conv_mask_to_poly=polygons
    )
    shapes = function.detect(context, Image.fromarray(photo))
    mapper.validate_and_remap(shapes, 3)
    return list(shapes)


@pytest.mark.parametrize("polygons", [False, True])
def test_masks_and_polygons(tmp_path: Path, polygons: bool) -> None:
    checkpoint = str(saved(tmp_path / "net.pt", width=2, seed=3))
    photo, _ = drawing(1)
    expected = load(checkpoint, "cpu", all_regions=True)(photo).mask
    assert expected.any()
    function = cvat.create(checkpoint, device="cpu", all_regions=True)
    shapes = annotate(function, photo, None, polygons)
    drawn = np.zeros(expected.shape, np.bool_)
    for shape in shapes:
        assert (shape.label_id, shape.frame, shape.source) == (7, 3, "auto")
        if polygons:
            fill(drawn, [np.array(shape.points).reshape(-1, 2)])
        else:
            height, width = expected.shape
            drawn |= decode_mask(shape.points, image_width=width, image_height=height)
    overlap = 2 * (drawn & expected).sum() / (drawn.sum() + expected.sum())
    assert overlap >= (0.998 if polygons else 1)


def test_no_lesion_and_low_quality(tmp_path: Path) -> None:
    checkpoint = str(saved(tmp_path / "net.pt", width=2, seed=3))
    photo, _ = drawing(1)
    quality = load(checkpoint, "cpu")(photo).quality
    function = cvat.create(checkpoint)
    assert annotate(function, photo, quality, False)
    assert annotate(function, photo, min(1, quality + 1e-6), False) == []
    nothing = cvat.create(checkpoint, threshold=1)
    assert annotate(nothing, np.zeros((SIZE, SIZE, 3), np.uint8), None, True) == []
