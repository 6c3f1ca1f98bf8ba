"""Networks that are damaged, foreign or made to do harm: refused in one line, in little memory."""

import json
import math
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from helpers import SIZE, begun, drawing, exported, saved
from onnx import TensorProto, helper

from lesionseg.errors import CheckpointError
from lesionseg.images.resize import shrink
from lesionseg.network.checkpoint import Checkpoint
from lesionseg.network.runtime import (
    EXPORTED,
    MASK,
    METADATA,
    PHOTO,
    PROBABILITIES,
    SOURCE,
    Network,
    OnnxNetwork,
    open_network,
)
from lesionseg.network.unet import UNet

Content = dict[str, Any]
PHOTOS = np.zeros((1, SIZE, SIZE, 3), np.uint8)


def changed(path: Path, change: Callable[[Content], Any]) -> Path:
    content = torch.load(saved(path), weights_only=True)
    torch.save(change(content), path)
    return path


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_network(path, "cpu")
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text


# Checkpoints


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
@pytest.mark.parametrize("name", ["head.weight", "encoder.0.0.weight"])
def test_weights_of_no_network(tmp_path: Path, name: str, value: float) -> None:
    def filled(content: Content) -> Content:
        content["weights"][name].fill_(value)
        return content

    expected = "all zero" if value == 0 else "infinite or not numbers"
    assert f"{name}: weights that are {expected}" in refused(changed(tmp_path / "a.pt", filled))


def test_a_compressed_file_is_refused_unread(tmp_path: Path) -> None:
    plain, bomb = saved(tmp_path / "a.pt"), tmp_path / "b.pt"
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(bomb, "w") as target:
        for part in source.infolist():
            target.writestr(part.filename, source.read(part), zipfile.ZIP_STORED)
        target.writestr("archive/data/more", bytes(50_000_000), zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    try:
        assert "not a lesionseg checkpoint, or damaged" in refused(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5e6


def test_sizes_are_compared_before_memory_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wide(content: Content) -> Content:
        return content | {"model": content["model"] | {"width": 256}}

    devices = []

    def spy(config: Any) -> Any:
        built = UNet(config)
        devices.append(built.head.weight.device.type)
        return built

    monkeypatch.setattr("lesionseg.network.checkpoint.UNet", spy)
    assert "expected weights of (256, 3, 3, 3)" in refused(changed(tmp_path / "a.pt", wide))
    assert devices == ["meta"]


def test_a_tensor_that_claims_more_than_the_file_holds(tmp_path: Path) -> None:
    def expanded(content: Content) -> Content:
        content["weights"]["head.weight"] = torch.ones(1).expand(1, 10**6, 10**6, 1)
        return content

    assert "head.weight: expected weights of" in refused(changed(tmp_path / "a.pt", expanded))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content | {"format_version": torch.ones(2)},
        lambda content: content | {"format_version": [1]},
        lambda content: content | {"epoch": torch.ones(2, 2)},
        lambda content: content | {"scores": {"dice": torch.ones(2)}},
        lambda content: content | {"scores": [1]},
        lambda content: content | {"command": 5},
        lambda content: content | {"model": content["model"] | {"width": torch.ones(2)}},
        lambda content: content | {"model": content["model"] | {"width": 1.5}},
        lambda content: content | {"model": content["model"] | {"stem": ["none"]}},
        lambda content: content | {"recipe": content["recipe"] | {"seed": torch.ones(2)}},
        lambda content: content | {"data": content["data"] | {"train_ids": 5}},
        lambda content: content | {"data": content["data"] | {"train_ids": [torch.ones(2)]}},
        lambda content: content | {"weights": content["weights"] | {"head.weight": 5}},
        lambda content: content | {"weights": content["weights"] | {5: torch.ones(1)}},
        lambda content: content | {"weights": torch.ones(2)},
    ],
)
def test_values_of_other_types(tmp_path: Path, change: Callable[[Content], Content]) -> None:
    assert "a damaged checkpoint: " in refused(changed(tmp_path / "a.pt", change))


@pytest.mark.parametrize("name", [torch.ones(2), 5, None, ["lesionseg checkpoint"]])
def test_a_format_that_is_no_name(tmp_path: Path, name: Any) -> None:
    path = changed(tmp_path / "a.pt", lambda content: content | {"format": name})
    assert "expected format" in refused(path)


def test_a_network_in_torch_that_gives_no_probabilities(tmp_path: Path) -> None:
    def overflowing(content: Content) -> Content:  # finite, and yet
        for name, value in content["weights"].items():
            if name.endswith("running_var"):
                value.fill_(-1)
        return content

    network = open_network(changed(tmp_path / "a.pt", overflowing), "cpu")
    photos = np.random.default_rng(0).integers(0, 256, PHOTOS.shape, np.uint8)
    with pytest.raises(CheckpointError, match="probabilities outside 0 to 1"):
        network(photos)


# Exported networks


def test_an_export_of_its_own_needs_no_checkpoint(tmp_path: Path) -> None:
    path = exported(tmp_path / "a.pt").with_suffix(EXPORTED)
    saved(tmp_path / "a.pt", width=2, seed=9)
    assert isinstance(open_network(path), OnnxNetwork)


def graph(
    path: Path,
    photo: tuple[int, list[Any]] = (TensorProto.UINT8, ["n", "h", "w", 3]),
    probabilities: tuple[int, list[Any]] = (TensorProto.FLOAT, ["n", SIZE, SIZE]),
    value: float | None = None,
    photo_name: str = PHOTO,
    shape: tuple[int, ...] = (1, SIZE, SIZE),
    changes: dict[str, Any] | None = None,
) -> Path:
    """Write a network with a sound description, and another graph: the same for every photo.

    Its probabilities rise from 0 to 1, unless there is a value for all of them.
    """
    values = np.linspace(0, 1, math.prod(shape), dtype=np.float32).reshape(shape)
    if value is not None:
        values[:] = value
    kind = probabilities[0]
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    soft = onnx.numpy_helper.from_array(values.astype(dtype), "soft")
    mask = onnx.numpy_helper.from_array(np.zeros((1, 4, 4), np.uint8), "still")
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Identity", ["soft"], [PROBABILITIES]),
                helper.make_node("Identity", ["still"], [MASK]),
            ],
            "other",
            [helper.make_tensor_value_info(photo_name, *photo)],
            [
                helper.make_tensor_value_info(MASK, TensorProto.UINT8, ["n", "h", "w"]),
                helper.make_tensor_value_info(PROBABILITIES, *probabilities),
            ],
            [soft, mask],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    plain = begun().plain() | (changes or {})
    helper.set_model_props(model, {METADATA: json.dumps(plain), SOURCE: "0" * 64})
    path.write_bytes(model.SerializeToString())
    return path


def test_a_constant_graph_runs(tmp_path: Path) -> None:
    """So that the refusals below are of what they say."""
    assert open_network(graph(tmp_path / "a.onnx"))(PHOTOS).shape == (1, SIZE, SIZE)


@pytest.mark.parametrize(
    "changes",
    [
        {"photo": (TensorProto.FLOAT, ["n", "h", "w", 3])},
        {"photo": (TensorProto.UINT8, ["n", 3])},
        {"photo_name": "image"},
        {"probabilities": (TensorProto.DOUBLE, ["n", SIZE, SIZE])},
        {"probabilities": (TensorProto.FLOAT, ["n", SIZE]), "shape": (1, SIZE)},
        {"changes": {"model": {"width": "16"}}},
        {"changes": {"model": 5}},
        {"changes": {"scores": {"dice": "high"}}},
    ],
)
def test_other_graphs_with_our_description(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert "not a network that 'lesionseg export' wrote" in refused(
        graph(tmp_path / "a.onnx", **changes)
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 7.0])
def test_an_export_that_gives_no_probabilities(tmp_path: Path, value: float) -> None:
    network = open_network(graph(tmp_path / "a.onnx", value=value))
    with pytest.raises(CheckpointError, match="probabilities outside 0 to 1"):
        network(PHOTOS)


@pytest.mark.parametrize("value", [0.5, 0.2])
def test_an_export_that_gives_the_same_everywhere(tmp_path: Path, value: float) -> None:
    network = open_network(graph(tmp_path / "a.onnx", value=value))
    with pytest.raises(CheckpointError, match="gives the same probability for every pixel"):
        network(PHOTOS)


@pytest.mark.parametrize("value", [0.0, 1e-8, 1.0])
def test_an_export_that_is_sure_everywhere(tmp_path: Path, value: float) -> None:
    probabilities = open_network(graph(tmp_path / "a.onnx", value=value))(PHOTOS)
    assert (probabilities == np.float32(value)).all()


def zero_weights(path: Path) -> Path:
    """Export a network, and then replace its weights by zeros."""
    network = exported(path).with_suffix(EXPORTED)
    model = onnx.load(network)
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4:
            zeros = np.zeros(tensor.dims, np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(zeros, tensor.name))
    onnx.save(model, network)
    return network


def test_an_export_with_weights_of_zero(tmp_path: Path) -> None:
    photos = np.random.default_rng(0).integers(0, 256, PHOTOS.shape, np.uint8)
    with pytest.raises(CheckpointError, match="damaged weights"):
        open_network(zero_weights(tmp_path / "a.pt"))(photos)


def sensitive(network: Network, monkeypatch: pytest.MonkeyPatch) -> Network:
    """Let a network give NaN for photos whose first value is 255."""
    run = type(network)._run  # type: ignore[attr-defined]

    def overflowing(self: Any, *arguments: Any) -> Any:
        result = run(self, *arguments)
        probabilities = result if isinstance(result, np.ndarray) else result[-1]
        probabilities[arguments[-1][:, 0, 0, 0] == 255] = np.nan
        return result

    monkeypatch.setattr(type(network), "_run", overflowing)
    return network


@pytest.mark.parametrize("suffix", [".pt", EXPORTED])
def test_nan_for_one_photo_leaves_the_others(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = exported(tmp_path / "a.pt")
    path.with_suffix(EXPORTED).rename(tmp_path / "b.onnx")
    network = open_network(path if suffix == ".pt" else tmp_path / "b.onnx", "cpu")
    photos = np.stack([shrink(drawing(index)[0], SIZE) for index in range(3)])
    before = network(photos)
    assert not np.isnan(before).any()
    photos[1, 0, 0, 0] = 255
    probabilities = sensitive(network, monkeypatch)(photos)
    assert np.isnan(probabilities[1]).all()
    assert (probabilities[[0, 2]] == before[[0, 2]]).all()


def test_an_export_of_another_size(tmp_path: Path) -> None:
    sides: list[Any] = ["n", "a", "b"]
    path = graph(
        tmp_path / "a.onnx", probabilities=(TensorProto.FLOAT, sides), shape=(1, SIZE, SIZE - 1)
    )
    with pytest.raises(CheckpointError, match="expected probabilities of"):
        open_network(path)(PHOTOS)


def test_an_error_while_it_runs_is_one_line(tmp_path: Path, capfd: Any) -> None:
    network = open_network(exported(tmp_path / "a.pt").with_suffix(EXPORTED))
    with pytest.raises(CheckpointError, match="this network cannot be run") as caught:
        network(np.zeros((1, 8, 8, 4), np.uint8))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_weights_are_checked_by_whoever_builds_the_network() -> None:
    sound = begun()
    zeros = {name: torch.zeros_like(value) for name, value in sound.weights.items()}
    fields = {name: getattr(sound, name) for name in ("model", "recipe", "data", "epoch", "scores")}
    with pytest.raises(CheckpointError, match="all zero"):
        Checkpoint(**fields, weights=zeros).network()
