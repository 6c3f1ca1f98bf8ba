"""`lesionseg eval`."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from lesionseg import terminal
from lesionseg.catalog import find_data
from lesionseg.commands.options import (
    CLASSIC,
    WORKERS,
    AllRegions,
    BatchSize,
    CacheDir,
    CheckpointName,
    Data,
    Device,
    Photos,
    Threshold,
    Truth,
    Workers,
    command_line,
    data_source,
    field,
    folder,
    named_segmenter,
    note_problems,
)


def evaluate(
    data: Data = None,
    photos: Photos = None,
    truth: Truth = None,
    split: Annotated[
        Literal["train", "val", "test", "all"] | None,
        field("Which photos.", "val where the set says which those are, else all"),
    ] = None,
    checkpoint: CheckpointName = None,
    predictions: Annotated[
        Path | None, folder("Score the finished masks in this folder; no network is used.")
    ] = None,
    report: Annotated[Path | None, folder("Write summary.json and scores.csv here.")] = None,
    masks: Annotated[Path | None, folder("Write the network's masks here.")] = None,
    threshold: Threshold = 0.5,
    all_regions: AllRegions = False,
    batch_size: BatchSize = CLASSIC.validation_batch_size,
    device: Device = None,
    workers: Workers = WORKERS,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    cache_dir: CacheDir = None,
) -> None:
    """Score a checkpoint, or a folder of masks, against truth masks by the challenge's rules.

    Every photo is scored alone, at its truth mask's own resolution; the score of the set is the
    mean over photos. Without --data it takes the set that the checkpoint was trained on; for the
    bundled weights, the one that was downloaded.
    """
    from lesionseg import evaluation
    from lesionseg import report as reports
    from lesionseg.runs import Source

    if predictions and (masks or all_regions):
        raise typer.BadParameter(
            "--masks and --all-regions are for a network's masks: they go without --predictions"
        )
    source = data_source(data, photos, truth, masks_alone=predictions is not None)
    score: Callable[..., evaluation.Scored]
    if predictions is not None:
        segmenter = None
        score = partial(evaluation.compare, predictions)
    else:
        segmenter = named_segmenter(checkpoint, device, threshold, all_regions, workers)
        score = partial(evaluation.evaluate, segmenter, batch_size=batch_size, masks=masks)
    trained = segmenter.checkpoint.data if segmenter else None
    if source is None:
        source = (Source.of(trained) if trained else None) or Source(find_data())
    found = source.find()
    chosen = split or evaluation.held_out(found, trained)
    pairs = found.split(chosen)
    note_problems(found.problems, "left out")
    with terminal.bar("scoring") as bar:
        scored = score(pairs, workers=workers, on_photo=lambda done: bar(done, len(pairs)))
    note_problems(scored.skipped, "error")
    result = evaluation.summed_up(scored, found, chosen, segmenter, command_line())
    if report is not None:
        reports.write(result, report)
    if as_json:
        print(json.dumps(reports.as_json(result)))
    else:
        terminal.show(reports.table(result))
    if scored.skipped:
        raise typer.Exit(1)
