"""`lesionseg eval`."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lesionseg import distributed, files
from lesionseg.cli import console, signals
from lesionseg.cli.help import INPUT, NETWORK, OUTPUT
from lesionseg.cli.options import (
    BUNDLED_NAMES,
    CLASSIC,
    DEFAULT_CHECKPOINT,
    WORKERS,
    AllRegions,
    BatchSize,
    CacheDir,
    Category,
    Data,
    Device,
    Groups,
    LesionColor,
    LesionColour,
    LesionLabel,
    Photos,
    Quiet,
    Threshold,
    Truth,
    Workers,
    command_line,
    field,
    named_segmenter,
    note_all,
    note_problems,
    option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lesionseg.evaluation.plan import Plan
    from lesionseg.evaluation.report import Evaluation
    from lesionseg.segmentation.segmenter import Segmenter

_BATCH_SIZE = CLASSIC.validation_batch_size


def evaluate(
    data: Data = None,
    photos: Photos = None,
    truth: Truth = None,
    category: Category = None,
    lesion_colour: LesionColour = None,
    lesion_color: LesionColor = None,
    lesion_label: LesionLabel = None,
    groups: Groups = None,
    split: Annotated[
        Literal["train", "val", "test", "all"] | None,
        field(
            "The split to score.",
            "val if a validation split exists, else all",
            rich_help_panel=INPUT,
        ),
    ] = None,
    checkpoint: Annotated[
        list[str] | None,
        field(
            f"Checkpoint file, name or folder of a run, {BUNDLED_NAMES}; repeat it to compare "
            "several, or for one score with --ensemble or --out-of-fold.",
            DEFAULT_CHECKPOINT,
            "--checkpoint",
            "-c",
            metavar="FILE|RUN",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    out_of_fold: Annotated[
        bool,
        option(
            "Score each photo by the network that held it out, as one score; give the run of "
            "every train --fold with --checkpoint.",
            "--out-of-fold",
            rich_help_panel=NETWORK,
        ),
    ] = False,
    ensemble: Annotated[
        bool,
        option(
            "Score the mean of the checkpoints' probabilities as one network, as 'segment' uses "
            "several.",
            "--ensemble",
            rich_help_panel=NETWORK,
        ),
    ] = False,
    threshold: Threshold = None,
    all_regions: AllRegions = False,
    predictions: Annotated[
        list[Path] | None,
        option(
            "Score the existing masks in this folder; repeat it, or add checkpoints, to compare.",
            metavar="DIR",
            rich_help_panel=INPUT,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        option(
            "Write report.html, summary.json and scores.csv to this folder.",
            metavar="DIR",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    hide_names: Annotated[
        bool,
        option(
            "Replace photo names by numbers and leave out folders, in all results; the pictures "
            "themselves stay.",
            "--hide-names",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    anonymous: Annotated[bool, option("Same as --hide-names.", "--anonymous", hidden=True)] = False,
    masks: Annotated[
        Path | None,
        option("Write the network's masks to this folder.", metavar="DIR", rich_help_panel=OUTPUT),
    ] = None,
    as_json: Annotated[
        bool, option("Print one JSON object.", "--json", rich_help_panel=OUTPUT)
    ] = False,
    batch_size: BatchSize = _BATCH_SIZE,
    device: Device = None,
    workers: Workers = WORKERS,
    cache_dir: CacheDir = None,
    quiet: Quiet = False,
) -> None:
    """Score checkpoints or folders of masks against ground truth, by the ISIC challenge's rules.

    Examples:
        lesionseg eval --data my-photos
        lesionseg eval --data my-photos --split test --report report
        lesionseg eval --truth truth-masks --predictions my-masks
        lesionseg eval --data my-photos -c bundled -c my-run
        lesionseg eval --data my-photos -c run-a -c run-b --ensemble
        lesionseg eval --data my-photos -c fold1 -c fold2 --out-of-fold

    Each photo is scored on its own, at the resolution of its ground-truth mask; the score of the
    set is the mean over photos. Without --data, a checkpoint is scored on the data set that it was
    trained on, and the bundled weights on the downloaded one. Several checkpoints and folders of
    masks are compared photo by photo with the first; checkpoints come before folders.
    """
    from lesionseg.data.source import choose_source
    from lesionseg.evaluation.plan import Plan

    folders, checkpoints = predictions or [], checkpoint or []
    changed = masks or all_regions or device or threshold is not None or batch_size != _BATCH_SIZE
    masks_alone = bool(folders) and not checkpoints
    if changed and masks_alone:
        raise typer.BadParameter(
            "--masks, --all-regions, --threshold, --batch-size and --device apply to a network; "
            "beside --predictions, add one with --checkpoint"
        )
    if report is not None and report.exists() and not report.is_dir():
        raise typer.BadParameter(f"--report: {report} is not a folder")
    if report is not None:
        files.check_writable(report, is_folder=True)
    colours = [*(lesion_colour or ()), *(lesion_color or ())]
    source = choose_source(
        data, photos, truth, category, colours, lesion_label, masks_alone=masks_alone
    )

    def load(names: "str | Sequence[str] | None") -> "Segmenter":
        return named_segmenter(names, device, threshold, all_regions, workers)

    kind = {"ensemble": ensemble, "out_of_fold": out_of_fold}
    plan = Plan.make(source, load, checkpoints, folders, split, groups, masks, **kind)
    note_all(plan.notes)
    note_problems(plan.dataset.problems, "left out")
    signals.interrupt()
    with distributed.joined(distributed.TO_THE_SLOWEST):
        evaluations = _score(plan, batch_size, workers, masks, report is not None)
        if distributed.rank() == 0:
            _show(evaluations, plan, report, hide_names or anonymous, as_json, workers)
    if any(evaluation.skipped for evaluation in evaluations):
        raise typer.Exit(1)


def _score(
    plan: "Plan", batch_size: int, workers: int, masks: Path | None, outlines: bool
) -> "list[Evaluation]":
    """Score with a progress bar each, and name the photos without a score."""
    evaluations = []
    several = not plan.out_of_fold and len(plan.segmenters) + len(plan.folders) > 1
    bar = partial(console.bar, "scoring")
    for evaluation in plan.evaluate(command_line(), batch_size, workers, masks, outlines, bar):
        note_problems(evaluation.left_out[len(plan.dataset.problems) :], "left out")
        note_problems(evaluation.skipped, f"error: {evaluation.name}" if several else "error")
        evaluations.append(evaluation)
    return evaluations


def _show(
    evaluations: "list[Evaluation]",
    plan: "Plan",
    report: Path | None,
    hide_names: bool,
    as_json: bool,
    workers: int,
) -> None:
    """Write the report where one is asked for, and print the scores."""
    from lesionseg.cli import tables
    from lesionseg.evaluation import comparison, deidentify, page

    pairs = {pair.id: pair for pair in plan.dataset.split(plan.split)}
    if hide_names:
        evaluations, numbers = deidentify.hide_names(evaluations)
        pairs = {number: pairs[name] for name, number in numbers.items()}
    compared = comparison.Comparison(evaluations)
    if report is not None:
        comparison.write(compared, report)
        with console.bar("drawing the report") as bar:
            page.write(evaluations, pairs, report / page.PAGE, workers=workers, on_photo=bar)
        console.log(f"report {report / page.PAGE}")
    if as_json:
        print(json.dumps(comparison.as_json(compared)))
    else:
        console.show(tables.scores(compared))
