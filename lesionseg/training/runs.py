"""Training runs: the photos that one is made on, and what a resumed one must agree with."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionseg import distributed, store
from lesionseg.data import discovery
from lesionseg.data.cache import CachedPairs, cache_pairs
from lesionseg.data.discovery import Dataset
from lesionseg.errors import LesionsegError
from lesionseg.network.provenance import TrainingData

if TYPE_CHECKING:
    from lesionseg.network.checkpoint import Checkpoint

_CHANGEABLE = {"epochs", "validation_batch_size"}


@dataclass(frozen=True)
class Source:
    """Where photos and masks are: one folder, or one of each."""

    folder: Path | None
    photos: Path | None = None
    truth: Path | None = None

    def find(self) -> Dataset:
        """The pairs there; see `discovery.find`."""
        return discovery.find(self.folder, self.photos, self.truth)

    @classmethod
    def of(cls, data: TrainingData) -> "Source | None":
        """Where a checkpoint's data were; None where it does not say, as the bundled one."""
        folders = (data.folder, data.photos_folder, data.truth_folder)
        if not any(folders):
            return None
        return cls(*(Path(folder) if folder else None for folder in folders))


@dataclass(frozen=True)
class Material:
    """A data set ready for training, and what a checkpoint will say of it."""

    training: CachedPairs
    validation: CachedPairs
    problems: tuple[str, ...]
    data: TrainingData


def gather(
    source: Source, size: int, workers: int, on_photo: Callable[[int, int], None]
) -> Material:
    """Finds the pairs, splits them and prepares both parts at `size` x `size` pixels.

    Raises:
        LesionsegError: see `discovery.find` and `cache.cache_pairs`.
    """
    found = source.find()
    first, second = found.split("train"), found.split("val")
    total = len(first) + len(second)
    if distributed.local_rank() > 0:  # on each host one process prepares, the others only map
        distributed.barrier()
    training = cache_pairs(first, size, workers, lambda done, _: on_photo(done, total))
    validation = cache_pairs(
        second, size, workers, lambda done, _: on_photo(len(first) + done, total)
    )
    if distributed.local_rank() == 0:
        distributed.barrier()
    about = found.description
    folders = (source.folder, source.photos, source.truth)
    folder, photos, truth = (str(path.absolute()) if path else "" for path in folders)
    data = TrainingData(
        name=about.name if about else found.folder.absolute().name,
        folder=folder,
        photos_folder=photos,
        truth_folder=truth,
        synthetic=about.synthetic if about else False,
        licence=about.licence if about else "",
        train_ids=training.ids,
        val_ids=validation.ids,
        fingerprint=f"{training.fingerprint}-{validation.fingerprint}",
    )
    problems = (*found.problems, *training.problems, *validation.problems)
    return Material(training, validation, problems, data)


def resumed(folder: Path, given: Mapping[str, Any]) -> "Checkpoint":
    """The last checkpoint of a run, to go on with.

    `given` may change the validation batch size, which changes no weight, and the number of epochs
    where that changes nothing of the epochs before.

    Raises:
        LesionsegError: the checkpoint cannot be read, `given` asks for what the run was not begun
            with, or all its epochs are done.
    """
    from lesionseg.network import checkpoint as checkpoints

    last = checkpoints.load(folder / store.LAST)
    if last.training is None and last.epoch:
        raise LesionsegError(f"{folder}: a checkpoint for use only; it cannot be resumed")
    if (last.training or {}).get("weights"):
        raise LesionsegError(
            f"{folder} was begun by an earlier lesionseg, whose recipe averaged weights; train anew"
        )
    begun = {**dataclasses.asdict(last.model), **dataclasses.asdict(last.recipe)}
    laid_out = last.recipe.schedule != "constant" or last.recipe.small_share > 0
    fixed = begun.keys() - _CHANGEABLE | ({"epochs"} if laid_out else set())
    for name, value in given.items():
        if name in fixed and value != begun[name]:
            what = "recipe" if name == "name" else name.replace("_", " ")
            raise LesionsegError(
                f"{folder.name} was begun with {what} {begun[name]}, "
                f"got {value}; leave it out, or train anew without --resume"
            )
    changes = {name: value for name, value in given.items() if name in _CHANGEABLE}
    recipe = dataclasses.replace(last.recipe, **changes)
    if recipe.epochs <= last.epoch:
        more = "train anew" if laid_out else "to go on, ask for more"
        raise LesionsegError(
            f"{folder.name} has all of its {last.epoch} epochs; "
            f"{more}, such as --epochs {last.epoch + 5}"
        )
    return dataclasses.replace(last, recipe=recipe)
