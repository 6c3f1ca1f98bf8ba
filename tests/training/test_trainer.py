"""Training: it learns, it can be stopped anywhere, and it never leaves a broken file."""

import dataclasses
import itertools
import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import begun, prepared

from lesionseg import files, store
from lesionseg.config import ModelConfig, Recipe
from lesionseg.data.augmentation import augment
from lesionseg.data.loader import Loader
from lesionseg.errors import LesionsegError
from lesionseg.network import checkpoint as checkpoints
from lesionseg.network.checkpoint import Checkpoint
from lesionseg.network.provenance import Parent
from lesionseg.network.unet import UNet
from lesionseg.training import runs, trainer, validation
from lesionseg.training.history import EpochScores, History
from lesionseg.training.trainer import Progress, TrainingResult
from lesionseg.training.validation import ValidationScores

CPU = torch.device("cpu")
TRAINING, VALIDATION = prepared(0, 1, 2, 3, 4), prepared(5, 6, 7)
RECIPE: dict[str, Any] = {
    "poolings": 1,  # with a third as many tensors to save and to load
    "epochs": 2,
    "batch_size": 2,
    "validation_batch_size": 2,
    "learning_rate": 1e-3,
}
ACCURATE = RECIPE | {
    "poolings": 4,
    "batch_size": 3,  # normalised over 3 and 2 photos, of which half the side leaves one pixel each
    "learning_rate": 1e-2,
    "loss": "bce+dice",
    "schedule": "cosine",
    "augmentation": "full",
    "low_res_fraction": 0.5,
}
QUESTIONS = 3 + 2  # how often an epoch asks whether to stop: before each step of either kind


def train(folder: Path, start: Checkpoint | None = None, **hooks: Any) -> TrainingResult:
    return trainer.train(start or begun(**RECIPE), TRAINING, VALIDATION, folder, CPU, **hooks)


def after(questions: int) -> Callable[[], bool]:
    """Says stop when asked once more than so often."""
    asked = iter(range(questions))
    return lambda: next(asked, None) is None


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether weights are equal bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def timeless(history: History) -> list[EpochScores]:
    """A history without what the clock says."""
    return [dataclasses.replace(row, seconds=0.0, photos_per_second=0.0) for row in history]


def lines(folder: Path) -> list[EpochScores]:
    text = (folder / "history.jsonl").read_text()
    return [EpochScores.of(json.loads(line)) for line in text.splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """A run that nobody stopped."""
    return train(tmp_path_factory.mktemp("whole"))


def test_the_seed_decides_the_weights(tmp_path: Path, whole: TrainingResult) -> None:
    again = train(tmp_path / "again")
    other = train(tmp_path / "other", begun(**RECIPE, seed=1))
    assert same(again.last.weights, whole.last.weights)
    assert timeless(again.history) == timeless(whole.history)
    assert not same(other.last.weights, whole.last.weights)


def test_seed_and_epoch_decide_the_order(tmp_path: Path) -> None:
    def losses(seed: int) -> tuple[list[float], list[float]]:
        """The loss of each photo, in the order of each epoch, of weights that stay the same."""
        start = begun(**RECIPE | {"seed": seed, "learning_rate": 1e-9, "batch_size": 1})
        start = dataclasses.replace(start, weights=begun(poolings=1).weights)
        seen: list[Progress] = []
        train(tmp_path / str(seed), start, on_step=seen.append)
        sums = [step.loss * step.photos for step in seen if not step.validating]
        first, second = ([0.0, *sums[:5]], [0.0, *sums[5:]])
        return (
            [after - before for before, after in itertools.pairwise(first)],
            [after - before for before, after in itertools.pairwise(second)],
        )

    orders = [*losses(1), *losses(2)]
    for one, other in itertools.combinations(orders, 2):
        assert sorted(one) == pytest.approx(sorted(other), abs=2e-3)  # the same photos
        assert one != pytest.approx(other, abs=2e-3)


@pytest.mark.parametrize("questions", range(2 * QUESTIONS))
def test_stopped_and_resumed_is_as_never_stopped(
    tmp_path: Path, whole: TrainingResult, questions: int
) -> None:
    stopped = train(tmp_path, should_stop=after(questions))
    assert stopped.stopped
    assert stopped.last.epoch == questions // QUESTIONS
    done = train(tmp_path, runs.resumed(tmp_path, {}))
    assert not done.stopped
    assert same(done.last.weights, whole.last.weights)
    assert timeless(lines(tmp_path)) == timeless(whole.history)


@pytest.fixture(scope="module")
def accurate(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingResult, Path]:
    """A run of every part of the accurate recipe that nobody stopped, and its folder."""
    folder = tmp_path_factory.mktemp("accurate")
    return train(folder, begun(**ACCURATE)), folder


@pytest.mark.parametrize("questions", [1, 3, 5])  # in an epoch, in validation, in the next epoch
def test_an_accurate_run_stopped_and_resumed_is_as_never_stopped(
    tmp_path: Path, accurate: tuple[TrainingResult, Path], questions: int
) -> None:
    whole, folder = accurate
    stopped = train(tmp_path, begun(**ACCURATE), should_stop=after(questions))
    assert stopped.stopped
    assert stopped.last.epoch == questions // 4
    done = train(tmp_path, runs.resumed(tmp_path, {}))
    assert same(done.last.weights, whole.last.weights)
    assert timeless(lines(tmp_path)) == timeless(whole.history)
    best = checkpoints.load(tmp_path / "best.pt")
    assert same(best.weights, checkpoints.load(folder / "best.pt").weights)


def test_the_loss_of_the_recipe_is_what_is_made_small(
    tmp_path: Path, accurate: tuple[TrainingResult, Path]
) -> None:
    other = train(tmp_path, begun(**ACCURATE | {"loss": "bce"}))
    assert not same(other.last.weights, accurate[0].last.weights)
    for name in ("train_loss", "val_loss"):
        before, after = (getattr(run.history[0], name) for run in (accurate[0], other))
        assert after < before - 0.1  # Dice is left out


@pytest.mark.parametrize(("first", "second"), [(0, 2), (1, 1), (4, 3)])
def test_stopped_twice(tmp_path: Path, whole: TrainingResult, first: int, second: int) -> None:
    train(tmp_path, should_stop=after(first))
    train(tmp_path, runs.resumed(tmp_path, {}), should_stop=after(second))
    done = train(tmp_path, runs.resumed(tmp_path, {}))
    assert same(done.last.weights, whole.last.weights)
    assert timeless(lines(tmp_path)) == timeless(whole.history)


def test_more_epochs_are_as_if_asked_for_at_once(tmp_path: Path, whole: TrainingResult) -> None:
    train(tmp_path, begun(**RECIPE | {"epochs": 1}))
    done = train(tmp_path, runs.resumed(tmp_path, {"epochs": 2}))
    assert same(done.last.weights, whole.last.weights)


def test_killed_between_saves(
    tmp_path: Path, whole: TrainingResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saved before each step, then killed without a chance to save."""
    monkeypatch.setattr(trainer, "SAVE_EVERY", 0.0)

    def kill(step: Progress) -> None:
        if (step.epoch, step.photos) == (2, 4):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, on_step=kill)
    last = runs.resumed(tmp_path, {})
    assert last.training is not None
    assert (last.epoch, last.training["photos"]) == (1, 2)
    assert same(train(tmp_path, last).last.weights, whole.last.weights)


@pytest.mark.parametrize("file", ["last.pt", "history.jsonl"])
def test_killed_while_the_last_epoch_is_written(
    tmp_path: Path, whole: TrainingResult, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    replacing = files.atomic_write
    written: list[str] = []

    def kill(path: Path) -> AbstractContextManager[Path]:
        written.append(path.name)
        if written.count(file) == 2:
            raise KeyboardInterrupt
        return replacing(path)

    with monkeypatch.context() as patch:
        patch.setattr(files, "atomic_write", kill)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path)
    train(tmp_path, runs.resumed(tmp_path, {}))
    assert timeless(lines(tmp_path)) == timeless(whole.history)


def test_what_a_run_leaves_behind(tmp_path: Path) -> None:
    steps: list[Progress] = []
    epochs: list[EpochScores] = []
    outcome = train(
        tmp_path, on_step=steps.append, on_epoch=lambda history, _: epochs.append(history[-1])
    )
    an_epoch = [(2, 5, False), (4, 5, False), (5, 5, False), (2, 3, True), (3, 3, True)]
    assert [(step.photos, step.total, step.validating) for step in steps] == 2 * an_epoch
    assert [step.epoch for step in steps] == [1] * 5 + [2] * 5
    assert {file.name for file in tmp_path.iterdir()} == {"best.pt", "last.pt", "history.jsonl"}
    assert lines(tmp_path) == outcome.history == epochs
    assert [row.epoch for row in epochs] == [1, 2]
    assert [row.train_loss for row in epochs] == [steps[4].loss, steps[9].loss]
    last = checkpoints.load(tmp_path / "last.pt")
    assert same(last.weights, outcome.last.weights)
    assert (last.epoch, last.data) == (2, begun().data)
    assert last.scores.items() <= epochs[-1].row().items()
    assert checkpoints.load(tmp_path / "best.pt").training is None


def test_best_is_the_first_epoch_of_the_highest_dice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = iter([0.2, 0.5, 0.5, 0.1])

    def scored(prediction: Any, truth: Any) -> SimpleNamespace:
        return SimpleNamespace(dice=next(dice), jaccard=0.0)

    monkeypatch.setattr(validation, "confusion", scored)
    start = begun(**RECIPE | {"epochs": 4})
    weights: list[Checkpoint] = []
    trainer.train(
        start,
        TRAINING,
        prepared(5),
        tmp_path,
        CPU,
        on_epoch=lambda *_: weights.append(checkpoints.load(tmp_path / "last.pt")),
    )
    best = checkpoints.load(tmp_path / "best.pt")
    assert (best.epoch, best.scores["dice"]) == (2, 0.5)
    assert same(best.weights, weights[1].weights)


@pytest.mark.parametrize(
    ("patience", "low_res_fraction", "epochs"),
    # Half of the six epochs at low resolution: these do not count.
    [(0, 0.0, 6), (2, 0.0, 3), (3, 0.0, 6), (2, 0.5, 5)],
)
def test_patience_ends_a_run_also_where_it_was_stopped(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    patience: int,
    low_res_fraction: float,
    epochs: int,
) -> None:
    dices = dict(enumerate([0.5, 0.4, 0.3, 0.6, 0.2, 0.1]))
    if low_res_fraction:
        dices = dict(enumerate([0.5, 0.4, 0.3, 0.2, 0.1, 0.1]))
    recipe = RECIPE | {"epochs": 6, "batch_size": 3, "patience": patience}
    recipe |= {"low_res_fraction": low_res_fraction}

    def scored(self: Any) -> dict[int, ValidationScores]:
        sizes = {self.full_size, self._side()}
        dice = dices[self.state.epoch]
        return {size: ValidationScores(1.0, dice, dice, 3) for size in sizes}

    monkeypatch.setattr(trainer._Trainer, "_validate", scored)
    whole = train(tmp_path / "whole", begun(**recipe))
    assert (len(whole.history), whole.stopped) == (epochs, False)
    stopped = train(tmp_path / "stopped", begun(**recipe), should_stop=after(3))
    assert stopped.stopped
    resumed = train(tmp_path / "stopped", checkpoints.load(tmp_path / "stopped" / "last.pt"))
    assert timeless(resumed.history) == timeless(whole.history)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_validation_scores_are_those_of_numpy(tmp_path: Path, batch_size: int) -> None:
    recipe = RECIPE | {"validation_batch_size": batch_size, "epochs": 1}
    outcome = train(tmp_path, begun(**recipe))
    network = outcome.last.network()
    losses, dice, jaccard = [], [], []
    for photo, mask in zip(VALIDATION.photos, VALIDATION.masks, strict=True):
        with torch.inference_mode():
            logits = network(torch.from_numpy(photo.transpose(2, 0, 1)[None].copy()))
        z, truth = logits.numpy()[0, 0].astype(float), mask.astype(float)
        losses.append((np.log1p(np.exp(-np.abs(z))) + z.clip(0) - z * truth).mean())
        both, either = ((z > 0) & (truth > 0)).sum(), ((z > 0) | (truth > 0)).sum()
        jaccard.append(both / either)
        dice.append(2 * both / (both + either))
    assert outcome.last.scores == pytest.approx(
        {
            "val_loss": np.mean(losses),
            "dice": np.mean(dice),
            "jaccard": np.mean(jaccard),
            "val_photos": 3,
        },
        rel=1e-4,
    )
    assert 0 < outcome.last.scores["dice"] < 1


def test_it_learns_two_drawings_by_heart(tmp_path: Path) -> None:
    two = prepared(0, 1)
    start = begun(4, epochs=6, learning_rate=1e-2, batch_size=2, poolings=2)
    history = trainer.train(start, prepared(*[0, 1] * 12), two, tmp_path, CPU).history
    assert history[-1].train_loss < history[0].train_loss / 4
    assert max(row.dice for row in history) > 0.9


@pytest.mark.parametrize(
    ("done", "share"), [(0, 1), (1 / 3, 0.75), (0.5, 0.5), (2 / 3, 0.25), (1, 0)]
)
def test_the_rate_falls_along_a_cosine_or_stays(done: float, share: float) -> None:
    recipe = Recipe(learning_rate=0.3, schedule="cosine")
    assert trainer.learning_rate(recipe, done) == pytest.approx(0.3 * share, abs=1e-12)
    assert trainer.learning_rate(Recipe(learning_rate=0.3), done) == 0.3


def watched(
    monkeypatch: pytest.MonkeyPatch, look: Callable[[Any, torch.Tensor, torch.Tensor], None]
) -> None:
    """Looks at the run, its photos and masks after each step."""
    sound = trainer._Trainer._step

    def step(self: Any, batch: int, photos: torch.Tensor, masks: torch.Tensor) -> float:
        loss = sound(self, batch, photos, masks)
        look(self, photos, masks)
        return loss

    monkeypatch.setattr(trainer._Trainer, "_step", step)


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_every_step_has_its_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schedule: Any
) -> None:
    rates: list[list[float]] = []
    watched(
        monkeypatch,
        lambda run, *_: rates.append([group["lr"] for group in run.state.optimiser.param_groups]),
    )
    start = begun(**RECIPE | {"schedule": schedule})  # steps of 2, 2 and 1 of 5 photos, twice
    train(tmp_path, start, should_stop=after(1))
    history = train(tmp_path, runs.resumed(tmp_path, {})).history
    expected = [trainer.learning_rate(start.recipe, done / 10) for done in (0, 2, 4, 5, 7, 9)]
    assert [rate for (rate,) in rates] == pytest.approx(expected, abs=1e-12)
    ends = [expected[2], expected[5]]
    assert [row.learning_rate for row in history] == pytest.approx(ends, abs=1e-12)


@pytest.mark.parametrize(
    ("share", "augmentation", "sides"),
    [
        (0.0, "full", [32, 32, 32]),
        (0.3, "none", [16, 32, 32]),
        (0.5, "full", [16, 16, 32]),
        (1.0, "none", [16, 16, 16]),
    ],
)
def test_the_first_epochs_see_small_photos(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    share: float,
    augmentation: Any,
    sides: list[int],
) -> None:
    seen: list[tuple[torch.Size, torch.Size]] = []
    watched(monkeypatch, lambda _, photos, masks: seen.append((photos.shape, masks.shape)))
    recipe = RECIPE | {"epochs": 3, "batch_size": 5}
    history = train(
        tmp_path, begun(**recipe, low_res_fraction=share, augmentation=augmentation)
    ).history
    assert [row.image_size for row in history] == sides
    assert {row.val_image_size for row in history} == {32}
    assert [row.low_res_dice is not None for row in history] == [side == 16 for side in sides]
    assert seen == [((5, 3, side, side), (5, 1, side, side)) for side in sides]


def test_small_photos_are_means_of_four_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    watched(monkeypatch, lambda _, photos, masks: seen.append((photos, masks)))
    train(tmp_path, begun(**RECIPE | {"epochs": 1, "batch_size": 5}, low_res_fraction=1.0))
    order = np.random.default_rng([0, 0]).permutation(5)
    photos, masks = (
        images[order].reshape(5, 16, 2, 16, 2, -1).mean((2, 4)).transpose(0, 3, 1, 2)
        for images in (TRAINING.photos, TRAINING.masks)
    )
    assert np.allclose(seen[0][0].numpy(), photos, atol=1e-3)
    assert np.allclose(seen[0][1].numpy(), masks)


def test_small_epochs_are_validated_at_both_sizes(tmp_path: Path) -> None:
    recipe = RECIPE | {"epochs": 1, "batch_size": 5}
    result = train(tmp_path, begun(4, **recipe, low_res_fraction=1.0, seed=5))
    network, (row,) = result.last.network(), result.history
    for side, score in ((32, row.dice), (16, row.low_res_dice)):
        dice = []
        for photo, mask in zip(VALIDATION.photos, VALIDATION.masks, strict=True):
            step = 32 // side
            photo, truth = (
                images.astype(np.float32).reshape(side, step, side, step, -1).mean((1, 3))
                for images in (photo, mask)
            )
            with torch.inference_mode():
                logits = network(torch.from_numpy(photo.transpose(2, 0, 1)[None].copy()))
            lesion, truth = logits.numpy()[0, 0] > 0, truth[..., 0] > 0.5
            dice.append(2 * (lesion & truth).sum() / (lesion.sum() + truth.sum()))
        assert score == pytest.approx(np.mean(dice), abs=0.01)  # rounding may turn a pixel
        assert 0 < np.mean(dice) < 1
    assert row.dice != row.low_res_dice
    assert result.last.scores["dice"] == row.dice  # what the best is chosen by


def test_every_step_is_augmented_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []

    def spied(photos: Any, masks: Any, size: int, seed: Any, *share: Any) -> Any:
        seeds.append(tuple(seed))
        return augment(photos, masks, size, seed, *share)

    monkeypatch.setattr("lesionseg.data.loader.augment", spied)
    for seed in (0, 1):
        train(tmp_path / str(seed), begun(**RECIPE, seed=seed, augmentation="full"))
    assert len(set(seeds)) == len(seeds) == 2 * 2 * 3  # runs, epochs, steps; never in validation


def test_a_network_with_a_strided_stem_trains(tmp_path: Path) -> None:
    recipe = begun(**ACCURATE | {"low_res_fraction": 0.0, "epochs": 1}).recipe
    start = trainer.initial_checkpoint(
        ModelConfig(2, "batch", 64, "strided", 8), recipe, begun().data
    )
    last = train(tmp_path, start).last
    assert not same(last.weights, start.weights)
    assert same(checkpoints.load(tmp_path / "last.pt").network().state_dict(), last.weights)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision(tmp_path: Path, whole: TrainingResult, precision: str) -> None:
    start = begun(**RECIPE, precision=precision)
    train(tmp_path / "stopped", start, should_stop=after(7))
    resumed = train(tmp_path / "stopped", runs.resumed(tmp_path / "stopped", {}))
    done = train(tmp_path / "whole", start)
    assert same(resumed.last.weights, done.last.weights)
    assert not same(done.last.weights, whole.last.weights)
    assert done.history[-1].val_loss == pytest.approx(whole.history[-1].val_loss, rel=0.1)
    assert {value.dtype for value in done.last.weights.values()} == {torch.float32, torch.int64}


def poisoned(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """From this batch on, of training and validation together, photos are not numbers."""
    sound, batches = Loader._to_device, itertools.count(1)

    def poison(self: Any, *loaded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        photos, masks = sound(self, *loaded)
        return (photos * math.nan if next(batches) >= batch else photos), masks

    monkeypatch.setattr(Loader, "_to_device", poison)


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (1, "the loss is no longer finite in epoch 1 after 0 photos; nothing was saved yet"),
        (4, "the validation loss is no longer finite in epoch 1 after 5 photos; nothing was"),
        (6, "the loss is no longer finite in epoch 2 after 0 photos; the last good checkpoint is"),
        (8, "the loss is no longer finite in epoch 2 after 4 photos; the last good checkpoint is"),
        (9, "the validation loss is no longer finite in epoch 2 after 5 photos; the last good"),
    ],
)
@pytest.mark.parametrize("save_every", [0.0, 300.0])
def test_a_loss_that_is_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, said: str, save_every: float
) -> None:
    monkeypatch.setattr(trainer, "SAVE_EVERY", save_every)
    if save_every == 0:
        said = said.partition(";")[0]
    poisoned(monkeypatch, batch)
    with pytest.raises(LesionsegError) as caught:
        train(tmp_path)
    text = str(caught.value)
    assert text.startswith(said)
    assert text.endswith("lower --learning-rate (now 0.001)")
    assert "\n" not in text
    if (tmp_path / "last.pt").exists():
        weights = checkpoints.load(tmp_path / "last.pt").weights
        assert all(torch.isfinite(value).all() for value in weights.values())
    assert (tmp_path / "last.pt").exists() == (batch > 5 or save_every == 0)


def test_a_weight_that_is_no_number_is_not_saved(tmp_path: Path) -> None:
    train(tmp_path, should_stop=after(1))
    before = (tmp_path / "last.pt").read_bytes()
    bad = runs.resumed(tmp_path, {})
    bad.weights["head.bias"].fill_(math.inf)
    with pytest.raises(
        LesionsegError, match=r"^head.bias: weights that are infinite or not numbers$"
    ):
        train(tmp_path, bad, should_stop=after(0))
    assert (tmp_path / "last.pt").read_bytes() == before


def test_lower_precision_is_named_as_a_cause(tmp_path: Path, monkeypatch: Any) -> None:
    poisoned(monkeypatch, 1)
    with pytest.raises(LesionsegError, match=r"or use --precision float32$"):
        train(tmp_path, begun(**RECIPE, precision="bfloat16"))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ],
)
def test_out_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def full(self: UNet, photos: torch.Tensor) -> torch.Tensor:
        raise error

    monkeypatch.setattr(UNet, "forward", full)
    with pytest.raises(LesionsegError, match=r"^out of memory; lower --batch-size .*--image-size$"):
        train(tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LesionsegError, match="cannot write"):
        train(tmp_path / "file" / "run")


def test_a_clock_that_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.perf_counter", lambda: 1.0)
    assert len(train(tmp_path).history) == 2


def test_the_dice_of_given_weights_is_measured_once_and_kept(tmp_path: Path) -> None:
    parent = Parent("a.pt", "0", begun().data)
    start = dataclasses.replace(begun(**RECIPE), parent=parent)
    steps: list[Progress] = []
    whole = train(tmp_path / "whole", start, on_step=steps.append)
    assert whole.initial_dice is not None
    assert [(step.epoch, step.photos) for step in steps[:3]] == [(0, 2), (0, 3), (1, 2)]
    without = train(tmp_path / "without", begun(**RECIPE))
    assert without.initial_dice is None
    assert same(without.last.weights, whole.last.weights)
    assert timeless(without.history) == timeless(whole.history)
    # Stopped amid that measurement, and in the first epoch after it.
    for questions in (1, 3):
        folder = tmp_path / str(questions)
        stopped = train(folder, start, should_stop=after(questions))
        assert stopped.stopped
        last = checkpoints.load(folder / store.LAST)
        resumed = train(folder, last)
        assert resumed.initial_dice == whole.initial_dice
        assert same(resumed.last.weights, whole.last.weights)
