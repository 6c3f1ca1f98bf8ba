"""The training loop: binary cross-entropy on the logits, Adam, a checkpoint after each epoch.

The order of the photos depends on the seed and the epoch alone, and `last.pt` holds everything
else that a run is made of, also in the middle of an epoch; so a run that was stopped and resumed
on the same processor ends with the same weights as one that was not.
"""

import dataclasses
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lesionseg import __version__, store
from lesionseg import checkpoint as checkpoints
from lesionseg.checkpoint import Checkpoint, TrainingData
from lesionseg.config import ModelConfig, Recipe
from lesionseg.device import keep_freed_memory, memory_format, out_of_memory_says
from lesionseg.errors import LesionsegError
from lesionseg.metrics import confusion
from lesionseg.model import UNet
from lesionseg.prepared import Prepared

SAVE_EVERY = 300.0  # seconds between checkpoints within an epoch

_TOO_MUCH_MEMORY = "lower --batch-size (and --val-batch-size), --width or --image-size"


@dataclass(frozen=True)
class Step:
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
class Outcome:
    """How `train` ended: the last checkpoint, the history (one dict an epoch), stopped or not."""

    last: Checkpoint
    history: list[dict[str, float]]
    stopped: bool


def begin(model: ModelConfig, recipe: Recipe, data: TrainingData) -> Checkpoint:
    """A checkpoint before the first epoch, its weights drawn from the recipe's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        weights = UNet(model).state_dict()
    return Checkpoint(model, recipe, data, weights, epoch=0, scores={})


def train(
    start: Checkpoint,
    training: Prepared,
    validation: Prepared,
    folder: Path,
    device: torch.device,
    *,
    on_step: Callable[[Step], None] = lambda step: None,
    on_epoch: Callable[[dict[str, float]], None] = lambda scores: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Trains until `start.recipe.epochs` epochs are done, or `should_stop()` says so.

    Writes `best.pt` (highest mean Dice of the validation photos), `last.pt` and `history.jsonl`
    into `folder`. Every file is whole at every moment. `start` comes from `begin`, or is a
    `last.pt` that was loaded. On Linux it keeps freed memory (see `device.keep_freed_memory`).

    Raises:
        LesionsegError: the loss is no longer finite, memory is out, or the disk is full.
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
        training: Prepared,
        validation: Prepared,
        folder: Path,
        device: torch.device,
    ) -> None:
        self.start, self.folder, self.device = start, folder, device
        self.recipe = start.recipe
        self.training, self.validation = training, validation
        self.layout = memory_format(device)
        self.network = start.network().to(device)
        self.network = self.network.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.optimiser = torch.optim.Adam(self.network.parameters(), self.recipe.learning_rate)
        self.loss = nn.BCEWithLogitsLoss()
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
        on_step: Callable[[Step], None],
        on_epoch: Callable[[dict[str, float]], None],
        should_stop: Callable[[], bool],
    ) -> Outcome:
        """See the function `train`."""
        saved = time.monotonic()
        while self.epoch < self.recipe.epochs:
            order = np.random.default_rng([self.recipe.seed, self.epoch]).permutation(
                len(self.training)
            )
            self.network.train()
            while self.photos < len(order):
                if should_stop():
                    return Outcome(self._save_last(), self.history, stopped=True)
                if time.monotonic() - saved > SAVE_EVERY:
                    self._save_last()
                    saved = time.monotonic()
                began = time.perf_counter()
                rows = order[self.photos : self.photos + self.recipe.batch_size]
                loss = self._step(*self._batch(self.training, rows))
                if not math.isfinite(loss):
                    raise self._diverged("the loss")
                self.photos += len(rows)
                self.loss_sum += loss * len(rows)
                self.seconds += time.perf_counter() - began
                on_step(self._at(self.photos, len(order)))
            validated = self._validate(on_step, should_stop)
            if validated is None:
                return Outcome(self._save_last(), self.history, stopped=True)
            self._end_epoch(validated)
            saved = time.monotonic()
            on_epoch(self.history[-1])
        return Outcome(self._checkpoint(resumable=True), self.history, stopped=False)

    def _step(self, photos: Tensor, masks: Tensor) -> float:
        self.optimiser.zero_grad(set_to_none=True)
        with self._autocast():
            logits = self.network(photos)
        loss: Tensor = self.loss(logits.float(), masks)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return loss.item()

    def _autocast(self) -> torch.autocast:
        mixed = self.recipe.precision != "float32"
        return torch.autocast(self.device.type, self.autocast_type, enabled=mixed)

    def _batch(self, data: Prepared, rows: Any) -> tuple[Tensor, Tensor]:
        """(B, 3, size, size) uint8 photos and (B, 1, size, size) float32 masks, on the device."""
        photos = torch.from_numpy(np.array(data.photos[rows])).permute(0, 3, 1, 2)
        masks = torch.from_numpy(np.array(data.masks[rows])).unsqueeze(1)
        return (
            photos.to(self.device).contiguous(memory_format=self.layout),
            masks.to(self.device).float(),
        )

    def _at(self, photos: int, total: int, validating: bool = False) -> Step:
        return Step(self.epoch + 1, photos, total, self.loss_sum / self.photos, validating)

    def _validate(
        self, on_step: Callable[[Step], None], should_stop: Callable[[], bool]
    ) -> dict[str, float] | None:
        """Means over the validation photos, each scored alone; None when told to stop."""
        size = self.recipe.validation_batch_size
        losses, dice, jaccard = 0.0, [], []
        self.network.eval()
        for first in range(0, len(self.validation), size):
            if should_stop():
                return None
            rows = slice(first, first + size)
            photos, masks = self._batch(self.validation, rows)
            with torch.inference_mode(), self._autocast():
                logits = self.network(photos).float()
            losses += self.loss(logits, masks).item() * len(photos)
            lesion = (logits > 0).squeeze(1).cpu().numpy()
            for prediction, truth in zip(lesion, self.validation.masks[rows], strict=True):
                counts = confusion(prediction, truth.astype(bool))
                dice.append(counts.dice)
                jaccard.append(counts.jaccard)
            on_step(self._at(len(dice), len(self.validation), validating=True))
        return {
            "val_loss": losses / len(dice),
            "dice": float(np.mean(dice)),
            "jaccard": float(np.mean(jaccard)),
            "val_photos": len(dice),
        }

    def _end_epoch(self, validated: dict[str, float]) -> None:
        """Writes best, history and last; all of it again when killed in between and resumed."""
        if not math.isfinite(validated["val_loss"]):
            raise self._diverged("the validation loss")
        self.epoch += 1
        self.scores = validated
        self.history.append(
            {
                "epoch": self.epoch,
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
            checkpoints.save(self._checkpoint(resumable=False), self.folder / store.BEST)
        lines = "".join(json.dumps(line) + "\n" for line in self.history)
        with store.replacing(self.folder / store.HISTORY) as temporary:
            temporary.write_text(lines, encoding="utf-8")
        self._save_last()
