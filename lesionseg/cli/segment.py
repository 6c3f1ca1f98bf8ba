"""`lesionseg segment`."""

import math
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionseg.cli import console, signals
from lesionseg.cli.help import INPUT, LABELS, OUTPUT
from lesionseg.cli.inputs import STDIO, Inputs, mask_path, plan_inputs, read_inputs
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
    command_line,
    field,
    named_segmenter,
    option,
)
from lesionseg.cli.outcomes import Outcomes, stdout_is_terminal
from lesionseg.config import TOLERANCE

if TYPE_CHECKING:
    from lesionseg.segmentation.outputs import OutputOptions
    from lesionseg.segmentation.plan import OutputPaths

Order = StrEnum("Order", ["doubtful"])


def segment(
    photos: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PHOTO|FOLDER|-",
            show_default=False,
            help="Photos, folders of photos, or - for one photo from standard input.",
            readable=False,  # it fails alone
        ),
    ] = None,
    files_from: Annotated[
        Path | None,
        option(
            "Read the names of photos from this file, one per line; - for standard input. Names "
            "from a pipe are processed as they arrive if -o is a folder.",
            metavar="FILE",
            rich_help_panel=INPUT,
        ),
    ] = None,
    null: Annotated[
        bool,
        option(
            "Names in --files-from end with NUL, as from find -print0.",
            "--null",
            "-0",
            rich_help_panel=INPUT,
        ),
    ] = False,
    recursive: Annotated[
        bool,
        option(
            "Also segment photos in subfolders; results go to subfolders of the same names.",
            "--recursive",
            rich_help_panel=INPUT,
        ),
    ] = False,
    skip_existing: Annotated[
        bool,
        option(
            "Skip photos whose output files all exist; --labels and --measurements include their "
            "existing masks.",
            "--skip-existing",
            rich_help_panel=INPUT,
        ),
    ] = False,
    output: Annotated[
        Path | None,
        field(
            "The mask: a .png, a .dcm for a DICOM photo, or - for standard output; a folder for "
            "several photos.",
            "standard output, for a photo from standard input",
            "--output",
            "-o",
            metavar="FILE|DIR",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overlay: Annotated[
        Path | None,
        option(
            "Also write the photo with the outline drawn on it, as PNG.",
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
            "Also write outlines for a labelling tool: one file for all photos for COCO "
            "(FILE.json), Label Studio (FILE.label-studio.json) or CVAT (FILE.xml), or a folder "
            "with a .json per photo for LabelMe. Existing label files are never replaced.",
            metavar="FILE|DIR",
            rich_help_panel=LABELS,
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        field(
            "Largest deviation of polygons in --labels from the mask's border, in pixels; less "
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
            "Write exact run lengths to --labels instead of polygons (not for LabelMe).",
            "--run-lengths",
            rich_help_panel=LABELS,
        ),
    ] = False,
    measurements: Annotated[
        Path | None,
        option(
            "Also write a table of area, diameter, asymmetry and more, one row per photo.",
            metavar="FILE.csv",
            rich_help_panel=LABELS,
        ),
    ] = None,
    mm_per_pixel: Annotated[
        float | None,
        option(
            "Scale for measurements in millimetres, for photos that do not state their own, as "
            "DICOM photos may.",
            metavar="MM",
            rich_help_panel=LABELS,
        ),
    ] = None,
    order: Annotated[
        Order | None,
        field(
            "Order of --labels and --measurements: 'doubtful' puts the photos of lowest quality "
            "first.",
            "the order of the photos",
            rich_help_panel=LABELS,
        ),
    ] = None,
    control: Annotated[
        float | None,
        field(
            "With --order doubtful: the share of photos, chosen at random, to put first and mark "
            "as control, so that not only hard photos are labelled.",
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
            "Report photos whose mask has a lower quality (0 to 1, see --json), for a person to "
            "check.",
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
    """Outline the lesion in photos: one mask PNG each, 0 and 255, at the photo's size.

    Examples:
        lesionseg segment photo.jpg -o mask.png
        lesionseg segment photo.jpg -o mask.png --overlay overlay.png
        lesionseg segment photos/ -o masks --json --measurements table.csv
        lesionseg segment photo.jpg -o mask.png -c run-a -c run-b
        lesionseg segment photo.dcm -o outline.dcm --report report.dcm
        cat photo.jpg | lesionseg segment - > mask.png
        find photos -name '*.jpg' | lesionseg segment --files-from - -o masks

    A photo that cannot be read is reported, and the others are still segmented; the exit status is
    then 1.
    """
    from lesionseg.segmentation.jobs import JobOptions, run_shared
    from lesionseg.segmentation.manifest import Manifest
    from lesionseg.segmentation.plan import OutputPaths

    inputs = read_inputs(photos or [], files_from, null, output)
    mask = mask_path(inputs, output, as_json)
    paths = OutputPaths(mask, overlay, probabilities, segmentation, report)
    outputs = _output_options(labels, tolerance, run_lengths, measurements, mm_per_pixel, as_json)
    outputs = _in_order(outputs, order, control, doubtful_below)
    _check_outputs(outputs, paths, inputs, files_from)
    plan = plan_inputs(inputs, paths, labels, skip_existing, recursive)
    manifest = Manifest(plan.folder, command_line(), {"one_bit": one_bit, "recursive": recursive})
    signals.interrupt()
    with console.bar("segmenting", hidden=as_json and stdout_is_terminal()) as bar:
        outcomes = Outcomes(bar, as_json, paths.has_dicom)
        tally = run_shared(
            plan.jobs,
            partial(named_segmenter, checkpoint, device, threshold, all_regions),
            JobOptions(batch_size, workers, one_bit, skip_existing, doubtful_below),
            outputs,
            outcomes.show,
            manifest,
        )
    outcomes.summarise(tally, plan.photos, doubtful_below is not None)
    if tally.failed:
        raise typer.Exit(1)


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
        raise typer.BadParameter("--tolerance and --run-lengths need --labels")
    if tolerance is not None and run_lengths:
        raise typer.BadParameter("--tolerance applies to polygons; leave it out with --run-lengths")
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


def _in_order(
    options: "OutputOptions",
    order: Order | None,
    control: float | None,
    doubtful_below: float | None,
) -> "OutputOptions":
    """Add the order; refuse one of nothing, or one that the labels cannot hold."""
    if control is not None and order is None:
        raise typer.BadParameter("--control needs --order doubtful")
    suffix = None if options.labels is None else options.labels.suffix.lower()
    if order is not None and options.table is None and suffix not in (".json", ".xml"):
        raise typer.BadParameter(
            "--order needs --labels FILE.json or FILE.xml, or --measurements; LabelMe sorts its "
            "files by name"
        )
    if control and suffix == ".xml":
        raise typer.BadParameter(
            "a CVAT file cannot mark control photos; write a .json file, or leave out --control"
        )
    return replace(
        options,
        doubtful_first=order is not None,
        control=control or 0.0,
        doubtful_below=doubtful_below,
    )


def _check_outputs(
    options: "OutputOptions", paths: "OutputPaths", inputs: Inputs, files_from: Path | None
) -> None:
    """Refuse outputs that do not fit the inputs, or one another."""
    from lesionseg.data.drafts import RECORD

    if STDIO in (options.labels, options.table):
        raise typer.BadParameter(
            "standard output takes masks and --json; name a file for --labels or --measurements"
        )
    measured = options.table or options.measure or paths.has_dicom
    if options.mm_per_pixel is not None and not measured:
        raise typer.BadParameter(
            "--mm-per-pixel needs --measurements, --json, --report or a DICOM mask"
        )
    if options.labels is not None and isinstance(inputs, list) and STDIO in inputs:
        raise typer.BadParameter(
            "--labels lists photos by name; a photo from standard input has none"
        )
    if options.table and files_from and options.table.resolve() == files_from.resolve():
        raise typer.BadParameter(
            f"{options.table} is the list of photos; choose another file for --measurements"
        )
    if options.labels and options.labels.resolve() == (paths.mask / RECORD).resolve():
        raise typer.BadParameter(
            f"{options.labels} is the record of the run; choose another file for --labels"
        )
