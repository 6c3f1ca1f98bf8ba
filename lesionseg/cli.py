"""The four commands: parse, call, print. Whatever needs torch is imported inside them."""

import json
import os
import shlex
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lesionseg import __version__, store, terminal
from lesionseg.catalog import BASES, DATASETS, Name, find_data
from lesionseg.config import Normalisation, Precision, RecipeName, configure
from lesionseg.errors import LesionsegError, one_line
from lesionseg.options import (
    CLASSIC,
    SHAPE,
    WORKERS,
    BatchSize,
    CacheDir,
    CheckpointName,
    Device,
    Photos,
    SplitName,
    Threshold,
    Truth,
    Workers,
    field,
    folder,
)

if TYPE_CHECKING:
    from lesionseg.batch import Job, Result
    from lesionseg.checkpoint import Checkpoint
    from lesionseg.download import Listed
    from lesionseg.inference import Segmenter
    from lesionseg.runs import Material, Source
    from lesionseg.trainer import Outcome

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"lesionseg {__version__}")
        raise typer.Exit


@app.callback()
def lesionseg(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Learns and draws the outline of skin lesions in dermoscopic photos.

    Research use; not a medical device.
    """


@app.command()
def download(
    name: Annotated[Name, typer.Argument(help="The data set.")] = "isic2018",
    split: Annotated[
        list[SplitName] | None,
        field("Only this split; may be given again.", "all"),
    ] = None,
    shrink: Annotated[
        int | None,
        field(
            "Keep photos and masks with a shorter side of at most so many pixels; "
            "512 is plenty for training.",
            "full size",
            metavar="PIXELS",
        ),
    ] = None,
    mirror: Annotated[
        str | None,
        field("Fetch from <URL>/<year>/<file>.", "the two official addresses", metavar="URL"),
    ] = None,
    archives: Annotated[Path | None, folder("Take the zip files from this folder.")] = None,
    output: Annotated[
        Path | None,
        field("Where to unpack.", "<cache>/data/<name>", "--output", "-o", metavar="DIR"),
    ] = None,
    listing: Annotated[
        bool, typer.Option("--list", help="List the sets and what is here.")
    ] = False,
    cache_dir: CacheDir = None,
) -> None:
    """Download a data set of photos and masks, or draw the demo set.

    Run it again after an interruption: it goes on where it stopped. Prints the set's folder.
    """
    from lesionseg import download as downloads

    if listing:
        terminal.show(_listing_table(downloads.listing()))
        return
    target = output or store.data_dir(name)
    with terminal.bar(name, "bytes") as bar:
        found = downloads.download(
            DATASETS[name],
            target,
            splits=split,
            bases=(mirror,) if mirror else BASES,
            archives=archives,
            shrink=shrink,
            on_progress=lambda at: bar(at.done, at.total, f"{at.step} {at.file}"),
            note=terminal.note,
        )
    photos = ", ".join(f"{split} {count}" for split, count in found.splits.items())
    where = name if output is None else shlex.quote(str(target))
    terminal.note(f"{found.title}: photos: {photos}; licence: {found.licence}")
    terminal.note(f"next: lesionseg train --data {where}")
    print(target)


@app.command()
def train(
    data: Annotated[
        str | None,
        field(
            "A folder of photos and masks, or the name of a downloaded set.",
            "the downloaded set",
            metavar="DIR|NAME",
        ),
    ] = None,
    photos: Photos = None,
    truth: Truth = None,
    recipe: Annotated[RecipeName | None, field("The recipe.", CLASSIC.name)] = None,
    epochs: Annotated[int | None, field("Passes over the photos.", CLASSIC.epochs)] = None,
    batch_size: Annotated[int | None, field("Photos a step.", CLASSIC.batch_size)] = None,
    val_batch_size: Annotated[
        int | None, field("Photos a validation step.", CLASSIC.validation_batch_size)
    ] = None,
    learning_rate: Annotated[
        float | None, field("Of Adam.", CLASSIC.learning_rate, "--learning-rate", "--lr")
    ] = None,
    image_size: Annotated[
        int | None, field("Side of the network's input, in pixels.", SHAPE.image_size)
    ] = None,
    width: Annotated[
        int | None, field("Channels of the first block; 64 is the textbook.", SHAPE.width)
    ] = None,
    normalisation: Annotated[
        Normalisation | None, field("After each convolution.", SHAPE.normalisation)
    ] = None,
    precision: Annotated[
        Precision | None,
        field("Of the arithmetic; below float32 it is mixed.", CLASSIC.precision),
    ] = None,
    seed: Annotated[int | None, field("Of weights and order of photos.", CLASSIC.seed)] = None,
    device: Device = None,
    workers: Workers = WORKERS,
    run: Annotated[str | None, field("Name of the run.", "date and time", metavar="NAME")] = None,
    output: Annotated[
        Path | None,
        field("Folder of the run.", "<cache>/runs/<run>", "--output", "-o", metavar="DIR"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with --run or --output, else the latest run.")
    ] = False,
    cache_dir: CacheDir = None,
) -> None:
    """Train a U-Net on photos and masks.

    Ctrl-C stops with a checkpoint that --resume goes on from. Prints the best checkpoint's path.
    """
    from lesionseg import trainer
    from lesionseg.device import find_device

    given = {
        "name": recipe,
        "epochs": epochs,
        "batch_size": batch_size,
        "validation_batch_size": val_batch_size,
        "learning_rate": learning_rate,
        "image_size": image_size,
        "width": width,
        "normalisation": normalisation,
        "precision": precision,
        "seed": seed,
    }
    given = {name: value for name, value in given.items() if value is not None}
    chosen = find_device(device)
    where, start, material = _prepared_run(
        given, _source(data, photos, truth), run, output, resume, workers
    )
    terminal.note(
        f"{'going on with' if resume else 'training'} {where} on {chosen}: "
        f"{len(material.training)} photos, {len(material.validation)} for validation, "
        f"width {start.model.width}, normalisation {start.model.normalisation}"
    )
    with terminal.stoppable() as should_stop, terminal.bar("epoch") as bar:
        outcome = trainer.train(
            start,
            material.training,
            material.validation,
            where,
            chosen,
            on_step=lambda at: bar(
                at.photos,
                len(material.training),
                f"epoch {at.epoch}/{start.recipe.epochs}",
                f"loss {at.loss:.4f}",
            ),
            on_epoch=_note_epoch,
            should_stop=should_stop,
        )
    _conclude(outcome, where, output is None)


def _source(
    data: str | None, photos: Path | None, truth: Path | None, *, masks_alone: bool = False
) -> "Source | None":
    """Where the user says that photos and masks are; None where nothing was said."""
    from lesionseg.runs import Source

    if (photos is None) != (truth is None) and not (masks_alone and photos is None):
        raise typer.BadParameter("--photos and --truth go together")
    if data is None and truth is None:
        return None
    return Source(find_data(data) if data else None, photos, truth)


def _prepared_run(
    given: dict[str, Any],
    source: "Source | None",
    run: str | None,
    output: Path | None,
    resume: bool,
    workers: int,
) -> "tuple[Path, Checkpoint, Material]":
    """The folder of a run, where it starts from, and its photos ready to be trained on."""
    from lesionseg import runs, trainer

    if run and output:
        raise typer.BadParameter(
            "--run names a run in the cache folder, --output a folder: give one"
        )
    if resume:
        where = store.find_run(output or run)
        start = runs.resumed(where, given)
        source = source or runs.Source.of(start.data)
        size = start.model.image_size
    else:
        model, recipe = configure(given)
        where = store.unused_run(output) if output else store.new_run(run)
        source = source or runs.Source(find_data())
        size = model.image_size
    with terminal.bar("preparing") as bar:
        material = runs.gather(source, size, workers, bar)
    _note_problems(material.problems, "left out")
    if not resume:
        start = trainer.begin(model, recipe, material.data)
    elif material.data.fingerprint != start.data.fingerprint:
        raise LesionsegError(
            f"{where.name} was begun on other photos or masks; train anew, without --resume"
        )
    if material.data.drawn:
        terminal.note("these pictures are drawn: the network will be no good for real photos")
    return where, start, material


def _listing_table(rows: "list[Listed]") -> Any:
    """What can be downloaded, for a terminal."""
    from rich.table import Table

    table = Table("name", "photos", "download", "licence", "here")
    for row in rows:
        dataset, here = row.dataset, row.here
        photos = ", ".join(f"{split} {count}" for split, count in dataset.photos.items())
        size = sum(archive.bytes for archive in dataset.archives)
        held = ", ".join(here.splits) if here else "no"
        if here and here.shrunk:
            held += f" (shrunk to {here.shrunk} pixels)"
        amount = f"{size / 1e9:.1f} GB" if size else "drawn here"
        table.add_row(dataset.name, photos, amount, dataset.licence, held)
    return table


def _note_problems(problems: Iterable[str], what: str) -> None:
    """Names up to ten files, and says how many more there are."""
    problems = list(problems)
    for problem in problems[:10]:
        terminal.note(f"{what}: {problem}")
    if len(problems) > 10:
        terminal.note(f"{what}: {len(problems) - 10} more, {len(problems)} in all")


def _note_epoch(scores: dict[str, float]) -> None:
    terminal.note(
        "epoch {epoch}: loss {train_loss:.4f}, validation loss {val_loss:.4f}, Dice {dice:.4f}, "
        "Jaccard {jaccard:.4f} on {val_photos} photos, {photos_per_second:.1f} photos/s".format(
            **scores
        )
    )


def _conclude(outcome: "Outcome", where: Path, in_cache: bool) -> None:
    """Says what came out and what to type next; exits with 130 where the run was stopped."""
    named = where.name if in_cache else shlex.quote(str(where))
    if outcome.stopped:
        go_on = f"--run {named}" if in_cache else f"--output {named}"
        terminal.note(f"stopped in epoch {outcome.last.epoch + 1}; the run is kept in {where}")
        terminal.note(f"next: lesionseg train --resume {go_on}")
        raise typer.Exit(130)
    best = max(outcome.history, key=lambda scores: scores["dice"])
    size = outcome.last.model.image_size
    terminal.note(
        f"best: epoch {best['epoch']}, Dice {best['dice']:.4f}, Jaccard {best['jaccard']:.4f}, "
        f"mean of {best['val_photos']} validation photos at {size}x{size} pixels"
    )
    terminal.note(f"next: lesionseg segment photo.jpg -o mask.png --checkpoint {named}")
    print(where / store.BEST)


@app.command(name="eval")
def evaluate(
    data: Annotated[
        str | None,
        field(
            "A folder of photos and masks, or the name of a downloaded set.",
            "what the checkpoint was trained on",
            metavar="DIR|NAME",
        ),
    ] = None,
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
    batch_size: BatchSize = CLASSIC.validation_batch_size,
    device: Device = None,
    workers: Workers = WORKERS,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    cache_dir: CacheDir = None,
) -> None:
    """Score a checkpoint, or a folder of masks, against truth masks by the challenge's rules.

    Every photo is scored alone, at its truth mask's own resolution; the score of the set is the
    mean over photos.
    """
    from lesionseg import evaluation
    from lesionseg import report as reports
    from lesionseg.runs import Source

    if predictions and masks:
        raise typer.BadParameter("--masks writes a network's masks: it goes without --predictions")
    source = _source(data, photos, truth, masks_alone=predictions is not None)
    segmenter = None if predictions else _segmenter(checkpoint, device, threshold)
    trained = segmenter.checkpoint.data if segmenter else None
    if source is None:
        source = Source.of(trained) if trained else Source(find_data())
    found = source.find()
    chosen = split or evaluation.held_out(found, trained)
    pairs = found.split(chosen)
    _note_problems(found.problems, "left out")
    with terminal.bar("scoring") as bar:
        scored = (
            evaluation.evaluate(
                segmenter,
                pairs,
                batch_size=batch_size,
                workers=workers,
                masks=masks,
                on_photo=lambda done: bar(done, len(pairs)),
            )
            if segmenter
            else evaluation.compare(
                predictions or Path(),
                pairs,
                workers=workers,
                on_photo=lambda done: bar(done, len(pairs)),
            )
        )
    _note_problems(scored.skipped, "error")
    command = shlex.join(["lesionseg", *sys.argv[1:]])
    result = evaluation.summed_up(scored, found, chosen, segmenter, command)
    if report is not None:
        reports.write(result, report)
    if as_json:
        print(json.dumps(reports.as_json(result)))
    else:
        terminal.show(reports.table(result))
    if scored.skipped:
        raise typer.Exit(1)


@app.command()
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
    jobs = batch.plan(names, outputs)
    todo = [job for job in jobs if not (skip_existing and job.done)]
    segmenter = _segmenter(checkpoint, device, threshold)
    failed = 0
    with terminal.bar("segmenting", hidden=as_json and sys.stdout.isatty()) as bar:
        results = batch.run(segmenter, todo, batch_size=batch_size, workers=workers)
        for done, (job, result) in enumerate(results, start=1):
            failed += _tell(job, result, as_json)
            bar(done, len(todo))
    if len(jobs) > 1:
        terminal.note(
            f"{len(todo) - failed} photos done, {failed} failed, {len(jobs) - len(todo)} skipped"
        )
    if failed:
        raise typer.Exit(1)


def _names(photos: list[Path], files_from: Path | None) -> list[Path]:
    """The inputs that were named, on the command line and in a file or pipe."""
    names = list(photos)
    if files_from is not None:
        if str(files_from) == "-":
            if Path("-") in names:
                raise typer.BadParameter("standard input cannot be a photo and a list of names")
            lines = sys.stdin.buffer.read()
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


def _segmenter(checkpoint: str | None, device: str | None, threshold: float) -> "Segmenter":
    """The network that is meant, named on standard error."""
    from lesionseg.device import keep_freed_memory
    from lesionseg.inference import load

    keep_freed_memory()
    segmenter = load(checkpoint, device, threshold)
    drawn = " (trained on drawn pictures only)" if segmenter.checkpoint.data.drawn else ""
    terminal.note(f"checkpoint {segmenter.path}{drawn} on {segmenter.device}")
    return segmenter


def _tell(job: "Job", result: "Result | LesionsegError", as_json: bool) -> bool:
    """Prints what became of a photo; returns whether it failed."""
    failed = isinstance(result, LesionsegError)
    if failed:
        terminal.note(f"error: {result}")
    if as_json:
        line: dict[str, object] = {"file": str(job.photo)}
        if isinstance(result, LesionsegError):
            line["error"] = str(result)
        else:
            line |= {"mask": str(job.outputs.mask), **asdict(result)}
        print(json.dumps(line), flush=True)
    return failed


def main() -> None:
    """Runs the command line; one line on standard error for whatever a user can put right."""
    import warnings

    warnings.filterwarnings("ignore", module="PIL")  # a damaged photo is told of by its error
    try:
        status = app(standalone_mode=False)
    except typer.TyperException as error:  # wrong usage
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "lesionseg"
        terminal.note(f"{command}: {one_line(error)}; see '{command} --help'")
        status = error.exit_code
    except LesionsegError as error:
        terminal.note(f"error: {error}")
        status = 1
    except typer.Abort:
        status = 130
    sys.exit(status if isinstance(status, int) else 0)
