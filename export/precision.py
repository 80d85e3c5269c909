"""Precision of the stored weights, and what it costs.

`fp16` halves the file and `int8` quarters it; ONNX Runtime makes the weights float32 again when it opens it, so that
it runs as fast as `fp32`. 8 bits are symmetric and rounded to nearest, with a scale for each output map. Big fully
connected layers have a scale for each block of 1024 numbers along the sum and stay in 8 bits: ONNX Runtime's
MatMulNBits reads a quarter of the bytes, which is what bounds a batch of one. It quantises each row of activations by
itself, so that a picture's answer does not depend on its batch.

`int8-static` computes in 8 bits throughout, see `export.byte_graph`: the fastest on CPUs, and for them only.
"""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import onnx

from export.writer import MICROSOFT

_MIN_VALUES = 256  # smaller tensors (biases, constants) stay float32: they weigh nothing
_BIG_LAYER = 2**20  # weights: where reading them takes longer than the products of one picture
_BLOCK = 1024  # of 256: 4 % more time at a batch of one; weights off by 0.7 instead of 0.8 % of their spread
_LEVELS = 127
_COMPUTE_IN_INT8 = 4  # MatMulNBits' accuracy_level


@dataclasses.dataclass(frozen=True)
class Precision:
    """A way to store weights.

    Attributes
    ----------
    rewrite : model in, model out; a ValueError says why it does not suit.
    tolerance : largest difference from torch allowed, in grey levels of 0..255; None: only the reconstruction error
        is judged.
    static : whether the maps are bytes as well, with ranges from calibration pictures.
    """

    rewrite: Callable[[onnx.ModelProto], onnx.ModelProto]
    tolerance: float | None
    static: bool = False


def _as_is(model: onnx.ModelProto) -> onnx.ModelProto:
    return model


Stored = tuple[list[onnx.TensorProto], list[onnx.NodeProto]]


def half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store large float32 weights of products as float16, cast back where they are used: half the file."""
    return _stored(model, _as_halves)


def byte_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store large weights in 8 bits: those of big fully connected layers in blocks, and multiplied as they are; others
    with a scale for each output map, and made float32 again when the file is opened.
    """
    model = onnx.ModelProto.FromString(model.SerializeToString())
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    big = [
        node
        for node in model.graph.node
        if node.op_type == "Gemm" and np.prod(weights[node.input[1]].dims) >= _BIG_LAYER
    ]
    for node in big:
        _multiply_in_bytes(model.graph, node, weights[node.input[1]])
    if big:
        model.opset_import.append(onnx.helper.make_opsetid(MICROSOFT, 1))
    return _stored(model, _as_bytes)


def _stored(model: onnx.ModelProto, store: Callable[[str, np.ndarray, int], Stored]) -> onnx.ModelProto:
    """Replace large float32 weights of products by what ``store`` makes of name, values, and axis of output maps."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    axes = {
        node.input[1]: int(node.op_type == "ConvTranspose")
        for node in model.graph.node
        if node.op_type in ("Conv", "ConvTranspose", "Gemm")
    }
    kept, restoring = [], []
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if tensor.name not in axes or values.dtype != np.float32 or values.size < _MIN_VALUES:
            kept.append(tensor)
            continue
        tensors, nodes = store(tensor.name, values, axes[tensor.name])
        kept += tensors
        restoring += nodes
    nodes = [*restoring, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    return model


def _as_halves(name: str, values: np.ndarray, _: int) -> Stored:
    if np.abs(values).max() > np.finfo(np.float16).max:
        raise ValueError(f"fp16 does not hold the weights of {name}; use fp32")
    halves = onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half")
    return [halves], [onnx.helper.make_node("Cast", [halves.name], [name], to=onnx.TensorProto.FLOAT)]


def _as_bytes(name: str, values: np.ndarray, axis: int) -> Stored:
    others = tuple(other for other in range(values.ndim) if other != axis)
    scales = np.abs(values).max(axis=others, keepdims=True) / _LEVELS
    numbers = np.rint(values / np.where(scales == 0, 1, scales)).astype(np.int8)
    stored = {f"{name}.bytes": numbers, f"{name}.scales": scales}
    steps = f"{name}.steps"
    nodes = [
        onnx.helper.make_node("Cast", [f"{name}.bytes"], [steps], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Mul", [steps, f"{name}.scales"], [name]),
    ]
    return [onnx.numpy_helper.from_array(array, key) for key, array in stored.items()], nodes


def _multiply_in_bytes(graph: onnx.GraphProto, node: onnx.NodeProto, weights: onnx.TensorProto) -> None:
    """Make a Gemm a MatMulNBits of 8 bits."""
    values = onnx.numpy_helper.to_array(weights)  # (out, in)
    numbers, scales = quantise(values)
    graph.initializer.remove(weights)
    name = weights.name
    stored = ((numbers, f"{name}.bytes"), (scales, f"{name}.scales"))
    graph.initializer.extend(onnx.numpy_helper.from_array(*pair) for pair in stored)
    inputs = [node.input[0], f"{name}.bytes", f"{name}.scales", "", "", node.input[2]]
    product = onnx.helper.make_node(
        "MatMulNBits",
        inputs,
        list(node.output),
        name=node.name,
        domain=MICROSOFT,
        K=values.shape[1],
        N=values.shape[0],
        bits=8,
        block_size=_BLOCK,
        accuracy_level=_COMPUTE_IN_INT8,
    )
    node.CopyFrom(product)


def quantise(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round (out, in) float32 weights to 8 bits in blocks along the second axis.

    Returns
    -------
    numbers : (out, blocks, 1024) uint8; 128 is zero, and fills the last block.
    scales : (out, blocks) float32: a weight is (number - 128) * scale.
    """
    rest = -weights.shape[1] % _BLOCK
    blocks = np.pad(weights, ((0, 0), (0, rest))).reshape(len(weights), -1, _BLOCK)
    scales = np.abs(blocks).max(axis=2) / _LEVELS
    steps = np.rint(blocks / np.where(scales == 0, 1, scales)[..., None])
    return (steps + 128).astype(np.uint8), scales.astype(np.float32)


PRECISIONS: Mapping[str, Precision] = MappingProxyType(
    {
        "fp32": Precision(_as_is, tolerance=0.005),
        "fp16": Precision(half_weights, tolerance=1.0),
        "int8": Precision(byte_weights, tolerance=None),
        "int8-static": Precision(_as_is, tolerance=None, static=True),
    }
)
