"""What a network says of itself: written, read again, and read from what earlier versions wrote."""

import dataclasses
from typing import Any

import pytest
from helpers import begun

from lesionseg.config import RECIPES
from lesionseg.network.provenance import Provenance, fields_of

MODEL, RECIPE = RECIPES["accurate"]


def plain() -> dict[str, Any]:
    """The description of a network of the accurate recipe, as values that JSON can hold."""
    return dataclasses.replace(begun(), model=MODEL, recipe=RECIPE).plain()


def before() -> dict[str, Any]:
    """The same as version 0.1.0 wrote it."""
    content = plain()
    content["model"]["stem"] = "half"
    content["recipe"]["small_share"] = content["recipe"].pop("low_res_fraction")
    return content


def test_round_trip() -> None:
    again = Provenance(**fields_of(plain()))
    assert (again.model, again.recipe, again.data) == (MODEL, RECIPE, begun().data)


def test_names_of_0_1_0_become_those_of_today() -> None:
    assert before() != plain()
    assert Provenance(**fields_of(before())) == Provenance(**fields_of(plain()))


def test_what_was_read_is_not_changed() -> None:
    content = before()
    fields_of(content)
    assert content == before()


@pytest.mark.parametrize(
    ("part", "name", "value"), [("model", "half", "x"), ("recipe", "small", 0.5)]
)
def test_unknown_names_are_refused(part: str, name: str, value: Any) -> None:
    content = plain()
    content[part][name] = value
    with pytest.raises(TypeError, match=name):
        fields_of(content)
