"""`lesionseg segment`."""

import json
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionseg import distributed
from lesionseg.cli import console
from lesionseg.cli.help import INPUT, LABELS, OUTPUT
from lesionseg.cli.options import (
    CLASSIC,
    WORKERS,
    AllRegions,
    BatchSize,
    CacheDir,
    CheckpointName,
    Device,
    Quiet,
    Threshold,
    Workers,
    field,
    named_segmenter,
    option,
)
from lesionseg.config import TOLERANCE
from lesionseg.errors import LesionsegError

if TYPE_CHECKING:
    from lesionseg.segmentation.jobs import Job, Result
    from lesionseg.segmentation.outputs import Findings, Wanted


def segment(
    photos: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PHOTO|FOLDER|-",
            show_default=False,
            help="Photos, folders of photos, or - for one photo from standard input.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    files_from: Annotated[
        Path | None,
        option(
            "Read names of photos from this file, one per line; - for standard input.",
            metavar="FILE",
            rich_help_panel=INPUT,
        ),
    ] = None,
    skip_existing: Annotated[
        bool,
        option(
            "Skip photos whose output files all exist; for --labels and --measurements their "
            "masks are read.",
            "--skip-existing",
            rich_help_panel=INPUT,
        ),
    ] = False,
    output: Annotated[
        Path | None,
        field(
            "Mask PNG, or - for standard output; a folder for several photos.",
            "standard output for a photo from standard input",
            "--output",
            "-o",
            metavar="FILE|DIR",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overlay: Annotated[
        Path | None,
        option(
            "Also write the photo with the outline drawn in, as PNG.",
            metavar="FILE|DIR",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    probabilities: Annotated[
        Path | None,
        option(
            "Also write the probabilities, as PNG, 0 to 255.",
            metavar="FILE|DIR",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    one_bit: Annotated[
        bool,
        option(
            "Write masks with one bit per pixel, usually less than half the size. Default: eight "
            "bits, 0 and 255.",
            "--one-bit",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    as_json: Annotated[
        bool,
        option(
            "Print one line of JSON per photo, with quality and measurements.",
            "--json",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    checkpoint: CheckpointName = None,
    threshold: Threshold = 0.5,
    all_regions: AllRegions = False,
    labels: Annotated[
        Path | None,
        option(
            "Also write outlines for a labelling tool: .json is one COCO file for all photos, .xml "
            "one CVAT file, a folder gets a LabelMe .json per photo. Existing labels are never "
            "replaced.",
            metavar="FILE|DIR",
            rich_help_panel=LABELS,
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        field(
            "Largest distance of polygons in --labels from the mask's border, in pixels; smaller "
            "for small lesions.",
            f"{TOLERANCE:g}",
            min=0,
            metavar="PIXELS",
            rich_help_panel=LABELS,
        ),
    ] = None,
    run_lengths: Annotated[
        bool,
        option(
            "Write exact run lengths to --labels instead of polygons (COCO, CVAT).",
            "--run-lengths",
            rich_help_panel=LABELS,
        ),
    ] = False,
    measurements: Annotated[
        Path | None,
        option(
            "Also write a table of area, diameter, asymmetry and more, a row per photo.",
            metavar="FILE.csv",
            rich_help_panel=LABELS,
        ),
    ] = None,
    mm_per_pixel: Annotated[
        float | None,
        option(
            "Scale of the photos, for measurements in millimetres.",
            metavar="MM",
            rich_help_panel=LABELS,
        ),
    ] = None,
    doubtful_below: Annotated[
        float | None,
        option(
            "Report the photos whose mask has a lower quality (0 to 1, see --json), for a person "
            "to look at.",
            min=0,
            max=1,
            metavar="QUALITY",
            rich_help_panel=LABELS,
        ),
    ] = None,
    batch_size: BatchSize = CLASSIC.batch_size,
    device: Device = None,
    workers: Workers = WORKERS,
    cache_dir: CacheDir = None,
    quiet: Quiet = False,
) -> None:
    """Outline the lesion on photos: one mask PNG each, 0 and 255, at the photo's size.

    Examples:
        lesionseg segment photo.jpg -o mask.png
        lesionseg segment photo.jpg -o mask.png --overlay overlay.png
        lesionseg segment photos/ -o masks --json --measurements table.csv
        cat photo.jpg | lesionseg segment - > mask.png

    A photo that cannot be read is reported and the others are still segmented; the exit status is
    then 1.
    """
    from lesionseg.segmentation import jobs
    from lesionseg.segmentation.outputs import Findings, recording

    names = _names(photos or [], files_from)
    outputs = jobs.Outputs(_mask_output(names, output, as_json), overlay, probabilities)
    wanted = _wanted(labels, tolerance, run_lengths, measurements, mm_per_pixel, as_json)
    if labels is not None and jobs.STANDARD in names:
        raise typer.BadParameter("--labels tells photos by name; one from standard input has none")
    if measurements and files_from and measurements.resolve() == files_from.resolve():
        raise typer.BadParameter(f"{measurements} is the list of photos; name another table")
    planned = jobs.plan(names, outputs, skip_existing=skip_existing)
    with (
        distributed.joined(distributed.TO_THE_SLOWEST),
        recording(wanted, [job.photo for job in planned], keep=skip_existing) as recorder,
    ):
        distributed.barrier()  # no process may plan after another has begun to write
        share = list(enumerate(planned))[distributed.rank() :: distributed.world_size()]
        skipped = {job for _, job in share if skip_existing and job.done}
        todo = [job for _, job in share if job not in skipped]
        at_once, few = min(workers, len(todo)), len(todo) < 3
        results: Iterator[tuple[Job, Result | LesionsegError]] = iter(())
        if todo:
            results = jobs.run(
                named_segmenter(checkpoint, device, threshold, all_regions, at_once, few=few),
                todo,
                batch_size=batch_size,
                workers=workers,
                one_bit=one_bit,
                examine=recorder.examine,
            )
        failed = kept = doubtful = 0
        found: list[tuple[int, Findings]] = []
        with console.bar("segmenting", hidden=as_json and _at_terminal()) as bar:
            for done, (place, job) in enumerate(share, start=1):
                result: Result | Findings | LesionsegError
                if job not in skipped:
                    result = next(results)[1]
                elif wanted.labels or wanted.table:
                    result = jobs.reexamined(job, recorder.examine)
                else:
                    result = Findings()
                if isinstance(result, LesionsegError):
                    failed += 1
                else:
                    kept += job in skipped
                    findings = result.findings if isinstance(result, jobs.Result) else result
                    if distributed.world_size() == 1:
                        recorder.add(job.photo, job.outputs.mask, findings)
                    elif wanted.labels or wanted.table:
                        found.append((place, findings))
                doubtful += _tell(job, result, doubtful_below, as_json)
                bar(done, len(share))
        shares = distributed.all_gather((found, failed, kept, doubtful))
        if distributed.rank() == 0:
            for place, findings in sorted(chain(*(each for each, *_ in shares)), key=itemgetter(0)):
                recorder.add(planned[place].photo, planned[place].outputs.mask, findings)
    failed, kept, doubtful = (sum(column) for column in list(zip(*shares, strict=True))[1:])
    if len(planned) > 1:
        doubts = "" if doubtful_below is None else f", {doubtful} doubtful"
        counts = f"{len(planned) - failed - kept} done, {failed} failed, {kept} skipped"
        console.log(f"photos: {counts}{doubts}")
    if failed:
        raise typer.Exit(1)


def _wanted(
    labels: Path | None,
    tolerance: float | None,
    run_lengths: bool,
    measurements: Path | None,
    mm_per_pixel: float | None,
    as_json: bool,
) -> "Wanted":
    """What is asked for beside masks; options that would do nothing are refused."""
    from lesionseg.segmentation.outputs import Wanted

    if labels is None and (tolerance is not None or run_lengths):
        raise typer.BadParameter("--tolerance and --run-lengths are for --labels")
    if tolerance is not None and run_lengths:
        raise typer.BadParameter("--tolerance is for polygons: it goes without --run-lengths")
    if mm_per_pixel is not None:
        if not 0 < mm_per_pixel < math.inf:
            raise typer.BadParameter(f"--mm-per-pixel: expected more than 0, got {mm_per_pixel:g}")
        if measurements is None and not as_json:
            raise typer.BadParameter("--mm-per-pixel is for --measurements and --json")
    return Wanted(
        labels,
        TOLERANCE if tolerance is None else tolerance,
        run_lengths,
        measurements,
        as_json,
        mm_per_pixel,
    )


def _names(photos: list[Path], files_from: Path | None) -> list[Path]:
    """The inputs that were named, on the command line and in a file or pipe."""
    names = list(photos)
    if distributed.world_size() > 1 and Path("-") in [*names, files_from]:
        raise typer.BadParameter("several processes share one standard input; name files instead")
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
    if output == standard and sys.stdout is None:
        raise typer.BadParameter("standard output is closed; name the mask: -o mask.png")
    if output == standard and (as_json or _at_terminal()):
        taken = "--json" if as_json else "a terminal"
        raise typer.BadParameter(f"standard output is {taken}; name the mask: -o mask.png")
    return output


def _at_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def _tell(
    job: "Job", result: "Result | Findings | LesionsegError", level: float | None, as_json: bool
) -> bool:
    """Says what became of a photo, mere findings where it was skipped; returns whether doubtful."""
    from lesionseg.segmentation.jobs import Result

    line: dict[str, object] = {"file": str(job.photo), "mask": str(job.outputs.mask)}
    doubtful = False
    if isinstance(result, LesionsegError):
        console.error(str(result))
        line = {"file": str(job.photo), "error": str(result)}
        findings = None
    elif isinstance(result, Result):
        findings = result.findings
        line |= {name: value for name, value in vars(result).items() if name != "findings"}
        if level is not None:
            doubtful = line["doubtful"] = result.quality < level
        if doubtful:
            doubt = f"doubtful: {job.photo}: quality {result.quality:.4f}"
            console.warn(doubt, every_process=True)
    else:
        findings = result
        line["skipped"] = True
    if findings and findings.measurements:
        line["measurements"] = asdict(findings.measurements)
    if as_json:
        print(json.dumps(line), flush=True)
    return doubtful
