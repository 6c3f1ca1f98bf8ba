"""Train from Python: the same steps as the command `lesionseg train`, without its messages."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesionseg import store
from lesionseg.data.source import PathLike, Several, choose_source, refuse_empty, several
from lesionseg.errors import UsageError
from lesionseg.network.device import find_device
from lesionseg.training import runs, trainer
from lesionseg.training.history import History
from lesionseg.training.trainer import Progress


@dataclass(frozen=True)
class TrainedRun:
    """A run that has ended.

    Attributes:
        checkpoint: `best.pt`, of the highest validation Dice; for `lesionseg.load`.
        history: a row for each epoch.
        problems: one line for each file that was left out.
        notes: what a reader must know of the validation scores.
    """

    checkpoint: Path
    history: History
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def train(
    data: PathLike | None = None,
    *,
    photos: Several = None,
    truth: PathLike | None = None,
    categories: Several = None,
    lesion_colours: Several = None,
    lesion_labels: Several = None,
    groups: PathLike | None = None,
    fold: str | None = None,
    initial: PathLike | None = None,
    teachers: Several = None,
    unlabelled: PathLike | None = None,
    resume: bool = False,
    run: str | None = None,
    output: PathLike | None = None,
    device: str | None = None,
    workers: int = 1,
    on_step: Callable[[Progress], None] = lambda progress: None,
    **options: Any,
) -> TrainedRun:
    """Train a network as `lesionseg train` does.

    Args:
        data: a folder of photos and masks, or the name of a downloaded set; by default that set.
        photos, truth: two folders in place of `data`; photos may lie in several.
        categories, lesion_colours, lesion_labels: what the lesion is in labels, by name, and in
            coloured masks, as "#RRGGBB" and by name; one or several.
        groups: CSV file of the photos that belong together.
        fold: the part to hold out, such as "1/5".
        initial: the checkpoint to start from: a file, a run, "bundled" or "bundled-small".
        teachers: the checkpoints, one or several, whose mean masks it also learns.
        unlabelled: folder of photos without masks, to learn those of the teachers on.
        resume: resume `run` or `output`, else the latest run.
        run: name of the run, in the cache folder; by default date and time.
        output: the run's folder instead, where no run may be yet unless it is resumed.
        device: cpu, cuda, cuda:1, mps; by default CUDA when there is one, else the CPU.
        workers: threads that read photos.
        on_step: called after each step.
        options: `recipe`, a name, and fields of `Recipe` and `ModelConfig`, such as `epochs=20` or
            `poolings=5`.

    Raises:
        UsageError: an empty list or text.
        LesionsegError: an option out of range, no photos, or as for `trainer.train`.
        TypeError: an option that neither has.
    """
    refuse_empty(data=data, photos=photos, truth=truth, groups=groups, fold=fold, initial=initial)
    refuse_empty(categories=categories, lesion_colours=lesion_colours, lesion_labels=lesion_labels)
    refuse_empty(teachers=teachers, unlabelled=unlabelled, run=run, output=output)
    if "recipe" in options:
        if "name" in options:
            raise UsageError("recipe and name are the same option; give one of them")
        options["name"] = options.pop("recipe")
    torch_device = find_device(device)
    source = choose_source(
        *(data, photos, truth, categories, lesion_colours, lesion_labels),
        *(groups, fold, unlabelled),
    )
    started = runs.Run.open(
        options,
        source,
        str(initial) if initial else None,
        several(teachers),
        resume=resume,
        folder=Path(output) if output else None,
        name=run,
    )
    material = started.gather(workers, lambda done, total: None)
    start = started.start(material, "")
    with started.reserved():
        result = trainer.train(
            start,
            material.training,
            material.validation,
            started.folder,
            torch_device,
            teachers=[teacher.network for teacher in started.teachers],
            on_step=on_step,
        )
    notes = [*started.notes, *material.notes, *runs.notes_before(start), *runs.notes_after(result)]
    best = started.folder / store.BEST
    return TrainedRun(best, result.history, material.problems, tuple(notes))
