"""Labels as LabelMe has them: a JSON file for each photo; https://labelme.io.

A region of the mask is a polygon of the label "lesion", joined to its holes (`outline.polygon`).
What is read are polygons, and masks as LabelMe's own tools of selection leave them.
"""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lesionseg import images
from lesionseg.errors import LesionsegError
from lesionseg.images import Mask
from lesionseg.labels import runlength
from lesionseg.labels.labelled import (
    LESION,
    Labelled,
    Shape,
    Unusable,
    labelled,
    refuse_others,
    ring,
)
from lesionseg.labels.outline import polygon, regions
from lesionseg.labels.runlength import Box, Runs

_VERSION = "5.5.0"  # of LabelMe, whose files look like this


def shapes(mask: Mask, tolerance: float) -> list[dict[str, Any]]:
    """The shapes of a mask (H, W) bool."""
    return [
        {
            "label": LESION,
            "points": polygon(region).tolist(),
            "group_id": None,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
            "mask": None,
        }
        for region in regions(mask, tolerance)
    ]


def text(name: str, height: int, width: int, shapes: list[dict[str, Any]]) -> str:
    """The file of a photo; the photo itself is not in it."""
    content: dict[str, Any] = {
        "version": _VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": name,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
    return json.dumps(content) + "\n"


def read(file: Path, content: dict[str, Any]) -> Labelled | Unusable:
    """The photo of a file, or why it cannot be used."""

    def drawn(height: int, width: int) -> Iterator[Shape]:
        for shape in content["shapes"]:
            refuse_others(shape["label"])
            what = shape.get("shape_type") or "polygon"
            if what == "polygon":
                yield ring(shape["points"])
            elif what == "mask":
                yield _runs(shape, height, width)
            else:
                raise ValueError(f"expected a polygon or a mask, got a {what}; draw it as polygon")

    size = content.get("imageHeight"), content.get("imageWidth")
    return labelled(file, content.get("imagePath"), size, drawn)


def _runs(shape: dict[str, Any], height: int, width: int) -> Runs:
    """A mask, which lies within the two points, both included."""
    try:
        mask, _ = images.read_mask(io.BytesIO(base64.b64decode(shape["mask"])), truth=False)
    except LesionsegError as error:
        raise ValueError("its mask is no picture") from error
    (left, top), (right, bottom) = np.array(shape["points"]).astype(int).tolist()
    box = Box(left, top, right + 1 - left, bottom + 1 - top)
    inside = min(left, top) >= 0 and right < width and bottom < height
    if not inside or (box.height, box.width) != mask.shape:
        raise ValueError(
            f"expected a mask of {box.width}x{box.height} pixels within {width}x{height}, "
            f"got {mask.shape[1]}x{mask.shape[0]}"
        )
    return Runs(box, runlength.of(mask, by_column=False), by_column=False)
