"""Training runs: how one begins, and what a resumed one must agree with."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lesionseg import distributed, files, store
from lesionseg.config import ModelConfig, Recipe, configure
from lesionseg.data.catalog import find_data
from lesionseg.data.filenames import fold
from lesionseg.data.source import Source, inherit
from lesionseg.errors import CheckpointError, LesionsegError, UsageError, counted
from lesionseg.network.ensemble import check_distinct
from lesionseg.network.provenance import DEFAULT_THRESHOLD, Parent, Provenance
from lesionseg.training.history import EpochScores, best_epoch, is_exhausted
from lesionseg.training.material import Material, gather

if TYPE_CHECKING:
    from torch import Tensor

    from lesionseg.network.checkpoint import Checkpoint
    from lesionseg.training.teachers import Teacher
    from lesionseg.training.trainer import TrainingResult

_CHANGEABLE = {"epochs", "validation_batch_size", "patience"}


class InitialWeights(NamedTuple):
    """Trained weights to start from.

    Attributes:
        weights: a state dict.
        parent, members, threshold: the checkpoint that they are of, and what it says of itself.
    """

    weights: "Mapping[str, Tensor]"
    parent: Parent
    members: "tuple[Provenance, ...]" = ()
    threshold: float = DEFAULT_THRESHOLD

    @classmethod
    def load(cls, name: str) -> "tuple[ModelConfig, InitialWeights]":
        """Read the shape and the weights of a checkpoint.

        Args:
            name: as for `store.find_checkpoint`.

        Raises:
            CheckpointError: no such checkpoint, or it cannot be read.
        """
        from lesionseg.network import checkpoint as checkpoints

        path = store.find_checkpoint(name)
        checkpoint = checkpoints.load(path)
        parent, members = checkpoint.as_parent(path), checkpoint.members
        return checkpoint.model, cls(checkpoint.weights, parent, members, checkpoint.threshold)

    def notes(self) -> tuple[str, ...]:
        """Say what a run that starts from them does not keep."""
        if self.threshold == DEFAULT_THRESHOLD:
            return ()
        return (
            f"the threshold {self.threshold:g} of {self.parent.file} is not kept, as it was chosen "
            f"for the weights before this training: the new checkpoints have {DEFAULT_THRESHOLD:g}"
            ", at which they are validated; 'export -o FILE.pt --threshold' sets another",
        )


@dataclass(frozen=True)
class Run:
    """A run whose photos have not been read yet.

    Attributes:
        folder: where its files are, or will be.
        model: the network.
        recipe: how it is trained.
        source: where its photos and masks are.
        last: the checkpoint that it resumes from; None where it is new.
        initial: the trained weights that a new run starts from; None for weights from the seed.
        teachers: the networks whose masks it learns, beside those of its data.
        notes: what a user must know who did not say it.
    """

    folder: Path
    model: ModelConfig
    recipe: Recipe
    source: Source
    last: "Checkpoint | None" = None
    initial: "InitialWeights | None" = None
    teachers: "Sequence[Teacher]" = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def open(
        cls,
        options: Mapping[str, Any],
        source: Source | None,
        initial: str | None = None,
        teachers: Sequence[str] = (),
        *,
        resume: bool = False,
        folder: Path | None = None,
        name: str | None = None,
    ) -> "Run":
        """Make a new run, or find the one to resume; nothing is written yet.

        Args:
            options: fields of `ModelConfig` and `Recipe`, see `configure` and `resumed`.
            source: where photos and masks are; by default the downloaded set, or a resumed run's.
            initial, teachers: checkpoints, as for `store.find_checkpoint`.
            resume: whether to resume the run in `folder` or called `name`, else the latest.
            folder, name: of the run, one of them or none.

        Raises:
            UsageError: an option is out of range, or they do not go together.
            LesionsegError: as `new` or `resume`, or a checkpoint cannot be read.
        """
        from lesionseg.training.teachers import Teacher

        if name and folder:
            raise UsageError("give either --run, a name in the cache folder, or --output, a folder")
        is_new = source and (source.unlabelled or source.fold or source.groups_file)
        if resume and (initial or teachers or is_new):
            raise UsageError(
                "--from, --teacher, --unlabelled, --fold and --groups apply to a new run; a "
                "resumed run keeps its own"
            )
        if source and source.unlabelled and not teachers:
            raise UsageError(
                "--unlabelled needs --teacher, whose masks are learned on these photos"
            )
        if resume:
            return cls.resume(options, source, folder or name)
        shape, weights = InitialWeights.load(initial) if initial else (None, None)
        loaded = [Teacher.load(teacher) for teacher in teachers]
        model, recipe = configure(options, shape)
        if weights and weights.members and recipe.low_res_fraction:
            raise UsageError(
                f"low res fraction: expected 0, as {initial} holds several networks, which are "
                f"trained at their full size, got {recipe.low_res_fraction:g}"
            )
        return cls.new(model, recipe, source, folder, name, weights, loaded)

    @classmethod
    def new(
        cls,
        model: ModelConfig,
        recipe: Recipe,
        source: Source | None,
        folder: Path | None = None,
        name: str | None = None,
        initial: "InitialWeights | None" = None,
        teachers: "Sequence[Teacher]" = (),
    ) -> "Run":
        """Choose the folder of a new run: `folder`, or one called `name` in the cache.

        Raises:
            CheckpointError: a teacher is given twice.
            LesionsegError: a run is there already, its folder cannot be written, or no source is
                given and no set was downloaded.
        """
        records = [teacher.record for teacher in teachers]
        check_distinct([known.file for known in records], [known.checksum for known in records])
        unused = distributed.broadcast(
            lambda: store.unused_run(folder) if folder else store.new_run(name)
        )
        files.check_writable(unused, is_folder=True)
        source = source or Source(find_data())
        notes = initial.notes() if initial else ()
        return cls(unused, model, recipe, source, initial=initial, teachers=teachers, notes=notes)

    @classmethod
    def resume(
        cls, options: Mapping[str, Any], source: Source | None, place: Path | str | None = None
    ) -> "Run":
        """Find a run by its folder or name, else the latest; see `resumed` for `options`.

        Data at a new place, `source`, are split as they were at the old one.

        Raises:
            LesionsegError: no such run, or it cannot be resumed.
        """
        from lesionseg.training.teachers import Teacher

        folder = distributed.broadcast(lambda: store.find_run(place))
        files.check_writable(folder, is_folder=True)
        last = distributed.broadcast(lambda: resumed(folder, options))
        used, notes = inherit(source, last.data.source(), moved=True)
        for option, path in (("--groups", used.groups_file), ("--unlabelled", used.unlabelled)):
            if path and not path.exists():
                raise LesionsegError(
                    f"{path}: {option} of {folder.name} was this, and it is no longer there; "
                    "restore it, or start a new run without --resume"
                )
        teachers = [Teacher.reload(teacher) for teacher in last.teachers]
        return cls(folder, last.model, last.recipe, used, last, teachers=teachers, notes=notes)

    def gather(self, workers: int, on_photo: Callable[[int, int], None]) -> Material:
        """Find and prepare its photos and masks, in the cache that processes share."""
        with files.shared_folder(store.pair_cache_dir()):
            return gather(self.source, self.model.image_size, workers, on_photo)

    def start(self, material: Material, command: str) -> "Checkpoint":
        """Make the checkpoint that training starts from.

        Args:
            material: the photos, from `gather`.
            command: the command line, which a new run keeps.

        Raises:
            LesionsegError: the run was started on other photos, or processes see different ones.
        """
        from lesionseg.training.trainer import initial_checkpoint

        if len(set(distributed.all_gather(material.data.fingerprint))) > 1:
            raise LesionsegError(
                "the processes see different photos or masks; give all of them the same data"
            )
        if self.last is None:
            weights, parent, members, _ = self.initial or (None, None, (), None)
            return initial_checkpoint(
                self.model,
                self.recipe,
                material.data,
                command,
                weights,
                parent,
                teachers=tuple(teacher.record for teacher in self.teachers),
                members=members,
            )
        if material.data.fingerprint != self.last.data.fingerprint:
            raise LesionsegError(
                f"{self.folder.name} was started on other photos or masks; start a new run, "
                "without --resume"
            )
        return dataclasses.replace(self.last, data=material.data)  # it may have been moved

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """Make the folder and keep other runs out of it until the block ends; on rank 0 alone.

        Raises:
            LesionsegError: another run trains in it, or a new one was quicker.
        """
        if distributed.rank() > 0:
            yield
            return
        files.create_folder(self.folder)
        with files.exclusive_lock(self.folder):
            if self.last is None:
                store.unused_run(self.folder)
            yield


def notes_before(start: "Checkpoint") -> list[str]:
    """Say what a user must know of photos, ancestors and teachers before the training begins."""
    notes = []
    ids = {fold(photo) for photo in start.earlier_ids()}
    if seen := sum(fold(photo) in ids for photo in start.data.val_ids):
        origins = {"the weights to start from": start.parent, "the teachers": start.teachers}
        origin = " or ".join(name for name, known in origins.items() if known)
        notes.append(
            f"{origin} were trained on {seen} of "
            f"{counted(len(start.data.val_ids), 'validation photo')}: the scores on these will be "
            "too high"
        )
    if start.data.synthetic:
        notes.append("these images are synthetic: the network will be useless on real photos")
    return notes


def notes_after(result: "TrainingResult") -> list[str]:
    """Say what a user must know of a run that has ended."""
    last, best, notes = result.last, best_epoch(result.history), []
    if last.epoch < last.recipe.epochs:
        notes.append(
            f"ended after epoch {last.epoch}: the Dice has not risen for "
            f"{counted(last.recipe.patience or 0, 'epoch')}"
        )
    if last.parent and result.initial_dice is not None and best.dice < result.initial_dice:
        notes.append(
            f"the best epoch is worse than the weights that it started from: Dice {best.dice:.4f}, "
            f"theirs {result.initial_dice:.4f} on the same {best.val_photos} validation photos; "
            f"keep {last.parent.file}, or try a lower --learning-rate"
        )
    return notes


def resumed(folder: Path, options: Mapping[str, Any]) -> "Checkpoint":
    """Read the last checkpoint of a run, to resume it with these options.

    `options` may change the validation batch size, which changes no weight, and the number of
    epochs where that changes nothing of the epochs before.

    Raises:
        CheckpointError: the checkpoint cannot be read, or not be resumed.
        LesionsegError: `options` asks for what the run was not started with, or all its epochs are
            done.
    """
    from lesionseg.network import checkpoint as checkpoints

    last = checkpoints.load(folder / store.LAST)
    if last.training is None and last.epoch:
        raise CheckpointError(
            f"{folder}: a checkpoint for inference only cannot be resumed; start a new run"
        )
    if (last.training or {}).get("weights"):
        raise CheckpointError(
            f"{folder} was started by an earlier lesionseg, whose recipe averaged weights; start "
            "a new run"
        )
    original = {**dataclasses.asdict(last.model), **dataclasses.asdict(last.recipe)}
    laid_out = last.recipe.schedule != "constant" or last.recipe.low_res_fraction > 0
    fixed = original.keys() - _CHANGEABLE | ({"epochs"} if laid_out else set())
    for name, value in options.items():
        if name in fixed and value != original[name]:
            what = "recipe" if name == "name" else name.replace("_", " ")
            raise LesionsegError(
                f"{folder.name} was started with {what} {original[name]}, got {value}; leave it "
                "out, or start a new run without --resume"
            )
    changes = {name: value for name, value in options.items() if name not in fixed}
    recipe = dataclasses.replace(last.recipe, **changes)
    if recipe.epochs <= last.epoch:
        more = "start a new run" if laid_out else "to continue, ask for more"
        raise LesionsegError(
            f"{folder.name} has finished its {counted(last.epoch, 'epoch')}; {more}, such "
            f"as --epochs {last.epoch + 5}"
        )
    try:
        history = [EpochScores.of(row) for row in (last.training or {}).get("history", ())]
    except (TypeError, AttributeError) as error:
        raise CheckpointError(store.with_damaged_last(folder)) from error
    if is_exhausted(history, recipe.patience):
        raise LesionsegError(
            f"{folder.name} ended after epoch {last.epoch}: its Dice had not risen for "
            f"{counted(recipe.patience or 0, 'epoch')}; to continue, ask for more, such as "
            f"--patience {recipe.patience + 5}"
        )
    return dataclasses.replace(last, recipe=recipe)
