"""Labels as tasks of Label Studio, one JSON file: https://labelstud.io/guide/export.

Masks are written as predictions, each with its score: a region is a polygon of the label "lesion"
in per cent of the photo, joined to its holes (`outline.polygon`); with run lengths, the whole mask
is one brush. Annotations are read, as "JSON" and "JSON-MIN" exports hold them; predictions are no
truth.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import numpy as np

from lesionseg.files import AtomicTextFile
from lesionseg.images.arrays import Mask
from lesionseg.images.masks import LESION_ABOVE
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
from lesionseg.labels.faults import LabelError, fault_of
from lesionseg.labels.outline import polygon, regions
from lesionseg.labels.runlength import Box, Runs
from lesionseg.version import __version__

SUFFIX = ".label-studio.json"

_LOCAL = "/data/local-files/?d="  # followed by a path in the folder that Label Studio serves
_POLYGON, _BRUSH = "polygonlabels", "brushlabels"
_OF_THE_PHOTO = ("choices", "rating", "textarea", "number", "datetime", "taxonomy", "pairwise")
_LABELS = "labels"  # ends the name of a region's kind
_OF_THE_ANNOTATION = frozenset(  # beside data and regions, in "JSON-MIN"
    {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement"}
)
_SIZES = (3, 4, 8, 16)  # bits of a run's length less 1, by an index of two bits
_LONGEST_RUN = 1 << 16


def shapes(mask: Mask, tolerance: float | None) -> list[dict[str, Any]]:
    """Return the results of a mask (H, W) bool; run lengths without a tolerance."""
    height, width = mask.shape
    values: list[dict[str, Any]] = []
    if tolerance is not None:
        scale = np.array([100 / width, 100 / height])
        for region in regions(mask, tolerance):
            points = (polygon(region) * scale).round(6).tolist()
            values.append({"points": points, "closed": True, _POLYGON: [LESION]})
    elif mask.any():
        values.append({"format": "rle", "rle": encode(mask), _BRUSH: [LESION]})
    common = {
        **{"from_name": "label", "to_name": "image", "image_rotation": 0},
        **{"original_width": width, "original_height": height},
    }
    kind = _BRUSH if tolerance is None else _POLYGON
    return [
        {"id": f"lesion-{index}", "type": kind, "value": value} | common
        for index, value in enumerate(values)
    ]


class Writer:
    """Write tasks with predictions, photo by photo."""

    def __init__(self, file: AtomicTextFile) -> None:
        self._file = file
        self._tasks = 0

    def add(
        self,
        name: str,
        height: int,
        width: int,
        shapes: list[dict[str, Any]],
        quality: float | None = None,
        control: bool = False,
    ) -> None:
        prediction: dict[str, Any] = {"model_version": f"lesionseg {__version__}", "result": shapes}
        if quality is not None:
            prediction["score"] = quality
        data = {"image": _LOCAL + quote(name, errors="surrogateescape")} | (
            {"control": True} if control else {}
        )
        self._file.write("[\n" if not self._tasks else ",\n")
        self._file.write(json.dumps({"data": data, "predictions": [prediction]}))
        self._tasks += 1

    def close(self) -> None:
        self._file.write("\n]\n")


def recognises(content: Any) -> bool:
    """Tell whether a JSON file holds tasks."""
    if not isinstance(content, list) or not all(isinstance(task, dict) for task in content):
        return False
    return len(content) > 0 and all(
        isinstance(task.get("data"), dict) or _is_minimal(task) for task in content
    )


def _is_minimal(task: dict[str, Any]) -> bool:
    return "data" not in task and {"annotator", "annotation_id"} <= task.keys()


def _full(task: dict[str, Any]) -> dict[str, Any]:
    """Return the task of a "JSON-MIN" export, which holds one annotation, as "JSON" has it."""
    if not _is_minimal(task):
        return task
    data = {name: value for name, value in task.items() if name not in _OF_THE_ANNOTATION}
    regions = [
        region
        for value in data.values()
        if isinstance(value, list)
        for region in value
        if isinstance(region, dict) and not region.keys() & {*_OF_THE_PHOTO, "text"}
    ]
    results = [
        {
            "type": next((name for name in region if name.endswith(_LABELS)), None),
            "value": region,
            "original_width": region.get("original_width"),
            "original_height": region.get("original_height"),
        }
        for region in regions
    ]
    annotations = [] if task["annotation_id"] is None else [{"result": results}]
    return {"data": data, "annotations": annotations}


def read(
    file: Path, tasks: list[dict[str, Any]], categories: Categories = None
) -> Iterator[LabelledPhoto | Unusable]:
    """Read the photos of an export, each with its outlines or the reason they cannot be used."""
    for task in map(_full, tasks):
        names = [
            value
            for value in task["data"].values()
            if isinstance(value, str) and Path(photo_name(value)).suffix
        ]
        key = task["data"].get("image", names[0] if len(names) == 1 else None)
        name = photo_name(key) if isinstance(key, str) else key
        size: tuple[object, object] = (1, 1)
        try:
            results = _results(task)
            if results:
                size = results[0].get("original_height"), results[0].get("original_width")
        except (ValueError, TypeError, AttributeError) as error:
            yield Unusable(str(name), f"{file}: {name}: {fault_of(error)}")
            continue

        def parse_shapes(
            height: int, width: int, results: list[Any] = results
        ) -> Iterator[Shape | Dropped]:
            for result in results:
                if categories is None or _has_category(result, categories):
                    yield _shape(result, height, width, categories)

        yield parse_photo(file, name, size, parse_shapes)


def photo_name(value: str) -> str:
    """Return the path of a photo in the value of a task: a URL, an upload, a local file."""
    parts = urlsplit(value)
    if local := _query(parts.query).get("d"):
        return local[0]
    if uri := _query(parts.query).get("fileuri"):
        return urlsplit(base64.b64decode(uri[0]).decode("utf-8", "replace")).path
    is_url = len(parts.scheme) > 1 or value.startswith("/data/")  # C: is a drive
    return unquote(parts.path, errors="surrogateescape") if is_url else value


def _query(text: str) -> dict[str, list[str]]:
    return parse_qs(text, errors="surrogateescape")  # as a name that is not UTF-8 is quoted


def _results(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what was drawn in a task's one annotation.

    Raises:
        LabelError: there are none, or several of which none is marked as ground truth.
    """
    annotations = [
        annotation
        for annotation in task.get("annotations") or ()
        if not annotation.get("was_cancelled")
    ]
    if len(annotations) > 1:
        chosen = [annotation for annotation in annotations if annotation.get("ground_truth")]
        if len(chosen) != 1:
            raise LabelError(
                f"{len(annotations)} annotations; mark one as ground truth, or delete the others"
            )
        annotations = chosen
    if not annotations:
        raise LabelError(
            "no annotation; a prediction that nobody has submitted is not ground truth"
        )
    results = annotations[0].get("result") or []
    return [result for result in results if result.get("type") not in _OF_THE_PHOTO]


def _has_category(result: dict[str, Any], categories: Categories) -> bool:
    labels = result["value"].get(result.get("type")) or ()
    return any(is_lesion(label, categories) for label in labels)


def _shape(
    result: dict[str, Any], height: int, width: int, categories: Categories
) -> Shape | Dropped:
    kind, value = result.get("type"), result["value"]
    if kind not in (_POLYGON, _BRUSH):
        kind = str(kind)[:40]
        raise LabelError(f"expected a polygon or a brush with a label, got {kind!r}")
    for label in value.get(kind) or [None]:
        is_lesion(label, categories)
    if result.get("image_rotation"):
        raise LabelError("a photo rotated in Label Studio; rotate it back")
    if [result.get("original_height"), result.get("original_width")] != [height, width]:
        raise LabelError("outlines drawn at two sizes of the photo")
    if kind == _POLYGON:
        scale = (width / 100, height / 100)
        points = [[float(x) * scale[0], float(y) * scale[1]] for x, y in value["points"]]
        return parse_polygon(points)
    mask = decode(value["rle"], height, width)
    return Runs(Box(0, 0, width, height), runlength.encode(mask, by_column=False), by_column=False)


# Brushes: the run lengths of https://github.com/thi-ng/umbrella (rle-pack) of RGBA pixels.


def encode(mask: Mask) -> list[int]:
    """Return the bytes of a brush: 255 in all four channels of the lesion, else 0."""
    bits = [f"{4 * mask.size:032b}{8 - 1:05b}", *(f"{size - 1:04b}" for size in _SIZES)]
    for index, run in enumerate(runlength.encode(mask, by_column=False).tolist()):
        value = "1" * 8 if index % 2 else "0" * 8
        left = 4 * run
        while left:
            length = min(left, _LONGEST_RUN)
            kind = next(kind for kind, size in enumerate(_SIZES) if length <= 1 << size)
            bits.append(f"1{kind:02b}{length - 1:0{_SIZES[kind]}b}{value}")
            left -= length
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def decode(rle: Any, height: int, width: int) -> Mask:
    """Read the mask (H, W) bool of a brush: where the fourth channel is above 128.

    Raises:
        LabelError, TypeError, OverflowError: not such bytes, or of another size.
    """
    content = bytes(rle) if isinstance(rle, list) else b""
    if len(content) < 8:
        raise LabelError("expected the bytes of a brush")
    bits = np.unpackbits(np.frombuffer(content, np.uint8))
    text = (bits + ord("0")).tobytes().decode("ascii")
    if (values := int(text[:32], 2)) != 4 * height * width:
        raise LabelError(f"expected a brush of {width}x{height} pixels, got {values / 4:g} in all")
    word = int(text[32:37], 2) + 1
    if word != 8:
        raise LabelError(f"expected a brush of 8 bits a value, got {word}")
    sizes = [int(text[at : at + 4], 2) + 1 for at in range(37, 53, 4)]
    mask = np.zeros(height * width, np.bool_)
    at, done = 53, 0
    while done < values:
        size = sizes[int(text[at + 1 : at + 3] or "0", 2)]
        same = text[at : at + 1] == "1"
        begin = at + 3 + size
        length = int(text[at + 3 : begin] or "0", 2) + 1
        at = begin + (word if same else word * length)
        if at > len(text) or done + length > values:
            raise LabelError("a truncated brush")
        if same:
            if int(text[begin:at], 2) > LESION_ABOVE:
                mask[done // 4 : (done + length) // 4] = True
        else:
            numbers = np.packbits(bits[begin:at])
            first = (3 - done) % 4  # the next value of the fourth channel
            alpha = numbers[first::4] > LESION_ABOVE
            start = (done + first) // 4
            mask[start : start + len(alpha)] = alpha
        done += length
    return mask.reshape(height, width)
