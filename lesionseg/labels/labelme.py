"""Labels in LabelMe's format, a JSON file for each photo: https://labelme.io.

A region of the mask is a polygon of the label "lesion", joined to its holes (`outline.polygon`).
Polygons are read, and masks as LabelMe's own selection tools write them.
"""

import base64
import io
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from lesionseg.errors import LesionsegError
from lesionseg.images.arrays import Mask
from lesionseg.images.masks import read_mask
from lesionseg.images.photos import photo_size
from lesionseg.labels import runlength
from lesionseg.labels.annotations import (
    LESION,
    Categories,
    Dropped,
    LabelledPhoto,
    Shape,
    Unusable,
    is_lesion,
    parse_photo,
    parse_polygon,
    shown,
)
from lesionseg.labels.faults import LabelError
from lesionseg.labels.outline import polygon, regions
from lesionseg.labels.runlength import Box, Runs

_VERSION = "5.5.0"  # of LabelMe, whose files look like this


def shapes(mask: Mask, tolerance: float) -> list[dict[str, Any]]:
    """Return the shapes of a mask (H, W) bool."""
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


def text(
    name: str,
    height: int,
    width: int,
    shapes: list[dict[str, Any]],
    flags: dict[str, bool] | None = None,
) -> str:
    """Return the content of a photo's file; the photo itself is not in it."""
    content: dict[str, Any] = {
        "version": _VERSION,
        "flags": flags or {},
        "shapes": shapes,
        "imagePath": name,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
    return json.dumps(content) + "\n"


def read(
    file: Path, content: dict[str, Any], categories: Categories = None
) -> LabelledPhoto | Unusable:
    """Read the photo of a file, or the reason its labels cannot be used."""

    def parse_shapes(height: int, width: int) -> Iterator[Shape | Dropped]:
        for shape in content["shapes"]:
            if not is_lesion(shape["label"], categories):
                continue
            kind = shape.get("shape_type") or "polygon"
            if kind == "polygon":
                yield parse_polygon(shape["points"])
            elif kind == "mask":
                yield _runs(shape, height, width)
            else:
                kind = shown(kind).strip("'")
                raise LabelError(
                    f"expected a polygon or a mask, got a {kind}; draw it as a polygon"
                )

    size: tuple[object, object] = content.get("imageHeight"), content.get("imageWidth")
    if size == (None, None):
        size = _size_of_photo(file, content.get("imagePath")) or size
    return parse_photo(file, content.get("imagePath"), size, parse_shapes)


def _size_of_photo(file: Path, name: object) -> tuple[int, int] | None:
    """Return the (height, width) of a file's photo, where that can be read."""
    if isinstance(name, str) and "\0" not in name:
        name = PureWindowsPath(name)
        for folder in (file.parent / name.parent.as_posix(), *_beside(file.parent)):
            with suppress(LesionsegError):
                return photo_size(folder / name.name)
    return None


def _beside(folder: Path) -> list[Path]:
    return [folder, folder.parent, *(folder.parent / name for name in ("images", "photos"))]


def _runs(shape: dict[str, Any], height: int, width: int) -> Runs:
    """Return the mask that lies within two points, both included."""
    try:
        mask, _ = read_mask(io.BytesIO(base64.b64decode(shape["mask"])), truth=False)
    except LesionsegError as error:
        raise LabelError("its mask is not an image") from error
    corners = np.array(shape["points"], np.float64)
    if corners.shape != (2, 2) or not (np.abs(corners) < 1e6).all():
        raise LabelError("expected a mask within two points")
    (left, top), (right, bottom) = corners.astype(int).tolist()
    box = Box(left, top, right + 1 - left, bottom + 1 - top)
    inside = min(left, top) >= 0 and right < width and bottom < height
    if not inside or (box.height, box.width) != mask.shape:
        raise LabelError(
            f"expected a mask of {box.width}x{box.height} pixels within {width}x{height}, "
            f"got {mask.shape[1]}x{mask.shape[0]}"
        )
    return Runs(box, runlength.encode(mask, by_column=False), by_column=False)
