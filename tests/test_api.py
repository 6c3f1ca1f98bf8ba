"""Training and scoring from Python."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import SIZE, saved, write_pairs, write_photo
from PIL import Image

import lesionseg
from lesionseg.errors import UsageError


def test_train_and_evaluate(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", *range(6))
    initial = saved(tmp_path / "a.pt", width=2, seed=3)
    run = lesionseg.train(data, initial=initial, epochs=1, output=tmp_path / "run", device="cpu")
    assert (run.checkpoint, len(run.history)) == (tmp_path / "run" / "best.pt", 1)
    assert lesionseg.load(run.checkpoint).checkpoint.parent is not None
    scored = lesionseg.evaluate(data, run.checkpoint, device="cpu")
    assert (len(scored.scores), scored.data.split, scored.notes) == (1, "val", [])
    everything = lesionseg.evaluate(data, run.checkpoint, split="all", device="cpu")
    assert len(everything.scores) == 6
    with pytest.raises(TypeError):
        lesionseg.train(data, colour="red")
    with pytest.raises(lesionseg.LesionsegError, match="epochs: expected 1 to"):
        lesionseg.train(data, epochs=0)


def test_folds_are_scored_as_one(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", *range(4))
    runs = [
        lesionseg.train(
            data, fold=f"{k}/2", output=tmp_path / str(k), epochs=1, width=1, image_size=SIZE
        )
        for k in (1, 2)
    ]
    scored = lesionseg.evaluate(data, [run.checkpoint for run in runs])
    assert (len(scored.scores), scored.data.split) == (4, "out-of-fold")


def test_functions_take_what_the_commands_take(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", *range(6))
    (tmp_path / "more").mkdir()
    photos, truth = [data / "images", tmp_path / "more"], tmp_path / "coloured"
    truth.mkdir()
    for path in (data / "masks").iterdir():
        lesion = np.asarray(Image.open(path)) > 0
        Image.fromarray(
            np.where(lesion[:, :, None], (250, 50, 83), (0, 128, 0)).astype("uint8")
        ).save(truth / path.name)
    with pytest.raises(lesionseg.LesionsegError, match="coloured masks"):
        lesionseg.train(photos=photos, truth=truth)
    write_photo(tmp_path / "unlabelled" / "new.png", 9)
    teachers = [saved(tmp_path / f"{seed}.pt", width=2, seed=seed) for seed in (3, 4)]
    options: dict[str, Any] = {"epochs": 1, "image_size": SIZE, "width": 1, "stem": "none"}
    run = lesionseg.train(
        photos=photos,
        truth=truth,
        lesion_colours="#fa3253",
        teachers=teachers,
        unlabelled=tmp_path / "unlabelled",
        run="mine",
        **options,
        teacher_weight=0.8,
    )
    made = lesionseg.load("mine").checkpoint
    assert (made.data.lesion_colours, made.recipe.teacher_weight) == (("#fa3253",), 0.8)
    assert [teacher.file for teacher in made.teachers] == [str(path) for path in teachers]
    assert "1 photo without masks: only the teachers' masks are learned on these" in run.notes
    resumed = lesionseg.train(run="mine", resume=True, epochs=2)
    assert (resumed.checkpoint, len(resumed.history)) == (run.checkpoint, 2)
    assert resumed.notes[0] == "lesion: --lesion-colour #fa3253, as in training"

    (scored,) = (lesionseg.evaluate(checkpoint="mine", split="all", masks=tmp_path / "masks"),)
    again = lesionseg.evaluate(
        photos=photos, truth=data / "masks", predictions=tmp_path / "masks", split="all"
    )
    assert [s.confusion for s in again.scores] == [s.confusion for s in scored.scores]
    together = lesionseg.evaluate(data, ["mine", teachers[0]], ensemble=True, all_regions=True)
    assert together.checkpoint is not None
    assert (len(together.checkpoint.mean_of), together.all_regions) == (2, True)
    assert (
        len(lesionseg.evaluate(truth=truth, predictions=truth, lesion_colours="#fa3253").scores)
        == 6
    )


def test_wrong_usage_is_an_error_of_one_line(tmp_path: Path) -> None:
    for function, arguments, message in (
        (lesionseg.train, {"photos": "a"}, "--photos and --truth must be given together"),
        (lesionseg.train, {"data": tmp_path, "unlabelled": "u"}, "--unlabelled needs --teacher"),
        (lesionseg.train, {"data": tmp_path, "fold": "3/2"}, "fold: expected K/N"),
        (lesionseg.train, {"data": tmp_path, "fold": "1/2", "resume": True}, "apply to a new run"),
        (lesionseg.train, {"run": "a", "output": "b"}, "give either --run"),
        (lesionseg.train, {"data": tmp_path, "width": 0}, "width: expected 1 to 256"),
        (lesionseg.evaluate, {"lesion_labels": "a"}, "apply to coloured masks"),
        (lesionseg.evaluate, {"checkpoint": "a", "predictions": "b"}, "got both"),
        (
            lesionseg.evaluate,
            {"checkpoint": "a", "ensemble": True},
            "needs at least two --checkpoint",
        ),
    ):
        with pytest.raises(UsageError, match=message):
            function(**arguments)


EMPTY: tuple[object, ...] = ([], (), "")
BOTH = (lesionseg.train, lesionseg.evaluate)


@pytest.mark.parametrize(
    ("function", "name", "value"),
    [
        *itertools.product(BOTH, ("photos", "categories", "lesion_colours"), EMPTY),
        *itertools.product(BOTH, ("data", "truth", "groups", "lesion_labels"), ("",)),
        *itertools.product((lesionseg.evaluate, lesionseg.load), ("checkpoint",), EMPTY),
        (lesionseg.evaluate, "checkpoint", ["bundled", ""]),
        *((lesionseg.evaluate, name, "") for name in ("predictions", "masks", "split")),
        *itertools.product((lesionseg.train,), ("teachers",), EMPTY),
        *((lesionseg.train, name, "") for name in ("initial", "run", "output", "fold")),
    ],
)
def test_an_empty_argument_is_not_a_default(
    function: Callable[..., object], name: str, value: object
) -> None:
    message = r"expected one( checkpoint)? or more, got an empty"
    with pytest.raises(lesionseg.LesionsegError, match=message):
        function(**{name: value})


def test_a_recipe_has_one_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="recipe and name are the same option"):
        lesionseg.train(tmp_path, recipe="classic", name="accurate")
