"""Photos in, mask files out: which file becomes which is decided first, then it is done."""

import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from lesionseg import files, images
from lesionseg.data.filenames import (
    MASK,
    OVERLAY,
    PROBABILITIES,
    is_mask_name,
    list_images,
    may_hold_truth,
)
from lesionseg.errors import LesionsegError, as_result
from lesionseg.images import Mask, Probabilities, Source
from lesionseg.segmentation.outputs import Findings
from lesionseg.segmentation.segmenter import Segmenter, stream

STANDARD = Path("-")  # standard input or standard output


@dataclass(frozen=True)
class Outputs:
    """Where results go: each a file for one photo, a folder for several, None for nowhere."""

    mask: Path
    overlay: Path | None = None
    probabilities: Path | None = None


@dataclass(frozen=True)
class Job:
    """One photo and the files that it gives."""

    photo: Path
    outputs: Outputs

    @property
    def done(self) -> bool:
        """Whether every file is there already."""
        return self.outputs.mask != STANDARD and all(path.exists() for path in _files(self.outputs))


Examiner = Callable[[Mask, float | None], Findings]  # given the quality where it is known


@dataclass(frozen=True)
class Result:
    """What became of a photo.

    Attributes:
        height, width: of the photo and its mask, in pixels.
        lesion_share: of the pixels, 0 to 1.
        quality: 0 to 1, how sure the network is of the mask.
        seconds: from opening the photo to its mask written, waiting for its batch included.
        findings: what the examiner said of the mask.
    """

    height: int
    width: int
    lesion_share: float
    quality: float
    seconds: float
    findings: Findings


def plan(names: Sequence[Path], outputs: Outputs, *, skip_existing: bool = False) -> list[Job]:
    """The jobs, in the order of the names; a folder stands for the photos right in it.

    Files that are called like results are not taken for photos.

    One photo, not given by a folder, goes to the file that `outputs` names, unless that is a
    folder, or has no suffix and is not there yet; everything else goes to folders, under
    `<name>_segmentation.png`, `<name>_overlay.png` and `<name>_probabilities.png`.

    What may be a truth mask is replaced by no result of a folder, unless it will be skipped.

    Raises:
        LesionsegError: a folder without photos, an output that is an input, one output of two
            inputs, an output that is no PNG, or standard output for more than one mask.
    """
    try:
        return _plan(names, outputs, skip_existing)
    except OSError as error:  # a name too long, a folder that may not be looked into
        raise LesionsegError(f"{error.filename}: {error.strerror}") from error


def _plan(names: Sequence[Path], outputs: Outputs, skip_existing: bool) -> list[Job]:
    if STANDARD in (outputs.overlay, outputs.probabilities):
        raise LesionsegError("standard output takes the mask; name a file for anything else")
    photos: list[Path] = []
    for name in names:
        photos += _photos_in(name) if name.is_dir() else [name]
    alone = len(names) == 1 and not names[0].is_dir()
    if alone and not _is_folder(outputs.mask):
        jobs = [Job(photos[0], _named(outputs, photos[0]))]
    else:
        if STANDARD in photos:
            raise LesionsegError("standard input is one photo; give it alone, with a file for -o")
        if outputs.mask == STANDARD:
            raise LesionsegError("standard output takes one mask; name a folder by -o")
        for path in (outputs.mask, outputs.overlay, outputs.probabilities):
            if path and not path.is_dir() and (path.suffix.lower() == ".png" or path.exists()):
                raise LesionsegError(f"{path}: several photos, or a folder of them, need a folder")
        jobs = [Job(photo, _in_folders(outputs, photo)) for photo in photos]
    _refuse_collisions(jobs)
    if not alone and not skip_existing:
        _refuse_truth(jobs)
    return jobs


def _photos_in(folder: Path) -> list[Path]:
    photos = [path for path in list_images(folder) if not is_mask_name(path)]
    if not photos:
        raise LesionsegError(f"{folder}: no photos in this folder (JPEG, PNG, BMP, TIFF or WebP)")
    return photos


def _is_folder(path: Path) -> bool:
    return path.is_dir() or (path != STANDARD and not path.suffix and not path.exists())


def _named(outputs: Outputs, photo: Path) -> Outputs:
    """The outputs of a single photo: files as they are named, folders filled."""
    folders = _in_folders(outputs, photo)

    def choose(given: Path | None, inside: Path | None) -> Path | None:
        return inside if given is not None and _is_folder(given) else given

    named = Outputs(
        outputs.mask,
        choose(outputs.overlay, folders.overlay),
        choose(outputs.probabilities, folders.probabilities),
    )
    for path in _files(named):
        if path.suffix.lower() != ".png" and not _is_special(path):
            raise LesionsegError(f"{path}: results are PNG files; name it {path.stem}.png")
    return named


def _is_special(path: Path) -> bool:
    """Whether a path is no regular file, such as `/dev/null` or a named pipe."""
    return path.exists() and not path.is_file()


def _in_folders(outputs: Outputs, photo: Path) -> Outputs:
    def inside(folder: Path | None, what: str) -> Path | None:
        return folder and folder / f"{photo.stem}{what}.png"

    return Outputs(
        outputs.mask / f"{photo.stem}{MASK}.png",
        inside(outputs.overlay, OVERLAY),
        inside(outputs.probabilities, PROBABILITIES),
    )


def _files(outputs: Outputs) -> list[Path]:
    """The files of a job, standard output left out."""
    paths = (outputs.mask, outputs.overlay, outputs.probabilities)
    return [path for path in paths if path is not None and path != STANDARD]


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    # A shell's `< photo.png` is an input, too, where the system tells what it is.
    inputs = {_key(Path("/dev/stdin") if job.photo == STANDARD else job.photo) for job in jobs}
    taken: dict[str, Path] = {}
    for job in jobs:
        for path in _files(job.outputs):
            final = _key(path)
            if final in inputs:
                raise LesionsegError(f"{path} is an input; nothing was written; choose another -o")
            if taken.get(final) == job.photo and not _is_special(path):
                raise LesionsegError(f"{path} would be written twice; nothing was written")
            if final in taken and not _is_special(path):
                raise LesionsegError(
                    f"{taken[final]} and {job.photo} would both give {path}; nothing was written; "
                    "rename one, or run them apart into two folders"
                )
            taken[final] = job.photo


def _key(path: Path) -> str:
    """One text for each file, whatever the way to it, on most disks whatever its case."""
    real = os.path.realpath(path)
    return real.casefold() if sys.platform in ("win32", "darwin") else real


def _refuse_truth(jobs: Sequence[Job]) -> None:
    """Refuses to replace what may be the truth: masks beside the photos, or in their data set."""
    for job in jobs:
        folder = Path(os.path.realpath(job.outputs.mask)).parent
        if may_hold_truth(folder, job.photo) and job.outputs.mask.is_file():
            raise LesionsegError(
                f"{job.outputs.mask} is there already and may be the truth; nothing was written; "
                "choose another -o, or leave out what is there by --skip-existing"
            )


def run(
    segmenter: Segmenter,
    jobs: Sequence[Job],
    *,
    batch_size: int,
    workers: int,
    one_bit: bool = False,
    examine: Examiner = lambda mask, quality: Findings(),
) -> Iterator[tuple[Job, Result | LesionsegError]]:
    """Segments the photos and writes the files of each; results come in the order of the jobs.

    Masks have eight bits a pixel, 0 or 255, or one bit. `examine` is called with each mask and its
    quality, in a thread.

    Every file appears whole or not at all. A job that fails comes with its error in place of a
    result and does not stop the rest. Memory does not grow with the number of jobs.

    Raises:
        LesionsegError: memory is out.
    """
    if any(job.photo == STANDARD for job in jobs):
        _standard_input()  # by this thread, which hears Ctrl-C while it waits
    began: dict[Job, float] = {}

    def opened(job: Job) -> Source:
        return io.BytesIO(_standard_input()) if job.photo == STANDARD else job.photo

    def source(job: Job) -> Source:
        began[job] = time.perf_counter()
        return opened(job)

    def finish(job: Job, soft: Probabilities, size: tuple[int, int]) -> Result:
        drawn = segmenter.at_size(soft, *size)
        findings = examine(drawn.mask, drawn.quality)
        if job.outputs.overlay is not None:
            photo = images.read_photo(opened(job))
            _write(job.outputs.overlay, images.overlay_png(photo, drawn.mask))
        if job.outputs.probabilities is not None:
            _write(job.outputs.probabilities, images.probability_png(drawn.probabilities))
        mask = images.mask_png(drawn.mask, one_bit=one_bit)
        _write(job.outputs.mask, mask)  # last: it marks the job as done
        seconds = time.perf_counter() - began[job]
        return Result(
            *size, np.count_nonzero(drawn.mask) / drawn.mask.size, drawn.quality, seconds, findings
        )

    results = stream(segmenter, jobs, source, finish, batch_size=batch_size, workers=workers)
    for job, result in results:
        del began[job]
        yield job, result


def reexamined(job: Job, examine: Examiner) -> Findings | LesionsegError:
    """What `examine` says of the mask that an earlier run left, or why it cannot be read."""
    try:
        mask, _ = images.read_mask(job.outputs.mask, truth=False)
        return examine(mask, None)
    except LesionsegError as error:
        return as_result(error)


@cache
def _standard_input() -> bytes:
    return b"" if sys.stdin is None else sys.stdin.buffer.read()


def _write(path: Path, content: bytes) -> None:
    try:
        if path == STANDARD:
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
        else:
            files.write(path, content)
    except OSError as error:  # such as a closed pipe
        where = "to standard output" if path == STANDARD else path
        raise LesionsegError(f"cannot write {where}: {error.strerror or error}") from error
