"""`lesionseg segment`."""

import json
import os
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionseg import distributed, terminal
from lesionseg.commands.options import (
    CLASSIC,
    WORKERS,
    AllRegions,
    BatchSize,
    CacheDir,
    CheckpointName,
    Device,
    Threshold,
    Workers,
    field,
    named_segmenter,
)
from lesionseg.errors import LesionsegError

if TYPE_CHECKING:
    from lesionseg.batch import Job, Result


_PATIENCE = timedelta(days=30)  # for the slowest of several processes to end its share


def segment(
    photos: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PHOTO|FOLDER|-]...",
            show_default=False,
            help="Photos, folders of photos, or - for a photo from standard input.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        field(
            "The mask's PNG file, - for standard output; a folder for several photos.",
            "standard output for a photo from standard input",
            "--output",
            "-o",
            metavar="FILE|DIR",
        ),
    ] = None,
    files_from: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", show_default=False, help="Take names of photos from here, one a line."
        ),
    ] = None,
    checkpoint: CheckpointName = None,
    threshold: Threshold = 0.5,
    all_regions: AllRegions = False,
    overlay: Annotated[
        Path | None,
        field(
            "Also write the photo with the outline drawn in, as PNG.", "none", metavar="FILE|DIR"
        ),
    ] = None,
    probabilities: Annotated[
        Path | None,
        field("Also write the probabilities, as PNG of 0 to 255.", "none", metavar="FILE|DIR"),
    ] = None,
    doubtful_below: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            show_default=False,
            metavar="QUALITY",
            help="Name and count the photos whose mask has a lower quality (0 to 1, as --json "
            "tells it), to be looked at.",
        ),
    ] = None,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out photos whose results are all there.")
    ] = False,
    batch_size: BatchSize = CLASSIC.batch_size,
    device: Device = None,
    workers: Workers = WORKERS,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each photo.")
    ] = False,
    cache_dir: CacheDir = None,
) -> None:
    """Draw the lesion's outline on photos: a mask PNG for each, 0 and 255, at the photo's size.

    A bad photo is named and the rest goes on; the exit status is then 1.
    """
    from lesionseg import batch

    names = _names(photos or [], files_from)
    outputs = batch.Outputs(_mask_output(names, output, as_json), overlay, probabilities)
    jobs = batch.plan(names, outputs, skip_existing=skip_existing)
    with distributed.joined(_PATIENCE):
        distributed.barrier()  # no process may plan after another has begun to write
        share = jobs[distributed.rank() :: distributed.world()]
        skipped = {job for job in share if skip_existing and job.done}
        todo = [job for job in share if job not in skipped]
        at_once, few = min(workers, len(todo)), len(todo) < 4
        segmenter = named_segmenter(checkpoint, device, threshold, all_regions, at_once, few=few)
        results = batch.run(segmenter, todo, batch_size=batch_size, workers=workers)
        failed = doubtful = 0
        with terminal.bar("segmenting", hidden=as_json and sys.stdout.isatty()) as bar:
            for done, job in enumerate(share, start=1):
                result = None if job in skipped else next(results)[1]
                failed += isinstance(result, LesionsegError)
                doubtful += _tell(job, result, doubtful_below, as_json)
                bar(done, len(share))
        counts = distributed.gathered((len(todo) - failed, failed, len(skipped), doubtful))
    done, failed, left, doubtful = map(sum, zip(*counts, strict=True))
    if len(jobs) > 1:
        doubts = "" if doubtful_below is None else f", {doubtful} doubtful"
        terminal.note(f"photos: {done} done, {failed} failed, {left} skipped{doubts}")
    if failed:
        raise typer.Exit(1)


def _names(photos: list[Path], files_from: Path | None) -> list[Path]:
    """The inputs that were named, on the command line and in a file or pipe."""
    names = list(photos)
    if files_from is not None:
        if str(files_from) == "-":
            if Path("-") in names:
                raise typer.BadParameter("standard input cannot be a photo and a list of names")
            lines = sys.stdin.buffer.read() if sys.stdin else b""
        else:
            try:
                lines = files_from.read_bytes()
            except OSError as error:
                raise LesionsegError(f"cannot read {files_from}: {error.strerror}") from error
        names += [Path(os.fsdecode(line)) for line in lines.splitlines() if line.strip()]
    if not names:
        raise typer.BadParameter("no photos; name a file, a folder, or - for standard input")
    return names


def _mask_output(names: list[Path], output: Path | None, as_json: bool) -> Path:
    """Where masks go; standard output only where it can take a PNG."""
    standard = Path("-")
    if output is None and names != [standard]:
        raise typer.BadParameter(
            "where should the mask go? -o mask.png for one photo, -o FOLDER for several"
        )
    output = output or standard
    if output == standard and (as_json or sys.stdout.isatty()):
        taken = "--json" if as_json else "a terminal"
        raise typer.BadParameter(f"standard output is {taken}; name the mask: -o mask.png")
    return output


def _tell(
    job: "Job", result: "Result | LesionsegError | None", level: float | None, as_json: bool
) -> bool:
    """Says what became of a photo, None where it was skipped; returns whether it is doubtful."""
    line: dict[str, object] = {"file": str(job.photo), "mask": str(job.outputs.mask)}
    doubtful = False
    if isinstance(result, LesionsegError):
        terminal.error(str(result))
        line = {"file": str(job.photo), "error": str(result)}
    elif result is None:
        line["skipped"] = True
    else:
        line |= asdict(result)
        if level is not None:
            doubtful = line["doubtful"] = result.quality < level
        if doubtful:
            doubt = f"doubtful: {job.photo}: quality {result.quality:.3f}"
            terminal.note(doubt, every_process=True)
    if as_json:
        print(json.dumps(line), flush=True)
    return doubtful
