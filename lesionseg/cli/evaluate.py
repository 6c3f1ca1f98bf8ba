"""`lesionseg eval`."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lesionseg import distributed, store
from lesionseg.cli import console, signals
from lesionseg.cli.help import INPUT, NETWORK, OUTPUT
from lesionseg.cli.options import (
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
    data_source,
    field,
    named_segmenter,
    note_all,
    note_choice,
    note_problems,
    option,
)
from lesionseg.data.catalog import find_data

if TYPE_CHECKING:
    from lesionseg.data.pairs import Pair
    from lesionseg.evaluation.report import Evaluation
    from lesionseg.network.provenance import Provenance
    from lesionseg.training.runs import Source

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
            f"Checkpoint file, name or folder of a run, or '{store.BUNDLED}'; repeat it to compare "
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
    from lesionseg.evaluation import candidates

    folders, checkpoints = predictions or [], checkpoint or []
    changed = masks or all_regions or device or threshold is not None or batch_size != _BATCH_SIZE
    if out_of_fold and (split or folders):
        raise typer.BadParameter("--out-of-fold cannot be combined with --split or --predictions")
    if ensemble and (out_of_fold or len(checkpoints) < 2):
        raise typer.BadParameter(
            "--ensemble needs at least two --checkpoint and cannot be combined with --out-of-fold"
        )
    contestants: list[str | list[str] | None] = [checkpoints] if ensemble else [*checkpoints]
    alone = len(contestants) + len(folders) < 2 or out_of_fold
    _check_usage(checkpoints, folders, masks if not alone else None, report, bool(changed))
    colours = [*(lesion_colour or ()), *(lesion_color or ())]
    masks_alone = bool(folders) and not checkpoints
    source = data_source(
        data, photos, truth, category, colours, lesion_label, masks_alone=masks_alone
    )
    contestants = contestants or ([] if folders else [None])
    segmenters = [
        named_segmenter(names, device, threshold, all_regions, workers) for names in contestants
    ]
    networks = [segmenter.checkpoint for segmenter in segmenters]
    used = source or _default_source(networks)
    used = used.choosing_as(networks[0].data) if networks else used
    note_choice(source, used)
    used = replace(used, groups_file=groups) if groups else used
    dataset = used.find()
    note_all(dataset.notes)
    chosen = "all" if out_of_fold else split or candidates.default_split(dataset, *networks)
    pairs = {pair.id: pair for pair in dataset.split(chosen)}
    note_problems(dataset.problems, "left out")
    shared: dict[str, Any] = {
        "dataset": dataset,
        "command": command_line(),
        "batch_size": batch_size,
        "workers": workers,
        "masks": masks,
        "outlines": report is not None,
    }
    evaluations = []
    signals.interrupt()
    with distributed.joined(distributed.TO_THE_SLOWEST):
        if out_of_fold:
            with console.bar("scoring") as bar:
                scored = candidates.evaluate_out_of_fold(segmenters, **shared, on_photo=bar)
            evaluations.append(scored)
            note_problems(scored.left_out[len(dataset.problems) :], "left out")
            note_problems(scored.skipped, "error")
        for candidate in [] if out_of_fold else candidates.list_candidates(segmenters, folders):
            with console.bar("scoring") as bar:
                evaluations.append(
                    candidates.evaluate(candidate, split=chosen, **shared, on_photo=bar)
                )
            what = "error" if alone else f"error: {candidate.name}"
            note_problems(evaluations[-1].skipped, what)
        if distributed.rank() == 0:
            _show(evaluations, pairs, report, hide_names or anonymous, as_json, workers)
    if any(evaluation.skipped for evaluation in evaluations):
        raise typer.Exit(1)


def _check_usage(
    checkpoints: Sequence[str],
    folders: Sequence[Path],
    masks: Path | None,
    report: Path | None,
    network_options: bool,
) -> None:
    """Refuse options that do not go together."""
    if network_options and folders and not checkpoints:
        raise typer.BadParameter(
            "--masks, --all-regions, --threshold, --batch-size and --device apply to a network; "
            "beside --predictions, add one with --checkpoint"
        )
    if masks and len(checkpoints) + len(folders) > 1:
        raise typer.BadParameter(
            "--masks writes the masks of one network; give one --checkpoint and no --predictions"
        )
    if report is not None and report.exists() and not report.is_dir():
        raise typer.BadParameter(f"--report: {report} is not a folder")


def _default_source(networks: "Sequence[Provenance]") -> "Source":
    """Return where the first network's data were, else the downloaded data set."""
    from lesionseg.training.runs import Source

    return (Source.of(networks[0].data) if networks else None) or Source(find_data())


def _show(
    evaluations: "list[Evaluation]",
    pairs: "dict[str, Pair]",
    report: Path | None,
    hide_names: bool,
    as_json: bool,
    workers: int,
) -> None:
    """Write the report where one is asked for, and print the scores."""
    from lesionseg.cli import tables
    from lesionseg.evaluation import comparison, deidentify, page

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
