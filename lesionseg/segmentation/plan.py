"""Decide which photo becomes which files, before anything is written."""

import os
import stat
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lesionseg import files
from lesionseg.data.filenames import (
    MASK,
    OVERLAY,
    PROBABILITIES,
    REPORT,
    folders_below,
    is_mask_name,
    list_images,
    may_hold_truth,
    name_of,
)
from lesionseg.errors import LesionsegError, describe
from lesionseg.images import dicom, filetypes

STDIO = Path("-")  # standard input or standard output
_STDIO_AMONG_OTHERS = "standard input is a single photo; give it alone, with a file for -o"


@dataclass(frozen=True)
class OutputPaths:
    """Where results go: each a file for one photo, a folder for several, None for nowhere.

    Attributes:
        mask, overlay, probabilities: PNG files; the mask of one DICOM photo may also be a .dcm.
        segmentation: the mask of a DICOM photo as a DICOM Segmentation.
        report: the measurements of a DICOM photo as a DICOM structured report.
    """

    mask: Path
    overlay: Path | None = None
    probabilities: Path | None = None
    segmentation: Path | None = None
    report: Path | None = None

    @property
    def has_dicom(self) -> bool:
        """Tell whether one of the files is DICOM."""
        return is_dicom_name(self.mask) or self.segmentation is not None or self.report is not None


@dataclass(frozen=True)
class Job:
    """One photo and the files that are made of it.

    Attributes:
        photo, paths: which file becomes which.
        error: why an input that was named cannot be a photo, nor a folder of photos.
    """

    photo: Path
    paths: OutputPaths
    error: LesionsegError | None = None

    @property
    def done(self) -> bool:
        """Tell whether every file is there already."""
        return self.paths.mask != STDIO and all(_is_written(path) for path in files_of(self.paths))


def plan_jobs(
    inputs: Sequence[Path],
    paths: OutputPaths,
    *,
    skip_existing: bool = False,
    recursive: bool = False,
) -> list[Job]:
    """Plan the jobs, in the order of the inputs; a folder means the photos in it.

    Files in a folder that have the names of results are not treated as photos.

    One photo, not given by a folder, goes to the file that `paths` names, unless that is a
    folder, or has no suffix and is not there yet; everything else goes to folders, under
    `<name>_segmentation.png`, `<name>_overlay.png`, `<name>_probabilities.png`,
    `<name>_segmentation.dcm` and `<name>_report.dcm`. DICOM files are planned for DICOM photos.

    A file that is missing or cannot be read fails when its job is run. Of several inputs, a folder
    without photos is a job with an error.

    No result that goes to a folder replaces what may be a truth mask, unless it will be skipped.

    Args:
        inputs: photos, folders of photos, or `STDIO` for one photo.
        paths: where their pictures go.
        skip_existing: whether jobs whose files are all there will be skipped.
        recursive: whether a folder also means the photos in its subfolders, whose results go to
            subfolders of the same names.

    Raises:
        LesionsegError: only folders without photos, an output that cannot be written or is an
            input, one output of two inputs, an output that is neither PNG nor DICOM, a DICOM output
            of a photo that is not DICOM, or standard output for more than one mask.
    """
    try:
        return _plan(inputs, paths, skip_existing, recursive)
    except OSError as error:  # a name too long, a folder that may not be looked into
        raise LesionsegError(describe(error)) from error


def _plan(
    inputs: Sequence[Path], paths: OutputPaths, skip_existing: bool, recursive: bool
) -> list[Job]:
    _refuse_standard_output(paths)
    photos = [photo for path in inputs for photo in expand(path, recursive)]
    errors = [photo.error for photo in photos if photo.error is not None]
    if errors and len(errors) == len(photos):
        raise errors[0]
    single = len(inputs) == 1 and not _is_dir(inputs[0])
    is_folder = not single or names_folder(paths.mask)
    if not is_folder:
        jobs = [Job(inputs[0], _for_single_photo(paths, inputs[0]))]
    else:
        if any(photo.path == STDIO for photo in photos):
            raise LesionsegError(_STDIO_AMONG_OTHERS)
        check_folders(paths)
        jobs = [in_folders(paths, photo) for photo in photos]
    if not (skip_existing and all(job.done for job in jobs)):
        for path in files_of(paths if is_folder else jobs[0].paths):
            files.check_writable(path, is_folder=is_folder)
    usable = [job for job in jobs if job.error is None]
    _refuse_collisions(usable)
    if not single and not skip_existing:
        for job in usable:
            refuse_truth(job)
    return jobs


def check_folders(paths: OutputPaths) -> None:
    """Raise LesionsegError where results of several photos cannot go to these places."""
    _refuse_standard_output(paths)
    if paths.mask == STDIO:
        raise LesionsegError("standard output takes a single mask; name a folder with -o")
    for folder in files_of(paths):
        is_file = _is_png(folder) or is_dicom_name(folder) or folder.exists()
        if not folder.is_dir() and is_file:
            raise LesionsegError(
                f"{folder}: expected a folder for the results of several photos, got the name of "
                "a file"
            )


def _refuse_standard_output(paths: OutputPaths) -> None:
    if STDIO in (paths.overlay, paths.probabilities, paths.segmentation, paths.report):
        raise LesionsegError("standard output is for the mask; name files for the other results")


class PhotoToDo(NamedTuple):
    """A photo, its place below the folder that was named, and an error if there is none."""

    path: Path
    subfolder: Path = Path()
    error: LesionsegError | None = None


def expand(path: Path, recursive: bool) -> list[PhotoToDo]:
    """Return the photos that an input means: itself, or those in a folder."""
    if not _is_dir(path):
        return [PhotoToDo(path)]
    try:
        return _photos_in(path, recursive)
    except LesionsegError as error:
        return [PhotoToDo(path, error=error)]


def _exists(path: Path) -> bool:
    """Tell whether a result is there; one whose name is too long is not, and fails alone."""
    try:
        return path.exists()
    except OSError:
        return False


def _is_written(path: Path) -> bool:
    """Tell whether a result is there, as no folder and no empty file.

    An empty file may be all that is left of one when a machine or a network drive fails.
    """
    try:
        status = path.stat()
    except OSError:
        return False
    return status.st_size > 0 if stat.S_ISREG(status.st_mode) else not stat.S_ISDIR(status.st_mode)


def _is_dir(path: Path) -> bool:
    """Tell whether an input is a folder; one that may not be looked at is a photo, and fails so."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _photos_in(folder: Path, recursive: bool) -> list[PhotoToDo]:
    """List the photos in a folder; of folders below it, one that cannot be read has an error."""
    photos: list[PhotoToDo] = []
    for place in folders_below(folder) if recursive else [folder]:
        try:
            images = list_images(place)
        except LesionsegError as error:
            photos.append(PhotoToDo(place, error=error))
            continue
        subfolder = place.relative_to(folder)
        photos += [PhotoToDo(path, subfolder) for path in images if not is_mask_name(path)]
    if not photos:
        advice = "" if recursive else "; --recursive looks into folders below"
        raise LesionsegError(f"{folder}: no photos in this folder ({filetypes.NAMES}){advice}")
    return photos


def names_folder(path: Path) -> bool:
    """Tell whether results go into a path: a folder, or a name without a suffix that is free."""
    return path.is_dir() or (path != STDIO and not path.suffix and not path.exists())


def _is_png(path: Path) -> bool:
    return path.suffix.lower() == ".png"


def is_dicom_name(path: Path) -> bool:
    """Tell whether a file is DICOM by its suffix."""
    return path.suffix.lower() in dicom.SUFFIXES


def is_dicom_photo(photo: Path) -> bool:
    """Tell whether a photo is DICOM by its content; one from standard input may be."""
    return photo == STDIO or dicom.is_dicom_file(photo)


def _for_single_photo(paths: OutputPaths, photo: Path) -> OutputPaths:
    """Name the files of a single photo: files stay as they are, folders are filled."""
    inside = _inside(paths, photo)

    def choose(path: Path | None, path_inside: Path | None) -> Path | None:
        return path_inside if path is not None and names_folder(path) else path

    chosen = OutputPaths(
        paths.mask,
        choose(paths.overlay, inside.overlay),
        choose(paths.probabilities, inside.probabilities),
        choose(paths.segmentation, inside.segmentation),
        choose(paths.report, inside.report),
    )
    if chosen.has_dicom and photo.exists() and not is_dicom_photo(photo):
        raise LesionsegError(
            f"{photo}: not a DICOM file, so a DICOM result has nothing to refer to; name a .png "
            "file with -o"
        )
    pictures = (chosen.mask, chosen.overlay, chosen.probabilities)
    for path in files_of(chosen):
        fits = is_dicom_name(path) if path not in pictures else _is_png(path)
        if not fits and not is_special(path) and not (path == paths.mask and is_dicom_name(path)):
            kind, suffix = ("PNG", ".png") if path in pictures else ("DICOM", ".dcm")
            raise LesionsegError(f"{path}: results are {kind} files; name it {path.stem}{suffix}")
    return chosen


def is_special(path: Path) -> bool:
    """Tell whether a path exists and is not a regular file, such as `/dev/null` or a named pipe."""
    return path.exists() and not path.is_file()


def in_folders(paths: OutputPaths, photo: PhotoToDo) -> Job:
    """Name the files of one of several photos, in folders."""
    return Job(photo.path, _inside(paths, photo.path, photo.subfolder), photo.error)


def _inside(paths: OutputPaths, photo: Path, subfolder: Path = Path()) -> OutputPaths:
    def inside(folder: Path | None, ending: str) -> Path | None:
        return folder and folder / subfolder / f"{name_of(photo)}{ending}"

    wants_dicom = paths.segmentation is not None or paths.report is not None
    is_dicom = wants_dicom and is_dicom_photo(photo)
    return OutputPaths(
        paths.mask / subfolder / f"{name_of(photo)}{MASK}.png",
        inside(paths.overlay, f"{OVERLAY}.png"),
        inside(paths.probabilities, f"{PROBABILITIES}.png"),
        inside(paths.segmentation, f"{MASK}.dcm") if is_dicom else None,
        inside(paths.report, f"{REPORT}.dcm") if is_dicom else None,
    )


def files_of(paths: OutputPaths) -> list[Path]:
    """List the files among the paths, without standard output."""
    files = (paths.mask, paths.overlay, paths.probabilities, paths.segmentation, paths.report)
    return [path for path in files if path is not None and path != STDIO]


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    # A shell's `< photo.png` is an input, too, on systems that say which file it is.
    inputs = {key_of(Path("/dev/stdin") if job.photo == STDIO else job.photo) for job in jobs}
    taken: dict[str, Path] = {}
    for job in jobs:
        for path in files_of(job.paths):
            key = key_of(path)
            if key in inputs:
                raise LesionsegError(f"{path} is an input; nothing was written; choose another -o")
            if taken.get(key) == job.photo and not is_special(path):
                raise LesionsegError(f"{path} would be written twice; nothing was written")
            if key in taken and not is_special(path):
                raise LesionsegError(
                    f"{taken[key]} and {job.photo} would both give {path}; nothing was written; "
                    "rename one of them, or segment them into two folders"
                )
            taken[key] = job.photo


def key_of(path: Path) -> str:
    """Return one text for each file, by whatever path, accents, and on most disks case."""
    real = unicodedata.normalize("NFC", os.path.realpath(path))
    return real.casefold() if sys.platform in ("win32", "darwin") else real


def refuse_truth(job: Job) -> None:
    """Refuse to replace what may be the truth: masks beside the photos, or in their data set."""
    folder = Path(os.path.realpath(job.paths.mask)).parent
    if may_hold_truth(folder, job.photo) and _exists(job.paths.mask):
        raise LesionsegError(
            f"{job.paths.mask} exists already and may be ground truth; nothing was written; "
            "choose another -o, or add --skip-existing"
        )
