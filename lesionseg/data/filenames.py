"""File names: which are photos, which are masks, and which belong together."""

import logging
import os
import unicodedata
from collections import Counter
from pathlib import Path

from lesionseg import dicom, filetypes
from lesionseg.errors import LesionsegError

MASK, OVERLAY, PROBABILITIES = "_segmentation", "_overlay", "_probabilities"  # ends of names
REPORT = "_report"  # of a DICOM structured report
_SIDE_FILES = frozenset({".json", ".xml", ".csv", ".md"})  # labels, tables and notes
_SIDE_NAMES = frozenset(
    {"train.txt", "val.txt", "test.txt", "attribution.txt", "license.txt", "readme.txt", "license"}
    | {"thumbs.db", "desktop.ini"}
)
_log = logging.getLogger("lesionseg")
_NEITHER = ("_superpixels", OVERLAY, PROBABILITIES)  # photo nor mask


def fold(name: str) -> str:
    """Return a name as names are compared: in lower case, its accents composed (Unicode's NFC).

    Names from a Mac's disk or archive may have their accents apart from their letters.
    """
    return unicodedata.normalize("NFC", name).lower()


def file_id(path: Path) -> str:
    """Return the id of a photo or mask: its name without suffix and `_segmentation`, folded."""
    return fold(name_of(path)).removesuffix(MASK)


def name_of(path: Path) -> str:
    """Return a file's name without its suffix; a UID as a name, `1.2.840.5`, has none."""
    return path.name if path.suffix[1:].isdigit() else path.stem


def list_images(folder: Path) -> list[Path]:
    """List the image files directly in `folder`, sorted by name.

    Files are images by their suffix, or else by their content. What is left out is logged in one
    line, counted by kind, except labels and lists of a data set. Left out without a word are
    superpixels of ISIC 2017, and overlays, probabilities and reports that `segment` wrote.

    Raises:
        LesionsegError: no such folder.
    """
    images: list[Path] = []
    left_out: Counter[str] = Counter()
    try:
        for path in sorted(folder.iterdir()):
            is_ours = path.name.startswith(".") or path.stem.lower().endswith(_NEITHER)
            if is_ours or not path.is_file():
                continue
            suffix = path.suffix.lower()
            kind = "DICOM" if suffix in dicom.SUFFIXES else None
            if suffix in filetypes.SUFFIXES:
                images.append(path)
                continue
            if suffix in _SIDE_FILES or path.name.lower() in _SIDE_NAMES:
                continue
            kind = kind or filetypes.kind_of_file(path) or "other"
            if kind == "DICOM" and path.stem.lower().endswith(REPORT):
                continue
            if kind in filetypes.readable():
                images.append(path)
            else:
                left_out[kind] += 1
    except OSError as error:
        raise LesionsegError(f"cannot read folder {folder}: {error.strerror}") from error
    if left_out:
        counts = (
            f"{number} {kind}{filetypes.advice(kind)}" for kind, number in left_out.most_common()
        )
        _log.warning("%s: left out: %s", folder, ", ".join(counts), extra={"shared": True})
    return images


def is_mask_name(path: Path) -> bool:
    """Tell whether a file has the name of a mask: `..._segmentation.png`, in any case."""
    return path.stem.lower().endswith(MASK)


def may_hold_truth(folder: Path, photo: Path) -> bool:
    """Tell whether masks in `folder` may be truth: beside the photo, or in its data set."""
    folder, beside = Path(os.path.realpath(folder)), Path(os.path.realpath(photo)).parent
    name = folder.name.lower()
    masks = name == "masks" and beside.name.lower() in ("images", "photos")
    of_set = folder.parent == beside.parent and (masks or name.endswith("groundtruth"))
    return folder == beside or of_set
