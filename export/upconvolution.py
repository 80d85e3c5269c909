"""Three equal ways to write an up-convolution in ONNX, and which one a row gets.

Source: CVPR 2016, section 3; see `decoders.upconv` for its pads. With the weights w of the K x K convolution on the
enlarged map z, out[o] = sum over k of w[k] z[o + k - K // 2], and z is zero at odd places. So
- ``literal``: zeros are inserted (Pad, Reshape), then convolved;
- ``transposed``: the transposed convolution with the kernel flipped: no product with an inserted zero;
- ``phases``: even and odd rows and columns of the output see disjoint parts of the kernel, each an ordinary small
  convolution of the map before it was enlarged; a depth-to-space puts the four together.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from export.writer import GraphWriter

# (graph, value (N, C, H, W), weights (maps, C, K, K), bias (maps,), what follows each number, name)
# -> (N, maps, 2H, 2W)
Activate = Callable[[GraphWriter, str], str]
Form = Callable[[GraphWriter, str, np.ndarray, np.ndarray, Activate, str], str]


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
    stored = graph.weight(bias, f"{name}.bias")
    parts = []
    for row_taps, above in map(_phase, (weight.shape[2],) * 2, (0, 1)):
        for column_taps, left in map(_phase, (weight.shape[3],) * 2, (0, 1)):
            part = weight[:, :, row_taps, column_taps]
            below, right = part.shape[2] - 1 - above, part.shape[3] - 1 - left
            inputs = [maps, graph.weight(part, f"{name}.weight"), stored]
            parts.append(activate(graph, graph.op("Conv", inputs, {"pads": [above, left, below, right]})))
    joined = graph.op("Concat", parts, {"axis": 1})  # (N, 4 maps, H, W)
    return graph.op("DepthToSpace", [joined], {"blocksize": 2, "mode": "DCR"})


def _phase(kernel: int, parity: int) -> tuple[slice, int]:
    """Which entries of the kernel meet values at outputs of this parity, and how many of them lie before the output."""
    first = (kernel // 2 - parity) % 2
    return slice(first, None, 2), (kernel // 2 - parity - first) // 2


FORMS: Mapping[str, Form] = MappingProxyType({"literal": literal, "transposed": transposed, "phases": phases})
FEW_MAPS = 8


def fastest_form(maps_out: int) -> str:
    """The rule for ONNX Runtime's CPU provider: phases, but for few maps, where one product and a scatter win.

    Its convolutions work on blocks of eight maps, so that four convolutions to three maps waste most of a block;
    `tests/benchmarks/bench_export.py` measures both.
    """
    return "transposed" if maps_out < FEW_MAPS else "phases"
