"""Kernels in eight bits: their size, their error, and the masks that they give."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers import SIZE, Command, begun, exported, saved
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from lesionseg import store
from lesionseg.errors import LesionsegError
from lesionseg.network import export, kernels, runtime
from lesionseg.network.runtime import EXPORTED, INT8, OnnxNetwork, checksum


@given(
    arrays(np.float32, (3, 2, 2, 2), elements=st.floats(-100, 100, width=32)),
    st.sampled_from([0, 1]),
)
def test_a_kernel_comes_back_within_half_a_step(kernel: NDArray[np.float32], axis: int) -> None:
    values, scale = kernels.quantise(kernel, axis)
    assert values.dtype == np.int8
    assert values.shape == kernel.shape
    assert scale.shape == (kernel.shape[axis],)
    assert (scale > 0).all()
    assert values.min() >= -127
    wide = np.expand_dims(scale, tuple(other for other in range(4) if other != axis))
    error = np.abs(values * wide.astype(np.float64) - kernel)
    assert (error <= 0.5001 * wide).all()


def test_each_channel_has_its_own_scale() -> None:
    kernel = np.ones((2, 3, 1, 1), np.float32)
    kernel[1] *= 1000
    values, scale = kernels.quantise(kernel, 0)
    assert (values == 127).all()
    assert scale == pytest.approx([1 / 127, 1000 / 127])


def test_a_channel_of_zeros_stays_zero() -> None:
    values, scale = kernels.quantise(np.zeros((1, 2, 3, 3), np.float32), 0)
    assert not values.any()
    assert scale > 0


def test_what_is_stored_how(tmp_path: Path) -> None:
    source = saved(tmp_path / "a.pt", width=48, seed=3, poolings=1)
    written = export.export(source, tmp_path / "b.onnx", kernels="int8")
    full = export.export(source, tmp_path / "a.onnx")
    assert written.size < 0.4 * full.size  # a small network: the rest of the graph counts
    assert 0 < written.difference < 0.1
    assert written.agreement >= 0.995
    model = onnx.load(written.path)
    onnx.checker.check_model(model, full_check=True)
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    whole = {tensor.name: tensor.data_type for tensor in onnx.load(full.path).graph.initializer}
    assert set(whole.values()) <= {*types.values()}
    large = [name for name in types if types[name] == onnx.TensorProto.INT8]
    assert len(large) == sum(node.op_type == "DequantizeLinear" for node in model.graph.node)
    for name in large:
        assert whole[name.removesuffix("_int8")] == onnx.TensorProto.FLOAT
        assert name.removesuffix("_int8") not in types
    kernel_sizes = {
        tensor.name: np.prod(tensor.dims)
        for tensor in model.graph.initializer
        if len(tensor.dims) == 4
    }
    left = [size for name, size in kernel_sizes.items() if name not in large]
    assert max(left) < kernels.SMALL <= min(kernel_sizes[name] for name in large)
    names = [node.name for node in model.graph.node if node.op_type == "Resize"]
    assert names == ["shrink", "enlarge"]
    assert b".py" not in written.path.read_bytes()  # no trace of the machine that wrote it
    assert all(node.op_type != "QuantizeLinear" for node in model.graph.node)
    assert OnnxNetwork(written.path).source == checksum(source)


def test_a_network_that_differs_too_much_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = saved(tmp_path / "a.pt", width=48, seed=3, poolings=1)
    monkeypatch.setattr(kernels, "_STEPS", 1)  # three values are too few
    with pytest.raises(LesionsegError, match=r"differs from torch by .*; nothing was written"):
        export.export(source, tmp_path / "a.onnx", kernels="int8")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_the_command_keeps_it_apart_from_what_segment_takes(
    lesionseg: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = saved(store.runs_dir() / "mine" / store.BEST, width=48, seed=3, poolings=1)
    ended = lesionseg("export", "--kernels", "int8")
    target = best.with_suffix(INT8)
    assert (ended.status, ended.out) == (0, f"{target}\n")
    assert "compared with torch: probabilities within" in ended.err
    monkeypatch.setattr(runtime, "has_cuda", lambda: False)
    network = runtime.open_network(best)
    assert not isinstance(network, OnnxNetwork)


def test_float32_is_as_before(tmp_path: Path) -> None:
    pair = exported(tmp_path / "a.pt")
    model = onnx.load(pair.with_suffix(EXPORTED))
    assert begun(2, seed=3).model.image_size == SIZE
    assert all(node.op_type != "DequantizeLinear" for node in model.graph.node)
