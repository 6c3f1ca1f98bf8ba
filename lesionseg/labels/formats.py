"""Outlines as labelling tools take and give them: COCO, CVAT and LabelMe files <-> masks.

The format is told by the name: `.json` is a COCO file for all photos, `.xml` a CVAT file for all
photos, a folder holds a LabelMe file for each photo.
"""

import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import ParseError

from lesionseg import files
from lesionseg.config import TOLERANCE
from lesionseg.errors import LesionsegError, one_line
from lesionseg.files import AtomicTextFile
from lesionseg.images import Mask
from lesionseg.labels import coco, cvat, labelme
from lesionseg.labels.labelled import Labelled, Unusable, stem

__all__ = [
    "SUFFIXES",
    "Drawn",
    "Labelled",
    "Labels",
    "Writer",
    "beside",
    "read",
    "stem",
    "writing",
]

_FORMATS = {".json": coco, ".xml": cvat}  # of one file for all photos
SUFFIXES = frozenset(_FORMATS)
_NAMES = ("labels.json", "labels.xml", "annotations.json", "annotations.xml")


class Drawn(NamedTuple):
    """The outlines on a photo of (height, width) pixels, as the writer that drew them has them."""

    height: int
    width: int
    shapes: list[dict[str, Any]]


@contextmanager
def writing(
    path: Path,
    photos: Iterable[Path],
    *,
    keep: bool = False,
    tolerance: float = TOLERANCE,
    run_lengths: bool = False,
) -> Iterator["Writer"]:
    """Takes the outlines of photos, one after the other; a COCO or CVAT file appears at the end.

    If the context ends with an error, or no photo was added, no such file appears. LabelMe's files
    appear one by one. Nothing that is there already is replaced, as it may hold corrections.

    Args:
        path: a .json for COCO, a .xml for CVAT, else a folder for LabelMe.
        photos: that will be added.
        keep: LabelMe's files that are there already are left as they are, and no reason to stop.
        tolerance: pixels that polygons may leave the pixels' edges by; see `outline.regions`.
        run_lengths: masks as run lengths, exact to the pixel, instead of polygons.

    Raises:
        LesionsegError: a file is there already, a folder has the name of a file or a file that of
            a folder, run lengths are asked of LabelMe, XML cannot hold a photo's name, or a
            tolerance that is no length.
    """
    if not 0 <= tolerance < math.inf:
        raise LesionsegError(f"tolerance: expected 0 or more pixels, got {tolerance:g}")
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        if run_lengths:
            raise LesionsegError(f"{path}: LabelMe knows no run lengths; name a .json or .xml")
        if not path.is_dir() and (path.exists() or path.suffix):
            raise LesionsegError(f"{path}: expected a .json, a .xml or a folder for labels")
        written = [] if keep else [_of_labelme(photo, path) for photo in photos]
    else:
        if path.is_dir():
            raise LesionsegError(f"cannot write {path}: it is a folder; name a file")
        if kind is cvat:
            cvat.refuse_names(photos)
        written = [path]
    for file in written:
        if file.exists():
            raise LesionsegError(
                f"{file} is there already and may hold corrections; nothing was written; "
                "move it away, or name another place for the labels"
            )
    with AtomicTextFile(path) as file_for_all:
        writer = Writer(file_for_all, None if run_lengths else tolerance)
        yield writer
        writer.close()


class Writer:
    """What `writing` gives."""

    def __init__(self, file_for_all: AtomicTextFile, tolerance: float | None) -> None:
        self._growing, self._path, self._tolerance = file_for_all, file_for_all.path, tolerance
        self._format = _FORMATS.get(self._path.suffix.lower())
        self._file: coco.Writer | cvat.Writer | None = None

    def draw(self, mask: Mask) -> Drawn:
        """The outlines of a mask (H, W) bool, for `add`; threads may call it at once."""
        height, width = mask.shape
        if self._format is not None:
            return Drawn(height, width, self._format.shapes(mask, self._tolerance))
        assert self._tolerance is not None
        return Drawn(height, width, labelme.shapes(mask, self._tolerance))

    def add(self, photo: Path, drawn: Drawn) -> None:
        """Writes the outlines of a photo; one that has a LabelMe file already keeps that.

        Raises:
            LesionsegError: the operating system refuses.
        """
        if self._format is None:
            file = _of_labelme(photo, self._path)
            if not file.exists():
                name = _relative(photo, self._path)
                files.write(file, labelme.text(name, *drawn))
            return
        if self._file is None:
            self._file = self._format.Writer(self._growing)
        name = _relative(photo, self._path.parent)
        if self._format is cvat and name.startswith("../"):
            name = photo.name  # CVAT, a server, takes no way out of its own folder
        self._file.add(name, *drawn)

    def close(self) -> None:
        """Writes the end of a file for all photos."""
        if self._file is not None:
            self._file.close()


def _of_labelme(photo: Path, folder: Path) -> Path:
    return folder / f"{photo.stem}.json"


def _relative(photo: Path, folder: Path) -> str:
    """The photo's name as told from a folder, with slashes; from the root on another drive."""
    real = os.path.join(os.path.realpath(photo.parent), photo.name)  # noqa: PTH118
    try:
        return Path(os.path.relpath(real, os.path.realpath(folder))).as_posix()
    except ValueError:
        return Path(real).as_posix()


@dataclass(frozen=True)
class Labels:
    """What was read.

    Attributes:
        path: the file, or the folder of LabelMe files.
        photos: those with an outline.
        unusable: photos that have none, or whose labels cannot be used.
    """

    path: Path
    photos: tuple[Labelled, ...]
    unusable: tuple[Unusable, ...]


def read(path: Path) -> Labels:
    """The labels in a COCO .json, a CVAT .xml, a LabelMe .json, or a folder of those.

    What any of the outlines of a photo encloses is its lesion. A photo without an outline, or with
    one that is no lesion by its label, is unusable and no empty mask.

    Raises:
        LesionsegError: the file cannot be read, or is none of these.
    """
    if path.is_dir():
        recognised, broken = _of_folder(path)
        return _sorted_out(path, [*recognised, *broken])
    if path.suffix.lower() not in SUFFIXES:
        raise LesionsegError(f"{path}: expected a folder of masks, or labels as .json or .xml")
    found = _of_file(path)
    if found is None:
        raise LesionsegError(f"{path}: expected labels of COCO, CVAT or LabelMe")
    return _sorted_out(path, found)


def beside(folder: Path) -> Labels | None:
    """The labels that lie in a folder of photos; None where there are none.

    One file for all, called labels or annotations (.json or .xml), else LabelMe's, one for each.

    Raises:
        LesionsegError: there are two files for all, or one that cannot be read.
    """
    for_all = [folder / name for name in _NAMES if (folder / name).is_file()]
    found = [(path, each) for path in for_all if (each := _of_file(path)) is not None]
    if len(found) > 1:
        raise LesionsegError(f"{found[0][0]} and {found[1][0]}: name one of them by --truth")
    if found:
        return _sorted_out(*found[0])
    recognised, broken = _of_folder(folder)
    return _sorted_out(folder, [*recognised, *broken]) if recognised else None


def _of_folder(folder: Path) -> tuple[list[Labelled | Unusable], list[Unusable]]:
    """What LabelMe's files in a folder say, and the .json that may have been of their kind.

    Other .json files are nobody's business.
    """
    recognised: list[Labelled | Unusable] = []
    broken: list[Unusable] = []
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() == ".json" and not file.name.startswith(".") and file.is_file():
            try:
                content = _json(file)
            except (OSError, ValueError) as error:
                line = f"{file}: cannot read these labels: {one_line(error)}"
                broken.append(Unusable(file.name, line))
                continue
            if _is_labelme(content):
                recognised.append(labelme.read(file, content))
    return recognised, broken


def _sorted_out(path: Path, found: Iterable[Labelled | Unusable]) -> Labels:
    photos = tuple(each for each in found if isinstance(each, Labelled))
    return Labels(path, photos, tuple(each for each in found if isinstance(each, Unusable)))


def _of_file(path: Path) -> list[Labelled | Unusable] | None:
    """What a file for all photos holds, or LabelMe's for one; None where it is of another kind."""
    try:
        if path.suffix.lower() == ".xml":
            return list(cvat.read(path))
        content = _json(path)
        if _is_labelme(content):
            return [labelme.read(path, content)]
        if isinstance(content, dict) and {"images", "annotations"} <= content.keys():
            return list(coco.read(path, content))
    except (OSError, ValueError, ParseError, KeyError, TypeError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        lacks = f"expected {reason}, found none" if isinstance(error, KeyError) else reason
        raise LesionsegError(f"{path}: cannot read these labels: {lacks}") from error
    return None


def _is_labelme(content: Any) -> bool:
    return isinstance(content, dict) and {"shapes", "imagePath"} <= content.keys()


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError as error:
        raise ValueError("nested too deep") from error
