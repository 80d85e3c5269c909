"""Layers that map numbers by themselves, or by statistics and factors of their channel."""

from collections.abc import Callable
from typing import Any

import numpy as np

from caffe_port.errors import ConversionError
from caffe_port.layers.arithmetic import log_of_base
from caffe_port.shapes import axis_of, broadcast_axis
from caffe_port.spec import Shape
from export.caffe_layers.layer import Layer, Writer
from export.writer import GraphWriter


def _batch_norm(graph: GraphWriter, layer: Layer) -> list[str]:
    p = layer.params
    if not p.use_global_stats:
        raise ConversionError(
            "field 'batch_norm_param.use_global_stats' is false; the batch's own are not exported"
        )
    mean, variance, count = layer.blobs
    factor = 0 if count[0] == 0 else 1 / count[0]
    one, zero = (graph.weight(np.full_like(mean, value)) for value in (1, 0))
    stored = [
        graph.weight((blob * factor).astype(np.float32), f"{layer.name}/{i}")
        for i, blob in enumerate((mean, variance))
    ]
    return [graph.op("BatchNormalization", [layer.bottoms[0], one, zero, *stored], {"epsilon": p.eps})]


def _scale(graph: GraphWriter, layer: Layer) -> list[str]:
    return _broadcast(graph, layer, "Mul", "scale_param")


def _bias(graph: GraphWriter, layer: Layer) -> list[str]:
    return _broadcast(graph, layer, "Add", "bias_param")


def _broadcast(graph: GraphWriter, layer: Layer, operator: str, field: str) -> list[str]:
    """A factor or a term over some axes, from a blob or the second bottom; Scale may add a bias."""
    p, shape = layer.params, layer.bottom_shapes[0]

    def form(blob: Shape) -> list[int]:
        axis = broadcast_axis(shape, blob, p.axis, field)
        return [*blob, *(1,) * (len(shape) - axis - len(blob))]

    def stored(position: int) -> str:
        blob = layer.blobs[position]
        return graph.weight(blob.reshape(form(blob.shape)), f"{layer.name}/{position}")

    if len(layer.bottoms) > 1:
        second = layer.bottom_shapes[1]
        rest = form(second)[len(second) :]
        batched = broadcast_axis(shape, second, p.axis, field) == 0
        if not batched:
            raise ConversionError(
                f"field '{field}.axis' is {p.axis}; a second bottom is exported from axis 0 on"
            )
        first = graph.op("Reshape", [layer.bottoms[1], graph.weight([0, *second[1:], *rest])])
    else:
        first = stored(0)
    value = graph.op(operator, [layer.bottoms[0], first])
    return [graph.op("Add", [value, stored(len(layer.blobs) - 1)]) if p.bias_term else value]


def _softmax(graph: GraphWriter, layer: Layer) -> list[str]:
    axis = axis_of(layer.params.axis, layer.bottom_shapes[0], "softmax_param.axis")
    return [graph.op("Softmax", [layer.bottoms[0]], {"axis": axis})]


def _mvn(graph: GraphWriter, layer: Layer) -> list[str]:
    p, shape = layer.params, layer.bottom_shapes[0]
    if len(shape) != 4:
        raise ConversionError(f"field 'bottom': {len(shape)} axes; 4 are exported")
    axes = graph.weight([1, 2, 3] if p.across_channels else [2, 3])
    centred = graph.op("Sub", [layer.bottoms[0], graph.op("ReduceMean", [layer.bottoms[0], axes])])
    if not p.normalize_variance:
        return [centred]
    variance = graph.op("ReduceMean", [graph.op("Mul", [centred, centred]), axes])
    deviation = graph.op("Add", [graph.op("Sqrt", [variance]), graph.weight(p.eps)])
    return [graph.op("Div", [centred, deviation])]


def _normalize(graph: GraphWriter, layer: Layer) -> list[str]:
    p, axes = layer.params, len(layer.bottom_shapes[0])
    over = graph.weight(list(range(1, axes)) if p.across_spatial else [1])
    sums = graph.op("ReduceSumSquare", [layer.bottoms[0], over])
    norm = graph.op("Sqrt", [graph.op("Add", [sums, graph.weight(p.eps)])])
    scale = graph.weight(layer.blobs[0].reshape(-1, *(1,) * (axes - 2)), f"{layer.name}/0")
    return [graph.op("Mul", [graph.op("Div", [layer.bottoms[0], norm]), scale])]


def _neuron(kind: str, settings: Callable[[Any], dict[str, float]] = lambda p: {}) -> Writer:
    """Writer of a layer that is one operator of one value, with attributes from its spec."""
    return lambda graph, layer: [graph.op(kind, [layer.bottoms[0]], settings(layer.params))]


def _relu(graph: GraphWriter, layer: Layer) -> list[str]:
    slope = layer.params.negative_slope
    return [
        graph.op("LeakyRelu", layer.bottoms, {"alpha": slope}) if slope else graph.op("Relu", layer.bottoms)
    ]


def _prelu(graph: GraphWriter, layer: Layer) -> list[str]:
    slope = layer.blobs[0].reshape(-1, *(1,) * (len(layer.bottom_shapes[0]) - 2))
    return [graph.op("PRelu", [layer.bottoms[0], graph.weight(slope, f"{layer.name}/0")])]


def _swish(graph: GraphWriter, layer: Layer) -> list[str]:
    scaled = graph.op("Mul", [layer.bottoms[0], graph.weight(layer.params.beta)])
    return [graph.op("Mul", [layer.bottoms[0], graph.op("Sigmoid", [scaled])])]


def _clip(graph: GraphWriter, layer: Layer) -> list[str]:
    limits = [graph.weight(limit) for limit in (layer.params.min, layer.params.max)]
    return [graph.op("Clip", [layer.bottoms[0], *limits])]


def _relu6(graph: GraphWriter, layer: Layer) -> list[str]:
    return [graph.op("Clip", [layer.bottoms[0], graph.weight(0.0), graph.weight(6.0)])]


def _threshold(graph: GraphWriter, layer: Layer) -> list[str]:
    above = graph.op("Greater", [layer.bottoms[0], graph.weight(layer.params.threshold)])
    return [graph.op("Cast", [above], {"to": 1})]


def _scaled(graph: GraphWriter, value: str, scale: float, shift: float) -> str:
    value = value if scale == 1 else graph.op("Mul", [value, graph.weight(float(scale))])
    return value if shift == 0 else graph.op("Add", [value, graph.weight(float(shift))])


def _power(graph: GraphWriter, layer: Layer) -> list[str]:
    p = layer.params
    if p.scale * p.power == 0:
        zeros = graph.op("Mul", [layer.bottoms[0], graph.weight(0.0)])
        return [graph.op("Add", [zeros, graph.weight(float(np.float32(p.shift) ** np.float32(p.power)))])]
    value = _scaled(graph, layer.bottoms[0], p.scale, p.shift)
    return [value if p.power == 1 else graph.op("Pow", [value, graph.weight(float(p.power))])]


def _exp(graph: GraphWriter, layer: Layer) -> list[str]:
    p, base = layer.params, float(log_of_base(layer.params, "exp_param"))
    return [graph.op("Exp", [_scaled(graph, layer.bottoms[0], base * p.scale, base * p.shift)])]


def _log(graph: GraphWriter, layer: Layer) -> list[str]:
    p, base = layer.params, float(log_of_base(layer.params, "log_param"))
    value = graph.op("Log", [_scaled(graph, layer.bottoms[0], p.scale, p.shift)])
    return [_scaled(graph, value, 1 / base, 0)]


def _eltwise(graph: GraphWriter, layer: Layer) -> list[str]:
    p = layer.params
    values = list(layer.bottoms)
    if p.operation == "SUM" and p.coeff:
        values = [_scaled(graph, value, weight, 0) for value, weight in zip(values, p.coeff, strict=True)]
    total = values[0]
    for value in values[1:]:
        total = graph.op({"SUM": "Add", "PROD": "Mul", "MAX": "Max"}[p.operation], [total, value])
    return [total]


WRITERS = {
    "BatchNorm": _batch_norm,
    "Scale": _scale,
    "Bias": _bias,
    "Softmax": _softmax,
    "MVN": _mvn,
    "Normalize": _normalize,
    "ReLU": _relu,
    "PReLU": _prelu,
    "ELU": _neuron("Elu", lambda p: {"alpha": p.alpha}),
    "Sigmoid": _neuron("Sigmoid"),
    "TanH": _neuron("Tanh"),
    "BNLL": _neuron("Softplus"),
    "AbsVal": _neuron("Abs"),
    "Swish": _swish,
    "Clip": _clip,
    "ReLU6": _relu6,
    "Threshold": _threshold,
    "Power": _power,
    "Exp": _exp,
    "Log": _log,
    "Eltwise": _eltwise,
}
