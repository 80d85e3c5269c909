"""Precision of the stored weights."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import onnx

_MIN_VALUES = 256  # smaller tensors (biases, constants) stay float32: they weigh nothing


@dataclasses.dataclass(frozen=True)
class Precision:
    """A way to store weights.

    Attributes
    ----------
    rewrite : model in, model out.
    tolerance : largest difference from torch allowed, in grey levels of 0..255.
    """

    rewrite: Callable[[onnx.ModelProto], onnx.ModelProto]
    tolerance: float


def _as_is(model: onnx.ModelProto) -> onnx.ModelProto:
    return model


def half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store large float32 weights as float16, cast back where they are used: half the file, the same arithmetic.

    ONNX Runtime folds the casts when it opens the file, so that it runs as fast as the float32 one.
    """
    model = onnx.ModelProto.FromString(model.SerializeToString())
    casts = []
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _MIN_VALUES:
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    for node in reversed(casts):
        model.graph.node.insert(0, node)
    return model


PRECISIONS: Mapping[str, Precision] = MappingProxyType(
    {"fp32": Precision(_as_is, tolerance=0.005), "fp16": Precision(half_weights, tolerance=1.0)}
)
