"""Labels as one XML file, "CVAT for images 1.1": https://docs.cvat.ai/docs/dataset_management.

A region of the mask is a polygon of the label "lesion", joined to its holes (`outline.polygon`);
with run lengths, the whole mask is one `mask`, exact to the pixel. Both are read.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

from lesionseg.errors import LesionsegError
from lesionseg.files import AtomicTextFile
from lesionseg.images.arrays import Mask
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
)
from lesionseg.labels.faults import LabelError
from lesionseg.labels.outline import polygon, regions
from lesionseg.labels.runlength import Box

# Control characters, of which XML turns line breaks and tabs into spaces, and what is not text.
_NOT_XML = re.compile("[\x00-\x1f\ud800-\udfff\ufffe\uffff]")
_HEAD = f"""<?xml version="1.0" encoding="utf-8"?>
<annotations>
<version>1.1</version>
<meta><task><labels><label><name>{LESION}</name><attributes></attributes></label></labels></task>\
</meta>
"""
_COMMON = {"label": LESION, "source": "auto", "occluded": "0", "z_order": "0"}
_NOT_OUTLINES = ("box", "ellipse", "polyline", "points", "cuboid", "skeleton")


def shapes(mask: Mask, tolerance: float | None) -> list[dict[str, str]]:
    """Return the attributes of a mask's (H, W) bool shapes; run lengths without a tolerance."""
    if tolerance is not None:
        polygons = (polygon(region).tolist() for region in regions(mask, tolerance))
        points = (";".join(f"{x:g},{y:g}" for x, y in corners) for corners in polygons)
        return [_COMMON | {"points": text} for text in points]
    if not mask.any():
        return []
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    inside = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    lengths = runlength.encode(inside, by_column=False).tolist()
    box = Box(columns[0], rows[0], inside.shape[1], inside.shape[0])
    sides = {name: str(value) for name, value in box._asdict().items()}
    return [_COMMON | sides | {"rle": ", ".join(map(str, lengths))}]


def refuse_names(photos: Iterable[Path]) -> None:
    """Raise LesionsegError where XML cannot hold the name of a photo."""
    for photo in photos:
        if _NOT_XML.search(str(photo)):
            raise LesionsegError(f"{str(photo)!r}: XML cannot hold this name; rename the photo")


class Writer:
    """Write a CVAT file, photo by photo; it has no place for quality and control."""

    def __init__(self, file: AtomicTextFile) -> None:
        self._file = file
        self._images = 0
        file.write(_HEAD)

    def add(
        self,
        name: str,
        height: int,
        width: int,
        shapes: list[dict[str, str]],
        quality: float | None = None,
        control: bool = False,
    ) -> None:
        attributes = {
            "id": str(self._images),
            "name": name,
            "width": str(width),
            "height": str(height),
        }
        image = ET.Element("image", attributes)
        for shape in shapes:
            ET.SubElement(image, "mask" if "rle" in shape else "polygon", shape)
        self._file.write(ET.tostring(image, encoding="unicode") + "\n")
        self._images += 1

    def close(self) -> None:
        self._file.write("</annotations>\n")


def read(file: Path, categories: Categories = None) -> Iterator[LabelledPhoto | Unusable]:
    """Read the photos of a CVAT file, each with its outlines or the reason they cannot be used.

    Raises:
        OSError, ValueError, LookupError, ElementTree.ParseError: not a CVAT file.
    """
    root = None
    for event, element in ET.iterparse(file, events=("start", "end")):
        if root is None:
            root = element
            if root.tag != "annotations":
                raise LabelError(f"expected <annotations> of 'CVAT for images', got <{root.tag}>")
        elif element.tag == "track":
            raise LabelError("expected 'CVAT for images 1.1', got 'CVAT for video'")
        elif event == "end" and element.tag == "image":

            def parse_shapes(
                height: int, width: int, image: ET.Element = element
            ) -> Iterator[Shape | Dropped]:
                for shape in image:
                    if categories is None or is_lesion(shape.get("label"), categories):
                        yield from _shapes(shape, height, width, categories)

            size = _integer(element.get("height")), _integer(element.get("width"))
            yield parse_photo(file, element.get("name"), size, parse_shapes)
            root.clear()


def _shapes(
    shape: ET.Element, height: int, width: int, categories: Categories
) -> Iterator[Shape | Dropped]:
    if shape.tag in _NOT_OUTLINES:
        raise LabelError(f"expected a polygon or a mask, got a {shape.tag}; draw it as a polygon")
    if shape.tag not in ("polygon", "mask"):
        return  # a tag of the whole photo
    is_lesion(shape.get("label"), categories)
    if shape.tag == "polygon":
        yield parse_polygon([point.split(",") for point in shape.attrib["points"].split(";")])
        return
    box = Box(*(int(shape.attrib[side]) for side in Box._fields))
    if not (
        0 <= box.left <= width - box.width
        and 0 <= box.top <= height - box.height
        and min(box.width, box.height) > 0
    ):
        raise LabelError(f"expected a mask within {width}x{height} pixels, got {box}")
    lengths = np.array(shape.attrib["rle"].split(","), np.int64)
    yield runlength.check(box, lengths, by_column=False)


def _integer(text: Any) -> object:
    return int(text) if text and text.isdecimal() and len(text) < 20 else text
