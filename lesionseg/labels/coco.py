"""Labels as one COCO file: https://cocodataset.org/#format-data.

A region of the mask is an annotation of category "lesion", as a polygon; one with holes is a
polygon that is joined to them (`outline.polygon`), as COCO's polygons know no holes. With run
lengths, the whole mask is one annotation, packed as COCO's own tools pack it, exact to the pixel.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lesionseg.errors import counted
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
    shown,
)
from lesionseg.labels.faults import LabelError
from lesionseg.labels.outline import polygon, regions
from lesionseg.labels.runlength import Box
from lesionseg.version import __version__

_HEAD = {
    "info": {"description": f"outlines of lesions, drawn by lesionseg {__version__}"},
    "categories": [{"id": 1, "name": LESION, "supercategory": ""}],
}


def shapes(mask: Mask, tolerance: float | None) -> list[dict[str, Any]]:
    """Return the annotations of a mask (H, W) bool without ids; run lengths without a tolerance."""
    height, width = mask.shape
    annotations = []
    if tolerance is not None:
        for region in regions(mask, tolerance):
            corners = polygon(region)
            left, top = region.outer.min(axis=0)
            right, bottom = region.outer.max(axis=0)
            x, y = corners.T
            annotations.append(
                {
                    "segmentation": [corners.ravel().tolist()],
                    "area": round(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2, 2),
                    "bbox": [round(float(v), 2) for v in (left, top, right - left, bottom - top)],
                }
            )
    elif mask.any():
        lengths = runlength.encode(mask, by_column=True)
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        sides = (columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0])
        annotations.append(
            {
                "segmentation": {"size": [height, width], "counts": runlength.pack(lengths)},
                "area": int(lengths[1::2].sum()),
                "bbox": [int(v) for v in (columns[0], rows[0], *sides)],
            }
        )
    return annotations


class Writer:
    """Write a COCO file; only the photos' names and sizes are kept in memory."""

    def __init__(self, file: AtomicTextFile) -> None:
        self._file = file
        self._images: list[str] = []
        self._annotations = 0
        file.write(json.dumps(_HEAD)[:-1] + ', "annotations": [')

    def add(
        self,
        name: str,
        height: int,
        width: int,
        shapes: list[dict[str, Any]],
        quality: float | None = None,
        control: bool = False,
    ) -> None:
        image = len(self._images) + 1
        entry = {"id": image, "file_name": name, "width": width, "height": height}
        entry |= {"control": True} if control else {}
        score = {} if quality is None else {"score": quality}
        self._images.append(json.dumps(entry))
        for shape in shapes:
            head = {"id": self._annotations + 1, "image_id": image, "category_id": 1, "iscrowd": 0}
            self._file.write(
                f"{',' if self._annotations else ''}\n{json.dumps(head | shape | score)}"
            )
            self._annotations += 1

    def close(self) -> None:
        images = ",\n".join(self._images)
        self._file.write(f'\n], "images": [\n{images}\n]}}\n')


def read(
    file: Path, content: dict[str, Any], categories: Categories = None
) -> Iterator[LabelledPhoto | Unusable]:
    """Read the photos of a COCO file, each with its outlines or the reason they cannot be used.

    Raises:
        KeyError, TypeError, AttributeError: not a COCO file.
    """
    names = _names(content.get("categories"))
    of_image: dict[str, list[Any]] = {}
    strays = []
    for annotation in content["annotations"]:
        image = annotation.get("image_id") if isinstance(annotation, dict) else None
        if isinstance(image, int | str):
            of_image.setdefault(str(image), []).append(annotation)
        else:
            strays.append(annotation)
    if strays and not of_image:
        image = strays[0]["image_id"]
        raise LabelError(f"expected a number or a name as the image_id, got {shown(image)}")
    if strays:
        yield Unusable("", f"{file}: {counted(len(strays), 'annotation')} without an image id")

    for image in content["images"]:
        if not isinstance(image, dict):
            yield Unusable("", f"{file}: expected an image, got {shown(image)}")
            continue

        def parse_shapes(height: int, width: int, image: Any = image) -> Iterator[Shape | Dropped]:
            for annotation in of_image.get(str(image["id"]), ()):
                if not is_lesion(names.get(str(annotation["category_id"])), categories):
                    continue
                yield from _shapes(annotation["segmentation"], height, width)

        yield parse_photo(
            file, image.get("file_name"), (image.get("height"), image.get("width")), parse_shapes
        )


def _names(categories: Any) -> dict[str, Any]:
    """Return the names of the categories by their ids; what is no category is left out."""
    return {
        str(category["id"]): category.get("name")
        for category in (categories if isinstance(categories, list) else ())
        if isinstance(category, dict) and isinstance(category.get("id"), int | str)
    }


def _shapes(segmentation: Any, height: int, width: int) -> Iterator[Shape | Dropped]:
    if isinstance(segmentation, dict):
        if segmentation["size"] != [height, width]:
            raise LabelError(f"expected run lengths of {width}x{height} pixels, got another size")
        lengths = runlength.parse(segmentation["counts"])
        yield runlength.check(Box(0, 0, width, height), lengths, by_column=True)
        return
    if not segmentation:
        raise LabelError("an annotation without an outline")
    flat = all(isinstance(value, int | float) for value in segmentation)
    for corners in [segmentation] if flat else segmentation:
        yield parse_polygon(corners)
