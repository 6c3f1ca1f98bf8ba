"""`lesionseg train`."""

import shlex
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lesionseg import distributed, store
from lesionseg.cli import console, signals
from lesionseg.cli.help import INPUT, NETWORK, OUTPUT, TRAINING
from lesionseg.cli.options import (
    BUNDLED_NAMES,
    CLASSIC,
    SHAPE,
    WORKERS,
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
    Truth,
    Workers,
    command_line,
    field,
    note_all,
    note_problems,
    option,
)
from lesionseg.config import Normalisation, Precision, RecipeName, parse_settings
from lesionseg.errors import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from lesionseg.training.history import History
    from lesionseg.training.material import Material
    from lesionseg.training.runs import Run
    from lesionseg.training.tensorboard import TensorBoardWriter
    from lesionseg.training.trainer import Predict, Progress, TrainingResult


_INPUT: dict[str, Any] = {"rich_help_panel": INPUT}
_TRAINING: dict[str, Any] = {"rich_help_panel": TRAINING}
_NETWORK: dict[str, Any] = {"rich_help_panel": NETWORK}
_OUTPUT: dict[str, Any] = {"rich_help_panel": OUTPUT}


def train(
    data: Data = None,
    photos: Photos = None,
    truth: Truth = None,
    category: Category = None,
    lesion_colour: LesionColour = None,
    lesion_color: LesionColor = None,
    lesion_label: LesionLabel = None,
    recipe: Annotated[
        RecipeName | None,
        field(
            "classic: quick and plain; accurate: a better network, hours without a GPU; "
            "finetune: for --from. The defaults below are those of classic.",
            f"{CLASSIC.name}, or finetune with --from",
            metavar="NAME",
            **_TRAINING,
        ),
    ] = None,
    epochs: Annotated[
        int | None, field("Passes over the training photos.", CLASSIC.epochs, **_TRAINING)
    ] = None,
    batch_size: Annotated[int | None, field("Batch size.", CLASSIC.batch_size, **_TRAINING)] = None,
    val_batch_size: Annotated[
        int | None,
        field("Batch size in validation.", CLASSIC.validation_batch_size, **_TRAINING),
    ] = None,
    learning_rate: Annotated[
        float | None,
        field("Adam learning rate.", CLASSIC.learning_rate, "--learning-rate", "--lr", **_TRAINING),
    ] = None,
    patience: Annotated[
        int | None,
        field(
            "Stop when the validation Dice has not risen for this many epochs.",
            "train all epochs",
            **_TRAINING,
        ),
    ] = None,
    precision: Annotated[
        Precision | None,
        field(
            "float32, or bfloat16 or float16 for mixed precision.",
            CLASSIC.precision,
            metavar="NAME",
            **_TRAINING,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        field("Seed for initial weights, order and augmentation.", CLASSIC.seed, **_TRAINING),
    ] = None,
    fold: Annotated[
        str | None,
        option(
            "Hold out part K of N for validation and train on the rest, whatever split the set "
            "has; test photos stay out of both. See eval --out-of-fold.",
            metavar="K/N",
            **_INPUT,
        ),
    ] = None,
    groups: Groups = None,
    initial: Annotated[
        str | None,
        option(
            f"Start from these trained weights: a checkpoint file, a run, {BUNDLED_NAMES}. "
            "Their architecture is kept, and the default recipe is finetune.",
            "--from",
            metavar="FILE|RUN",
            **_TRAINING,
        ),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        option(
            "Also learn from the masks of this trained network, a checkpoint file or a run; "
            "repeat it to learn from the mean of several.",
            metavar="FILE|RUN",
            **_TRAINING,
        ),
    ] = None,
    unlabelled: Annotated[
        Path | None,
        option(
            "Folder of photos without masks, on which only the teachers' masks are learned.",
            "--unlabelled",
            "--unlabeled",
            metavar="DIR",
            **_INPUT,
        ),
    ] = None,
    resume: Annotated[
        bool,
        option("Resume the run of --run or --output, else the latest run.", "--resume", **_OUTPUT),
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
    setting: Annotated[
        list[str] | None,
        option(
            "Change another part of the recipe or the network, such as stem=quarter, poolings=5 or "
            "loss=bce+tversky; may be repeated. All parts: docs/training.md.",
            "--set",
            metavar="PART=VALUE",
            **_NETWORK,
        ),
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
            "Also write TensorBoard event files to the run's folder (needs tensorboardX).",
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
        lesionseg train --data my-photos --from bundled
        lesionseg train --data my-photos --fold 1/5 --run fold1
        lesionseg train --resume

    Without --data it trains on the downloaded data set. Ctrl-C stops with a checkpoint, from which
    --resume continues. After each epoch, curves.png and samples.png in the run's folder show the
    progress, if matplotlib is installed.
    """
    from lesionseg.data.source import choose_source
    from lesionseg.network.device import find_device
    from lesionseg.training.runs import Run
    from lesionseg.training.tensorboard import TensorBoardWriter

    colours = [*(lesion_colour or ()), *(lesion_color or ())]
    source = choose_source(
        data, photos, truth, category, colours, lesion_label, groups, fold, unlabelled
    )
    network = {"image_size": image_size, "width": width, "normalisation": normalisation}
    batches = {"batch_size": batch_size, "validation_batch_size": val_batch_size}
    steps = {"epochs": epochs, "learning_rate": learning_rate, "patience": patience}
    values = {"name": recipe, "precision": precision, "seed": seed, **network, **batches, **steps}
    options = {name: value for name, value in values.items() if value is not None}
    options |= _settings(setting or (), options)
    writer = TensorBoardWriter() if tensorboard else nullcontext()
    torch_device = find_device(device)
    signals.interrupt()
    with distributed.joined(distributed.A_STEP, cuda=torch_device.type == "cuda"):
        training = Run.open(
            options, source, initial, teacher or (), resume=resume, folder=output, name=run
        )
        note_all(training.notes)
        with console.bar("preparing") as bar:
            material = training.gather(workers, bar)
        note_problems(material.problems, "left out")
        note_all(material.notes)
        result = _train(training, material, torch_device, writer)
    _conclude(result, training.folder, material)


def _settings(settings: "Sequence[str]", options: "Mapping[str, object]") -> dict[str, Any]:
    """Parse --set; refuse a part that its own option sets, too."""
    parsed = parse_settings(settings)
    if name := next(iter(parsed.keys() & options.keys()), None):
        option = {"validation_batch_size": "val_batch_size"}.get(name, name).replace("_", "-")
        raise typer.BadParameter(
            f"--set {name}={parsed[name]} and --{option} {options[name]} set the same part; "
            "leave one of them out"
        )
    return parsed


def _train(
    run: "Run",
    material: "Material",
    device: "torch.device",
    writer: "AbstractContextManager[TensorBoardWriter | None]",
) -> "TrainingResult":
    """Train with a progress bar, a line for each epoch, and figures."""
    from lesionseg.training import trainer
    from lesionseg.training.figures import TrainingFigures
    from lesionseg.training.runs import notes_before

    start = run.start(material, command_line())
    note_all(notes_before(start))
    processes = f", {distributed.world_size()} processes" if distributed.world_size() > 1 else ""
    console.log(
        f"{'resuming' if run.last else 'training'} {run.folder} on {device}{processes}: "
        f"{start.data.name}, {counted(len(material.training), 'photo')}, "
        f"{len(material.validation)} for validation, recipe {start.recipe.name}, "
        + (f"{len(start.members)} networks, the largest of " if start.members else "")
        + f"width {start.model.width}, normalisation {start.model.normalisation}, stem "
        f"{start.model.stem}"
        + (f", from {start.parent.file}" if start.parent else "")
        + "".join(f", teacher {teacher.file}" for teacher in start.teachers)
    )
    epochs = start.recipe.epochs
    with (
        run.reserved(),
        writer as opened,
        signals.stoppable(console.warn) as should_stop,
        console.bar("epoch") as bar,
    ):
        figures = TrainingFigures(run.folder, material.validation, epochs, console.log, opened)

        def on_step(progress: "Progress") -> None:
            label = f"epoch {progress.epoch}/{epochs}{' validation' * progress.validating}"
            bar(progress.photos, progress.total, label, f"loss {progress.loss:.4f}")

        def on_epoch(history: "History", predict: "Predict") -> None:
            if distributed.rank() == 0:
                _note_epoch(history, first=len(history) == start.epoch + 1)
                figures(history, predict)

        return trainer.train(
            start,
            material.training,
            material.validation,
            run.folder,
            device,
            teachers=[teacher.network for teacher in run.teachers],
            on_step=on_step,
            on_epoch=on_epoch,
            should_stop=should_stop,
        )


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
    """Report the last epoch: a sentence in a log, a line of a table on a terminal."""
    from lesionseg.training.history import best_epoch

    scores = history[-1]
    shown = scores.as_trained()
    low_res = shown is not scores
    size = _square(shown.val_image_size)
    if not console.draws():
        at_full_size = f" as trained (Dice {scores.dice:.4f} at {_square(scores.val_image_size)})"
        console.log(
            "epoch {epoch}: loss {train_loss:.4f}, validation loss {val_loss:.4f}, "
            "Dice {dice:.4f}, Jaccard {jaccard:.4f} on {photos} at {size} pixels{note}, "
            "{photos_per_second:.1f} photos/s".format(
                **shown.row(),
                photos=counted(shown.val_photos, "photo"),
                size=size,
                note=at_full_size * low_res,
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


def _conclude(result: "TrainingResult", folder: Path, material: "Material") -> None:
    """Report the result and what to type next; exit with 130 if the run was stopped."""
    from lesionseg.training.history import best_epoch
    from lesionseg.training.runs import notes_after

    in_cache = folder.absolute().parent == store.runs_dir()
    name = shlex.quote(folder.name if in_cache else str(folder))
    if result.stopped:
        option = f"--run {name}" if in_cache else f"--output {name}"
        console.log(f"stopped in epoch {result.last.epoch + 1}; the run is kept in {folder}")
        console.log(f"next: lesionseg train --resume {option}")
        sys.exit(130)
    if distributed.rank() > 0:
        return
    note_all(notes_after(result))
    best = best_epoch(result.history)
    split = ""
    if material.split_source == "seeded":
        split = (
            "; these come from the same set as those it was trained on: "
            "scores on photos from elsewhere will be lower"
        )
    console.log(
        f"best: epoch {best.epoch}, Dice {best.dice:.4f}, Jaccard {best.jaccard:.4f}, mean of "
        f"{counted(best.val_photos, 'validation photo')} at "
        f"{_square(result.last.model.image_size)} pixels{split}"
    )
    console.log(f"next: lesionseg segment photo.jpg -o mask.png --checkpoint {name}")
    print(folder / store.BEST)
