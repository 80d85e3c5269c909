"""A decoder's table as an ONNX graph, one small function an operation; nothing is left to fold.

Features are scaled by the first layers' weights, and the last layer's weights and bias give grey levels at once.
Leaky ReLU follows each product directly, where ONNX Runtime fuses the two.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from decoders.model import Decoder
from decoders.specs import ILSVRC_MEAN_RGB, LEAKY_SLOPE, Row
from export.upconvolution import FORMS, Activate, fastest_form
from export.writer import GraphWriter, channels_first, channels_last

Weights = tuple[np.ndarray, np.ndarray]
Operation = Callable[[GraphWriter, Row, str, Weights, Activate, str], str]


def write_decoder(graph: GraphWriter, decoder: Decoder, features: str, *, form: str = "") -> str:
    """Add a decoder to a graph.

    Parameters
    ----------
    features : name of the value (N, C, H, W), or (N, C) for decoders of vectors.
    form : a name in `FORMS` for every up-convolution; by default each row gets the fastest.

    Returns
    -------
    Name of the pictures, (N, 3, H', W') float32, RGB, clipped to 0..255.
    """
    values = {"features": features}
    for row in decoder.spec.rows:
        inputs = [values[name] for name in row.inputs]
        joined = inputs[0] if len(inputs) == 1 else graph.op("Concat", inputs, {"axis": 1})
        activate = _identity if row is decoder.spec.rows[-1] else _leaky
        weights = folded_weights(decoder, row)
        values[row.name] = OPERATIONS[row.op](graph, row, joined, weights, activate, form)
    limits = [graph.weight(0.0), graph.weight(255.0)]
    return graph.op("Clip", [values[decoder.spec.rows[-1].name], *limits])


def upconvolution_forms(decoder: Decoder, form: str = "") -> dict[str, str]:
    """How each up-convolution is written: row -> name in `FORMS`."""
    return {row.name: form or fastest_form(row.out[2]) for row in decoder.spec.rows if row.op == "upconv"}


def write_bytes(graph: GraphWriter, pictures: str) -> str:
    """Round (N, 3, H, W) float32 pictures to (N, H, W, 3) uint8, halves to even, as NumPy does."""
    rounded = graph.op("Cast", [graph.op("Round", [pictures])], {"to": _UINT8})
    return channels_last(graph, rounded)


def write_floats(graph: GraphWriter, images: str) -> str:
    """(N, H, W, 3) uint8 images as (N, 3, H, W) float32 pictures."""
    return graph.op("Cast", [channels_first(graph, images)], {"to": _FLOAT})


_FLOAT, _UINT8 = 1, 2  # onnx.TensorProto.FLOAT, UINT8


def _leaky(graph: GraphWriter, value: str) -> str:
    return graph.op("LeakyRelu", [value], {"alpha": LEAKY_SLOPE})


def _identity(graph: GraphWriter, value: str) -> str:
    return value


def folded_weights(decoder: Decoder, row: Row) -> Weights:
    """Weights and bias (empty for rows without), with the scales of features and pixels in them."""
    module, spec = decoder.rows[row.name], decoder.spec
    if not hasattr(module, "weight"):
        return np.empty(0), np.empty(0)
    weight, bias = (tensor.detach().cpu().double().numpy() for tensor in (module.weight, module.bias))
    factors = [
        np.full(spec.size_of(n)[2], spec.feature_scale if n == "features" else 1.0) for n in row.inputs
    ]
    weight = weight * np.concatenate(factors).reshape(-1, *(1,) * (weight.ndim - 2))
    if row is spec.rows[-1]:
        weight = weight * spec.pixel_scale
        bias = bias * spec.pixel_scale + np.asarray(ILSVRC_MEAN_RGB)
    return weight.astype(np.float32), bias.astype(np.float32)


def _convolution(
    graph: GraphWriter, row: Row, value: str, weights: Weights, activate: Activate, form: str
) -> str:
    settings = {"pads": [(row.kernel - 1) // 2] * 4, "strides": [row.stride] * 2}
    return activate(graph, graph.op("Conv", [value, *_stored(graph, row, weights)], settings))


def _fully_connected(
    graph: GraphWriter, row: Row, value: str, weights: Weights, activate: Activate, form: str
) -> str:
    return activate(graph, graph.op("Gemm", [value, *_stored(graph, row, weights)], {"transB": 1}))


def _reshape(
    graph: GraphWriter, row: Row, value: str, weights: Weights, activate: Activate, form: str
) -> str:
    height, width, maps = row.out
    return graph.op("Reshape", [value, graph.weight([0, maps, height, width])])


def _up_convolution(
    graph: GraphWriter, row: Row, value: str, weights: Weights, activate: Activate, form: str
) -> str:
    return FORMS[form or fastest_form(row.out[2])](graph, value, *weights, activate, row.name)


def _stored(graph: GraphWriter, row: Row, weights: Weights) -> list[str]:
    return [
        graph.weight(values, f"{row.name}.{part}")
        for values, part in zip(weights, ("weight", "bias"), strict=True)
    ]


OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        "conv": _convolution,
        "upconv": _up_convolution,
        "fc": _fully_connected,
        "reshape": _reshape,
    }
)
