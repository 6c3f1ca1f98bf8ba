"""The kernels of a network in eight bits: a quarter of the bytes, the same masks.

Each output channel of a convolution's kernel is stored as int8 with one float32 scale; in ONNX, a
`DequantizeLinear` node gives the float32 kernel back. Everything else stays float32, small kernels
and activations included, so no calibration photos are needed. Symmetric and per channel, as
Krishnamoorthi 2018 (arXiv:1806.08342, section 3) recommends for weights.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

OUTPUT_AXIS = {"Conv": 0, "ConvTranspose": 1}  # of the kernel
_STEPS = 127  # int8 without -128, so that the range is symmetric
SMALL = 5000  # values; smaller kernels are 1 % of the bytes and make most of the difference


def store_in_int8(model: "onnx.ModelProto") -> int:
    """Store the float32 kernels of convolutions in int8, in place.

    Args:
        model: an exported network; its kernels are initializers of four axes.

    Returns:
        How many kernels were changed.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    axes = {
        node.input[1]: OUTPUT_AXIS[node.op_type]
        for node in graph.node
        if node.op_type in OUTPUT_AXIS
    }
    nodes = []
    for tensor in list(graph.initializer):
        size = int(np.prod(tensor.dims))
        if tensor.name not in axes or tensor.data_type != TensorProto.FLOAT or size < SMALL:
            continue
        axis = axes[tensor.name]
        values, scale = quantise(numpy_helper.to_array(tensor), axis)
        names = f"{tensor.name}_int8", f"{tensor.name}_scale"
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(values, names[0]))
        graph.initializer.append(numpy_helper.from_array(scale, names[1]))
        nodes.append(
            helper.make_node(
                "DequantizeLinear", names, [tensor.name], name=f"float_{tensor.name}", axis=axis
            )
        )
    for place, node in enumerate(nodes):
        graph.node.insert(place, node)
    return len(nodes)


def quantise(
    kernel: NDArray[np.float32], axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round a kernel to int8, with a scale for each channel along `axis`.

    Args:
        kernel: float32 of any shape.
        axis: the output channels.

    Returns:
        int8 of the same shape, -127 to 127, and the scales (channels,) float32, more than 0;
        value times scale is within half a scale of the kernel.
    """
    others = tuple(other for other in range(kernel.ndim) if other != axis)
    largest = np.abs(kernel).max(axis=others, keepdims=True)
    scale = np.maximum(largest / np.float32(_STEPS), np.finfo(np.float32).tiny)
    values = np.rint(kernel / scale).clip(-_STEPS, _STEPS).astype(np.int8)
    return values, scale.ravel()
