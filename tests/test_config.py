"""Defaults, their ranges, and what is said outside them."""

import dataclasses
import re
from typing import Any, get_args

import numpy as np
import pytest

from lesionseg.config import RECIPES, ModelConfig, Recipe, RecipeName, configure
from lesionseg.errors import LesionsegError


def test_the_defaults_are_the_classic_recipe() -> None:
    assert configure({}) == RECIPES["classic"]
    assert configure({"name": "classic"}) == configure({})


@pytest.mark.parametrize(
    ("options", "stem", "initialisation"),
    [
        ({}, "quarter", "small"),
        ({"image_size": 128}, "quarter", "small"),
        ({"image_size": 320, "width": 32}, "quarter", "small"),
        ({"image_size": 64}, "none", "he"),  # one pixel would be left for the bottleneck
        ({"image_size": 272}, "none", "he"),
        ({"normalisation": "none"}, "none", "he"),
        ({"stem": "none"}, "none", "small"),
        ({"stem": "quarter", "normalisation": "none"}, "quarter", "small"),
    ],
)
def test_where_classic_is_the_network_of_0_1_0(
    options: dict[str, Any], stem: str, initialisation: str
) -> None:
    model, recipe = configure(options)
    assert (model.stem, recipe.initialisation) == (stem, initialisation)
    assert all(options[name] == getattr(model, name) for name in options)


def test_what_the_classic_recipe_may_not_change() -> None:
    """Loss, optimiser, epochs, batches and input size."""
    _, recipe = configure({})
    changes = {"initialisation": "small", "averaging": 0.995}
    assert dataclasses.asdict(recipe) == dataclasses.asdict(Recipe()) | changes
    assert configure({})[0] == ModelConfig(stem="quarter", standardisation="photo")


def test_numbers_of_numpy_become_pythons() -> None:
    """A checkpoint with any others could not be read back."""
    numbers = {
        "learning_rate": np.float64(0.5),
        "averaging": np.float32(0.5),
        "epochs": np.int64(2),
    }
    model, recipe = configure({**numbers, "width": np.uint8(3), "loss": np.str_("bce+dice")})
    values = [*dataclasses.asdict(model).values(), *dataclasses.asdict(recipe).values()]
    assert {type(value) for value in values} == {int, float, str}
    assert (model.width, recipe.epochs, recipe.learning_rate, recipe.averaging) == (3, 2, 0.5, 0.5)
    assert type(Recipe(seed=True).seed) is int


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": "3"}, "epochs: expected a whole number, got '3'"),
        ({"width": 4.5}, "width: expected a whole number, got 4.5"),
        ({"learning_rate": "1e-3"}, "learning rate: expected a number, got '1e-3'"),
        ({"learning_rate": None}, "learning rate: expected a number, got None"),
    ],
)
def test_values_of_another_type_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        configure(options)


def test_fields_that_a_file_of_0_1_0_lacks_mean_what_it_did() -> None:
    model, recipe = ModelConfig(), Recipe()
    assert dataclasses.asdict(model) == {
        "width": 16,
        "normalisation": "batch",
        "image_size": 256,
        "stem": "none",
        "max_channels": 16 * 256,  # cuts no width that there is
        "poolings": 4,
        "standardisation": "fixed",
    }
    assert dataclasses.asdict(recipe) == {
        "name": "classic",
        "epochs": 5,
        "learning_rate": 1e-4,
        "batch_size": 8,
        "validation_batch_size": 4,
        "seed": 0,
        "precision": "float32",
        "loss": "bce",
        "schedule": "constant",
        "augmentation": "none",
        "low_res_fraction": 0,
        "initialisation": "he",
        "patience": 0,
        "averaging": 0.0,
        "teacher_weight": 0.5,
    }


def test_the_accurate_recipe() -> None:
    model, recipe = configure({"name": "accurate"})
    assert (model, recipe) == RECIPES["accurate"]
    assert (model.stem, model.width, model.max_channels, model.image_size) == (
        "strided",
        32,
        256,
        256,
    )
    assert recipe.name == "accurate"
    assert (recipe.loss, recipe.schedule, recipe.augmentation) == ("bce+dice", "cosine", "full")
    assert (recipe.low_res_fraction, recipe.batch_size) == (0.5, Recipe().batch_size)


def test_trained_weights_keep_their_shape_and_get_a_rate_for_fine_tuning() -> None:
    shape, _ = RECIPES["accurate"]
    assert configure({}, shape) == (shape, RECIPES["finetune"][1])
    assert configure({"width": 32}, shape) == configure({}, shape)
    _, accurate = configure({"name": "accurate"}, shape)
    rate = RECIPES["finetune"][1].learning_rate
    assert accurate == dataclasses.replace(RECIPES["accurate"][1], learning_rate=rate)
    assert configure({"learning_rate": 0.1}, shape)[1].learning_rate == 0.1
    with pytest.raises(
        LesionsegError, match="width: expected 32, as in the weights to start from, got 16"
    ):
        configure({"width": 16}, shape)


def test_the_recipe_finetune_is_for_trained_weights() -> None:
    with pytest.raises(LesionsegError, match="add --from CHECKPOINT"):
        configure({"name": "finetune"})


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_stands_under_its_own_name(name: RecipeName) -> None:
    trained = ModelConfig() if name == "finetune" else None
    assert configure({"name": name}, trained)[1].name == name
    assert set(RECIPES) == set(get_args(RecipeName))


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "finetune"])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("width", 4),
        ("image_size", 128),
        ("max_channels", 8),
        ("epochs", 3),
        ("learning_rate", 0.01),
        ("batch_size", 2),
        ("seed", 7),
        ("precision", "bfloat16"),
        ("low_res_fraction", 0.75),
        ("patience", 3),
    ],
)
def test_a_given_field_replaces_the_recipe_s_own_and_no_other(
    name: RecipeName, field: str, value: Any
) -> None:
    own, options = (
        {**dataclasses.asdict(model), **dataclasses.asdict(recipe)}
        for model, recipe in (configure({"name": name}), configure({"name": name, field: value}))
    )
    assert options == own | {field: value}
    assert options != own


@pytest.mark.parametrize(
    ("field", "on", "off"),
    [
        ("stem", "strided", "none"),
        ("initialisation", "small", "he"),
        ("loss", "bce+dice", "bce"),
        ("schedule", "cosine", "constant"),
        ("augmentation", "full", "none"),
        ("standardisation", "fixed", "photo"),
    ],
)
def test_parts_of_the_accurate_recipe_can_be_chosen_alone(field: str, on: str, off: str) -> None:
    for options, value in (({field: on}, on), ({"name": "accurate", field: off}, off)):
        assert value in [getattr(part, field, None) for part in configure(options)]


def test_what_is_given_replaces_the_default() -> None:
    model, recipe = configure({"width": 16, "image_size": 128, "epochs": 2, "precision": "float16"})
    assert model == ModelConfig(width=16, image_size=128, stem="quarter", standardisation="photo")
    assert recipe == Recipe(epochs=2, precision="float16", initialisation="small", averaging=0.995)


@pytest.mark.parametrize(
    ("name", "low", "high", "below", "above"),
    [
        ("width", 1, 256, 0, 257),
        ("image_size", 32, 2048, 16, 2064),
        ("epochs", 1, 100_000, 0, 100_001),
        ("learning_rate", 1e-9, 10, 0.0, 10.5),
        ("batch_size", 1, 4096, -1, 4097),
        ("validation_batch_size", 1, 4096, 0, 4097),
        ("seed", 0, 2**32 - 1, -1, 2**32),
        ("max_channels", 1, 4096, 0, 4097),
        ("low_res_fraction", 0, 1, -0.1, 1.1),
    ],
)
def test_ranges(name: str, low: float, high: float, below: float, above: float) -> None:
    for value in (low, high):
        assert any(getattr(part, name, None) == value for part in configure({name: value}))
    for value in (below, above):
        message = f"{name.replace('_', ' ')}: expected {low} to {high}, got {value}"
        with pytest.raises(LesionsegError, match=rf"^{re.escape(message)}$"):
            configure({name: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 100}, "image size: expected a multiple of 16, got 100"),
        ({"image_size": 32, "stem": "strided"}, "image size: expected 64 to 2048, got 32"),
        ({"image_size": 96, "name": "accurate"}, "image size: expected 128 to 2048, got 96"),
        (
            {"image_size": 160, "name": "accurate"},
            "image size: expected a multiple of 64, as recipe accurate starts at half the side, "
            "got 160",
        ),
        ({"image_size": 240, "stem": "strided"}, "image size: expected a multiple of 32, got 240"),
        ({"learning_rate": float("nan")}, "learning rate: expected 1e-09 to 10, got nan"),
        ({"normalisation": "x"}, "normalisation: expected one of batch, none, got 'x'"),
        ({"precision": "x"}, "precision: expected one of float32, bfloat16, float16, got 'x'"),
        ({"name": "x"}, "recipe: expected one of classic, accurate, finetune, got 'x'"),
        ({"image_size": 64, "stem": "quarter"}, "image size: expected 128 to 2048, got 64"),
        ({"image_size": 160, "stem": "quarter"}, "image size: expected a multiple of 64, got 160"),
        ({"stem": "x"}, "stem: expected one of strided, quarter, none, got 'x'"),
        ({"initialisation": "x"}, "initialisation: expected one of he, small, got 'x'"),
        (
            {"loss": "x"},
            r"loss: expected one of bce, bce\+dice, bce\+jaccard, bce\+tversky, got 'x'",
        ),
        ({"schedule": "x"}, "schedule: expected one of constant, cosine, got 'x'"),
        ({"augmentation": "x"}, "augmentation: expected one of none, full, wide, got 'x'"),
        ({"low_res_fraction": float("nan")}, "low res fraction: expected 0 to 1, got nan"),
    ],
)
def test_other_values_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LesionsegError, match=rf"^{message}$"):
        configure(options)


def test_an_unknown_field_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(TypeError, match=r"colour"):
        configure({"colour": "red"})
