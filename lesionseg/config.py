"""What a network and a training run are made of: every default and every range check, once."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, Literal, get_args

from lesionseg.errors import UsageError

Normalisation = Literal["batch", "none"]
Stem = Literal["strided", "quarter", "none"]
Standardisation = Literal["fixed", "photo"]
Precision = Literal["float32", "bfloat16", "float16"]
RecipeName = Literal["classic", "accurate", "finetune"]
Loss = Literal["bce", "bce+dice", "bce+jaccard", "bce+tversky"]
Schedule = Literal["constant", "cosine"]
Augmentation = Literal["none", "full", "wide"]
Kernels = Literal["float32", "int8"]  # of an exported network
Initialisation = Literal["he", "small"]
VALIDATION_SHARE = 0.1  # of a set that brings no split of its own
TOLERANCE = 1.0  # pixels that an outline in labels may leave the mask's border by


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UsageError(f"{name}: expected {low} to {high}, got {value}")


def _choose(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"{name}: expected one of {', '.join(allowed)}, got {value!r}")


def _convert(config: "ModelConfig | Recipe") -> None:
    """Turn NumPy's numbers and texts into Python's, which a checkpoint and JSON can hold.

    Raises:
        TypeError: the value is not the number, or the whole number, that is expected.
    """
    for field in fields(config):
        value, kind = getattr(config, field.name), type(field.default)
        if type(value) is kind or (kind is str and not isinstance(value, str)):
            continue  # the latter is refused as none of the choices
        if not isinstance(value, {int: Integral, float: Real, str: str}[kind]):
            expected = "a whole number" if kind is int else "a number"
            raise TypeError(f"{field.name.replace('_', ' ')}: expected {expected}, got {value!r}")
        object.__setattr__(config, field.name, kind(value))


@dataclass(frozen=True)
class ModelConfig:
    """The U-Net's shape. A checkpoint carries it.

    Attributes:
        width: channels of the first encoder block; each pooling doubles them.
        normalisation: batch normalisation after each 3x3 convolution, or none (the textbook).
        image_size: side of the square input in pixels, a multiple of 16 from 32 on; with a
            strided stem, of 32 from 64 on; with a quarter stem, of 64 from 128 on; each of these
            doubles with each pooling more than four.
        stem: "strided" puts a convolution of stride 2 before the first encoder block, so that all
            blocks work at half the side, and enlarges the logits at the end; "quarter" puts two
            of them there, so that all blocks work at a quarter of the side; "none" (the textbook).
        max_channels: of any block; wider ones are cut to it.
        poolings: of the encoder; each lets the network see twice as far.
        standardisation: what the colours are shifted and scaled by: "fixed" constants, or the mean
            and spread of each "photo" itself, so that its light and camera count for less.

    Raises:
        UsageError: a value out of range.
    """

    width: int = 16
    normalisation: Normalisation = "batch"
    image_size: int = 256
    stem: Stem = "none"
    max_channels: int = 4096
    poolings: int = 4
    standardisation: Standardisation = "fixed"

    def __post_init__(self) -> None:
        _convert(self)
        _check("width", self.width, 1, 256)
        _choose("normalisation", self.normalisation, get_args(Normalisation))
        _choose("stem", self.stem, get_args(Stem))
        _check("poolings", self.poolings, 1, 6)
        _choose("standardisation", self.standardisation, get_args(Standardisation))
        _check("image size", self.image_size, 2 * self.multiple, 2048)
        _check("max channels", self.max_channels, 1, 4096)
        if self.image_size % self.multiple:
            raise UsageError(
                f"image size: expected a multiple of {self.multiple}, got {self.image_size}"
            )

    @property
    def multiple(self) -> int:
        """The number that the sides of the network's input are a multiple of."""
        blocks: int = 2**self.poolings
        return blocks * {"none": 1, "strided": 2, "quarter": 4}[self.stem]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; the defaults are the classic recipe of version 0.1.0.

    Attributes:
        name: the recipe that the values come from.
        epochs: passes over the training photos.
        learning_rate: of Adam; the highest where the schedule changes it.
        batch_size: photos a training step.
        validation_batch_size: photos a validation step; changes speed and memory only.
        seed: of the weights at the start, the order of the photos and their augmentation.
        precision: of the network's arithmetic; below float32 it is mixed (autocast).
        loss: binary cross-entropy on the logits, alone or with the soft Dice, Jaccard or Tversky
            loss of each photo.
        schedule: of the learning rate, step by step; see `trainer.learning_rate`.
        augmentation: of photos and masks in training; see the module `augmentation`.
        low_res_fraction: of the epochs, 0 to 1; the first ones, trained at half the side.
        initialisation: of the weights: He's, or a tenth of it; see `unet.shrink_weights`.
        averaging: decay, a step, of a moving average of weights and running statistics, which
            takes the place of the network's own in validation and in checkpoints; 0: none.
        teacher_weight: of the teachers' masks, 0 to 1, where there are teachers; the rest is that
            of a photo's own mask.
        patience: epochs at full size without a higher validation Dice after which training ends;
            0: all epochs are trained.

    Raises:
        UsageError: a value out of range.
    """

    name: RecipeName = "classic"
    epochs: int = 5
    learning_rate: float = 1e-4
    batch_size: int = 8
    validation_batch_size: int = 4
    seed: int = 0
    precision: Precision = "float32"
    loss: Loss = "bce"
    schedule: Schedule = "constant"
    augmentation: Augmentation = "none"
    low_res_fraction: float = 0.0
    initialisation: Initialisation = "he"
    patience: int = 0
    averaging: float = 0.0
    teacher_weight: float = 0.5

    def __post_init__(self) -> None:
        _convert(self)
        _check("epochs", self.epochs, 1, 100_000)
        _check("learning rate", self.learning_rate, 1e-9, 10)
        _check("batch size", self.batch_size, 1, 4096)
        _check("validation batch size", self.validation_batch_size, 1, 4096)
        _check("seed", self.seed, 0, 2**32 - 1)
        _choose("precision", self.precision, get_args(Precision))
        _choose("loss", self.loss, get_args(Loss))
        _choose("schedule", self.schedule, get_args(Schedule))
        _choose("augmentation", self.augmentation, get_args(Augmentation))
        _check("low res fraction", self.low_res_fraction, 0, 1)
        _choose("initialisation", self.initialisation, get_args(Initialisation))
        _check("patience", self.patience, 0, 100_000)
        _check("averaging", self.averaging, 0, 0.999999)
        _check("teacher weight", self.teacher_weight, 0, 1)


# What each part of them gave: docs/measurements.md.
RECIPES: dict[RecipeName, tuple[ModelConfig, Recipe]] = {
    "classic": (
        ModelConfig(stem="quarter", standardisation="photo"),
        Recipe(initialisation="small", averaging=0.995),
    ),
    "accurate": (
        ModelConfig(width=32, stem="strided", max_channels=256, standardisation="photo"),
        Recipe(
            name="accurate",
            epochs=40,
            learning_rate=2e-3,
            loss="bce+dice",
            schedule="cosine",
            augmentation="full",
            low_res_fraction=0.5,
        ),
    ),
    # For trained weights, whose shape it takes; why these values: docs/measurements.md.
    "finetune": (
        ModelConfig(),
        Recipe(
            name="finetune",
            epochs=5,
            learning_rate=3e-4,
            loss="bce+dice",
            schedule="cosine",
            augmentation="full",
        ),
    ),
}


def configure(
    options: Mapping[str, Any], trained: ModelConfig | None = None
) -> tuple[ModelConfig, Recipe]:
    """Make network and recipe, with the fields in `options` in place of the recipe's own.

    `options["name"]` is the recipe's name; if left out, `finetune` for a network that is trained
    already, else `classic`. Where the stem of `classic` does not fit the image size, and without
    normalisation, which its initial weights rely on, `classic` is the network of version 0.1.0.

    Args:
        options: fields of `ModelConfig` and `Recipe`.
        trained: the shape of the network whose weights training starts from. It stays as it is, and
            the learning rate is that of `finetune` where `options` has none.

    Raises:
        UsageError: a value out of range, no recipe of that name, another shape than that of the
            weights, or `finetune` without any.
    """
    name = options.get("name", "finetune" if trained else "classic")
    _choose("recipe", name, get_args(RecipeName))
    model, recipe = RECIPES[name]
    shape = {field.name for field in fields(ModelConfig)}
    if name == "classic" and "stem" not in options and not _fits(model, options):
        model, recipe = ModelConfig(), Recipe()
    if trained:
        for key, value in options.items():
            if key in shape and value != getattr(trained, key):
                raise UsageError(
                    f"{key.replace('_', ' ')}: expected {getattr(trained, key)}, as in the "
                    f"weights to start from, got {value}; leave it out"
                )
        model = trained
        recipe = replace(recipe, learning_rate=RECIPES["finetune"][1].learning_rate)
    elif name == "finetune":
        raise UsageError("recipe finetune starts from trained weights: add --from CHECKPOINT")
    model = replace(model, **{key: value for key, value in options.items() if key in shape})
    changes = {key: value for key, value in options.items() if key not in shape}
    recipe = replace(recipe, **changes)
    if recipe.low_res_fraction:
        _check("image size", model.image_size, 4 * model.multiple, 2048)
        if model.image_size % (2 * model.multiple):
            raise UsageError(
                f"image size: expected a multiple of {2 * model.multiple}, as recipe {name} "
                f"starts at half the side, got {model.image_size}"
            )
    return model, recipe


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Parse settings such as "poolings=5" into fields of `ModelConfig` and `Recipe`.

    Raises:
        UsageError: no such field, or a value of another type.
    """
    defaults = {**asdict(ModelConfig()), **asdict(Recipe())}
    kinds = {name: type(value) for name, value in defaults.items() if name != "name"}
    options: dict[str, Any] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        name = name.strip().replace("-", "_")
        if name not in kinds:
            raise UsageError(
                f"setting {setting!r}: expected PART=VALUE, where PART is one of {', '.join(kinds)}"
            )
        if name in options:
            raise UsageError(f"setting {name}: given twice")
        try:
            options[name] = kinds[name](value.strip())
        except ValueError as error:
            kind = "a whole number" if kinds[name] is int else "a number"
            raise UsageError(f"setting {name}: expected {kind}, got {value!r}") from error
    return options


def _fits(model: ModelConfig, options: Mapping[str, Any]) -> bool:
    side: int = options.get("image_size", model.image_size)
    if options.get("normalisation", model.normalisation) != model.normalisation:
        return False
    return side >= 2 * model.multiple and side % model.multiple == 0
