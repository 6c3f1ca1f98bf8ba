"""Train from Python: the same steps as the command `lesionseg train`, without its messages."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesionseg import store
from lesionseg.config import configure
from lesionseg.data.catalog import find_data
from lesionseg.data.splits import Fold
from lesionseg.network.device import find_device
from lesionseg.training import trainer
from lesionseg.training.history import History
from lesionseg.training.runs import InitialWeights, Run, Source, gather
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
    data: str | Path | None = None,
    *,
    photos: str | Path | None = None,
    truth: str | Path | None = None,
    groups: str | Path | None = None,
    fold: str | None = None,
    initial: str | Path | None = None,
    output: str | Path | None = None,
    device: str | None = None,
    workers: int = 1,
    on_step: Callable[[Progress], None] = lambda progress: None,
    **options: Any,
) -> TrainedRun:
    """Train a network as `lesionseg train` does.

    Args:
        data: a folder of photos and masks, or the name of a downloaded set; by default that set.
        photos, truth: two folders in place of `data`.
        groups: CSV file of the photos that belong together.
        fold: the part to hold out, such as "1/5".
        initial: the checkpoint to start from: a file, a run, or "bundled".
        output: the run's folder, where no run may be yet; by default a new one in the cache folder.
        device: cpu, cuda, cuda:1, mps; by default CUDA when there is one, else the CPU.
        workers: threads that read photos.
        on_step: called after each step.
        options: `recipe`, a name, and fields of `Recipe` and `ModelConfig`, such as `epochs=20`.

    Raises:
        LesionsegError: an option out of range, no photos, or as of `trainer.train`.
        TypeError: an option that neither has.
    """
    if "recipe" in options:
        options["name"] = options.pop("recipe")
    torch_device = find_device(device)
    shape, weights = InitialWeights.load(str(initial)) if initial else (None, None)
    model, recipe = configure(options, shape)
    folder = None if data is None and truth else find_data(str(data) if data else None)
    paths = [Path(path) if path else None for path in (photos, truth, groups)]
    source = Source(
        folder,
        (paths[0],) if paths[0] else (),
        paths[1],
        paths[2],
        Fold.parse(fold) if fold else None,
    )
    run = Run.new(model, recipe, source, Path(output) if output else None, None, weights)
    material = gather(source, model.image_size, workers, lambda done, total: None)
    start = run.start(material, "")
    with run.reserved():
        result = trainer.train(
            start, material.training, material.validation, run.folder, torch_device, on_step=on_step
        )
    return TrainedRun(run.folder / store.BEST, result.history, material.problems, material.notes)
