"""Teachers: their mean masks, what a student learns of them, and what its checkpoint says."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import SIZE, Command, begun, drawing, saved, write_pairs, write_photo

from lesionseg import store
from lesionseg.config import ModelConfig, Recipe
from lesionseg.data.cache import cache_pairs
from lesionseg.data.pairs import UNKNOWN, list_unlabelled
from lesionseg.errors import CheckpointError
from lesionseg.network import checkpoint as checkpoints
from lesionseg.network.mean import AnyUNet
from lesionseg.network.unet import UNet
from lesionseg.training.teachers import Teacher, Teachers

pytestmark = pytest.mark.usefixtures("drawn_once")

CPU = torch.device("cpu")


def teachers(*networks: AnyUNet) -> Teachers:
    return Teachers(networks, CPU, torch.float32)


def photos(side: int = SIZE) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1)) * 255


def test_masks_are_the_mean_of_probabilities() -> None:
    one, other = begun(1, seed=1).network(), begun(2, seed=2).network()
    with torch.inference_mode():
        expected = (one(photos()).sigmoid() + other(photos()).sigmoid()) / 2
    assert torch.allclose(teachers(one, other).masks(photos()), expected, atol=1e-6)


def test_a_teacher_of_another_size_sees_photos_of_its_own() -> None:
    network = UNet(ModelConfig(1, image_size=64)).eval()
    torch.nn.init.constant_(network.head.bias, 3.0)  # type: ignore[arg-type]
    masks = teachers(network).masks(photos())
    assert masks.shape == (2, 1, SIZE, SIZE)
    flat = teachers(network).masks(torch.full((1, 3, SIZE, SIZE), 90.0))
    with torch.inference_mode():
        expected = network(torch.full((1, 3, 64, 64), 90.0)).sigmoid()
    assert flat.mean().item() == pytest.approx(expected.mean().item(), abs=0.02)


def test_the_own_mask_counts_for_the_rest_and_not_at_all_where_there_is_none() -> None:
    network = begun(1, seed=1).network()
    soft = teachers(network).masks(photos())
    masks = torch.zeros(2, 1, SIZE, SIZE)
    masks[1] = UNKNOWN
    blend = teachers(network).blend(photos(), masks, 0.25)
    assert torch.allclose(blend[0], soft[0] / 4, atol=1e-6)
    assert torch.allclose(blend[1], soft[1], atol=1e-6)


def test_unlabelled_photos_have_unknown_masks(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.png", 1)
    write_photo(tmp_path / "b.png", 2)
    cached = cache_pairs(list_unlabelled(tmp_path), SIZE)
    assert cached.ids == ("a", "b")
    assert np.unique(cached.masks).tolist() == [UNKNOWN]


@pytest.fixture
def words(tmp_path: Path) -> tuple[object, ...]:
    data = write_pairs(tmp_path / "data", 1, 2, 3, 4)
    shape = ("--width", 1, "--image-size", SIZE, "--set", "stem=none")
    return ("train", "--data", data, *shape, "--workers", 1, "--epochs", 2)


def test_a_student_names_its_teachers_and_photos_and_resumes(
    words: tuple[object, ...], tmp_path: Path, lesionseg: Command
) -> None:
    write_photo(tmp_path / "more" / "ISIC_0000009.png", 9)
    shutil.copy(saved(tmp_path / "a.pt", seed=1), tmp_path / "kept.pt")
    saved(tmp_path / "b.pt", width=2, seed=2)
    options = ("--teacher", tmp_path / "a.pt", "--teacher", tmp_path / "b.pt")
    ended = lesionseg(*words, *options, "--unlabelled", tmp_path / "more", "--run", "student")
    assert ended.status == 0, ended.err
    assert "1 photo without masks" in ended.err.replace("\n", " ")
    student = checkpoints.load(store.runs_dir() / "student" / "last.pt")
    assert [Path(teacher.file).name for teacher in student.teachers] == ["a.pt", "b.pt"]
    assert "ISIC_0000009" in student.data.train_ids
    assert {"a", "b"} < student.trained_ids()  # the teachers' own
    alone = lesionseg(*words, "--run", "alone")
    assert alone.status == 0
    other = checkpoints.load(store.runs_dir() / "alone" / "last.pt")
    assert not torch.equal(other.weights["head.weight"], student.weights["head.weight"])

    more = ("train", "--resume", "--run", "student", "--epochs", 3, "--workers", 1)
    saved(tmp_path / "a.pt", seed=7)
    ended = lesionseg(*more)
    assert ended.status == 1
    assert "another teacher of this name" in ended.err.replace("\n", " ")
    shutil.copy(tmp_path / "kept.pt", tmp_path / "a.pt")
    ended = lesionseg(*more)
    assert ended.status == 0, ended.err
    resumed = checkpoints.load(store.runs_dir() / "student" / "last.pt")
    assert (resumed.epoch, len(resumed.teachers)) == (3, 2)
    assert resumed.data.train_ids == student.data.train_ids


def test_what_does_not_go_together(
    words: tuple[object, ...], tmp_path: Path, lesionseg: Command
) -> None:
    assert lesionseg(*words, "--unlabelled", tmp_path).status == 2
    assert lesionseg("train", "--resume", "--teacher", "bundled").status == 2
    ended = lesionseg(*words, "--teacher", tmp_path / "none.pt")
    assert ended.status == 1
    assert len(ended.err.splitlines()) == 1
    shutil.copy(saved(tmp_path / "a.pt"), tmp_path / "copy.pt")
    ended = lesionseg(*words, "--teacher", tmp_path / "a.pt", "--teacher", tmp_path / "copy.pt")
    assert (ended.status, "copy.pt; give each one of a mean once" in ended.err) == (1, True)


def test_a_missing_teacher_is_named(tmp_path: Path) -> None:
    teacher = Teacher.load(str(saved(tmp_path / "a.pt")))
    (tmp_path / "a.pt").unlink()
    with pytest.raises(CheckpointError, match=r"a\.pt"):
        Teacher.reload(teacher.record)


def test_any_part_can_be_set(words: tuple[object, ...], lesionseg: Command) -> None:
    parts = ("poolings=3", "loss=bce+tversky", "averaging=0.9", "augmentation=wide")
    options = [word for part in parts for word in ("--set", part)]
    assert lesionseg(*words, *options, "--run", "set").status == 0
    checkpoint = checkpoints.load(store.runs_dir() / "set" / "best.pt")
    assert checkpoint.model == ModelConfig(1, image_size=SIZE, poolings=3, standardisation="photo")
    recipe = checkpoint.recipe
    assert isinstance(recipe, Recipe)
    assert (recipe.loss, recipe.averaging, recipe.augmentation) == ("bce+tversky", 0.9, "wide")


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("depth=3", "one of"),
        ("poolings", "a whole number"),
        ("poolings=two", "a whole number"),
        ("averaging=much", "a number"),
        ("averaging=2", "expected 0 to"),
        ("loss=mse", "expected one of bce"),
    ],
)
def test_a_wrong_part_is_refused(
    words: tuple[object, ...], lesionseg: Command, part: str, message: str
) -> None:
    ended = lesionseg(*words, "--set", part)
    assert ended.status == 2
    assert message in " ".join(ended.err.split())


def test_the_average_follows_the_weights_and_is_resumed(
    words: tuple[object, ...], lesionseg: Command
) -> None:
    averaged = (*words, "--set", "averaging=0.9")
    assert lesionseg(*averaged, "--run", "whole").status == 0
    assert lesionseg(*averaged, "--epochs", 1, "--run", "parts").status == 2  # given twice
    begin = [word for word in averaged if word not in ("--epochs", 2)]
    assert lesionseg(*begin, "--epochs", 1, "--run", "parts").status == 0
    assert lesionseg("train", "--resume", "--run", "parts", "--epochs", 2).status == 0
    whole, parts = (
        checkpoints.load(store.runs_dir() / name / "last.pt") for name in ("whole", "parts")
    )
    for name, value in whole.weights.items():
        assert torch.equal(value, parts.weights[name]), name
    assert whole.training is not None
    own = whole.training["network"]
    assert not torch.equal(own["head.weight"], whole.weights["head.weight"])


def shape_of(check: Callable[[], ModelConfig]) -> str:
    with pytest.raises(Exception, match="multiple") as error:
        check()
    return str(error.value)


def test_each_pooling_doubles_what_sides_are_a_multiple_of() -> None:
    assert [ModelConfig(1, poolings=count).multiple for count in (3, 4, 5)] == [8, 16, 32]
    assert "32" in shape_of(lambda: ModelConfig(1, image_size=80, poolings=5))
    photo, _ = drawing(1)
    batch = torch.from_numpy(photo[:32, :32].copy()).permute(2, 0, 1)[None]
    assert UNet(ModelConfig(1, image_size=32, poolings=3)).eval()(batch).shape == (1, 1, 32, 32)
