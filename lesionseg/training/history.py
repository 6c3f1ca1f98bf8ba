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
        val_loss, dice, jaccard: means over the validation photos; see `ValidationScores`.
        val_photos: how many these are.
        seconds: spent on training, without validation.
        photos_per_second: of the same.
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

    def row(self) -> dict[str, float]:
        """Give the fields by name, as values that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "EpochScores":
        """Read what `row` gave.

        Raises:
            TypeError: a field is missing, or not known.
        """
        return cls(**row)


History = Sequence[EpochScores]


def json_lines(history: History) -> str:
    """Write a history as the text of `history.jsonl`."""
    return "".join(json.dumps(scores.row()) + "\n" for scores in history)


def best_epoch(history: History) -> EpochScores:
    """Choose the first epoch of the highest mean Dice, whose weights are in `best.pt`."""
    return max(history, key=lambda scores: scores.dice)
