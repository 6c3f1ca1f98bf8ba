"""The state of a training: what changes from step to step, saved and loaded as one."""

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lesionseg.network.mean import AnyUNet
from lesionseg.training.history import EpochScores
from lesionseg.training.validation import ValidationScores


class WeightAverage:
    """A moving average of a network's weights and running statistics over the steps.

    Early steps count for less, so that the initial weights are soon forgotten.

    Args:
        network: where it begins.
        decay: of the average in each step, 0 to 1.

    Attributes:
        network: has the average as its weights.
        steps: that it is of.
    """

    def __init__(self, network: AnyUNet, decay: float) -> None:
        self.network, self._decay, self.steps = copy.deepcopy(network).eval(), decay, 0

    def update(self, network: AnyUNet) -> None:
        """Take in the network's weights after a step."""
        self.steps += 1
        decay = min(self._decay, self.steps / (self.steps + 10))
        own = network.state_dict()
        for name, average in self.network.state_dict().items():
            if average.is_floating_point():
                average.lerp_(own[name], 1 - decay)
            else:
                average.copy_(own[name])


@dataclass
class TrainingState:
    """Everything of a run that changes while it trains.

    Attributes:
        network: its weights.
        optimiser: Adam's moments and the learning rate.
        scaler: the factor of the loss in float16.
        average: the moving average of its weights; None where the recipe has none.
        epoch: full epochs behind it.
        scores: of the last of them at the network's full size, as a checkpoint has them.
        best_dice: the highest so far, at the full size; -1 before the first epoch.
        photos: of the current epoch trained on so far.
        loss_sum: the sum of their losses.
        seconds: spent on them.
        history: one row for each epoch.
        initial_dice: of the validation photos before the first epoch, where the weights were
            trained already; else None.
    """

    network: AnyUNet
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    epoch: int
    scores: dict[str, float]
    average: WeightAverage | None = None
    best_dice: float = -1.0
    photos: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    history: list[EpochScores] = field(default_factory=list)
    initial_dice: float | None = None

    def result(self) -> AnyUNet:
        """Return the network to validate and save: the average if there is one."""
        return self.average.network if self.average else self.network

    def weights(self) -> dict[str, Tensor]:
        """Return the state dict of `result`, on the CPU."""
        return {name: value.cpu() for name, value in self.result().state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs besides weights, epoch and scores, for `torch.save`.

        The state of torch's random numbers is a part of it.
        """
        averaging: dict[str, Any] = {}
        initial = {} if self.initial_dice is None else {"initial_dice": self.initial_dice}
        if self.average:
            own = self.network.state_dict()
            averaging = {"network": own, "average_steps": self.average.steps}
        return {
            **averaging,
            **initial,
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": torch.get_rng_state(),
            "best": self.best_dice,
            "photos": self.photos,
            "loss_sum": self.loss_sum,
            "seconds": self.seconds,
            "history": [scores.row() for scores in self.history],
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError, AttributeError: it is not complete, or of
                another network.
        """
        for name in ("best", "photos", "loss_sum", "seconds"):
            if type(saved[name]) not in (int, float):
                raise TypeError(f"{name}: expected a number")
        self.optimiser.load_state_dict(saved["optimiser"])
        for parameter, values in self.optimiser.state.items():
            fitting = (parameter.shape, torch.Size())  # a mean of gradients, or a count
            if any(getattr(value, "shape", None) not in fitting for value in values.values()):
                raise TypeError("optimiser: expected values of each parameter")
        if self.average:  # whose weights are those of the checkpoint
            self.network.load_state_dict(saved["network"])
            self.average.steps = saved["average_steps"]
        self.scaler.load_state_dict(saved["scaler"])
        torch.set_rng_state(saved["rng"])
        self.best_dice = saved["best"]
        self.photos = saved["photos"]
        self.loss_sum = saved["loss_sum"]
        self.seconds = saved["seconds"]
        self.initial_dice = saved.get("initial_dice")  # None in an earlier version's
        size = {"val_image_size": self.network.config.image_size}  # rows of 0.1.0 do not say it
        self.history = [EpochScores.of(size | row) for row in saved["history"]]

    def end_epoch(self, image_size: int, validation: Mapping[int, ValidationScores]) -> None:
        """Close the current epoch.

        Args:
            image_size: side of the photos that it trained on, in pixels.
            validation: the scores at the network's full size, and at `image_size`, by size.
        """
        full_size = self.network.config.image_size
        low_res = dataclasses.asdict(validation[image_size]) if image_size < full_size else {}
        self.epoch += 1
        self.scores = dataclasses.asdict(validation[full_size])
        self.history.append(
            EpochScores(
                epoch=self.epoch,
                image_size=image_size,
                learning_rate=self.optimiser.param_groups[0]["lr"],
                train_loss=self.loss_sum / self.photos,
                **self.scores,  # type: ignore[arg-type]
                seconds=round(self.seconds, 3),
                # A coarse clock may not have moved.
                photos_per_second=round(self.photos / max(self.seconds, 1e-6), 3),
                val_image_size=full_size,
                low_res_val_loss=low_res.get("val_loss"),
                low_res_dice=low_res.get("dice"),
                low_res_jaccard=low_res.get("jaccard"),
            )
        )
        self.photos, self.loss_sum, self.seconds = 0, 0.0, 0.0
