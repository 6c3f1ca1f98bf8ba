"""Checkpoints: what is saved comes back, and nothing else is taken for one."""

import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch
from helpers import begun, saved

from lesionseg.errors import CheckpointError, LesionsegError
from lesionseg.network import checkpoint as checkpoints
from lesionseg.network.checkpoint import FORMAT, VERSION

Content = dict[str, Any]


def refused(path: Path) -> str:
    """The one line that loading a file fails with, as an error of its own class."""
    with pytest.raises(CheckpointError) as caught:
        checkpoints.load(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


def changed(path: Path, change: Callable[[Content], Any]) -> Path:
    """A sound checkpoint's content, changed and written again."""
    content = torch.load(saved(path), weights_only=True)
    torch.save(change(content), path)
    return path


@pytest.mark.parametrize("normalisation", ["batch", "none"])
def test_round_trip(tmp_path: Path, normalisation: str) -> None:
    before = dataclasses.replace(
        begun(normalisation=normalisation, epochs=3, learning_rate=0.5),
        epoch=2,
        scores={"dice": 0.25},
        command="lesionseg train --data here",
        commit="abc1234",
        training={"history": [{"epoch": 1}], "rng": torch.get_rng_state()},
    )
    path = tmp_path / "new" / "folder" / "best.pt"
    checkpoints.save(before, path)
    after = checkpoints.load(path)
    for field in dataclasses.fields(before):
        if field.name not in ("weights", "training"):
            assert getattr(after, field.name) == getattr(before, field.name), field.name
    assert after.weights.keys() == before.weights.keys()
    assert all(torch.equal(after.weights[name], before.weights[name]) for name in after.weights)
    assert after.training is not None
    assert after.training["history"] == [{"epoch": 1}]
    assert [file.name for file in path.parent.iterdir()] == ["best.pt"]


def test_the_network_has_these_weights_and_is_ready_for_use(tmp_path: Path) -> None:
    checkpoint = checkpoints.load(saved(tmp_path / "a.pt", seed=3))
    network = checkpoint.network()
    assert not network.training
    state = network.state_dict()
    assert all(torch.equal(state[name], checkpoint.weights[name]) for name in state)


def test_no_such_file(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "none.pt")
    assert "cannot read" in refused(tmp_path)


class Trap:
    """An object whose unpickling makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("how", ["pickle", "torch.save"])
def test_code_in_a_file_is_not_run(tmp_path: Path, how: str) -> None:
    sprung = tmp_path / "sprung"
    path = tmp_path / "a.pt"
    content = {"format": FORMAT, "format_version": VERSION, "weights": Trap(sprung)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    assert "not a lesionseg checkpoint" in refused(path)
    assert not sprung.exists()
    torch.load(path, weights_only=False) if how == "torch.save" else pickle.loads(path.read_bytes())
    assert sprung.exists()  # so it was a trap


@pytest.mark.parametrize(
    "content", [b"", b"Dear reader,\n\nthis is a letter.\n", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04"]
)
def test_a_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    assert "not a lesionseg checkpoint" in refused(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_short(tmp_path: Path, share: float) -> None:
    path = saved(tmp_path / "a.pt")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "not a lesionseg checkpoint, or damaged" in refused(path)


@pytest.mark.parametrize(
    "content", [{"state_dict": {}}, {"format": "other"}, [1, 2], torch.zeros(2)]
)
def test_something_else_saved_by_torch(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "a.pt")
    assert f"expected format {FORMAT!r}" in refused(tmp_path / "a.pt")


@pytest.mark.parametrize("version", [VERSION + 1, None])
def test_a_later_format(tmp_path: Path, version: int | None) -> None:
    path = changed(tmp_path / "a.pt", lambda content: content | {"format_version": version})
    text = refused(path)
    assert f"format {version}" in text
    assert "update lesionseg: 'git pull', then 'pip install .' in its checkout" in text


@pytest.mark.parametrize("name", ["model", "recipe", "data", "weights", "epoch", "scores"])
def test_a_missing_field_is_named(tmp_path: Path, name: str) -> None:
    def without(content: Content) -> Content:
        del content[name]
        return content

    text = refused(changed(tmp_path / "a.pt", without))
    assert "damaged" in text
    assert name in text


def test_a_checkpoint_from_before_command_and_commit(tmp_path: Path) -> None:
    def older(content: Content) -> Content:
        return {name: content[name] for name in content if name not in ("command", "commit")}

    loaded = checkpoints.load(changed(tmp_path / "a.pt", older))
    assert (loaded.command, loaded.commit) == ("", "")


def test_a_checkpoint_from_when_recipes_had_more_parts(tmp_path: Path) -> None:
    def older(content: Content) -> Content:
        return content | {"recipe": content["recipe"] | {"weight_decay": 0.01, "average": 0.9}}

    path = changed(tmp_path / "a.pt", older)
    assert checkpoints.load(path).recipe == begun().recipe


def test_a_checkpoint_from_when_synthetic_data_were_called_drawn(tmp_path: Path) -> None:
    def older(content: Content) -> Content:
        data = dict(content["data"])
        data["drawn"] = data.pop("synthetic")
        return content | {"data": data}

    assert checkpoints.load(changed(tmp_path / "a.pt", older)).data == begun().data


def test_kernels_in_half_precision_make_a_network_in_full(tmp_path: Path) -> None:
    def halved(content: Content) -> Content:
        for name in ("head.weight", "encoder.0.0.weight"):
            content["weights"][name] = content["weights"][name].half()
        return content

    loaded = checkpoints.load(changed(tmp_path / "a.pt", halved))
    state = loaded.network().state_dict()
    for name in ("head.weight", "encoder.0.0.weight"):
        assert (loaded.weights[name].dtype, state[name].dtype) == (torch.float16, torch.float32)
        assert torch.equal(state[name], loaded.weights[name].float())


def test_a_network_has_weights_of_its_own(tmp_path: Path) -> None:
    loaded = checkpoints.load(saved(tmp_path / "a.pt"))
    loaded.network().get_parameter("head.weight").data.zero_()
    assert loaded.weights["head.weight"].all()


def narrow(content: Content) -> Content:
    content["weights"]["head.weight"] = torch.zeros(1, 2, 1, 1)
    return content


def missing_weight(content: Content) -> Content:
    del content["weights"]["head.bias"]
    return content


@pytest.mark.parametrize(
    "change",
    [
        narrow,
        missing_weight,
        lambda content: content | {"weights": begun(width=2).weights},
        lambda content: content | {"weights": [1]},
        lambda content: content | {"model": {"width": 3000}},
        lambda content: content | {"model": {"depth": 5}},
        lambda content: content | {"recipe": None},
        lambda content: content | {"colour": "red"},
        lambda content: content | {3: "three"},
    ],
)
def test_damaged_content(tmp_path: Path, change: Callable[[Content], Content]) -> None:
    assert "a damaged checkpoint: " in refused(changed(tmp_path / "a.pt", change))


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "last.pt", seed=1)

    def full(content: Any, target: BinaryIO) -> None:
        target.write(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file data/0:\nfile write failed")

    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(LesionsegError, match=r"^cannot write .*last\.pt: .*failed$"):
            saved(path, seed=2)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_called_so() -> None:
    with pytest.raises(LesionsegError, match=r"^cannot write /dev/full: No space left on device$"):
        saved(Path("/dev/full"))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LesionsegError, match="cannot write"):
        saved(tmp_path / "file" / "last.pt")


def test_a_bit_that_flipped_in_the_weights(tmp_path: Path) -> None:
    path = saved(tmp_path / "best.pt", width=4)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="or damaged"):
        checkpoints.load(path)
