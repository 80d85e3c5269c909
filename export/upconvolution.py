"""Four equal ways to write an up-convolution in ONNX, and which one a row gets.

Source: CVPR 2016, section 3; see `decoders.upconv` for its pads. With the weights w of the K x K convolution on the
enlarged map z, out[o] = sum over k of w[k] z[o + k - K // 2], and z is zero at odd places. So
- ``literal``: zeros are inserted (Pad, Reshape), then convolved;
- ``transposed``: the transposed convolution with the kernel flipped: no product with an inserted zero;
- ``phases``: even and odd rows and columns of the output see disjoint parts of the kernel, each an ordinary small
  convolution of the map before it was enlarged;
- ``merged``: those four as one convolution, each part widened by zeros to a common window.

The last two put the outputs together with the channels innermost, so that pieces are copied instead of numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from export.writer import GraphWriter, channels_first, channels_last

# (graph, value (N, C, H, W), weights (maps, C, K, K), bias (maps,), what follows each number, name)
# -> (N, maps, 2H, 2W)
Activate = Callable[[GraphWriter, str], str]
Form = Callable[[GraphWriter, str, np.ndarray, np.ndarray, Activate, str], str]
Part = tuple[np.ndarray, list[int]]  # a kernel (maps, C, k, k') and its pads: above, left, below, right


def literal(
    graph: GraphWriter, maps: str, weight: np.ndarray, bias: np.ndarray, activate: Activate, name: str
) -> str:
    """Zero-insertion, then a convolution."""
    kernel, channels = weight.shape[2], weight.shape[1]
    shape = graph.op("Shape", [maps])
    height, width = (graph.op("Slice", [shape, graph.weight([a]), graph.weight([a + 1])]) for a in (2, 3))
    one, two = graph.weight([1]), graph.weight([2])
    single = graph.op(
        "Concat", [graph.weight([0, channels]), height, one, width, one], {"axis": 0}
    )  # (N, C, H, 1, W, 1)
    blocks = graph.op(
        "Pad", [graph.op("Reshape", [maps, single]), graph.weight([0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1])]
    )
    doubled = [graph.op("Mul", [side, two]) for side in (height, width)]
    enlarged = graph.op(
        "Reshape", [blocks, graph.op("Concat", [graph.weight([0, channels]), *doubled], {"axis": 0})]
    )
    pads = [kernel // 2] * 2 + [(kernel - 1) // 2] * 2
    weights = [graph.weight(weight, f"{name}.weight"), graph.weight(bias, f"{name}.bias")]
    return activate(graph, graph.op("Conv", [enlarged, *weights], {"pads": pads}))


def transposed(
    graph: GraphWriter, maps: str, weight: np.ndarray, bias: np.ndarray, activate: Activate, name: str
) -> str:
    """One transposed convolution; its kernel is stored flipped."""
    kernel = weight.shape[2]
    settings = {
        "strides": [2, 2],
        "pads": [(kernel - 1) // 2] * 4,
        "output_padding": [kernel % 2] * 2,
    }
    flipped = graph.weight(weight.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1], f"{name}.weight")
    return activate(
        graph, graph.op("ConvTranspose", [maps, flipped, graph.weight(bias, f"{name}.bias")], settings)
    )


def phases(
    graph: GraphWriter, maps: str, weight: np.ndarray, bias: np.ndarray, activate: Activate, name: str
) -> str:
    """Four convolutions, one for each parity of the output's row and column."""
    stored, rows = graph.weight(bias, f"{name}.bias"), []
    for row in (0, 1):
        parts = []
        for column in (0, 1):
            part, pads = part_of(weight, row, column)
            inputs = [maps, graph.weight(part, f"{name}.weight"), stored]
            parts.append(activate(graph, graph.op("Conv", inputs, {"pads": pads})))
        rows.append(_parts_last(graph, graph.op("Concat", parts, {"axis": 1}), 2, len(bias)))
    return channels_first(graph, interleaved(graph, maps, 2, rows, len(bias)))


def merged(
    graph: GraphWriter, maps: str, weight: np.ndarray, bias: np.ndarray, activate: Activate, name: str
) -> str:
    """One convolution with four times the maps."""
    kernels, pads = all_parts(weight)
    weights = [graph.weight(kernels, f"{name}.weight"), graph.weight(np.tile(bias, 4), f"{name}.bias")]
    joined = activate(graph, graph.op("Conv", [maps, *weights], {"pads": pads}))
    last = _parts_last(graph, joined, 4, len(bias))
    rows = graph.ops("Split", [last], 2, {"axis": 3, "num_outputs": 2})
    return channels_first(graph, interleaved(graph, maps, 2, rows, len(bias)))


def all_parts(weight: np.ndarray) -> Part:
    """The kernels of all four parities as one of 4 x maps, each widened by zeros to a common window."""
    parts = [part_of(weight, row, column) for row in (0, 1) for column in (0, 1)]
    window = np.max([pads for _, pads in parts], axis=0)
    widened = []
    for part, pads in parts:
        above, left, below, right = window - pads
        widened.append(np.pad(part, ((0, 0), (0, 0), (above, below), (left, right))))
    return np.concatenate(widened), window.tolist()


def part_of(weight: np.ndarray, row: int, column: int) -> Part:
    """The kernel that makes outputs at these parities."""
    (rows, above), (columns, left) = _phase(weight.shape[2], row), _phase(weight.shape[3], column)
    part = weight[:, :, rows, columns]
    return part, [above, left, part.shape[2] - 1 - above, part.shape[3] - 1 - left]


def _phase(kernel: int, parity: int) -> tuple[slice, int]:
    """Which entries of the kernel meet values at outputs of this parity, and how many of them lie before the output."""
    first = (kernel // 2 - parity) % 2
    return slice(first, None, 2), (kernel // 2 - parity - first) // 2


def _parts_last(graph: GraphWriter, value: str, parts: int, maps: int) -> str:
    """(N, parts x maps, H, W) -> (N, H, W, parts, maps)."""
    moved = channels_last(graph, value)
    return graph.op("Reshape", [moved, graph.weight([0, 0, 0, parts, maps])])


def interleaved(graph: GraphWriter, given: str, axis: int, rows: Sequence[str], maps: int) -> str:
    """Even and odd rows of the output, each (N, H, W, 2 x maps) or (N, H, W, 2, maps) with the columns' parity outer.

    ``given`` is the map before, and ``axis`` its height's. The result is (N, 2H, 2W, maps). Its shape is not written
    with -1, which an empty batch does not allow.
    """
    lines = graph.op("Concat", rows, {"axis": 2})  # (N, H, 2W, ...): an even row, then an odd one
    height = graph.op("Shape", [given], {"start": axis, "end": axis + 1})
    doubled = graph.op("Mul", [height, graph.weight([0, 2, 0, 0])])
    shape = graph.op("Add", [doubled, graph.weight([0, 0, 0, maps])])  # 0: as it is
    return graph.op("Reshape", [lines, shape])


FORMS: Mapping[str, Form] = MappingProxyType(
    {"literal": literal, "transposed": transposed, "phases": phases, "merged": merged}
)
BLOCK = 16  # maps that ONNX Runtime's convolutions make at once, with AVX-512


def fastest_form(maps_out: int) -> str:
    """The rule for ONNX Runtime's CPU provider: phases, but for few maps, where all four fill one block.

    `tests/benchmarks/bench_export.py` measures both.
    """
    return "merged" if 4 * maps_out <= BLOCK else "phases"
