"""Masks <-> label files of COCO, CVAT, Label Studio and LabelMe; this module picks the format.

The name decides what is written: `.json` is a COCO file for all photos, `.label-studio.json` one of
Label Studio, `.xml` one of CVAT, a folder holds a LabelMe file for each photo. The content decides
what is read.
"""

import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import ParseError

from lesionseg import files
from lesionseg.config import TOLERANCE
from lesionseg.errors import LesionsegError
from lesionseg.files import AtomicTextFile
from lesionseg.images.arrays import Mask
from lesionseg.labels import coco, cvat, label_studio, labelme
from lesionseg.labels.annotations import Categories, LabelledPhoto, Unusable, original_stems, stem
from lesionseg.labels.faults import LabelError, fault_of

__all__ = [
    "SUFFIXES",
    "Categories",
    "LabelledPhoto",
    "Labels",
    "PhotoShapes",
    "Writer",
    "beside",
    "check_photos",
    "original_stems",
    "read",
    "stem",
    "writing",
]

_FORMATS = {".json": coco, ".xml": cvat}  # of one file for all photos
SUFFIXES = frozenset(_FORMATS)
_NAMES = (
    *("labels.json", "labels.xml", "annotations.json", "annotations.xml"),
    "_annotations.coco.json",  # Roboflow
    "instances_default.json",  # CVAT
    "result.json",  # Label Studio's COCO
)


class PhotoShapes(NamedTuple):
    """The outlines on a photo of (height, width) pixels, in the format of a label file.

    `quality` is that of the mask, 0 to 1, where it is known; `doubtful` whether it is below the
    level that was set; `control` whether the photo was drawn at random for labelling.
    """

    height: int
    width: int
    shapes: list[dict[str, Any]]
    quality: float | None = None
    doubtful: bool | None = None
    control: bool = False


@contextmanager
def writing(
    path: Path,
    photos: Iterable[Path],
    *,
    keep: bool = False,
    tolerance: float = TOLERANCE,
    run_lengths: bool = False,
) -> Iterator["Writer"]:
    """Write the outlines of photos, one after the other; a COCO or CVAT file appears at the end.

    If the context ends with an error, or no photo was added, no such file appears. LabelMe's files
    appear one by one. No existing file is replaced, as it may hold corrections.

    Args:
        path: a .json for COCO, a .label-studio.json for Label Studio, a .xml for CVAT, else a
            folder for LabelMe.
        photos: those that will be added.
        keep: keep LabelMe files that exist already, instead of stopping at them.
        tolerance: how far polygons may be off the pixels' edges, in pixels; see `outline.regions`.
        run_lengths: write masks as run lengths, exact to the pixel, instead of polygons.

    Raises:
        LesionsegError: a file exists already, a folder has the name of a file or a file that of a
            folder, run lengths were asked of LabelMe, XML cannot hold a photo's name, or the
            tolerance is not a length.
    """
    if not 0 <= tolerance < math.inf:
        raise LesionsegError(f"tolerance: expected 0 or more pixels, got {tolerance:g}")
    if _format(path) is None:
        if run_lengths:
            raise LesionsegError(f"{path}: LabelMe has no run lengths; write a .json or .xml file")
        if not path.is_dir() and (path.exists() or path.suffix):
            raise LesionsegError(f"{path}: expected a .json, a .xml or a folder for labels")
    files.check_writable(path, is_folder=_format(path) is None)
    check_photos(path, photos, keep=keep)
    with AtomicTextFile(path) as file_for_all:
        writer = Writer(file_for_all, None if run_lengths else tolerance)
        yield writer
        writer.close()


def check_photos(path: Path, photos: Iterable[Path], *, keep: bool = False) -> None:
    """Raise LesionsegError where labels of these photos cannot be written; see `writing`."""
    format_ = _format(path)
    if format_ is cvat:
        cvat.refuse_names(photos)
    targets = [path]
    if format_ is None:
        photo_of: dict[Path, Path] = {}
        for photo in photos:
            file = _labelme_file(photo, path)
            if photo_of.setdefault(file, photo) != photo:
                raise LesionsegError(
                    f"{file}: expected one photo of that name, got {photo_of[file]} and {photo}; "
                    "nothing was written; name a .json or .xml file, which holds both"
                )
        targets = [] if keep else [*photo_of]
    for file in targets:
        if file.exists():
            raise LesionsegError(
                f"{file} exists already and may hold corrections; nothing was written; "
                "move it away, or name another place for the labels"
            )


class Writer:
    """Takes the outlines inside `writing`."""

    def __init__(self, file_for_all: AtomicTextFile, tolerance: float | None) -> None:
        self._text_file, self._path, self._tolerance = file_for_all, file_for_all.path, tolerance
        self._format = _format(self._path)
        self._file: coco.Writer | cvat.Writer | label_studio.Writer | None = None

    def draw(self, mask: Mask) -> PhotoShapes:
        """Return the outlines of a mask (H, W) bool, for `add`; several threads may call it."""
        height, width = mask.shape
        if self._format is not None:
            return PhotoShapes(height, width, self._format.shapes(mask, self._tolerance))
        assert self._tolerance is not None
        return PhotoShapes(height, width, labelme.shapes(mask, self._tolerance))

    def add(self, photo: Path, outlines: PhotoShapes) -> None:
        """Write the outlines of a photo; one that has a LabelMe file already keeps that.

        Raises:
            LesionsegError: the operating system refuses.
        """
        if self._format is None:
            file = _labelme_file(photo, self._path)
            if not file.exists():
                name = _relative(photo, self._path)
                flags = {} if outlines.doubtful is None else {"doubtful": outlines.doubtful}
                flags |= {"control": True} if outlines.control else {}
                files.write(file, labelme.text(name, *outlines[:3], flags))
            return
        if self._file is None:
            self._file = self._format.Writer(self._text_file)
        name = _relative(photo, self._path.parent)
        if self._format is cvat and name.startswith("../"):
            name = photo.name  # CVAT, a server, accepts no path out of its own folder
        self._file.add(name, *outlines[:3], outlines.quality, outlines.control)

    def close(self) -> None:
        """Write the end of a file for all photos."""
        if self._file is not None:
            self._file.close()


def _format(path: Path) -> Any:
    """Return the module of the format with one file for all photos that a name asks for."""
    if path.name.lower().endswith(label_studio.SUFFIX):
        return label_studio
    return _FORMATS.get(path.suffix.lower())


def _labelme_file(photo: Path, folder: Path) -> Path:
    return folder / f"{photo.stem}.json"


def _relative(photo: Path, folder: Path) -> str:
    """Return the photo's path relative to a folder, with slashes; absolute on another drive."""
    real = os.path.join(os.path.realpath(photo.parent), photo.name)  # noqa: PTH118
    try:
        return Path(os.path.relpath(real, os.path.realpath(folder))).as_posix()
    except ValueError:
        return Path(real).as_posix()


@dataclass(frozen=True)
class Labels:
    """The labels in a file or folder.

    Attributes:
        path: the file, or the folder of LabelMe files.
        photos: those with an outline.
        unusable: photos without an outline, or whose labels cannot be used.
    """

    path: Path
    photos: tuple[LabelledPhoto, ...]
    unusable: tuple[Unusable, ...]


def read(path: Path, categories: Categories = None) -> Labels:
    """Read the labels in a .json of COCO, Label Studio or LabelMe, a CVAT .xml, or a folder.

    What any of the outlines of a photo encloses is its lesion. A photo without an outline, or with
    one that its label calls something else than a lesion, is unusable, not an empty mask. Where
    categories are chosen, their outlines are the lesion, and all others are ignored.

    Raises:
        LesionsegError: the file cannot be read, or has another format.
    """
    if path.is_dir():
        recognised, broken = _read_labelme_folder(path, categories)
        return _labels(path, [*recognised, *broken], categories)
    if path.suffix.lower() not in SUFFIXES:
        raise LesionsegError(f"{path}: expected a folder of masks, or labels as .json or .xml")
    entries = _read_file(path, categories)
    if entries is None:
        raise LesionsegError(f"{path}: expected labels of COCO, CVAT, Label Studio or LabelMe")
    return _labels(path, entries, categories)


def beside(folder: Path, categories: Categories = None) -> Labels | None:
    """Find and read the labels in a folder of photos; return None where there are none.

    They are one file called labels or annotations (.json or .xml) or as tools name it, or
    LabelMe's, one per photo.

    Raises:
        LesionsegError: there are both, or two files for all photos, or one that cannot be read.
    """
    paths = [folder / name for name in _NAMES if (folder / name).is_file()]
    contents = [
        (path, entries) for path in paths if (entries := _read_file(path, categories)) is not None
    ]
    if len(contents) > 1:
        raise LesionsegError(
            f"{contents[0][0]} and {contents[1][0]}: choose one of them with --truth"
        )
    recognised, broken = _read_labelme_folder(folder, categories, [path for path, _ in contents])
    if contents and recognised:
        raise LesionsegError(
            f"{contents[0][0]} and {len(recognised)} LabelMe files are in one folder; choose the "
            "first with --truth, or move it away to use the others"
        )
    if contents:
        return _labels(*contents[0], categories)
    return _labels(folder, [*recognised, *broken], categories) if recognised else None


def _read_labelme_folder(
    folder: Path, categories: Categories, exclude: Sequence[Path] = ()
) -> tuple[list[LabelledPhoto | Unusable], list[Unusable]]:
    """Read the LabelMe files in a folder; return also the .json files that cannot be read.

    Other .json files are ignored.
    """
    recognised: list[LabelledPhoto | Unusable] = []
    broken: list[Unusable] = []
    for file in sorted(set(folder.iterdir()).difference(exclude)):
        if file.suffix.lower() == ".json" and not file.name.startswith(".") and file.is_file():
            try:
                content = _json(file)
            except (OSError, ValueError) as error:
                line = f"{file}: cannot read these labels: {fault_of(error)}"
                broken.append(Unusable(file.name, line))
                continue
            if _is_labelme(content):
                recognised.append(labelme.read(file, content, categories))
    return recognised, broken


def _labels(
    path: Path, entries: Sequence[LabelledPhoto | Unusable], categories: Categories
) -> Labels:
    return Labels(
        path,
        tuple(
            replace(entry, categories=categories)
            for entry in entries
            if isinstance(entry, LabelledPhoto)
        ),
        tuple(entry for entry in entries if isinstance(entry, Unusable)),
    )


def _read_file(path: Path, categories: Categories) -> list[LabelledPhoto | Unusable] | None:
    """Read a file for all photos, or LabelMe's for one; return None for any other kind."""
    try:
        if path.suffix.lower() == ".xml":
            return list(cvat.read(path, categories))
        content = _json(path)
        if _is_labelme(content):
            return [labelme.read(path, content, categories)]
        if label_studio.recognises(content):
            return list(label_studio.read(path, content, categories))
        if isinstance(content, dict) and {"images", "annotations"} <= content.keys():
            return list(coco.read(path, content, categories))
    except (OSError, ValueError, ParseError, LookupError, TypeError, AttributeError) as error:
        raise LesionsegError(f"{path}: cannot read these labels: {fault_of(error)}") from error
    return None


def _is_labelme(content: Any) -> bool:
    return isinstance(content, dict) and {"shapes", "imagePath"} <= content.keys()


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())  # UTF-8, 16 or 32, as it finds
    except RecursionError as error:
        raise LabelError("nested too deeply") from error
