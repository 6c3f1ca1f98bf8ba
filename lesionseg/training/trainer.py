"""The training loop: forward, loss, backward, Adam; a checkpoint after each epoch.

The order of the photos and how each is augmented depend on the seed and the place in the run, and
`last.pt` holds everything else that a run is made of, also in the middle of an epoch; so a run that
was stopped and resumed on the same processor ends with the same weights as one that was not.

Several processes (see `distributed`) share the photos of each batch and end, up to rounding, with
the weights of one; rank 0 alone writes.
"""

import dataclasses
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from lesionseg import distributed, files, store
from lesionseg.config import ModelConfig, Recipe
from lesionseg.data.cache import CachedPairs
from lesionseg.data.loader import Loader, training_side
from lesionseg.errors import LesionsegError
from lesionseg.metrics import confusion
from lesionseg.network import checkpoint as checkpoints
from lesionseg.network.checkpoint import Checkpoint
from lesionseg.network.device import keep_freed_memory, memory_format, out_of_memory_says
from lesionseg.network.losses import loss_of
from lesionseg.network.provenance import TrainingData
from lesionseg.network.sync_batchnorm import convert_sync_batchnorm
from lesionseg.network.unet import UNet
from lesionseg.version import __version__

SAVE_EVERY = 300.0  # seconds between checkpoints within an epoch

History = list[dict[str, float]]  # one dict an epoch, as in `history.jsonl`
# What the network now says of validation photos: their rows -> (N, size, size) float32, 0 to 1.
Predict = Callable[[Sequence[int]], NDArray[np.float32]]

_TOO_MUCH_MEMORY = "lower --batch-size (and --val-batch-size), --width or --image-size"


@dataclass(frozen=True)
class Progress:
    """Where a run is.

    Attributes:
        epoch: counted from 1.
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
    """How `train` ended: the last checkpoint, the history (one dict an epoch), stopped or not."""

    last: Checkpoint
    history: list[dict[str, float]]
    stopped: bool


def learning_rate(recipe: Recipe, done: float) -> float:
    """The learning rate when a share `done` of the training, 0 to 1, is behind.

    "cosine": down along half a cosine to 0 (Loshchilov & Hutter 2017, arXiv:1608.03983, without
    restarts).
    """
    if recipe.schedule == "constant":
        return recipe.learning_rate
    return recipe.learning_rate * (1 + math.cos(math.pi * done)) / 2


def initial_checkpoint(
    model: ModelConfig, recipe: Recipe, data: TrainingData, command: str = ""
) -> Checkpoint:
    """A checkpoint before the first epoch, its weights drawn from the recipe's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        weights = UNet(model).state_dict()
    return Checkpoint(
        model=model,
        recipe=recipe,
        data=data,
        weights=weights,
        epoch=0,
        scores={},
        command=command,
    )


def train(
    start: Checkpoint,
    training: CachedPairs,
    validation: CachedPairs,
    folder: Path,
    device: torch.device,
    *,
    on_step: Callable[[Progress], None] = lambda step: None,
    on_epoch: Callable[[History, Predict], None] = lambda history, predict: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Trains until `start.recipe.epochs` epochs are done, or `should_stop()` says so.

    Writes `best.pt` (highest mean Dice of the validation photos), `last.pt` and `history.jsonl`
    into `folder`. Every file is whole at every moment. `start` comes from `begin`, or is a
    `last.pt` that was loaded. On Linux it keeps freed memory (see `device.keep_freed_memory`).
    After that, `on_epoch` is called with the history so far, and may look at the network's work.

    Raises:
        LesionsegError: the loss is no longer finite, memory is out, the disk is full, or another
            of several processes has ended.
    """
    keep_freed_memory()
    with out_of_memory_says(_TOO_MUCH_MEMORY):
        run = _Run(start, training, validation, folder, device)
        return run.train(on_step, on_epoch, should_stop)


class _Run:
    """A run in progress: what changes while it trains."""

    def __init__(
        self,
        start: Checkpoint,
        training: CachedPairs,
        validation: CachedPairs,
        folder: Path,
        device: torch.device,
    ) -> None:
        self.start, self.folder, self.device = start, folder, device
        self.recipe = start.recipe
        self.rank, self.world_size = distributed.rank(), distributed.world_size()
        layout = memory_format(device)
        self.training, self.validation = (
            Loader(data, device, layout) for data in (training, validation)
        )
        self.network: UNet = start.network().to(device).to(memory_format=layout)  # type: ignore[call-overload]
        self.trained: torch.nn.Module = self.network
        if self.world_size > 1:
            self.trained = DistributedDataParallel(convert_sync_batchnorm(self.network))
        self.optimiser = torch.optim.Adam(self.network.parameters())
        self.autocast_type = getattr(torch, self.recipe.precision)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.recipe.precision == "float16")
        self.epoch = start.epoch
        self.scores = start.scores
        self.best = -1.0
        self.photos = 0  # of the current epoch seen so far
        self.loss_sum = 0.0  # over those
        self.seconds = 0.0  # spent on those
        self.history: list[dict[str, float]] = []
        if start.training is not None:
            self._restore(start.training)

    def _restore(self, training: dict[str, Any]) -> None:
        self.optimiser.load_state_dict(training["optimiser"])
        self.scaler.load_state_dict(training["scaler"])
        torch.set_rng_state(training["rng"])
        for name in ("best", "photos", "loss_sum", "seconds", "history"):
            setattr(self, name, training[name])

    def _checkpoint(self, *, resumable: bool) -> Checkpoint:
        training = {
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": torch.get_rng_state(),
            "best": self.best,
            "photos": self.photos,
            "loss_sum": self.loss_sum,
            "seconds": self.seconds,
            "history": self.history,
        }
        weights = {name: value.cpu() for name, value in self.network.state_dict().items()}
        if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
            raise self._diverged("a weight")
        return dataclasses.replace(
            self.start,
            weights=weights,
            epoch=self.epoch,
            scores=self.scores,
            version=__version__,
            training=training if resumable else None,
        )

    def _save_last(self) -> Checkpoint:
        last = self._checkpoint(resumable=True)
        if self.rank == 0:
            checkpoints.save(last, self.folder / store.LAST)
        return last

    def _diverged(self, what: str) -> LesionsegError:
        kept = self.folder / store.LAST
        where = f"the last good checkpoint is {kept}" if kept.exists() else "nothing was saved yet"
        return LesionsegError(
            f"{what} is no longer finite in epoch {self.epoch + 1} after {self.photos} photos; "
            f"{where}; lower --learning-rate (now {self.recipe.learning_rate:g})"
            + ("" if self.recipe.precision == "float32" else " or use --precision float32")
        )

    def train(
        self,
        on_step: Callable[[Progress], None],
        on_epoch: Callable[[History, Predict], None],
        should_stop: Callable[[], bool],
    ) -> TrainingResult:
        """See the function `train`."""
        try:
            return self._epochs(on_step, on_epoch, should_stop)
        except RuntimeError as error:
            if not distributed.lost(error):
                raise
            self._save_last()
            kept = f"the run is kept in {self.folder}; go on with it by --resume"
            if not (self.folder / store.LAST).exists():
                kept = "nothing was saved yet; start anew"
            raise LesionsegError(
                f"another of the {self.world_size} processes has ended; {kept}"
            ) from error

    def _epochs(
        self,
        on_step: Callable[[Progress], None],
        on_epoch: Callable[[History, Predict], None],
        should_stop: Callable[[], bool],
    ) -> TrainingResult:
        saved, stop = time.monotonic(), False
        while self.epoch < self.recipe.epochs:
            self.network.train()
            began = time.perf_counter()
            for batch, photos, masks in self.training.epoch(self.recipe, self.epoch, self.photos):
                if stop or (self.world_size == 1 and should_stop()):
                    return self._stopped()
                if time.monotonic() - saved > SAVE_EVERY:
                    self._save_last()
                    saved = time.monotonic()
                loss, stop = self._step(batch, photos, masks, should_stop)
                if not math.isfinite(loss):
                    raise self._diverged("the loss")
                self.photos += batch
                self.loss_sum += loss * batch
                self.seconds += time.perf_counter() - began
                on_step(self._at(self.photos, len(self.training)))
                began = time.perf_counter()
            validated = self._validate(on_step, should_stop)
            if validated is None:
                return self._stopped()
            self._end_epoch(validated)
            saved = time.monotonic()
            on_epoch(self.history, self._predict)
        return TrainingResult(self._checkpoint(resumable=True), self.history, stopped=False)

    def _stopped(self) -> TrainingResult:
        last = self._save_last()
        distributed.barrier()  # the end of a process may end the others at once
        return TrainingResult(last, self.history, stopped=True)

    def _step(
        self, batch: int, photos: Tensor, masks: Tensor, should_stop: Callable[[], bool]
    ) -> tuple[float, bool]:
        """One step of all processes: the mean loss of the batch, and whether any wants to stop."""
        done = (self.epoch + self.photos / len(self.training)) / self.recipe.epochs
        self.optimiser.param_groups[0]["lr"] = learning_rate(self.recipe, done)
        self.optimiser.zero_grad(set_to_none=True)
        before = [each.clone() for each in self.network.buffers()] if self.world_size > 1 else []
        try:
            with self._autocast():
                logits = self.trained(photos)
            loss = loss_of(logits.float(), masks, self.recipe.loss)
            # The gradients' mean over the processes is then that of the whole batch.
            loss = loss * (
                len(photos) * self.world_size / batch if batch >= self.world_size else 1.0
            )
            told = loss.detach().new_tensor([0.0, float(self.world_size > 1 and should_stop())])
            told[0] = loss.detach() / self.world_size
            distributed.all_reduce(told)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        except RuntimeError:  # where a process was lost, no part of this step may be kept
            for each, value in zip(self.network.buffers(), before, strict=False):
                each.copy_(value)
            raise
        self.scaler.step(self.optimiser)
        self.scaler.update()
        mean, stop = told.tolist()
        return mean, stop > 0

    def _autocast(self) -> torch.autocast:
        mixed = self.recipe.precision != "float32"
        return torch.autocast(self.device.type, self.autocast_type, enabled=mixed)

    def _at(self, photos: int, total: int, validating: bool = False) -> Progress:
        return Progress(self.epoch + 1, photos, total, self.loss_sum / self.photos, validating)

    def _validate(
        self, on_step: Callable[[Progress], None], should_stop: Callable[[], bool]
    ) -> dict[str, float] | None:
        """Means over the validation photos, each scored alone; None when told to stop."""
        size = self.recipe.validation_batch_size
        losses, stop = 0.0, False
        dice: list[float] = []
        jaccard: list[float] = []
        ours = np.arange(len(self.validation))[self.rank :: self.world_size]
        self.network.eval()
        for first in range(0, len(ours), size):
            if stop := should_stop():
                break
            rows = ours[first : first + size]
            photos, masks = self.validation.batch(rows)
            with torch.inference_mode(), self._autocast():
                logits = self.network(photos).float()
            losses += loss_of(logits, masks, self.recipe.loss).item() * len(photos)
            lesion = (logits > 0).squeeze(1).cpu().numpy()
            for prediction, truth in zip(lesion, self.validation.data.masks[rows], strict=True):
                counts = confusion(prediction, truth.astype(bool))
                dice.append(counts.dice)
                jaccard.append(counts.jaccard)
            done = min(len(dice) * self.world_size, len(self.validation))
            on_step(self._at(done, len(self.validation), validating=True))
        shares = distributed.all_gather((losses, dice, jaccard, stop))
        if any(stop for *_, stop in shares):
            return None
        count = len(self.validation)
        return {
            "val_loss": sum(losses for losses, *_ in shares) / count,
            "dice": float(np.mean([each for _, dice, _, _ in shares for each in dice])),
            "jaccard": float(np.mean([each for _, _, jaccard, _ in shares for each in jaccard])),
            "val_photos": count,
        }

    def _predict(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """Probabilities for validation photos, one at a time: a few, to be looked at."""
        self.network.eval()
        with torch.inference_mode(), self._autocast():
            logits = [self.network(self.validation.batch(np.array([row]))[0]) for row in rows]
        soft: NDArray[np.float32] = torch.cat(logits).float().sigmoid().squeeze(1).cpu().numpy()
        return soft

    def _end_epoch(self, validated: dict[str, float]) -> None:
        """Writes best, history and last; all of it again when killed in between and resumed."""
        if not math.isfinite(validated["val_loss"]):
            raise self._diverged("the validation loss")
        side = training_side(self.recipe, self.start.model.image_size, self.epoch)
        self.epoch += 1
        self.scores = validated
        self.history.append(
            {
                "epoch": self.epoch,
                "image_size": side,
                "learning_rate": self.optimiser.param_groups[0]["lr"],  # of its last step
                "train_loss": self.loss_sum / self.photos,
                **validated,
                "seconds": round(self.seconds, 3),
                # A coarse clock may not have moved.
                "photos_per_second": round(self.photos / max(self.seconds, 1e-6), 3),
            }
        )
        self.photos, self.loss_sum, self.seconds = 0, 0.0, 0.0
        if validated["dice"] > self.best:
            self.best = validated["dice"]
            if self.rank == 0:
                checkpoints.save(self._checkpoint(resumable=False), self.folder / store.BEST)
        if self.rank > 0:
            return
        lines = "".join(json.dumps(line) + "\n" for line in self.history)
        files.write(self.folder / store.HISTORY, lines)
        self._save_last()
