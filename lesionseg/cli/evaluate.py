"""`lesionseg eval`."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lesionseg import distributed, store
from lesionseg.cli import console
from lesionseg.cli.options import (
    CLASSIC,
    WORKERS,
    AllRegions,
    BatchSize,
    CacheDir,
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
from lesionseg.data.catalog import find_data

if TYPE_CHECKING:
    from lesionseg.data.pairs import Pair
    from lesionseg.evaluation.report import Evaluation
    from lesionseg.evaluation.scoring import Scored
    from lesionseg.segmentation.segmenter import Segmenter

_BATCH_SIZE = CLASSIC.validation_batch_size

Scorer = Callable[..., "Scored"]


def evaluate(
    data: Data = None,
    photos: Photos = None,
    truth: Truth = None,
    split: Annotated[
        Literal["train", "val", "test", "all"] | None,
        field("Which photos.", "val where those were set apart, else all"),
    ] = None,
    checkpoint: Annotated[
        list[str] | None,
        field(
            f"A checkpoint file, the name or folder of a run, or '{store.BUNDLED}'; several times "
            "to see several side by side.",
            f"${store.CHECKPOINT_VARIABLE}, else the latest run, else the bundled weights",
            "--checkpoint",
            "-c",
            metavar="FILE|RUN",
        ),
    ] = None,
    predictions: Annotated[
        list[Path] | None,
        folder("Score the finished masks in this folder; several times, or beside checkpoints."),
    ] = None,
    report: Annotated[
        Path | None, folder("Write report.html, summary.json and scores.csv here.")
    ] = None,
    anonymous: Annotated[
        bool,
        typer.Option(
            "--anonymous", help="Numbers for the photos' names, and no folders, in all results."
        ),
    ] = False,
    masks: Annotated[Path | None, folder("Write the network's masks here.")] = None,
    threshold: Threshold = 0.5,
    all_regions: AllRegions = False,
    batch_size: BatchSize = _BATCH_SIZE,
    device: Device = None,
    workers: Workers = WORKERS,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    cache_dir: CacheDir = None,
) -> None:
    """Score checkpoints, or folders of masks, against truth masks by the challenge's rules.

    Every photo is scored alone, at its truth mask's own resolution; the score of the set is the
    mean over photos. Without --data it takes the set that the checkpoint was trained on; for the
    bundled weights, the one that was downloaded. Of several checkpoints and folders of masks, the
    paired difference of each from the first is told; checkpoints come before folders.
    """
    from lesionseg.evaluation import scoring
    from lesionseg.evaluation.comparison import short_names
    from lesionseg.training.runs import Source

    folders = predictions or []
    finished = bool(folders) and not checkpoint  # no network is asked for
    asked = masks or all_regions or device or (threshold, batch_size) != (0.5, _BATCH_SIZE)
    if finished and asked:
        raise typer.BadParameter(
            "--masks, --all-regions, --threshold, --batch-size and --device are for a network's "
            "masks: with --predictions, name one by --checkpoint"
        )
    if masks and len(checkpoint or []) + len(folders) > 1:
        raise typer.BadParameter("--masks takes those of one checkpoint; leave the others out")
    if report is not None and report.exists() and not report.is_dir():
        raise typer.BadParameter(f"--report: {report} is no folder")
    source = data_source(data, photos, truth, masks_alone=finished)
    named: Sequence[str | None] = checkpoint or ([] if folders else [None])
    nets = [named_segmenter(name, device, threshold, all_regions, workers) for name in named]
    if source is None:
        source = (Source.of(nets[0].checkpoint.data) if nets else None) or Source(find_data())
    found = source.find()
    chosen = split or scoring.default_split(found, *(net.checkpoint.data for net in nets))
    pairs = found.split(chosen)
    note_problems(found.problems, "left out")
    scorers: list[Scorer] = [
        *(partial(scoring.evaluate, each, batch_size=batch_size, masks=masks) for each in nets),
        *(partial(scoring.compare, each) for each in folders),
    ]
    names = short_names([*map(_file, nets), *(each.absolute() for each in folders)])
    results = []
    with distributed.joined(distributed.TO_THE_SLOWEST):
        share = pairs[distributed.rank() :: distributed.world_size()]
        for name, net, score in zip(names, [*nets, *(None for _ in folders)], scorers, strict=True):
            with console.bar("scoring") as bar:
                scored = score(
                    share,
                    workers=workers,
                    outlines=report is not None,
                    on_photo=partial(_move, bar, len(share)),
                )
            scored = scoring.merge(distributed.all_gather(scored))
            note_problems(scored.skipped, "error" if len(names) == 1 else f"error: {name}")
            results.append(
                scoring.build_evaluation(scored, found, chosen, net, command_line(), name)
            )
        if distributed.rank() == 0:
            _tell(results, {pair.id: pair for pair in pairs}, report, anonymous, as_json, workers)
    if any(result.skipped for result in results):
        raise typer.Exit(1)


def _move(bar: console.Bar, total: int, done: int) -> None:
    bar(done, total)


def _file(net: "Segmenter") -> Path:
    """What a network is called after."""
    if net.path is None or net.path == store.BUNDLED_FILE:
        return Path(store.BUNDLED)
    return net.path.absolute()


def _tell(
    results: "list[Evaluation]",
    pairs: "dict[str, Pair]",
    report: Path | None,
    anonymous: bool,
    as_json: bool,
    workers: int,
) -> None:
    """Writes the report where one is asked for, and shows the scores."""
    from lesionseg.evaluation import comparison, deidentify, page
    from lesionseg.evaluation import report as reports

    if anonymous:
        results, numbers = deidentify.anonymous(results)
        pairs = {number: pairs[name] for name, number in numbers.items()}
    several = comparison.Comparison(results) if len(results) > 1 else None
    if report is not None:
        if several:
            comparison.write(several, report)
        else:
            reports.write(results[0], report)
        with console.bar("drawing the report") as bar:
            on_photo = partial(_move, bar, len(pairs))
            page.write(results, pairs, report / page.PAGE, workers=workers, on_photo=on_photo)
        console.log(f"report {report / page.PAGE}")
    if as_json:
        print(json.dumps(comparison.as_json(several) if several else reports.as_json(results[0])))
    else:
        console.show(comparison.table(several) if several else reports.table(results[0]))
