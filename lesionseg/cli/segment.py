"""`lesionseg segment`."""

import json
import math
import sys
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionseg import distributed
from lesionseg.cli import console, signals
from lesionseg.cli.help import INPUT, LABELS, OUTPUT
from lesionseg.cli.options import (
    CLASSIC,
    WORKERS,
    AllRegions,
    BatchSize,
    CacheDir,
    CheckpointNames,
    Device,
    Quiet,
    Threshold,
    Workers,
    field,
    named_segmenter,
    option,
)
from lesionseg.config import TOLERANCE

if TYPE_CHECKING:
    from lesionseg.segmentation.outcome import Outcome
    from lesionseg.segmentation.outputs import OutputOptions
    from lesionseg.segmentation.plan import Job


Order = StrEnum("Order", ["doubtful"])
_STDIO = Path("-")  # `plan.STDIO`, which is not imported for --help


def segment(
    photos: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PHOTO|FOLDER|-",
            show_default=False,
            help="Photos, folders of photos, or - for one photo from standard input.",
            readable=False,  # it fails alone
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
    recursive: Annotated[
        bool,
        option(
            "Also take photos from folders below the named ones; results go to folders of the same "
            "names.",
            "--recursive",
            rich_help_panel=INPUT,
        ),
    ] = False,
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
            "Mask PNG, or .dcm for that of a DICOM photo, or - for standard output; a folder for "
            "several photos.",
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
    segmentation: Annotated[
        Path | None,
        option(
            "Also write the masks of DICOM photos as DICOM Segmentations.",
            "--dicom-seg",
            metavar="FILE.dcm|DIR",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        option(
            "Also write the measurements of DICOM photos as DICOM structured reports (TID 1500).",
            "--report",
            metavar="FILE.dcm|DIR",
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
    checkpoint: CheckpointNames = None,
    threshold: Threshold = None,
    all_regions: AllRegions = False,
    labels: Annotated[
        Path | None,
        option(
            "Also write outlines for a labelling tool: .json is one COCO file for all photos, "
            ".label-studio.json one of Label Studio, .xml one of CVAT, a folder gets a LabelMe "
            ".json per photo. Existing labels are never replaced.",
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
            "Scale of photos that do not say their own, as DICOM may, for measurements in "
            "millimetres.",
            metavar="MM",
            rich_help_panel=LABELS,
        ),
    ] = None,
    order: Annotated[
        Order | None,
        field(
            "Order of --labels and --measurements: 'doubtful' puts the photos of lowest quality "
            "first.",
            "as the photos come",
            rich_help_panel=LABELS,
        ),
    ] = None,
    control: Annotated[
        float | None,
        field(
            "With --order doubtful: the share of photos, drawn at random, that come before all "
            "others and are marked as control, so that not only hard photos are labelled.",
            "0",
            min=0,
            max=1,
            metavar="SHARE",
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
        lesionseg segment photo.jpg -o mask.png -c run-a -c run-b
        lesionseg segment photo.dcm -o outline.dcm --report report.dcm
        cat photo.jpg | lesionseg segment - > mask.png

    A photo that cannot be read is reported and the others are still segmented; the exit status is
    then 1.
    """
    from lesionseg.segmentation.jobs import JobOptions, run_shared
    from lesionseg.segmentation.plan import OutputPaths, plan_jobs

    inputs = _inputs(photos or [], files_from)
    mask = _mask_path(inputs, output, as_json)
    paths = OutputPaths(mask, overlay, probabilities, segmentation, report)
    if mm_per_pixel is not None and not (measurements or as_json or paths.has_dicom):
        raise typer.BadParameter(
            "--mm-per-pixel is for --measurements, --json, --report and DICOM masks"
        )
    output_options = _output_options(
        labels, tolerance, run_lengths, measurements, mm_per_pixel, as_json
    )
    _check_order(order, control, labels, measurements)
    output_options = replace(
        output_options,
        doubtful_first=order is not None,
        control=control or 0.0,
        doubtful_below=doubtful_below,
    )
    if labels is not None and _STDIO in inputs:
        raise typer.BadParameter("--labels lists photos by name; one from standard input has none")
    if measurements and files_from and measurements.resolve() == files_from.resolve():
        raise typer.BadParameter(f"{measurements} is the list of photos; name another table")
    jobs = plan_jobs(inputs, paths, skip_existing=skip_existing, recursive=recursive)
    if segmentation or report:
        _note_other_photos(jobs)
    signals.interrupt()
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
    if left := len(jobs) - (tally.done + tally.failed + tally.skipped):
        console.warn(f"{left} photos were not tried; free some space and add --skip-existing")
    if tally.failed:
        raise typer.Exit(1)


def _inputs(photos: list[Path], files_from: Path | None) -> list[Path]:
    """List the inputs that are named on the command line, and in a file or pipe."""
    from lesionseg.data.lists import read_names

    inputs = list(photos)
    if distributed.world_size() > 1 and _STDIO in [*inputs, files_from]:
        raise typer.BadParameter("several processes share one standard input; name files instead")
    if files_from is not None:
        if files_from == _STDIO:
            if _STDIO in inputs:
                raise typer.BadParameter("standard input cannot be a photo and a list of names")
            names = read_names(sys.stdin.buffer) if sys.stdin else []
        else:
            if files_from.is_fifo():
                console.log(f"waiting for names from the pipe {files_from}")
            names = read_names(files_from)
        inputs += map(Path, names)
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
    if mm_per_pixel is not None and not 0 < mm_per_pixel < math.inf:
        raise typer.BadParameter(f"--mm-per-pixel: expected more than 0, got {mm_per_pixel:g}")
    return OutputOptions(
        labels,
        TOLERANCE if tolerance is None else tolerance,
        run_lengths,
        measurements,
        as_json,
        mm_per_pixel,
    )


def _note_other_photos(jobs: "list[Job]") -> None:
    """Say how many photos are not DICOM, so that no DICOM result refers to them."""
    others = sum(not job.paths.has_dicom for job in jobs)
    if others:
        photos = "1 photo is" if others == 1 else f"{others} photos are"
        console.warn(f"{photos} not DICOM: no DICOM files for {'it' if others == 1 else 'them'}")


def _check_order(
    order: Order | None, control: float | None, labels: Path | None, measurements: Path | None
) -> None:
    """Refuse an order of nothing, or one that the labels cannot hold."""
    if control is not None and order is None:
        raise typer.BadParameter("--control is for --order doubtful")
    if order is None:
        return
    suffix = None if labels is None else labels.suffix.lower()
    if measurements is None and suffix not in (".json", ".xml"):
        raise typer.BadParameter(
            "--order is for --labels FILE.json or .xml and for --measurements; LabelMe sorts its "
            "files by name"
        )
    if control and suffix == ".xml":
        raise typer.BadParameter("a CVAT file cannot mark --control; name a .json, or leave it out")


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
