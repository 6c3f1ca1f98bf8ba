"""The history of a run: a row for each epoch, a JSON object each in `history.jsonl`."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class EpochScores:
    """What an epoch came to.

    Attributes:
        epoch: counted from 1.
        image_size: side of the photos that it trained on, in pixels.
        learning_rate: of its last step.
        train_loss: mean over the training photos, of the weights at their step.
        val_loss, dice, jaccard: means over the validation photos at the network's full size; see
            `ValidationScores`.
        val_photos: how many these are.
        seconds: spent on training, without validation.
        photos_per_second: of the same.
        val_image_size: side at which val_loss, dice and jaccard were measured, in pixels; None in
            rows of version 0.1.0, which measured at the network's full size.
        low_res_val_loss, low_res_dice, low_res_jaccard: the same means at `image_size`, where that
            is smaller; else None.
    """

    epoch: int
    image_size: int
    learning_rate: float
    train_loss: float
    val_loss: float
    dice: float
    jaccard: float
    val_photos: int
    seconds: float
    photos_per_second: float
    val_image_size: int | None = None
    low_res_val_loss: float | None = None
    low_res_dice: float | None = None
    low_res_jaccard: float | None = None

    def row(self) -> dict[str, float]:
        """Return the fields that have a value, by name, as values that JSON can hold."""
        fields = dataclasses.asdict(self)
        return {name: value for name, value in fields.items() if value is not None}

    def as_trained(self) -> "EpochScores":
        """Return the row with the validation scores at the size that was trained."""
        if (
            self.low_res_val_loss is None
            or self.low_res_dice is None
            or self.low_res_jaccard is None
        ):
            return self
        return dataclasses.replace(
            self,
            val_loss=self.low_res_val_loss,
            dice=self.low_res_dice,
            jaccard=self.low_res_jaccard,
            val_image_size=self.image_size,
        )

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "EpochScores":
        """Read what `row` gave.

        Raises:
            TypeError: a field is missing, not known, or not a number.
        """
        values = row.values() if isinstance(row, Mapping) else [row]
        if not all(value is None or type(value) in (int, float) for value in values):
            raise TypeError("expected numbers in each row")
        return cls(**row)


History = Sequence[EpochScores]


def epochs_without_gain(history: History) -> int:
    """Count the epochs at full size since the best one; those at low resolution do not count."""
    if not history:
        return 0
    best = best_epoch(history).epoch
    return sum(row.epoch > best and row.low_res_dice is None for row in history)


def is_exhausted(history: History, patience: int) -> bool:
    """Tell whether the Dice has not risen for `patience` epochs; never if that is 0."""
    return 0 < patience <= epochs_without_gain(history)


def json_lines(history: History) -> str:
    """Write a history as the text of `history.jsonl`."""
    return "".join(json.dumps(scores.row()) + "\n" for scores in history)


def best_epoch(history: History) -> EpochScores:
    """Choose the first epoch of the highest mean Dice, whose weights are in `best.pt`."""
    return max(history, key=lambda scores: scores.dice)
