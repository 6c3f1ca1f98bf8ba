"""Plan photos whose names come one after the other, without end and in little memory.

What `plan` checks before anything is written is checked here for each name when it comes: a photo
whose results would replace an input, or those of another photo, becomes a job with an error.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

from lesionseg import files
from lesionseg.data.filenames import MASK, OVERLAY, PROBABILITIES, REPORT
from lesionseg.errors import LesionsegError, describe
from lesionseg.segmentation.plan import (
    STDIO,
    Job,
    OutputPaths,
    check_folders,
    expand,
    files_of,
    in_folders,
    is_special,
    key_of,
    refuse_truth,
)

_ENDINGS = (MASK, OVERLAY, PROBABILITIES, REPORT)


def plan_incoming(
    inputs: Iterable[list[Path]],
    paths: OutputPaths,
    check_labels: Callable[[Path], None] = lambda photo: None,
    *,
    skip_existing: bool = False,
    recursive: bool = False,
) -> Iterator[list[Job]]:
    """Plan jobs for names as they come; all results go to folders, as for `plan.plan_jobs`.

    A photo may come again if it gave no mask, or with `skip_existing`.

    Args:
        inputs: photos and folders of photos, those that are there at a time.
        paths: folders.
        check_labels: raises LesionsegError where labels cannot be written for a photo.
        skip_existing, recursive: as for `plan.plan_jobs`.

    Returns:
        The jobs of the names that are there at a time, before further names are waited for.

    Raises:
        LesionsegError: results go to something that is not a folder, or cannot be written to.
    """
    check_folders(paths)
    for folder in () if skip_existing else files_of(paths):
        files.check_writable(folder, is_folder=True)
    return _plan(inputs, paths, _Checks(check_labels, skip_existing), recursive)


def _plan(
    inputs: Iterable[list[Path]], paths: OutputPaths, checks: "_Checks", recursive: bool
) -> Iterator[list[Job]]:
    for batch in inputs:
        jobs: list[Job] = []
        for path in batch:
            for job in _jobs(path, paths, recursive):
                if jobs and checks.came_before(job):
                    yield jobs  # so that the first is done before the second is looked at
                    jobs = []
                jobs.append(checks.checked(job))
        yield jobs


def _jobs(path: Path, paths: OutputPaths, recursive: bool) -> list[Job]:
    if path == STDIO:
        error = LesionsegError("-: expected the name of a file, got standard input")
        return [Job(path, paths, error)]
    try:
        return [in_folders(paths, photo) for photo in expand(path, recursive)]
    except OSError as error:  # a name too long, a folder that may not be looked into
        return [Job(path, paths, LesionsegError(describe(error)))]


class _Checks:
    """Refuses what must not be written, by all that came before."""

    def __init__(self, check_labels: Callable[[Path], None], skip_existing: bool) -> None:
        self._check_labels, self._skip_existing = check_labels, skip_existing
        self._known = HashSet()

    def came_before(self, job: Job) -> bool:
        """Tell whether this photo has come before, and was not refused."""
        return job.error is None and _pair(job) in self._known

    def checked(self, job: Job) -> Job:
        """Return the job, with an error where it must not be run."""
        if job.error is not None:
            return job
        try:
            if self.came_before(job):
                self._refuse_again(job)
            else:
                self._refuse(job)
        except LesionsegError as error:
            return Job(job.photo, job.paths, error)
        except OSError as error:
            return Job(job.photo, job.paths, LesionsegError(describe(error)))
        return job

    def _refuse_again(self, job: Job) -> None:
        if job.paths.mask.exists() and not self._skip_existing:
            raise LesionsegError(
                f"{job.photo}: was segmented before as {job.paths.mask}, which is not replaced; "
                "add --skip-existing to skip it"
            )

    def _refuse(self, job: Job) -> None:
        photo, mask = key_of(job.photo), key_of(job.paths.mask)
        if f"output {photo}" in self._known:
            raise LesionsegError(f"{job.photo} is a result of this run, not a photo")
        if Path(photo).stem.lower().endswith(_ENDINGS):  # only such a photo can be a result's path
            self._known.add(f"input {photo}")
        for path in files_of(job.paths):
            if f"input {key_of(path)}" in self._known:
                raise LesionsegError(
                    f"{path} is an input, which is not replaced; choose another -o"
                )
        if f"output {mask}" in self._known and not is_special(job.paths.mask):
            raise LesionsegError(
                f"{job.photo}: an earlier photo gave {job.paths.mask}, which is not replaced; "
                "rename one of them, or segment them into two folders"
            )
        if not self._skip_existing:
            refuse_truth(job)
        self._check_labels(job.photo)
        self._known.add(f"output {mask}")
        self._known.add(_pair(job))


def _pair(job: Job) -> str:
    return f"{key_of(job.photo)}\0{key_of(job.paths.mask)}"


class HashSet:
    """A set of texts that remembers 64 bits of each: 11 to 22 bytes.

    Two different texts are taken for the same, among a million, with a chance of 3e-8.
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * 1024))  # 0 where nothing is
        self._count = 0

    def __contains__(self, text: str) -> bool:
        """Tell whether a text was added."""
        return self._slots[self._slot(_hash(text))] != 0

    def add(self, text: str) -> bool:
        """Add a text; return whether it is new."""
        number = _hash(text)
        slot = self._slot(number)
        if self._slots[slot]:
            return False
        self._slots[slot] = number
        self._count += 1
        if 4 * self._count > 3 * len(self._slots):
            old = self._slots
            self._slots = array("Q", bytes(2 * 8 * len(old)))
            for number in filter(None, old):
                self._slots[self._slot(number)] = number
        return True

    def _slot(self, number: int) -> int:
        """Return the place of a number: where it is, or the first free one after its own."""
        slots, last = self._slots, len(self._slots) - 1
        slot = number & last
        while slots[slot] not in (0, number):
            slot = (slot + 1) & last
        return slot


def _hash(text: str) -> int:
    digest = blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") or 1
