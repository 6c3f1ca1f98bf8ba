"""What a network and a training run are made of: every default and every range check, once."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from lesionseg.errors import LesionsegError

Normalisation = Literal["batch", "none"]
Precision = Literal["float32", "bfloat16", "float16"]
RecipeName = Literal["classic"]
DEPTH = 4  # poolings in the U-Net, so that its input must be a multiple of 2**DEPTH
VALIDATION_SHARE = 0.1  # of a set that brings no split of its own


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise LesionsegError(f"{name}: expected {low} to {high}, got {value}")


def _choose(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise LesionsegError(f"{name}: expected one of {', '.join(allowed)}, got {value!r}")


@dataclass(frozen=True)
class ModelConfig:
    """The U-Net's shape. A checkpoint carries it.

    Attributes:
        width: channels of the first encoder block; each of the four poolings doubles them.
        normalisation: batch normalisation after each 3x3 convolution, or none (the textbook).
        image_size: side of the square input in pixels, a multiple of 16.

    Raises:
        LesionsegError: a value out of range.
    """

    width: int = 16
    normalisation: Normalisation = "batch"
    image_size: int = 256

    def __post_init__(self) -> None:
        _check("width", self.width, 1, 256)
        _choose("normalisation", self.normalisation, get_args(Normalisation))
        _check("image size", self.image_size, 32, 2048)
        if self.image_size % 2**DEPTH:
            raise LesionsegError(
                f"image size: expected a multiple of {2**DEPTH}, got {self.image_size}"
            )


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: binary cross-entropy on the logits, Adam at a constant rate.

    Attributes:
        name: the recipe that the values come from.
        epochs: passes over the training photos.
        learning_rate: of Adam.
        batch_size: photos a training step.
        validation_batch_size: photos a validation step; changes speed and memory only.
        seed: of the weights at the start and of the order of the photos.
        precision: of the network's arithmetic; below float32 it is mixed (autocast).

    Raises:
        LesionsegError: a value out of range.
    """

    name: RecipeName = "classic"
    epochs: int = 5
    learning_rate: float = 1e-4
    batch_size: int = 8
    validation_batch_size: int = 4
    seed: int = 0
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        _check("epochs", self.epochs, 1, 100_000)
        _check("learning rate", self.learning_rate, 1e-9, 10)
        _check("batch size", self.batch_size, 1, 4096)
        _check("validation batch size", self.validation_batch_size, 1, 4096)
        _check("seed", self.seed, 0, 2**32 - 1)
        _choose("precision", self.precision, get_args(Precision))


RECIPES: dict[RecipeName, Recipe] = {"classic": Recipe()}


def configure(given: Mapping[str, Any]) -> tuple[ModelConfig, Recipe]:
    """The network and the recipe, with the fields in `given` in place of the defaults.

    `given["name"]` is the recipe's name, `classic` if left out.

    Raises:
        LesionsegError: a value out of range, or no recipe of that name.
    """
    name = given.get("name", "classic")
    _choose("recipe", name, get_args(RecipeName))
    shape = {field.name for field in fields(ModelConfig)}
    model = ModelConfig(**{key: value for key, value in given.items() if key in shape})
    changes = {key: value for key, value in given.items() if key not in shape}
    return model, replace(RECIPES[name], **changes)
