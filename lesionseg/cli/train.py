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
from lesionseg.cli.help import NETWORK, OUTPUT, TRAINING
from lesionseg.cli.options import (
    CLASSIC,
    SHAPE,
    WORKERS,
    CacheDir,
    Data,
    Device,
    Photos,
    Quiet,
    Truth,
    Workers,
    command_line,
    data_source,
    field,
    note_problems,
    option,
)
from lesionseg.config import Normalisation, Precision, RecipeName, configure
from lesionseg.data.catalog import find_data
from lesionseg.errors import LesionsegError

if TYPE_CHECKING:
    import torch

    from lesionseg.network.checkpoint import Checkpoint
    from lesionseg.training.runs import Material, Source
    from lesionseg.training.tensorboard import TensorBoardWriter
    from lesionseg.training.trainer import History, Predict, TrainingResult


_TRAINING: dict[str, Any] = {"rich_help_panel": TRAINING}
_NETWORK: dict[str, Any] = {"rich_help_panel": NETWORK}
_OUTPUT: dict[str, Any] = {"rich_help_panel": OUTPUT}


def train(
    data: Data = None,
    photos: Photos = None,
    truth: Truth = None,
    recipe: Annotated[
        RecipeName | None,
        field(
            "classic: short and plain; accurate: made the bundled weights, hours without a GPU. "
            "The defaults below are those of classic.",
            CLASSIC.name,
            **_TRAINING,
        ),
    ] = None,
    epochs: Annotated[
        int | None, field("Passes over the training photos.", CLASSIC.epochs, **_TRAINING)
    ] = None,
    batch_size: Annotated[int | None, field("Batch size.", CLASSIC.batch_size, **_TRAINING)] = None,
    val_batch_size: Annotated[
        int | None,
        field("Batch size of the validation.", CLASSIC.validation_batch_size, **_TRAINING),
    ] = None,
    learning_rate: Annotated[
        float | None,
        field("Adam learning rate.", CLASSIC.learning_rate, "--learning-rate", "--lr", **_TRAINING),
    ] = None,
    precision: Annotated[
        Precision | None,
        field(
            "Arithmetic; bfloat16 and float16 are mixed precision.", CLASSIC.precision, **_TRAINING
        ),
    ] = None,
    seed: Annotated[
        int | None,
        field("Seed of initial weights, order and augmentation.", CLASSIC.seed, **_TRAINING),
    ] = None,
    resume: Annotated[
        bool,
        option("Resume --run or --output, else the latest run.", "--resume", **_TRAINING),
    ] = False,
    image_size: Annotated[
        int | None,
        field("Side of the network's input, in pixels.", SHAPE.image_size, **_NETWORK),
    ] = None,
    width: Annotated[
        int | None,
        field("Channels of the first block; 64 in the original U-Net.", SHAPE.width, **_NETWORK),
    ] = None,
    normalisation: Annotated[
        Normalisation | None,
        field("Normalisation after each convolution.", SHAPE.normalisation, **_NETWORK),
    ] = None,
    run: Annotated[
        str | None, field("Name of the run.", "date and time", metavar="NAME", **_OUTPUT)
    ] = None,
    output: Annotated[
        Path | None,
        field(
            "Folder of the run.", "<cache>/runs/<run>", "--output", "-o", metavar="DIR", **_OUTPUT
        ),
    ] = None,
    tensorboard: Annotated[
        bool,
        option(
            "Also write TensorBoard event files to the run's folder (needs an extra).",
            "--tensorboard",
            **_OUTPUT,
        ),
    ] = False,
    device: Device = None,
    workers: Workers = WORKERS,
    cache_dir: CacheDir = None,
    quiet: Quiet = False,
) -> None:
    """Train a U-Net on photos and masks, and print the path of the best checkpoint.

    Examples:
        lesionseg train --epochs 5
        lesionseg train --data my-photos --recipe accurate
        lesionseg train --resume

    Without --data it trains on the downloaded data set. Ctrl-C stops with a checkpoint, from which
    --resume continues. After each epoch, curves.png and samples.png in the run's folder show the
    progress.
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
    if material.data.synthetic:
        console.log("these pictures are drawn: the network will be no good for real photos")
    return where, start, material


_COLUMNS = {  # of the table of epochs: what is shown under a heading of the same width
    "epoch": "{epoch:>5}",
    "    loss": "{train_loss:8.4f}",
    "val. loss": "{val_loss:9.4f}",
    "  Dice": "{dice:6.4f}",
    "Jaccard": "{jaccard:7.4f}",
    "learning rate": "{learning_rate:13.2e}",
    "photos/s": "{photos_per_second:8.1f}",
}


def _note_epoch(history: "History", *, first: bool) -> None:
    """The last epoch: in a log a sentence, on a terminal a line of a table that grows."""
    scores = history[-1]
    if not console.draws():
        console.log(
            "epoch {epoch}: loss {train_loss:.4f}, validation loss {val_loss:.4f}, "
            "Dice {dice:.4f}, Jaccard {jaccard:.4f} on {val_photos} photos, "
            "{photos_per_second:.1f} photos/s".format(**scores)
        )
        return
    if first:
        console.log("  ".join(_COLUMNS), "bold underline")
    best = all(scores["dice"] > before["dice"] for before in history[:-1])
    line = "  ".join(_COLUMNS.values()).format(**scores)
    console.log(line + "  best" * best, "bold" if best else None)


def _conclude(outcome: "TrainingResult", where: Path) -> None:
    """Says what came out and what to type next; exits with 130 where the run was stopped."""
    in_cache = where.absolute().parent == store.runs_dir()
    named = shlex.quote(where.name if in_cache else str(where))
    if outcome.stopped:
        go_on = f"--run {named}" if in_cache else f"--output {named}"
        console.log(f"stopped in epoch {outcome.last.epoch + 1}; the run is kept in {where}")
        console.log(f"next: lesionseg train --resume {go_on}")
        sys.exit(130)
    if distributed.rank() > 0:
        return
    best = max(outcome.history, key=lambda scores: scores["dice"])
    size = outcome.last.model.image_size
    console.log(
        f"best: epoch {best['epoch']}, Dice {best['dice']:.4f}, Jaccard {best['jaccard']:.4f}, "
        f"mean of {best['val_photos']} validation photos at {size}x{size} pixels"
    )
    console.log(f"next: lesionseg segment photo.jpg -o mask.png --checkpoint {named}")
    print(where / store.BEST)
