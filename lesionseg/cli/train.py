"""`lesionseg train`."""

import dataclasses
import shlex
import sys
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lesionseg import distributed, files, store
from lesionseg.cli import console
from lesionseg.cli.options import (
    CLASSIC,
    SHAPE,
    WORKERS,
    CacheDir,
    Data,
    Device,
    Photos,
    Truth,
    Workers,
    command_line,
    data_source,
    field,
    note_problems,
)
from lesionseg.config import Normalisation, Precision, RecipeName, configure
from lesionseg.data.catalog import find_data
from lesionseg.errors import LesionsegError

if TYPE_CHECKING:
    import torch

    from lesionseg.network.checkpoint import Checkpoint
    from lesionseg.training.history import History
    from lesionseg.training.runs import Material, Source
    from lesionseg.training.tensorboard import TensorBoardWriter
    from lesionseg.training.trainer import Predict, TrainingResult


def train(
    data: Data = None,
    photos: Photos = None,
    truth: Truth = None,
    recipe: Annotated[
        RecipeName | None,
        field(
            "classic: short and plain; accurate: that of the bundled weights, hours without a GPU. "
            "The defaults shown below are those of classic.",
            CLASSIC.name,
        ),
    ] = None,
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
    seed: Annotated[int | None, field("Of all that is random.", CLASSIC.seed)] = None,
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
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard", help="Also write TensorBoard files into the run's folder (an extra)."
        ),
    ] = False,
    cache_dir: CacheDir = None,
) -> None:
    """Train a U-Net on photos and masks.

    Without --data it takes the set that was downloaded. Ctrl-C stops with a checkpoint that
    --resume goes on from. After each epoch curves.png and samples.png in the run's folder show how
    it is going. Prints the best checkpoint's path.
    """
    from lesionseg.network.device import find_device
    from lesionseg.training.tensorboard import TensorBoardWriter

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
    if run and output:
        raise typer.BadParameter(
            "--run names a run in the cache folder, --output a folder: give one"
        )
    source = data_source(data, photos, truth)
    event_file = TensorBoardWriter() if tensorboard else nullcontext()
    chosen = find_device(device)
    with distributed.joined(distributed.A_STEP, cuda=chosen.type == "cuda"):
        where, start, material = _prepared_run(given, source, run, output, resume, workers)
        outcome = _train(where, start, material, chosen, resume, event_file)
    _conclude(outcome, where)


def _train(
    where: Path,
    start: "Checkpoint",
    material: "Material",
    device: "torch.device",
    resume: bool,
    event_file: "AbstractContextManager[TensorBoardWriter | None]",
) -> "TrainingResult":
    """Trains, shows the progress, and keeps other runs out of the folder."""
    from lesionseg.training import trainer
    from lesionseg.training.figures import TrainingFigures

    processes = f", {distributed.world_size()} processes" if distributed.world_size() > 1 else ""
    console.log(
        f"{'going on with' if resume else 'training'} {where} on {device}{processes}: "
        f"{start.data.name}, "
        f"{len(material.training)} photos, {len(material.validation)} for validation, "
        f"recipe {start.recipe.name}, width {start.model.width}, "
        f"normalisation {start.model.normalisation}"
    )
    with ExitStack() as block:
        if distributed.rank() == 0:
            where.mkdir(parents=True, exist_ok=True)
            block.enter_context(files.exclusive_lock(where))
            if not resume:
                store.unused_run(where)  # another run may have been quicker
        album = TrainingFigures(
            where,
            material.validation,
            start.recipe.epochs,
            console.log,
            block.enter_context(event_file),
        )
        should_stop = block.enter_context(console.stoppable())
        bar = block.enter_context(console.bar("epoch"))

        def on_epoch(history: "History", predict: "Predict") -> None:
            if distributed.rank() == 0:
                _note_epoch(history, first=len(history) == start.epoch + 1)
                album(history, predict)

        return trainer.train(
            start,
            material.training,
            material.validation,
            where,
            device,
            on_step=lambda at: bar(
                at.photos,
                at.total,
                f"epoch {at.epoch}/{start.recipe.epochs}{' validation' * at.validating}",
                f"loss {at.loss:.4f}",
            ),
            on_epoch=on_epoch,
            should_stop=should_stop,
        )


def _prepared_run(
    given: dict[str, Any],
    source: "Source | None",
    run: str | None,
    output: Path | None,
    resume: bool,
    workers: int,
) -> "tuple[Path, Checkpoint, Material]":
    """The folder of a run, where it starts from, and its photos ready to be trained on."""
    from lesionseg.training import runs, trainer

    start: Checkpoint | None = None
    if resume:
        where = distributed.broadcast(lambda: store.find_run(output or run))
        start = distributed.broadcast(lambda: runs.resumed(where, given))
        source = source or runs.Source.of(start.data) or runs.Source(find_data())
        model = start.model
    else:
        try:
            model, recipe = configure(given)
        except LesionsegError as error:
            raise typer.BadParameter(str(error)) from error
        where = distributed.broadcast(
            lambda: store.unused_run(output) if output else store.new_run(run)
        )
        source = source or runs.Source(find_data())
    with console.bar("preparing") as bar:
        material = runs.gather(source, model.image_size, workers, bar)
    note_problems(material.problems, "left out")
    if len(set(distributed.all_gather(material.data.fingerprint))) > 1:
        raise LesionsegError("the processes see different photos or masks; give all the same data")
    if start is None:
        start = trainer.initial_checkpoint(model, recipe, material.data, command_line())
    elif material.data.fingerprint != start.data.fingerprint:
        raise LesionsegError(
            f"{where.name} was begun on other photos or masks; train anew, without --resume"
        )
    start = dataclasses.replace(start, data=material.data)  # it may have been moved
    if material.data.drawn:
        console.log("these pictures are drawn: the network will be no good for real photos")
    return where, start, material


_COLUMNS = {  # of the table of epochs: what is shown under a heading of the same width
    "epoch": "{epoch:>5}",
    "    loss": "{train_loss:8.4f}",
    "val. loss": "{val_loss:9.4f}",
    "  Dice": "{dice:6.4f}",
    "Jaccard": "{jaccard:7.4f}",
    "measured at": "{size:>11}",
    "learning rate": "{learning_rate:13.2e}",
    "photos/s": "{photos_per_second:8.1f}",
}


def _note_epoch(history: "History", *, first: bool) -> None:
    """Say what the last epoch came to: in a log a sentence, on a terminal a line of a table."""
    from lesionseg.training.history import best_epoch

    scores = history[-1]
    shown = scores.as_trained()
    low_res = shown is not scores
    size = _square(shown.val_image_size)
    if not console.draws():
        at_full_size = f" as trained (Dice {scores.dice:.4f} at {_square(scores.val_image_size)})"
        console.log(
            "epoch {epoch}: loss {train_loss:.4f}, validation loss {val_loss:.4f}, "
            "Dice {dice:.4f}, Jaccard {jaccard:.4f} on {val_photos} photos at {size} pixels{note}, "
            "{photos_per_second:.1f} photos/s".format(
                **shown.row(), size=size, note=at_full_size * low_res
            )
        )
        return
    if first:
        console.log("  ".join(_COLUMNS), "bold underline")
    # The best checkpoint is chosen at full size, which a line of low resolution does not show.
    best = not low_res and best_epoch(history) is scores
    line = "  ".join(_COLUMNS.values()).format(**shown.row(), size=size)
    console.log(line + "  best" * best, "bold" if best else None)


def _square(side: int | None) -> str:
    return f"{side}x{side}"


def _conclude(outcome: "TrainingResult", where: Path) -> None:
    """Says what came out and what to type next; exits with 130 where the run was stopped."""
    from lesionseg.training.history import best_epoch

    in_cache = where.absolute().parent == store.runs_dir()
    named = shlex.quote(where.name if in_cache else str(where))
    if outcome.stopped:
        go_on = f"--run {named}" if in_cache else f"--output {named}"
        console.log(f"stopped in epoch {outcome.last.epoch + 1}; the run is kept in {where}")
        console.log(f"next: lesionseg train --resume {go_on}")
        sys.exit(130)
    if distributed.rank() > 0:
        return
    best = best_epoch(outcome.history)
    size = outcome.last.model.image_size
    console.log(
        f"best: epoch {best.epoch}, Dice {best.dice:.4f}, Jaccard {best.jaccard:.4f}, "
        f"mean of {best.val_photos} validation photos at {size}x{size} pixels"
    )
    console.log(f"next: lesionseg segment photo.jpg -o mask.png --checkpoint {named}")
    print(where / store.BEST)
