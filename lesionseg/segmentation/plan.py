"""Decide which photo becomes which files, before anything is written."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lesionseg import filetypes
from lesionseg.data.filenames import (
    MASK,
    OVERLAY,
    PROBABILITIES,
    is_mask_name,
    list_images,
    may_hold_truth,
)
from lesionseg.errors import LesionsegError

STDIO = Path("-")  # standard input or standard output


@dataclass(frozen=True)
class OutputPaths:
    """Where pictures go: each a file for one photo, a folder for several, None for nowhere."""

    mask: Path
    overlay: Path | None = None
    probabilities: Path | None = None


@dataclass(frozen=True)
class Job:
    """One photo and the files that are made of it."""

    photo: Path
    paths: OutputPaths

    @property
    def done(self) -> bool:
        """Tell whether every file is there already."""
        return self.paths.mask != STDIO and all(path.exists() for path in _files(self.paths))


def plan_jobs(
    inputs: Sequence[Path], paths: OutputPaths, *, skip_existing: bool = False
) -> list[Job]:
    """Plan the jobs, in the order of the inputs; a folder stands for the photos right in it.

    Files in a folder that are called like results are not taken for photos.

    One photo, not given by a folder, goes to the file that `paths` names, unless that is a
    folder, or has no suffix and is not there yet; everything else goes to folders, under
    `<name>_segmentation.png`, `<name>_overlay.png` and `<name>_probabilities.png`.

    No result that goes to a folder replaces what may be a truth mask, unless it will be skipped.

    Args:
        inputs: photos, folders of photos, or `STDIO` for one photo.
        paths: where their pictures go.
        skip_existing: whether jobs whose files are all there will be skipped.

    Raises:
        LesionsegError: a folder without photos, an output that is an input, one output of two
            inputs, an output that is not a PNG, or standard output for more than one mask.
    """
    try:
        return _plan(inputs, paths, skip_existing)
    except OSError as error:  # a name too long, a folder that may not be looked into
        raise LesionsegError(f"{error.filename}: {error.strerror}") from error


def _plan(inputs: Sequence[Path], paths: OutputPaths, skip_existing: bool) -> list[Job]:
    if STDIO in (paths.overlay, paths.probabilities):
        raise LesionsegError("standard output takes the mask; name a file for anything else")
    photos: list[Path] = []
    for path in inputs:
        photos += _photos_in(path) if path.is_dir() else [path]
    single = len(inputs) == 1 and not inputs[0].is_dir()
    if single and not _is_folder(paths.mask):
        jobs = [Job(photos[0], _for_single_photo(paths, photos[0]))]
    else:
        if STDIO in photos:
            raise LesionsegError("standard input is one photo; give it alone, with a file for -o")
        if paths.mask == STDIO:
            raise LesionsegError("standard output takes one mask; name a folder by -o")
        for folder in (paths.mask, paths.overlay, paths.probabilities):
            if folder and not folder.is_dir() and (_is_png(folder) or folder.exists()):
                raise LesionsegError(
                    f"{folder}: several photos, or a folder of them, need a folder"
                )
        jobs = [Job(photo, _in_folders(paths, photo)) for photo in photos]
    _refuse_collisions(jobs)
    if not single and not skip_existing:
        _refuse_truth(jobs)
    return jobs


def _photos_in(folder: Path) -> list[Path]:
    photos = [path for path in list_images(folder) if not is_mask_name(path)]
    if not photos:
        raise LesionsegError(f"{folder}: no photos in this folder ({filetypes.NAMES})")
    return photos


def _is_folder(path: Path) -> bool:
    return path.is_dir() or (path != STDIO and not path.suffix and not path.exists())


def _is_png(path: Path) -> bool:
    return path.suffix.lower() == ".png"


def _for_single_photo(paths: OutputPaths, photo: Path) -> OutputPaths:
    """Name the files of a single photo: files stay as they are, folders are filled."""
    inside = _in_folders(paths, photo)

    def choose(path: Path | None, path_inside: Path | None) -> Path | None:
        return path_inside if path is not None and _is_folder(path) else path

    chosen = OutputPaths(
        paths.mask,
        choose(paths.overlay, inside.overlay),
        choose(paths.probabilities, inside.probabilities),
    )
    for path in _files(chosen):
        if not _is_png(path) and not _is_special(path):
            raise LesionsegError(f"{path}: results are PNG files; name it {path.stem}.png")
    return chosen


def _is_special(path: Path) -> bool:
    """Tell whether a path exists and is not a regular file, such as `/dev/null` or a named pipe."""
    return path.exists() and not path.is_file()


def _in_folders(paths: OutputPaths, photo: Path) -> OutputPaths:
    def inside(folder: Path | None, suffix: str) -> Path | None:
        return folder and folder / f"{photo.stem}{suffix}.png"

    return OutputPaths(
        paths.mask / f"{photo.stem}{MASK}.png",
        inside(paths.overlay, OVERLAY),
        inside(paths.probabilities, PROBABILITIES),
    )


def _files(paths: OutputPaths) -> list[Path]:
    """List the files among the paths, without standard output."""
    files = (paths.mask, paths.overlay, paths.probabilities)
    return [path for path in files if path is not None and path != STDIO]


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    # A shell's `< photo.png` is an input, too, on systems that say which file it is.
    inputs = {_key(Path("/dev/stdin") if job.photo == STDIO else job.photo) for job in jobs}
    taken: dict[str, Path] = {}
    for job in jobs:
        for path in _files(job.paths):
            key = _key(path)
            if key in inputs:
                raise LesionsegError(f"{path} is an input; nothing was written; choose another -o")
            if taken.get(key) == job.photo and not _is_special(path):
                raise LesionsegError(f"{path} would be written twice; nothing was written")
            if key in taken and not _is_special(path):
                raise LesionsegError(
                    f"{taken[key]} and {job.photo} would both give {path}; nothing was written; "
                    "rename one, or run them apart into two folders"
                )
            taken[key] = job.photo


def _key(path: Path) -> str:
    """Return one text for each file, by whatever path, on most disks in whatever case."""
    real = os.path.realpath(path)
    return real.casefold() if sys.platform in ("win32", "darwin") else real


def _refuse_truth(jobs: Sequence[Job]) -> None:
    """Refuse to replace what may be the truth: masks beside the photos, or in their data set."""
    for job in jobs:
        folder = Path(os.path.realpath(job.paths.mask)).parent
        if may_hold_truth(folder, job.photo) and job.paths.mask.is_file():
            raise LesionsegError(
                f"{job.paths.mask} is there already and may be the truth; nothing was written; "
                "choose another -o, or leave out what is there by --skip-existing"
            )
