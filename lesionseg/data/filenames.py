"""File names: which are photos, which are masks, and which belong together."""

import logging
import os
import unicodedata
from collections import Counter
from pathlib import Path

from lesionseg.errors import LesionsegError
from lesionseg.images import dicom, filetypes

MASK, OVERLAY, PROBABILITIES = "_segmentation", "_overlay", "_probabilities"  # ends of names
REPORT = "_report"  # of a DICOM structured report
_MASK_ENDS = (MASK, "_mask", "_lesion", "_seg", "-mask")  # as data sets name their masks
PHOTO_FOLDERS = ("images", "photos", "jpegimages")  # the last as VOC and CVAT have it
MASK_FOLDERS = ("masks", "segmentationclass")
SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_SIDE_FILES = frozenset({".json", ".xml", ".csv", ".md"})  # labels, tables and notes
_SIDE_NAMES = frozenset(
    {"train.txt", "val.txt", "test.txt", "attribution.txt", "license.txt", "readme.txt", "license"}
    | {"thumbs.db", "desktop.ini", "labelmap.txt"}
)
_IMAGE = "image"
BROKEN_LINK = "broken link"  # as of photos that git annex or DVC has not fetched
_LABELS = frozenset({".json", ".xml"})  # suffixes
_MOST_WRAPPERS = 3  # folders in folders
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


def mask_ids(path: Path) -> list[str]:
    """Return the ids of the photos that a mask may belong to, the most likely first.

    Beside the `_segmentation` of ISIC, `_mask`, `_lesion`, `_seg` and `-mask` may end its name; a
    photo's own name may end so, too, and is then preferred.
    """
    name = fold(name_of(path))
    ids = [name, *(name.removesuffix(end) for end in _MASK_ENDS if name.endswith(end))]
    return [key for key in dict.fromkeys(ids) if key]


def list_folders(folder: Path) -> list[Path]:
    """List the folders in a folder, sorted by name, but for hidden ones and macOS's `__MACOSX`."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".") and path.name != "__MACOSX"
    ]


def folders_below(folder: Path) -> list[Path]:
    """List a folder and all below it, sorted, but for hidden ones; each once, linked or not.

    Links to folders are followed, except back to the folder or to one that it lies in. One that
    cannot be read is listed, too.
    """
    top = os.path.realpath(folder)
    folders: list[Path] = []
    known: set[str] = set()
    starts = [folder]
    for start in starts:  # which grows by the links that are found; folders come before links
        for place, names, _ in os.walk(start, onerror=lambda e: folders.append(Path(e.filename))):
            real = os.path.realpath(place)
            if real in known or (start != folder and _is_above(real, top)):
                names.clear()
                continue
            known.add(real)
            folders.append(Path(place))
            names[:] = [name for name in names if not name.startswith(".")]
            starts += [path for path in map(Path(place).joinpath, names) if path.is_symlink()]
    return sorted(folders)


def _is_above(folder: str, other: str) -> bool:
    return Path(folder) in Path(other).parents


def unwrap(folder: Path) -> list[Path]:
    """List a folder and the folders in it that unpacking has put one into another, down to images.

    A folder is followed by another where it holds neither images nor labels, and one folder alone.
    """
    places = [folder]
    while len(places) <= _MOST_WRAPPERS and places[-1].is_dir():
        if holds_data(places[-1]):
            break
        folders = list_folders(places[-1])
        if len(folders) != 1:
            break
        places += folders
    return places


def holds_data(folder: Path) -> bool:
    """Tell whether images, or files that may be labels, lie directly in a folder."""
    return any(_kind(path) == _IMAGE or path.suffix.lower() in _LABELS for path in folder.iterdir())


def _kind(path: Path) -> str | None:
    """Tell what a file beside photos is: `_IMAGE`, another kind, or None for what goes unsaid."""
    is_ours = path.name.startswith(".") or path.stem.lower().endswith(_NEITHER)
    if is_ours:
        return None
    if not path.is_file():
        return BROKEN_LINK if path.is_symlink() and not path.exists() else None
    suffix = path.suffix.lower()
    if suffix in filetypes.SUFFIXES:
        return _IMAGE
    if suffix in _SIDE_FILES or path.name.lower() in _SIDE_NAMES:
        return None
    kind = "DICOM" if suffix in dicom.SUFFIXES else filetypes.kind_of_file(path) or "other"
    if kind == "DICOM" and path.stem.lower().endswith(REPORT):
        return None
    return _IMAGE if kind in filetypes.readable() else kind


def list_images(folder: Path) -> list[Path]:
    """List the image files directly in `folder`, sorted by name.

    Files are images by their suffix, or else by their content. What is left out is logged in one
    line, counted by kind, except labels and lists of a data set. Left out without a word are
    superpixels of ISIC 2017, and overlays, probabilities and reports that `segment` wrote.

    Raises:
        LesionsegError: no such folder.
    """
    kinds = _kinds(folder)
    left_out = Counter(kind for kind in kinds.values() if kind not in (_IMAGE, None))
    if left_out:
        counts = (
            f"{number} {kind}{filetypes.advice(kind)}" for kind, number in left_out.most_common()
        )
        _log.warning("%s: left out: %s", folder, ", ".join(counts), extra={"shared": True})
    return [path for path, kind in kinds.items() if kind == _IMAGE]


def other_files(folder: Path) -> list[tuple[Path, str]]:
    """List the files directly in `folder` that `list_images` leaves out and counts, by kind."""
    return [(path, kind) for path, kind in _kinds(folder).items() if kind not in (_IMAGE, None)]


def _kinds(folder: Path) -> dict[Path, str | None]:
    try:
        return {path: _kind(path) for path in sorted(folder.iterdir())}
    except OSError as error:
        raise LesionsegError(f"cannot read folder {folder}: {error.strerror}") from error


def is_mask_name(path: Path) -> bool:
    """Tell whether a file has the name of a mask: `..._segmentation.png`, in any case."""
    return path.stem.lower().endswith(MASK)


def may_hold_truth(folder: Path, photo: Path) -> bool:
    """Tell whether masks in `folder` may be truth: beside the photo, or in its data set."""
    folder, beside = Path(os.path.realpath(folder)), Path(os.path.realpath(photo)).parent
    if folder == beside:
        return True
    splits = [SPLIT_FOLDERS.get(path.name.lower()) for path in (folder, beside)]
    if splits[0] and splits[0] == splits[1]:  # masks/train beside images/train
        folder, beside = folder.parent, beside.parent
    name = folder.name.lower()
    masks = name in MASK_FOLDERS and beside.name.lower() in PHOTO_FOLDERS
    return folder.parent == beside.parent and (masks or name.endswith("groundtruth"))
