"""The state of a training saves and loads itself as one."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import begun

from lesionseg.network import checkpoint as checkpoints
from lesionseg.training.history import EpochScores
from lesionseg.training.state import TrainingState
from lesionseg.training.validation import ValidationScores

SCORES = ValidationScores(val_loss=0.5, dice=0.75, jaccard=0.625, val_photos=3)
LOW_RES = ValidationScores(val_loss=0.25, dice=0.875, jaccard=0.75, val_photos=3)


def fresh(precision: str = "float32") -> TrainingState:
    network = begun(1).network()
    return TrainingState(
        network=network,
        optimiser=torch.optim.Adam(network.parameters()),
        scaler=torch.amp.GradScaler("cpu", enabled=precision == "float16"),
        epoch=0,
        scores={},
    )


def used() -> TrainingState:
    """A state in the middle of its second epoch."""
    state = fresh("float16")
    photos = torch.rand(2, 3, 32, 32) * 255
    state.scaler.scale(state.network.train()(photos).mean()).backward()
    state.scaler.step(state.optimiser)
    state.scaler.update(2.0)
    state.photos, state.loss_sum, state.seconds = 4, 2.0, 0.5
    state.end_epoch(32, {32: SCORES})
    state.best_dice = 0.75
    state.photos, state.loss_sum, state.seconds = 2, 1.25, 0.25
    return state


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    """Through a file, as a run does it."""
    state = used()
    saved = copy.deepcopy(state.state_dict())
    torch.rand(1)  # moves the random numbers on
    torch.save(saved, tmp_path / "state.pt")
    again = fresh("float16")
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert equal(again.state_dict(), saved)
    for name in ("best_dice", "photos", "loss_sum", "seconds", "history"):
        assert getattr(again, name) == getattr(state, name) != getattr(fresh(), name)


@pytest.mark.parametrize("name", [*fresh().state_dict()])
def test_nothing_may_be_missing(name: str) -> None:
    saved = used().state_dict()
    del saved[name]
    with pytest.raises(KeyError, match=name):
        fresh("float16").load_state_dict(saved)


def test_the_end_of_an_epoch() -> None:
    state = used()
    assert state.history == [
        EpochScores(
            epoch=1,
            image_size=32,
            learning_rate=1e-3,  # Adam's own, as no step has set it
            train_loss=0.5,
            val_loss=0.5,
            dice=0.75,
            jaccard=0.625,
            val_photos=3,
            seconds=0.5,
            photos_per_second=8.0,
            val_image_size=32,
        )
    ]
    assert (state.epoch, state.photos) == (1, 2)
    assert state.scores == {"val_loss": 0.5, "dice": 0.75, "jaccard": 0.625, "val_photos": 3}


def test_the_end_of_an_epoch_at_low_resolution() -> None:
    state = used()
    state.end_epoch(16, {32: SCORES, 16: LOW_RES})
    assert state.scores == {"val_loss": 0.5, "dice": 0.75, "jaccard": 0.625, "val_photos": 3}
    before, row = state.history
    assert (row.image_size, row.val_image_size, row.dice, row.low_res_dice) == (16, 32, 0.75, 0.875)
    shown = row.as_trained()
    assert (shown.val_image_size, shown.val_loss, shown.dice, shown.jaccard) == (
        16,
        0.25,
        0.875,
        0.75,
    )
    assert before.as_trained() is before
    assert not [name for name in before.row() if name.startswith("low_res")]
    assert EpochScores.of(row.row()) == row
    assert EpochScores.of(before.row()) == before


def test_rows_of_0_1_0_do_not_say_their_size() -> None:
    saved = used().state_dict()
    for row in saved["history"]:
        del row["val_image_size"]
    assert EpochScores.of(saved["history"][0]).val_image_size is None
    state = fresh("float16")
    state.load_state_dict(saved)
    assert state.history == used().history


def test_weights_are_those_of_the_network(tmp_path: Path) -> None:
    state = used()
    weights = state.weights()
    assert equal(weights, dict(state.network.state_dict()))
    checkpoints.save(begun(1), tmp_path / "a.pt")
    assert weights.keys() == checkpoints.load(tmp_path / "a.pt").weights.keys()
