"""Layers that see a window of the map, or all of it, at each place: convolution, pooling, LRN, inner product.

Pooling takes exact pads from `caffe_port.layers.pooling`, never ONNX's own rounding.
"""

import math
from typing import Any

import numpy as np

from caffe_port.errors import ConversionError
from caffe_port.layers.convolution import windows_of
from caffe_port.layers.pooling import FLT_MAX, whole_windows
from caffe_port.shapes import axis_of, deconvolved, pool_extents
from caffe_port.spec import Shape
from export.caffe_layers.layer import Layer
from export.writer import END, GraphWriter


def _only_channels(axis: int, shape: Shape, field: str) -> None:
    if axis_of(axis, shape, field) != 1:
        raise ConversionError(f"field '{field}' is {axis}; only axis 1 is exported")


def _convolution(graph: GraphWriter, layer: Layer) -> list[str]:
    p = layer.params
    _only_channels(p.axis, layer.bottom_shapes[0], "convolution_param.axis")
    _, windows = windows_of(p, layer.bottom_shapes[0])
    kernel, stride, pad, dilation = (list(values) for values in zip(*windows, strict=True))
    settings = {
        "kernel_shape": kernel,
        "strides": stride,
        "pads": pad * 2,
        "dilations": dilation,
        "group": p.group,
    }
    stored = [layer.stored(graph, position) for position in range(len(layer.blobs))]
    return [graph.op("Conv", [bottom, *stored], settings) for bottom in layer.bottoms]


def _deconvolution(graph: GraphWriter, layer: Layer) -> list[str]:
    p = layer.params
    _only_channels(p.axis, layer.bottom_shapes[0], "convolution_param.axis")
    _, windows = windows_of(p, layer.bottom_shapes[0])
    kernel, stride, pad, dilation = (list(values) for values in zip(*windows, strict=True))
    least = [
        deconvolved(size, *window) for size, window in zip(layer.bottom_shapes[0][2:], windows, strict=True)
    ]
    rest = [size - small for size, small in zip(layer.top_shapes[0][2:], least, strict=True)]
    settings = {"kernel_shape": kernel, "strides": stride, "pads": pad * 2, "dilations": dilation}
    settings |= {"group": p.group, "output_padding": rest}
    stored = [layer.stored(graph, position) for position in range(len(layer.blobs))]
    return [graph.op("ConvTranspose", [bottom, *stored], settings) for bottom in layer.bottoms]


def _inner_product(graph: GraphWriter, layer: Layer) -> list[str]:
    p, shape = layer.params, layer.bottom_shapes[0]
    axis = axis_of(p.axis, shape, "inner_product_param.axis")
    rows = layer.bottoms[0]
    if axis != len(shape) - 1:
        rows = graph.op("Reshape", [rows, graph.weight([0, *shape[1:axis], math.prod(shape[axis:])])])
    if axis == 1:
        stored = [layer.stored(graph, position) for position in range(len(layer.blobs))]
        return [graph.op("Gemm", [rows, *stored], {"transB": int(not p.transpose)})]
    weight = layer.blobs[0] if p.transpose else layer.blobs[0].T
    product = graph.op("MatMul", [rows, graph.weight(np.ascontiguousarray(weight), f"{layer.name}/0")])
    return [graph.op("Add", [product, layer.stored(graph, 1)]) if p.bias_term else product]


def _pooling(graph: GraphWriter, layer: Layer) -> list[str]:
    p, size = layer.params, layer.bottom_shapes[0][2:]
    if len(layer.top_shapes) > 1 or p.method == "STOCHASTIC":
        raise ConversionError(
            f"field 'pooling_param.pool' is {p.method} with {len(layer.top_shapes)} tops; "
            "MAX and AVE with one are exported"
        )
    windows = layer.top_shapes[0][2:]
    kernel, stride, room = whole_windows(p, size, windows)
    left, right, top, bottom = room
    lowest = -float(FLT_MAX) if p.method == "MAX" else 0.0
    value, pads = _made_room(graph, layer.bottoms[0], [top, left, bottom, right], kernel, lowest)
    settings: dict[str, Any] = {"kernel_shape": kernel, "strides": stride, "pads": pads}
    if p.method == "MAX":
        return [graph.op("MaxPool", [value], settings)]
    mean = graph.op("AveragePool", [value], settings | {"count_include_pad": 1})
    heights, widths = (
        np.array(pool_extents(*setting), np.float32)
        for setting in zip(size, p.kernel or size, p.stride, p.pad, windows, strict=True)
    )
    areas = heights[:, None] * widths
    if (areas == math.prod(kernel)).all():
        return [mean]
    with np.errstate(divide="ignore"):
        factors = np.float32(math.prod(kernel)) / areas
    return [graph.op("Mul", [mean, graph.weight(factors)])]


def _made_room(
    graph: GraphWriter, value: str, pads: list[int], kernel: list[int], lowest: float
) -> tuple[str, list[int]]:
    """Cut what is less than 0 away; pad where the pooling operator cannot (ONNX Runtime: pads below the kernel)."""
    if min(pads) < 0:
        ends = [min(pad, 0) or END for pad in pads[2:]]
        starts = [max(-pad, 0) for pad in pads[:2]]
        value = graph.op("Slice", [value, *map(graph.weight, (starts, ends, [2, 3]))])
        pads = [max(pad, 0) for pad in pads]
    if all(pad < side for pad, side in zip(pads, kernel * 2, strict=True)):
        return value, pads
    whole = [0, 0, *pads[:2], 0, 0, *pads[2:]]
    return graph.op("Pad", [value, graph.weight(whole), graph.weight(lowest)]), [0, 0, 0, 0]


def _lrn(graph: GraphWriter, layer: Layer) -> list[str]:
    p, bottom = layer.params, layer.bottoms[0]
    if p.norm_region == "ACROSS_CHANNELS":
        return [
            graph.op("LRN", [bottom], {"size": p.local_size, "alpha": p.alpha, "beta": p.beta, "bias": p.k})
        ]
    reach = min((p.local_size - 1) // 2, max(layer.bottom_shapes[0][2:]) - 1)
    side = 2 * reach + 1
    settings = {"kernel_shape": [side] * 2, "pads": [reach] * 4, "count_include_pad": 1}
    means = graph.op("AveragePool", [graph.op("Mul", [bottom, bottom])], settings)
    weight = graph.weight(p.alpha * (side / p.local_size) ** 2)
    base = graph.op("Add", [graph.op("Mul", [means, weight]), graph.weight(1.0)])
    return [graph.op("Mul", [bottom, graph.op("Pow", [base, graph.weight(-p.beta)])])]


WRITERS = {
    "Convolution": _convolution,
    "Deconvolution": _deconvolution,
    "InnerProduct": _inner_product,
    "Pooling": _pooling,
    "LRN": _lrn,
}
