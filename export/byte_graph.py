"""A decoder's table as an ONNX graph whose maps are bytes: static quantisation to 8 bits.

A number is (byte - zero) * scale: one scale and zero for all maps of a row, by the numbers that the row made of
calibration pictures. Weights have a scale for each output map and 7 bits: without AVX-512's VNNI, ONNX Runtime adds
two products of bytes in 16 bits, which those of 8 bits overflow. So the sums are exact everywhere. The maps lie
channels last, and those of the last row are the picture: its bytes are grey levels, rounded and clipped.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch

from decoders.model import Decoder
from decoders.rows import Row
from decoders.specs import LEAKY_SLOPE
from export.decoder_graph import Weights, folded_weights
from export.upconvolution import all_parts, fastest_form, interleaved, part_of
from export.writer import MICROSOFT, GraphWriter, channels_last

Range = tuple[float, float]  # least and largest number
Ranges = Mapping[str, Range]  # of "features", and of each row with weights before its leaky ReLU

MARGIN = 1.25  # by which ranges are widened, for pictures that calibration did not see
_LEVELS = 63  # of a weight, on either side of zero: 2 * 255 * 63 < 2 ** 15
_SHARES = np.linspace(0.5, 1, 11)  # of a map's largest weight, to choose its scale from
_GREY_LEVELS = (0.0, 255.0)


@dataclasses.dataclass(frozen=True)
class Bytes:
    """A value of the graph in uint8.

    Attributes
    ----------
    name : of the value, (N, H, W, C), or (N, C) for vectors.
    range : what its bytes reach over, widened to hold zero.
    """

    name: str
    range: Range

    def inputs(self, graph: GraphWriter) -> list[str]:
        """Name, scale and zero, as operators take them."""
        return [self.name, *_steps(graph, self.range)]


def ranges_of(decoder: Decoder, features: Iterable[np.ndarray]) -> Ranges:
    """What numbers a decoder makes of features, with a margin; upwards alone where leaky ReLU follows, as what is
    negative counts a fifth.

    Parameters
    ----------
    features : batches of (N, C, H, W) or (N, C) float32.
    """
    found: dict[str, Range] = {}

    def see(name: str, values: torch.Tensor) -> None:
        low, high = found.get(name, (0.0, 0.0))
        found[name] = min(low, float(values.min())), max(high, float(values.max()))

    hooks = [
        module.register_forward_hook(lambda _, __, made, name=name: see(name, made))
        for name, module in decoder.rows.items()
    ]
    try:
        for batch in features:
            see("features", torch.from_numpy(batch))
            decoder.decode_numpy(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return {
        name: (low * (MARGIN if name == "features" else 1), high * MARGIN)
        for name, (low, high) in found.items()
    }


def write_byte_decoder(graph: GraphWriter, decoder: Decoder, features: str, ranges: Ranges) -> str:
    """Add a decoder to a graph.

    Parameters
    ----------
    features : name of the value (N, C, H, W), or (N, C) for decoders of vectors, float32. Numbers beyond their range
        count as its ends.
    ranges : see `ranges_of`.

    Returns
    -------
    Name of the images, (N, H', W', 3) uint8, RGB.
    """
    *hidden, picture = decoder.spec.rows
    values = {"features": _quantised(graph, decoder, features, ranges["features"])}
    for row in hidden:
        given = _joined(graph, [values[name] for name in row.inputs])
        if row.op == "reshape":
            values[row.name] = _reshaped(graph, row, given)
        else:
            made = OPERATIONS[row.op](graph, row, given, folded_weights(decoder, row), ranges[row.name])
            values[row.name] = _leaky(graph, made)
    given = _joined(graph, [values[name] for name in picture.inputs])
    return OPERATIONS[picture.op](graph, picture, given, folded_weights(decoder, picture), _GREY_LEVELS).name


def _scale(numbers: Range) -> tuple[np.float32, np.uint8]:
    """The step of a range's bytes, and the byte that stands for zero."""
    low, high = min(numbers[0], 0.0), max(numbers[1], 0.0)
    scale = np.float32((high - low) / 255) or np.float32(1)
    return scale, np.uint8(round(-low / float(scale)))


def _steps(graph: GraphWriter, numbers: Range) -> list[str]:
    return [graph.weight(np.asarray(value)) for value in _scale(numbers)]


def _quantised(graph: GraphWriter, decoder: Decoder, features: str, numbers: Range) -> Bytes:
    value = graph.op("QuantizeLinear", [features, *_steps(graph, numbers)])
    return Bytes(value if decoder.spec.takes_vectors else channels_last(graph, value), numbers)


def _joined(graph: GraphWriter, values: Sequence[Bytes]) -> Bytes:
    if len(values) == 1:
        return values[0]
    numbers = min(value.range[0] for value in values), max(value.range[1] for value in values)
    inputs = [name for value in values for name in value.inputs(graph)]
    joined = graph.op("QLinearConcat", [*_steps(graph, numbers), *inputs], {"axis": 3}, domain=MICROSOFT)
    return Bytes(joined, numbers)


def _leaky(graph: GraphWriter, value: Bytes) -> Bytes:
    numbers = LEAKY_SLOPE * value.range[0], value.range[1]
    inputs = [*value.inputs(graph), *_steps(graph, numbers)]
    return Bytes(
        graph.op("QLinearLeakyRelu", inputs, {"alpha": LEAKY_SLOPE}, domain=MICROSOFT),
        numbers,
    )


def _reshaped(graph: GraphWriter, row: Row, given: Bytes) -> Bytes:
    height, width, maps = row.out
    shaped = graph.op("Reshape", [given.name, graph.weight([0, maps, height, width])])
    return Bytes(channels_last(graph, shaped), given.range)


def _stored(graph: GraphWriter, row: Row, weights: Weights, axis: int, given: Bytes) -> tuple[list[str], str]:
    """Weights as bytes with their scales and zeros along the axis of output maps; and the bias in steps of the sums."""
    weight, bias = weights
    scales = weight_scales(weight, axis)
    parts = {
        "weight": _rounded(weight, scales).astype(np.int8),
        "scales": scales.ravel(),
        "zeros": np.zeros(scales.size, np.int8),
    }
    steps = np.rint(bias / (np.float64(_scale(given.range)[0]) * scales.ravel()))
    limits = np.iinfo(np.int32)
    biases = np.clip(steps, limits.min, limits.max).astype(np.int32)
    names = [graph.weight(values, f"{row.name}.{part}") for part, values in parts.items()]
    return names, graph.weight(biases, f"{row.name}.bias")


def weight_scales(weight: np.ndarray, axis: int) -> np.ndarray:
    """The scale of each map along an axis whose rounded weights are nearest, float32; all other axes have length 1.

    Of those that cut off up to half of the largest weight, by the sum of squares.
    """
    others = tuple(other for other in range(weight.ndim) if other != axis)
    largest = np.abs(weight).max(axis=others, keepdims=True) / np.float32(_LEVELS)
    largest[largest == 0] = 1
    best, least = largest, np.inf
    for share in _SHARES:
        scales = largest * np.float32(share)
        error = np.square(_rounded(weight, scales) * scales - weight).sum(axis=others, keepdims=True)
        best, least = np.where(error < least, scales, best), np.minimum(error, least)
    return best


def _rounded(weight: np.ndarray, scales: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(weight / scales), -_LEVELS, _LEVELS)


def _convolved(
    graph: GraphWriter,
    row: Row,
    given: Bytes,
    weights: Weights,
    numbers: Range,
    pads: list[int],
    stride: int = 1,
) -> Bytes:
    stored, bias = _stored(graph, row, weights, 0, given)
    settings = {
        "channels_last": 1,
        "kernel_shape": list(weights[0].shape[2:]),
        "pads": pads,
        "strides": [stride] * 2,
    }
    inputs = [*given.inputs(graph), *stored, *_steps(graph, numbers), bias]
    return Bytes(graph.op("QLinearConv", inputs, settings, domain=MICROSOFT), numbers)


def _convolution(graph: GraphWriter, row: Row, given: Bytes, weights: Weights, numbers: Range) -> Bytes:
    return _convolved(graph, row, given, weights, numbers, [(row.kernel - 1) // 2] * 4, row.stride)


def _fully_connected(graph: GraphWriter, row: Row, given: Bytes, weights: Weights, numbers: Range) -> Bytes:
    stored, bias = _stored(graph, row, (weights[0].T, weights[1]), 1, given)
    inputs = [*given.inputs(graph), *stored, bias, *_steps(graph, numbers)]
    return Bytes(graph.op("QGemm", inputs, domain=MICROSOFT), numbers)


def _up_convolution(graph: GraphWriter, row: Row, given: Bytes, weights: Weights, numbers: Range) -> Bytes:
    maps = row.out[2]
    make = _merged if fastest_form(maps) == "merged" else _phases
    return Bytes(interleaved(graph, given.name, 1, make(graph, row, given, weights, numbers), maps), numbers)


def _phases(graph: GraphWriter, row: Row, given: Bytes, weights: Weights, numbers: Range) -> list[str]:
    """Even and odd rows of the output, (N, H, W, 2 x maps): a convolution for each parity; see `upconvolution`."""
    rows = []
    for parity in (0, 1):
        parts = [part_of(weights[0], parity, column) for column in (0, 1)]
        made = [
            _convolved(graph, row, given, (kernel, weights[1]), numbers, pads).name for kernel, pads in parts
        ]
        rows.append(graph.op("Concat", made, {"axis": 3}))
    return rows


def _merged(graph: GraphWriter, row: Row, given: Bytes, weights: Weights, numbers: Range) -> list[str]:
    """The same by one convolution."""
    kernels, pads = all_parts(weights[0])
    joined = _convolved(graph, row, given, (kernels, np.tile(weights[1], 4)), numbers, pads)
    return graph.ops("Split", [joined.name], 2, {"axis": 3, "num_outputs": 2})


Operation = Callable[[GraphWriter, Row, Bytes, Weights, Range], Bytes]
OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {"conv": _convolution, "upconv": _up_convolution, "fc": _fully_connected}
)
