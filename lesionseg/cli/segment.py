"""`lesionseg segment`."""

import json
import math
import os
import sys
from functools import partial
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
    from lesionseg.segmentation.outcome import Outcome
    from lesionseg.segmentation.outputs import OutputOptions


_STDIO = Path("-")  # `plan.STDIO`, which is not imported for --help


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
    from lesionseg.segmentation.jobs import JobOptions, run_shared
    from lesionseg.segmentation.plan import OutputPaths, plan_jobs

    inputs = _inputs(photos or [], files_from)
    paths = OutputPaths(_mask_path(inputs, output, as_json), overlay, probabilities)
    output_options = _output_options(
        labels, tolerance, run_lengths, measurements, mm_per_pixel, as_json
    )
    if labels is not None and _STDIO in inputs:
        raise typer.BadParameter("--labels lists photos by name; one from standard input has none")
    if measurements and files_from and measurements.resolve() == files_from.resolve():
        raise typer.BadParameter(f"{measurements} is the list of photos; name another table")
    jobs = plan_jobs(inputs, paths, skip_existing=skip_existing)
    with console.bar("segmenting", hidden=as_json and _stdout_is_terminal()) as bar:
        tally = run_shared(
            jobs,
            partial(named_segmenter, checkpoint, device, threshold, all_regions),
            JobOptions(batch_size, workers, one_bit, skip_existing, doubtful_below),
            output_options,
            on_outcome=partial(_show, bar=bar, as_json=as_json),
        )
    if len(jobs) > 1:
        doubts = "" if doubtful_below is None else f", {tally.doubtful} doubtful"
        counts = f"{tally.done} done, {tally.failed} failed, {tally.skipped} skipped"
        empty = f", {tally.empty} without a lesion" if tally.empty else ""
        console.log(f"photos: {counts}{doubts}{empty}")
    if tally.failed:
        raise typer.Exit(1)


def _inputs(photos: list[Path], files_from: Path | None) -> list[Path]:
    """List the inputs that are named on the command line, and in a file or pipe."""
    inputs = list(photos)
    if distributed.world_size() > 1 and _STDIO in [*inputs, files_from]:
        raise typer.BadParameter("several processes share one standard input; name files instead")
    if files_from is not None:
        if files_from == _STDIO:
            if _STDIO in inputs:
                raise typer.BadParameter("standard input cannot be a photo and a list of names")
            lines = sys.stdin.buffer.read() if sys.stdin else b""
        else:
            try:
                lines = files_from.read_bytes()
            except OSError as error:
                raise LesionsegError(f"cannot read {files_from}: {error.strerror}") from error
        inputs += [Path(os.fsdecode(line)) for line in lines.splitlines() if line.strip()]
    if not inputs:
        raise typer.BadParameter("no photos; name a file, a folder, or - for standard input")
    return inputs


def _mask_path(inputs: list[Path], output: Path | None, as_json: bool) -> Path:
    """Choose where masks go; standard output only where it can take a PNG."""
    if output is None and inputs != [_STDIO]:
        raise typer.BadParameter(
            "where should the mask go? -o mask.png for one photo, -o FOLDER for several"
        )
    output = output or _STDIO
    if output == _STDIO and sys.stdout is None:
        raise typer.BadParameter("standard output is closed; name the mask: -o mask.png")
    if output == _STDIO and (as_json or _stdout_is_terminal()):
        use = "taken by --json" if as_json else "a terminal"
        raise typer.BadParameter(f"standard output is {use}; name the mask: -o mask.png")
    return output


def _output_options(
    labels: Path | None,
    tolerance: float | None,
    run_lengths: bool,
    measurements: Path | None,
    mm_per_pixel: float | None,
    as_json: bool,
) -> "OutputOptions":
    """Collect what is written beside the pictures; refuse options that would do nothing."""
    from lesionseg.segmentation.outputs import OutputOptions

    if labels is None and (tolerance is not None or run_lengths):
        raise typer.BadParameter("--tolerance and --run-lengths are for --labels")
    if tolerance is not None and run_lengths:
        raise typer.BadParameter("--tolerance is for polygons: it goes without --run-lengths")
    if mm_per_pixel is not None:
        if not 0 < mm_per_pixel < math.inf:
            raise typer.BadParameter(f"--mm-per-pixel: expected more than 0, got {mm_per_pixel:g}")
        if measurements is None and not as_json:
            raise typer.BadParameter("--mm-per-pixel is for --measurements and --json")
    return OutputOptions(
        labels,
        TOLERANCE if tolerance is None else tolerance,
        run_lengths,
        measurements,
        as_json,
        mm_per_pixel,
    )


def _stdout_is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def _show(outcome: "Outcome", done: int, total: int, *, bar: console.Bar, as_json: bool) -> None:
    """Say what became of a photo: errors and doubts as notes, its line of JSON, the progress."""
    if outcome.error is not None:
        console.error(str(outcome.error))
    if outcome.empty:
        console.warn(f"no lesion found: {outcome.job.photo}", every_process=True)
    if outcome.doubtful:
        note = f"doubtful: {outcome.job.photo}: quality {outcome.quality:.4f}"
        console.warn(note, every_process=True)
    if as_json:
        print(json.dumps(outcome.as_json()), flush=True)
    bar(done, total)
