"""Defaults, their ranges, and what is said outside them."""

import re
from typing import Any

import pytest

from lesionseg.config import ModelConfig, Recipe, configure
from lesionseg.errors import LesionsegError


def test_the_defaults_are_the_classic_recipe() -> None:
    assert configure({}) == (ModelConfig(), Recipe())
    assert configure({"name": "classic"}) == configure({})


def test_what_is_given_replaces_the_default() -> None:
    model, recipe = configure({"width": 16, "image_size": 128, "epochs": 2, "precision": "float16"})
    assert model == ModelConfig(width=16, image_size=128)
    assert recipe == Recipe(epochs=2, precision="float16")


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
    ("given", "message"),
    [
        ({"image_size": 100}, "image size: expected a multiple of 16, got 100"),
        ({"learning_rate": float("nan")}, "learning rate: expected 1e-09 to 10, got nan"),
        ({"normalisation": "x"}, "normalisation: expected one of batch, none, got 'x'"),
        ({"precision": "x"}, "precision: expected one of float32, bfloat16, float16, got 'x'"),
        ({"name": "x"}, "recipe: expected one of classic, got 'x'"),
    ],
)
def test_other_values_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(LesionsegError, match=rf"^{message}$"):
        configure(given)


def test_an_unknown_field_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(TypeError, match=r"colour"):
        configure({"colour": "red"})
