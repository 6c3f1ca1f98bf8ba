"""File names: which are photos, which are masks, and which belong together."""

import os
import unicodedata
from pathlib import Path

from lesionseg import images
from lesionseg.errors import LesionsegError

MASK, OVERLAY, PROBABILITIES = "_segmentation", "_overlay", "_probabilities"  # ends of names
_NEITHER = ("_superpixels", OVERLAY, PROBABILITIES)  # photo nor mask


def fold(name: str) -> str:
    """Return a name as names are compared: in lower case, its accents composed (Unicode's NFC).

    Names from a Mac's disk or archive may have their accents apart from their letters.
    """
    return unicodedata.normalize("NFC", name).lower()


def file_id(path: Path) -> str:
    """Return the id of a photo or mask: its name without suffix and `_segmentation`, folded."""
    return fold(path.stem).removesuffix(MASK)


def list_images(folder: Path) -> list[Path]:
    """List the image files directly in `folder`, sorted by name.

    Left out are superpixels of ISIC 2017, and overlays and probabilities that `segment` wrote.

    Raises:
        LesionsegError: no such folder.
    """
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in images.SUFFIXES
            and not path.name.startswith(".")
            and not path.stem.lower().endswith(_NEITHER)
            and path.is_file()
        )
    except OSError as error:
        raise LesionsegError(f"cannot read folder {folder}: {error.strerror}") from error


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
