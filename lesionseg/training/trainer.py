"""The training loop: forward, loss, backward, Adam; a checkpoint after each epoch.

The order of the photos and how each is augmented depend on the seed and the place in the run, and
`last.pt` holds everything else that a run is made of, also in the middle of an epoch; so a run that
was stopped and resumed on the same processor ends with the same weights as one that was not.

Several processes (see `distributed`) share the photos of each batch and end, up to rounding, with
the weights of one; rank 0 alone writes.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from lesionseg import distributed, files, store
from lesionseg.config import ModelConfig, Recipe
from lesionseg.data.cache import CachedPairs
from lesionseg.data.loader import Loader, training_side
from lesionseg.errors import CheckpointError, LesionsegError, counted
from lesionseg.network import checkpoint as checkpoints
from lesionseg.network.checkpoint import Checkpoint
from lesionseg.network.device import keep_freed_memory, memory_format, out_of_memory_says
from lesionseg.network.losses import loss_of
from lesionseg.network.mean import AnyUNet
from lesionseg.network.provenance import Parent, Provenance, TrainingData
from lesionseg.network.sync_batchnorm import convert_sync_batchnorm
from lesionseg.network.unet import UNet, shrink_weights
from lesionseg.training.history import History, is_exhausted, json_lines
from lesionseg.training.state import TrainingState, WeightAverage
from lesionseg.training.teachers import Teachers
from lesionseg.training.validation import ValidationScores, validate
from lesionseg.version import __version__

SAVE_EVERY = 300.0  # seconds between checkpoints within an epoch

# What the network now says of validation photos: their rows -> (N, size, size) float32, 0 to 1.
Predict = Callable[[Sequence[int]], NDArray[np.float32]]

_TOO_MUCH_MEMORY = "lower --batch-size (and --val-batch-size), --width or --image-size"


@dataclass(frozen=True)
class Progress:
    """Where a run is.

    Attributes:
        epoch: counted from 1; 0 while the weights that a run starts from are validated.
        photos: of this epoch trained on so far; while validating, validated so far.
        total: how many there are of these.
        loss: mean over the photos of this epoch trained on so far.
        validating: whether the epoch's training is over.
    """

    epoch: int
    photos: int
    total: int
    loss: float
    validating: bool = False


@dataclass(frozen=True)
class TrainingResult:
    """How `train` ended.

    Attributes:
        last: the last checkpoint.
        history: a row for each epoch.
        stopped: whether it was asked to stop before its end.
        initial_dice: mean over the validation photos of the trained weights that the run started
            from; None where it started from none.
    """

    last: Checkpoint
    history: History
    stopped: bool
    initial_dice: float | None = None


def learning_rate(recipe: Recipe, done: float) -> float:
    """Return the learning rate when a share `done` of the training, 0 to 1, is done.

    "cosine": down along half a cosine to 0 (Loshchilov & Hutter 2017, arXiv:1608.03983, without
    restarts).
    """
    if recipe.schedule == "constant":
        return recipe.learning_rate
    return recipe.learning_rate * (1 + math.cos(math.pi * done)) / 2


def initial_checkpoint(
    model: ModelConfig,
    recipe: Recipe,
    data: TrainingData,
    command: str = "",
    weights: Mapping[str, Tensor] | None = None,
    parent: Parent | None = None,
    teachers: tuple[Parent, ...] = (),
    members: tuple[Provenance, ...] = (),
) -> Checkpoint:
    """Make a checkpoint before the first epoch.

    Its weights are those of `parent`, given as `weights`, with its `members`; else they are drawn
    from the recipe's seed.
    """

    def renewed(member: Provenance) -> Provenance:
        """Describe it before the first epoch; `parent` says what it was trained on before."""
        parts = tuple(map(renewed, member.members))
        return Provenance(
            model=member.model,
            recipe=recipe,
            data=data,
            epoch=0,
            scores={},
            command=command,
            members=parts,
        )

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = UNet(model)
        if recipe.initialisation == "small":
            shrink_weights(network)
    return Checkpoint(
        model=model,
        recipe=recipe,
        data=data,
        weights=network.state_dict() if weights is None else dict(weights),
        epoch=0,
        scores={},
        command=command,
        parent=parent,
        teachers=teachers,
        members=tuple(map(renewed, members)),
    )


def train(
    start: Checkpoint,
    training: CachedPairs,
    validation: CachedPairs,
    folder: Path,
    device: torch.device,
    *,
    teachers: Sequence[AnyUNet] = (),
    on_step: Callable[[Progress], None] = lambda progress: None,
    on_epoch: Callable[[History, Predict], None] = lambda history, predict: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Train until all epochs or the recipe's patience are at an end, or `should_stop()` says so.

    Writes `best.pt` (highest mean Dice of the validation photos at full size), `last.pt` and
    `history.jsonl` into `folder`. Every file is whole at every moment. `start` comes from
    `initial_checkpoint`, or is a `last.pt` that was loaded. On Linux it keeps freed memory (see
    `device.keep_freed_memory`). After each epoch, `on_epoch` is called with the history so far, and
    may look at the network's work. Of `teachers`, networks on the CPU, it learns the mean masks,
    beside those of the photos.

    Raises:
        CheckpointError: the state of the training that `start` was loaded with is damaged.
        LesionsegError: the loss is no longer finite, memory is out, the disk is full, or another
            of several processes has ended.
    """
    keep_freed_memory()
    torch.backends.cudnn.benchmark = True  # all batches but the last have one shape
    with out_of_memory_says(_TOO_MUCH_MEMORY):
        trainer = _Trainer(start, training, validation, folder, device, teachers)
        return trainer.train(on_step, on_epoch, should_stop)


class _Trainer:
    """One run: what it is made of, its state, and the loop."""

    def __init__(
        self,
        start: Checkpoint,
        training: CachedPairs,
        validation: CachedPairs,
        folder: Path,
        device: torch.device,
        teachers: Sequence[AnyUNet],
    ) -> None:
        self.start, self.folder, self.device, self.recipe = start, folder, device, start.recipe
        self.full_size = start.model.image_size
        layout = memory_format(device)
        self.training = Loader(training, device, layout)
        self.validation = Loader(validation, device, layout)
        network: AnyUNet = start.network().to(device).to(memory_format=layout)  # type: ignore[call-overload]
        precision = getattr(torch, self.recipe.precision)
        self.teachers = Teachers(teachers, device, precision) if teachers else None
        self.parallel: torch.nn.Module = network  # the network as all processes train it
        if distributed.world_size() > 1:
            self.parallel = DistributedDataParallel(convert_sync_batchnorm(network))
        self.state = TrainingState(
            network=network,
            optimiser=torch.optim.Adam(network.parameters()),
            scaler=torch.amp.GradScaler(device.type, enabled=self.recipe.precision == "float16"),
            epoch=start.epoch,
            scores=start.scores,
            average=WeightAverage(network, self.recipe.averaging)
            if self.recipe.averaging
            else None,
        )
        if start.training is not None:
            try:
                self.state.load_state_dict(start.training)
            except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
                raise CheckpointError(store.with_damaged_last(folder)) from error
        self.saved = time.monotonic()  # when the last checkpoint was written

    def train(
        self,
        on_step: Callable[[Progress], None],
        on_epoch: Callable[[History, Predict], None],
        should_stop: Callable[[], bool],
    ) -> TrainingResult:
        """See the function `train`."""
        self.on_step, self.on_epoch, self.should_stop = on_step, on_epoch, should_stop
        try:
            return self._train()
        except RuntimeError as error:
            if not distributed.lost(error):
                raise
            self._save_last()
            advice = f"the run is kept in {self.folder}; resume it with --resume"
            if not (self.folder / store.LAST).exists():
                advice = "nothing was saved yet; start again"
            raise LesionsegError(
                f"another of the {distributed.world_size()} processes has ended; {advice}"
            ) from error

    def _train(self) -> TrainingResult:
        if not self._validate_initial():
            return self._stop()
        while self.state.epoch < self.recipe.epochs and not is_exhausted(
            self.state.history, self.recipe.patience
        ):
            if not self._train_epoch() or (scores := self._validate()) is None:
                return self._stop()
            self._end_epoch(scores)
            self.on_epoch(self.state.history, self._predict)
        return self._result(self._checkpoint(resumable=True), stopped=False)

    def _stop(self) -> TrainingResult:
        last = self._save_last()
        distributed.barrier()  # the end of a process may end the others at once
        return self._result(last, stopped=True)

    def _result(self, last: Checkpoint, *, stopped: bool) -> TrainingResult:
        return TrainingResult(last, self.state.history, stopped, self.state.initial_dice)

    def _validate_initial(self) -> bool:
        """Score the weights of the run's parent once; return False where it was asked to stop."""
        state = self.state
        begun = state.epoch or state.photos or state.initial_dice is not None
        if self.start.parent is None or begun:
            return True
        scores = self._validate()
        if scores is None:
            return False
        state.initial_dice = scores[self.full_size].dice
        return True

    def _train_epoch(self) -> bool:
        """Train to the end of the epoch; return False where a process was asked to stop before."""
        state = self.state
        state.network.train()
        began = time.perf_counter()
        for batch, photos, masks in self.training.epoch(self.recipe, state.epoch, state.photos):
            if distributed.any_of(self.should_stop()):
                return False
            if time.monotonic() - self.saved > SAVE_EVERY:
                self._save_last()
                self.saved = time.monotonic()
            loss = self._step(batch, photos, masks)
            if not math.isfinite(loss):
                raise self._diverged("the loss")
            state.photos += batch
            state.loss_sum += loss * batch
            state.seconds += time.perf_counter() - began
            self._report(state.photos, len(self.training))
            began = time.perf_counter()
        return True

    def _step(self, batch: int, photos: Tensor, masks: Tensor) -> float:
        """Take one step with all processes; return the mean loss of the whole batch.

        Args:
            batch: photos in the whole batch.
            photos: (b, 3, side, side), this process's share of it.
            masks: (b, 1, side, side) float32.
        """
        state, recipe, processes = self.state, self.recipe, distributed.world_size()
        done = (state.epoch + state.photos / len(self.training)) / recipe.epochs
        state.optimiser.param_groups[0]["lr"] = learning_rate(recipe, done)
        state.optimiser.zero_grad(set_to_none=True)
        if self.teachers:
            masks = self.teachers.blend(photos, masks, recipe.teacher_weight)
        with _restored_where_lost(state.network):
            with self._autocast():
                logits = self.parallel(photos)
            loss = loss_of(logits.float(), masks, recipe.loss)
            # The gradients' mean over the processes is then that of the whole batch.
            loss = loss * (len(photos) * processes / batch if batch >= processes else 1.0)
            mean = distributed.all_reduce(loss.detach() / processes)
            state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        state.scaler.step(state.optimiser)
        state.scaler.update()
        if state.average:
            state.average.update(state.network)
        return mean.item()

    def _autocast(self) -> torch.autocast:
        precision = self.recipe.precision
        return torch.autocast(
            self.device.type, getattr(torch, precision), enabled=precision != "float32"
        )

    def _report(self, photos: int, total: int, *, validating: bool = False) -> None:
        state = self.state
        epoch, loss = (state.epoch + 1, state.loss_sum / state.photos) if state.photos else (0, 0.0)
        self.on_step(Progress(epoch, photos, total, loss, validating))

    def _logits(self, photos: Tensor) -> Tensor:
        """Compute the logits of photos, (B, 1, H, W) float32, without gradients."""
        network = self.state.result().eval()
        with torch.inference_mode(), self._autocast():
            logits: Tensor = network(photos).float()
        return logits

    def _validate(self) -> dict[int, ValidationScores] | None:
        """Score the validation photos at full size and at the size that the epoch trains on.

        Returns None where a process was asked to stop.
        """
        return validate(
            self._logits,
            self.validation,
            self.recipe,
            {self.full_size, self._side()},
            on_photos=lambda done: self._report(done, len(self.validation), validating=True),
            should_stop=self.should_stop,
        )

    def _predict(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """Compute probabilities of validation photos, one at a time: a few, to be looked at."""
        logits = [self._logits(self.validation.batch(np.array([row]))[0]) for row in rows]
        probabilities: NDArray[np.float32] = torch.cat(logits).sigmoid().squeeze(1).cpu().numpy()
        return probabilities

    def _side(self) -> int:
        """Return the side of the photos that the current epoch trains on, in pixels."""
        return training_side(self.recipe, self.full_size, self.state.epoch)

    def _end_epoch(self, scores: Mapping[int, ValidationScores]) -> None:
        """Write best, history and last; all of it again when killed in between and resumed."""
        if not all(math.isfinite(score.val_loss) for score in scores.values()):
            raise self._diverged("the validation loss")
        state, dice = self.state, scores[self.full_size].dice
        state.end_epoch(self._side(), scores)
        if dice > state.best_dice:
            state.best_dice = dice
            if distributed.rank() == 0:
                checkpoints.save(self._checkpoint(resumable=False), self.folder / store.BEST)
        if distributed.rank() == 0:
            files.write(self.folder / store.HISTORY, json_lines(state.history))
            self._save_last()
        self.saved = time.monotonic()

    def _save_last(self) -> Checkpoint:
        last = self._checkpoint(resumable=True)
        if distributed.rank() == 0:
            checkpoints.save(last, self.folder / store.LAST)
        return last

    def _checkpoint(self, *, resumable: bool) -> Checkpoint:
        weights = self.state.weights()
        if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
            raise self._diverged("a weight")
        return dataclasses.replace(
            self.start,
            weights=weights,
            epoch=self.state.epoch,
            scores=self.state.scores,
            members=tuple(
                dataclasses.replace(member, epoch=self.state.epoch) for member in self.start.members
            ),
            version=__version__,
            training=self.state.state_dict() if resumable else None,
        )

    def _diverged(self, what: str) -> LesionsegError:
        path = self.folder / store.LAST
        saved = f"the last good checkpoint is {path}" if path.exists() else "nothing was saved yet"
        return LesionsegError(
            f"{what} is no longer finite in epoch {self.state.epoch + 1} after "
            f"{counted(self.state.photos, 'photo')}; {saved}; lower --learning-rate (now "
            f"{self.recipe.learning_rate:g})"
            + ("" if self.recipe.precision == "float32" else " or use --precision float32")
        )


@contextmanager
def _restored_where_lost(network: torch.nn.Module) -> Iterator[None]:
    """Undo what the block did to running means and variances where a process was lost in it."""
    if distributed.world_size() == 1:
        yield
        return
    before = [buffer.clone() for buffer in network.buffers()]
    try:
        yield
    except RuntimeError:
        for buffer, value in zip(network.buffers(), before, strict=True):
            buffer.copy_(value)
        raise
