"""Run the jobs: photos in, mask files and outcomes out, shared among processes.

Photos are read, segmented, cleaned up and written by a stream (see `segmenter`); here its results
become outcomes, jobs whose files are there are skipped, and several processes each take a share.
"""

import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lesionseg import distributed, files
from lesionseg.errors import DiskFullError, LesionsegError, PhotoError, as_result
from lesionseg.images import dicom
from lesionseg.images.arrays import Mask, Photo, Probabilities
from lesionseg.images.decode import Source
from lesionseg.images.encode import overlay_png, probability_png
from lesionseg.images.masks import read_mask
from lesionseg.images.photos import photo_size, read_later_frames, read_photo
from lesionseg.images.png import mask_png
from lesionseg.segmentation.manifest import Manifest
from lesionseg.segmentation.outcome import Outcome, Status, Tally
from lesionseg.segmentation.outputs import (
    MaskOutputs,
    OutputOptions,
    OutputWriter,
    writing_outputs,
)
from lesionseg.segmentation.plan import STDIO, Job, is_dicom_name
from lesionseg.segmentation.segmenter import Segmentation, Segmenter, stream

if TYPE_CHECKING:
    from pydicom import Dataset

    from lesionseg.clinic.results import Encoded

_FEW = 2  # photos, up to which a network that starts sooner saves more than a faster one

# Takes a mask, its quality, and the header of a photo that is DICOM.
Analyser = Callable[[Mask, float, "Dataset | None"], MaskOutputs]


@dataclass(frozen=True)
class JobOptions:
    """How jobs are run.

    Attributes:
        batch_size, workers: as for `segmenter.stream`.
        one_bit: write masks of one bit a pixel, not eight (0 or 255).
        skip_existing: leave out jobs whose files are all there; their masks are read where labels
            or a table of measurements need them.
        doubtful_below: the quality, 0 to 1, below which a mask is doubtful.
    """

    batch_size: int
    workers: int
    one_bit: bool = False
    skip_existing: bool = False
    doubtful_below: float | None = None


Row = tuple[Path, Path, MaskOutputs]  # a photo, its mask and what was derived from it
# Takes an outcome, how many jobs of this process have ended, and how many it has, if that is known.
OnOutcome = Callable[[Outcome, int, int | None], None]


class OpenSegmenter(Protocol):
    """Open the network for `concurrency` photos at a time; `fast_start` is that of `load`."""

    def __call__(self, concurrency: int, *, fast_start: bool) -> Segmenter: ...


def run_shared(
    jobs: Sequence[Job] | Iterator[Sequence[Job]],
    open_segmenter: OpenSegmenter,
    options: JobOptions,
    output_options: OutputOptions,
    on_outcome: OnOutcome,
    manifest: Manifest | None = None,
) -> Tally:
    """Run the jobs, shared among all processes, and count which way they ended.

    Of n processes each takes every n-th job; every process must call this, with the same jobs.
    Labels and measurements are in the order of the jobs, whichever process made them.

    Jobs may also come as those that are there at a time, without end, in a process that is alone.
    The outcomes of all that are there come before the next ones are asked for; the network is
    opened at once; memory does not grow with their number, unless outputs are ordered.

    Args:
        jobs: as from `plan.plan_jobs` or `incoming.plan_incoming`.
        open_segmenter: called once, by a process that has something to do.
        options: how the jobs are run.
        output_options: what is written beside the pictures.
        on_outcome: called in the order of this process's jobs.
        manifest: the record of the run.

    Returns:
        The counts of all processes.

    Raises:
        LesionsegError: memory is out, labels or measurements cannot be written, or another
            process was lost.
    """
    planned = jobs if isinstance(jobs, Sequence) else ()
    with (
        distributed.joined(distributed.TO_THE_SLOWEST),
        writing_outputs(
            output_options, [job.photo for job in planned], keep=options.skip_existing
        ) as writer,
    ):
        distributed.barrier()  # no process may look for files after another has begun to write
        rank, processes = distributed.rank(), distributed.world_size()
        share = planned[rank::processes]
        tally = Tally()
        pending: list[tuple[int, Row]] = []  # for rank 0 to write, with the job's index
        if isinstance(jobs, Sequence):
            outcomes = _run_or_skip(share, open_segmenter, options, writer, manifest)
        else:
            outcomes = _run_incoming(jobs, open_segmenter, options, writer, manifest)
        for index, outcome in enumerate(outcomes):
            tally += Tally.of(outcome)
            row = (outcome.job.photo, outcome.job.paths.mask, outcome.outputs)
            if processes == 1:
                writer.add(*row)
            elif writer.writes_files:
                pending.append((rank + index * processes, row))
            on_outcome(outcome, index + 1, len(share) or None)
            writer.disk_full |= isinstance(outcome.error, DiskFullError)
        shares = distributed.all_gather((tally, pending))
        if rank == 0:
            gathered = (rows for _, pending in shares for rows in pending)
            for _, row in sorted(gathered, key=itemgetter(0)):
                writer.add(*row)
    tally = sum((tally for tally, _ in shares), start=Tally())
    if manifest is not None and rank == 0:
        manifest.end(tally)
    return tally


def _run_incoming(
    batches: Iterator[Sequence[Job]],
    open_segmenter: OpenSegmenter,
    options: JobOptions,
    writer: OutputWriter,
    manifest: Manifest | None,
) -> Iterator[Outcome]:
    """Run jobs as they come; a full disk ends them."""
    segmenter = open_segmenter(options.workers, fast_start=False)
    for jobs in batches:
        for outcome in _run_or_skip(jobs, lambda *_, **__: segmenter, options, writer, manifest):
            yield outcome
            if isinstance(outcome.error, DiskFullError):
                return


def _run_or_skip(
    jobs: Sequence[Job],
    open_segmenter: OpenSegmenter,
    options: JobOptions,
    writer: OutputWriter,
    manifest: Manifest | None,
) -> Iterator[Outcome]:
    """Run the jobs of one process, or skip them, in their order; a full disk ends them."""
    existing = {job for job in jobs if options.skip_existing and job.done}
    todo = [job for job in jobs if job.error is None and job not in existing]
    outcomes: Iterator[Outcome] = iter(())
    if todo:
        concurrency = min(options.workers, len(todo))
        segmenter = open_segmenter(concurrency, fast_start=len(todo) <= _FEW)
        before_mask = partial(manifest.begin, segmenter) if manifest else lambda: None
        outcomes = run(segmenter, todo, options, writer.analyse, writer.mm_per_pixel, before_mask)
    for job in jobs:
        if job.error is not None:
            yield Outcome(job, Status.FAILED, error=job.error)
        elif job in existing:
            yield _skip(job, writer)
        elif (outcome := next(outcomes, None)) is not None:
            yield outcome
        else:
            return  # the disk is full


def _skip(job: Job, writer: OutputWriter) -> Outcome:
    """Leave a job's files as they are; read its mask only where labels or a table need it."""
    if not writer.writes_files:
        return Outcome(job, Status.SKIPPED)
    try:
        mask, _ = read_mask(job.paths.mask, truth=False)
        height, width = photo_size(job.photo)
        if mask.shape != (height, width):
            raise PhotoError(
                f"{job.paths.mask}: expected {width}x{height} pixels as {job.photo} has, got "
                f"{mask.shape[1]}x{mask.shape[0]}; remove it to have it made again"
            )
        return Outcome(job, Status.SKIPPED, outputs=writer.analyse(mask, None, _header(job.photo)))
    except LesionsegError as error:
        return Outcome(job, Status.FAILED, error=as_result(error))


def run(
    segmenter: Segmenter,
    jobs: Sequence[Job],
    options: JobOptions,
    analyse: Analyser = lambda mask, quality, header: MaskOutputs(),
    mm_per_pixel: float | None = None,
    before_mask: Callable[[], None] = lambda: None,
) -> Iterator[Outcome]:
    """Segment the photos and write the files of each; outcomes come in the order of the jobs.

    Every file appears whole or not at all. A job that fails does not stop the rest, unless the disk
    is full. Memory does not grow with the number of jobs.

    Args:
        segmenter: the network.
        jobs: photos and their files; they are run even where these are there.
        options: how the jobs are run.
        analyse: called with each mask, (H, W) bool, its quality, and the header of a photo that
            is DICOM; in a thread.
        mm_per_pixel: the scale, for DICOM files of photos that do not say their own.
        before_mask: called before each mask is written; in a thread.

    Raises:
        LesionsegError: memory is out.
    """
    if any(job.photo == STDIO for job in jobs):
        _standard_input()  # by this thread, which hears Ctrl-C while it waits
    level = options.doubtful_below
    start_times: dict[Job, float] = {}

    def photo_source(job: Job) -> Source:
        return io.BytesIO(_standard_input()) if job.photo == STDIO else job.photo

    def start(job: Job) -> Source:
        start_times[job] = time.perf_counter()
        return photo_source(job)

    def finish(
        job: Job, probabilities: Probabilities, size: tuple[int, int], shrunk: Photo
    ) -> Outcome:
        segmentation = segmenter.at_size(probabilities, *size, shrunk)
        mask, quality = segmentation.mask, segmentation.quality
        header = _header(photo_source(job))
        outputs = analyse(mask, quality, header)
        encoded = uids = None
        if header is not None:
            from lesionseg.clinic import results

            uids = results.uids_of(header)
        if job.paths.has_dicom:
            encoded = encode(job, header, segmentation)
            uids = encoded.uids
        if job.paths.overlay is not None:
            photo = read_photo(photo_source(job))
            if photo.shape[:2] != mask.shape:
                raise PhotoError(f"{job.photo}: changed while it was segmented; run it again")
            _write(job.paths.overlay, overlay_png(photo, mask))
        if job.paths.probabilities is not None:
            png = probability_png(segmentation.probabilities)
            _write(job.paths.probabilities, png)
        if encoded and job.paths.segmentation:
            _write(job.paths.segmentation, encoded.segmentation)
        if encoded and encoded.report and job.paths.report:
            _write(job.paths.report, encoded.report)
        if encoded and is_dicom_name(job.paths.mask):
            content = encoded.segmentation
        else:
            content = mask_png(mask, one_bit=options.one_bit)
        before_mask()
        _write(job.paths.mask, content)  # last: it marks the job as done
        return Outcome(
            job,
            Status.DONE,
            *size,
            lesion_share=np.count_nonzero(mask) / mask.size,
            quality=quality,
            seconds=time.perf_counter() - start_times[job],
            doubtful=None if level is None else quality < level,
            one_colour=segmentation.one_colour,
            checkpoints=segmenter.paths,
            uids=uids,
            outputs=outputs,
        )

    def encode(job: Job, header: "Dataset | None", first: Segmentation) -> "Encoded":
        """Encode the DICOM files of a photo; its frames after the first are segmented here."""
        from lesionseg.clinic import results

        if header is None:
            raise PhotoError(f"{job.photo}: not a DICOM file; name a .png file with -o")
        frames = [first]
        if dicom.frame_count(header) > 1:
            for frame in read_later_frames(photo_source(job), segmenter.size):
                (probabilities,) = segmenter.predict([frame])
                frames.append(segmenter.at_size(probabilities, *first.mask.shape))
        try:
            return results.encode(
                header,
                frames,
                results.algorithm_of(segmenter),
                mm_per_pixel,
                report=job.paths.report is not None,
            )
        except LesionsegError as error:
            raise LesionsegError(f"{job.photo}: {error}") from error

    outcomes = stream(
        segmenter, jobs, start, finish, batch_size=options.batch_size, workers=options.workers
    )
    for job, result in outcomes:
        del start_times[job]
        if isinstance(result, LesionsegError):
            yield Outcome(job, Status.FAILED, error=result)
            if isinstance(result, DiskFullError):
                return
        else:
            yield result


def _header(source: Source) -> "Dataset | None":
    """Return the header of a photo that is DICOM."""
    if isinstance(source, Path):
        return dicom.read_header(source) if dicom.is_dicom_file(source) else None
    return dicom.read_header(source) if dicom.is_dicom(source) else None


@cache
def _standard_input() -> bytes:
    return b"" if sys.stdin is None else sys.stdin.buffer.read()


def _write(path: Path, content: bytes) -> None:
    try:
        if path == STDIO:
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
        else:
            files.write(path, content)
    except OSError as error:  # such as a closed pipe
        target = "to standard output" if path == STDIO else path
        raise LesionsegError(f"cannot write {target}: {error.strerror or error}") from error
