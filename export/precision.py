"""Precision of the stored weights, and what it costs.

`fp16` halves the file; ONNX Runtime casts back when it opens it, so that it runs as fast as `fp32`. `int8` stores
big fully connected layers in 8 bits, in blocks of 256 numbers along the sum with a scale each (symmetric, rounded to
nearest), and the rest as fp16; ONNX Runtime's MatMulNBits reads a quarter of the bytes, which is what bounds a batch
of one. It quantises each row of activations by itself, so that a picture's answer does not depend on its batch.
"""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import onnx

_MIN_VALUES = 256  # smaller tensors (biases, constants) stay float32: they weigh nothing
_BIG_LAYER = 2**20  # weights: where reading them takes longer than the products of one picture
_BLOCK = (
    256  # of 32: a quarter more time at a batch of one, half more at 16, and errors of 1.4 instead of 1.8 %
)
_LEVELS = 127
_COMPUTE_IN_INT8 = 4  # MatMulNBits' accuracy_level
_MICROSOFT = "com.microsoft"


@dataclasses.dataclass(frozen=True)
class Precision:
    """A way to store weights.

    Attributes
    ----------
    rewrite : model in, model out; a ValueError says why it does not suit.
    tolerance : largest difference from torch allowed, in grey levels of 0..255; None: only the reconstruction error
        is judged.
    """

    rewrite: Callable[[onnx.ModelProto], onnx.ModelProto]
    tolerance: float | None


def _as_is(model: onnx.ModelProto) -> onnx.ModelProto:
    return model


def half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store large float32 weights of products as float16, cast back where they are used: half the file."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    products = {
        node.input[1] for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose", "Gemm")
    }
    casts = []
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if tensor.name not in products or values.dtype != np.float32 or values.size < _MIN_VALUES:
            continue
        name = tensor.name
        if np.abs(values).max() > np.finfo(np.float16).max:
            raise ValueError(f"fp16 does not hold the weights of {name}; use fp32")
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    for node in reversed(casts):
        model.graph.node.insert(0, node)
    return model


def byte_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store big fully connected layers in 8 bits and other large weights as float16.

    Raises
    ------
    ValueError : if there is no such layer, so that fp16 does all there is to do.
    """
    model = onnx.ModelProto.FromString(model.SerializeToString())
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    big = [
        node
        for node in model.graph.node
        if node.op_type == "Gemm" and np.prod(weights[node.input[1]].dims) >= _BIG_LAYER
    ]
    if not big:
        raise ValueError(
            f"int8 is for fully connected layers of {_BIG_LAYER} weights or more, and there is none; use fp16"
        )
    for node in big:
        tensor = weights[node.input[1]]
        values = onnx.numpy_helper.to_array(tensor)  # (out, in)
        numbers, scales = quantise(values)
        model.graph.initializer.remove(tensor)
        name = tensor.name
        stored = ((numbers, f"{name}.bytes"), (scales, f"{name}.scales"))
        model.graph.initializer.extend(onnx.numpy_helper.from_array(*pair) for pair in stored)
        inputs = [node.input[0], f"{name}.bytes", f"{name}.scales", "", "", node.input[2]]
        product = onnx.helper.make_node(
            "MatMulNBits",
            inputs,
            list(node.output),
            name=node.name,
            domain=_MICROSOFT,
            K=values.shape[1],
            N=values.shape[0],
            bits=8,
            block_size=_BLOCK,
            accuracy_level=_COMPUTE_IN_INT8,
        )
        node.CopyFrom(product)
    model.opset_import.append(onnx.helper.make_opsetid(_MICROSOFT, 1))
    return half_weights(model)


def quantise(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round (out, in) float32 weights to 8 bits in blocks along the second axis.

    Returns
    -------
    numbers : (out, blocks, 256) uint8; 128 is zero, and fills the last block.
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
    }
)
