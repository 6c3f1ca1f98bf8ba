"""File names: which are photos, which are masks, and which belong together."""

import os
import unicodedata
from pathlib import Path

from lesionseg import dicom, images
from lesionseg.errors import LesionsegError

MASK, OVERLAY, PROBABILITIES = "_segmentation", "_overlay", "_probabilities"  # ends of names
REPORT = "_report"  # of a DICOM structured report
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

    DICOM files go by their suffix, or by their content where they have none or a UID as a name.
    Left out are superpixels of ISIC 2017, and overlays, probabilities and reports that `segment`
    wrote.

    Raises:
        LesionsegError: no such folder.
    """
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if not path.name.startswith(".")
            and not path.stem.lower().endswith(_NEITHER)
            and (path.suffix.lower() in images.SUFFIXES or _may_be_dicom(path))
            and path.is_file()
        )
    except OSError as error:
        raise LesionsegError(f"cannot read folder {folder}: {error.strerror}") from error


def _may_be_dicom(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in dicom.SUFFIXES:
        return not path.stem.lower().endswith(REPORT)
    return (not suffix or suffix[1:].isdigit()) and path.is_file() and dicom.is_dicom_file(path)


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
