"""What to say where no photo with a mask is found: what is there, and which layout is nearest."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lesionseg.data.filenames import list_folders, list_images, unwrap
from lesionseg.data.layouts import OFFICIAL_NAME, Folder, masks_folder, photos_folder, recognise
from lesionseg.errors import LesionsegError, counted

_MOST_FOLDERS = 20  # that are looked into
_BY_OPTIONS = ": name the folders with --photos and --truth; "
_MOST_KINDS = 4  # of a message


def no_pairs_in(folder: Path, problems: Sequence[str]) -> str:
    """Say that a data set's folder holds no pair, and why."""
    return (
        f"{folder}: no photo with a mask found{_first(problems)}; expected the official ISIC "
        "folders, images/ and masks/, or photos beside NAME_segmentation.png or labels; "
        f"{_nearest_layout(Folder.read(folder))}here: {_seen(folder)}"
    )


def no_pairs_of(photos: Sequence[Path], truth: Path, problems: Sequence[str]) -> str:
    """Say that folders of photos and the truth hold no pair, and why."""
    hint = ""
    if truth.is_dir():
        files = [path for folder in photos for path in list_images(unwrap(folder)[-1])]
        hint = _unlike_names(truth, list_images(unwrap(truth)[-1]), files)
    places = [*photos, *([truth] if truth.is_dir() else [])]
    here = "; ".join(f"in {place}: {_seen(place)}" for place in places)
    return (
        f"{truth}: no photo with a mask found{_first(problems)}; expected masks named like the "
        f"photos, or labels that name the photos; {hint}{here}".removesuffix("; ")
    )


def _first(problems: Sequence[str]) -> str:
    return f" ({'; '.join(problems[:3])})" if problems else ""


def _nearest_layout(folder: Folder) -> str:
    """Say what is missing from the nearest layout, as part of a sentence; "" if none is near."""
    photos, masks = photos_folder(folder), masks_folder(folder)
    if photos and masks:
        return _unlike_names(masks, list_images(masks), list_images(photos))
    if photos:
        return f"{photos.name}/ was found, but neither masks/ nor labels{_BY_OPTIONS}"
    if masks:
        return f"{masks.name}/ was found, but no images/ beside it{_BY_OPTIONS}"
    official = [path.name for name, path in folder.children.items() if OFFICIAL_NAME.search(name)]
    if official:
        return f"{official[0]}/ was found, but no photos or masks of the same split beside it; "
    for child in list_folders(folder.path)[:_MOST_FOLDERS]:
        if _is_set(child):
            return f"a data set is in {child}: name that folder; "
    return _BY_OPTIONS.removeprefix(": ") if len(folder.children) > 1 else ""


def _is_set(folder: Path) -> bool:
    try:
        return bool(recognise(Folder.read(folder)))
    except LesionsegError:
        return False


def _unlike_names(folder: Path, masks: Sequence[Path], photos: Sequence[Path]) -> str:
    if masks and photos:
        return (
            f"{folder.name}/ was found, but its names match no photo: {masks[0].name} against "
            f"{photos[0].name}; "
        )
    return f"{folder.name}/ was found, but no {'photos' if masks else 'masks in it'}; "


def _seen(folder: Path) -> str:
    """Count what lies in a folder, by kind."""
    files = [path for path in folder.iterdir() if path.is_file() and path.name[0] != "."]
    kinds = Counter(path.suffix.lower() or "without suffix" for path in files)
    counts = [f"{count} {kind}" for kind, count in kinds.most_common(_MOST_KINDS)]
    rest = kinds.total() - sum(count for _, count in kinds.most_common(_MOST_KINDS))
    counts += [counted(rest, "other file")] if rest else []
    names = [path.name for path in list_folders(folder)]
    if names:
        shown = ", ".join(names[:_MOST_KINDS]) + ", ..." * (len(names) > _MOST_KINDS)
        counts.append(f"{counted(len(names), 'folder')} ({shown})")
    return ", ".join(counts) or "nothing"
