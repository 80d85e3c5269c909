"""HOG and LBP as ONNX graphs of standard operators: the features of `kernels`, for pictures of any size.

Source: vl/hog.c and vl/lbp.c (VLFeat 0.9.21); the choice of a bin or a pattern is that of `kernels.hog.scalar` and
`kernels.lbp.scalar`, step by step in float32, so that none differs. The bilinear shares of pixels among cells are two
matrices, one an axis. `grey` is (N, 1, H, W) float32, at least one cell large.
"""

import numpy as np
import onnx

from export.writer import END, GraphWriter
from kernels.hog import HogParameters, scalar
from kernels.lbp import LbpParameters
from kernels.lbp import scalar as lbp_scalar


def write_hog(graph: GraphWriter, grey: str) -> str:
    """Add HOG with its defaults: name of the features, (N, 31, H', W') float32, channels as in `kernels.hog`."""
    side = HogParameters().cell_size
    dx, dy = _differences(graph, grey)
    squares = graph.op("Add", [graph.op("Mul", [dx, dx]), graph.op("Mul", [dy, dy])])
    magnitude = graph.op("Sqrt", [squares])
    bins = graph.weight(np.arange(2 * scalar.ORIENTATIONS, dtype=np.float32).reshape(1, -1, 1, 1))
    chosen = graph.op("Equal", [_direction(graph, dx, dy), bins])  # (N, 18, H - 2, W - 2)
    votes = graph.op("Where", [chosen, magnitude, graph.weight(0.0)])
    return _normalised(graph, _pooled(graph, votes, grey, side, side // 2))


def write_lbp(graph: GraphWriter, grey: str) -> str:
    """Add LBP with its defaults: name of the features, (N, 58, H', W') float32, channels as in `kernels.lbp`."""
    centre = _cut(graph, grey, [2, 3], [1, 1], [-1, -1])
    clockwise = ((1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0), (0, 1), (0, 2))  # (y, x) from the right on
    bits = []
    for bit, (y, x) in enumerate(clockwise):
        neighbour = _cut(graph, grey, [2, 3], [y, x], [y - 2 or END, x - 2 or END])
        brighter = graph.op(
            "Cast", [graph.op("Greater", [neighbour, centre])], {"to": onnx.TensorProto.FLOAT}
        )
        bits.append(graph.op("Mul", [brighter, graph.weight(float(1 << bit))]))
    patterns = graph.op("Cast", [graph.op("Sum", bits)], {"to": onnx.TensorProto.INT64})
    table = graph.weight(lbp_scalar.code_table().astype(np.int64), "codes")
    codes = graph.op("Squeeze", [graph.op("Gather", [table, patterns]), graph.weight([1])])
    votes = graph.op("OneHot", [codes, graph.weight(lbp_scalar.CODES), graph.weight([0.0, 1.0])], {"axis": 1})
    shares = _pooled(graph, votes, grey, LbpParameters().cell_size, 0)
    total = graph.op("ReduceSum", [shares, graph.weight([1])], {"keepdims": 1})
    norm = graph.op("Add", [graph.op("Sqrt", [total]), graph.weight(np.asarray(lbp_scalar.EPSILON))])
    return graph.op("Div", [graph.op("Sqrt", [shares]), norm])


def _pooled(graph: GraphWriter, votes: str, grey: str, side: int, rest: int) -> str:
    """Votes (N, C, H - 2, W - 2) of the inner pixels of ``grey``, shared out among the cells: (N, C, H', W').

    A side of L pixels has (L + rest) // side cells.
    """
    rows, columns = (_shares(graph, grey, axis, side, rest) for axis in (2, 3))
    by_column = graph.op("MatMul", [votes, graph.op("Transpose", [columns], {"perm": [1, 0]})])
    return graph.op("MatMul", [rows, by_column])


def _cut(graph: GraphWriter, value: str, axes: list[int], starts: list[int], ends: list[int]) -> str:
    return graph.op("Slice", [value, *map(graph.weight, (starts, ends, axes))])


def _differences(graph: GraphWriter, grey: str) -> tuple[str, str]:
    """Right minus left and below minus above, of the pixels that have all four: (N, 1, H - 2, W - 2)."""
    right, left, below, above = (
        _cut(graph, grey, [2, 3], [y, x], [y - 2 or END, x - 2 or END])
        for y, x in ((1, 2), (1, 0), (2, 1), (0, 1))
    )
    return graph.op("Sub", [right, left]), graph.op("Sub", [below, above])


def _direction(graph: GraphWriter, dx: str, dy: str) -> str:
    """Directed bin 0..17 of each gradient as float32: `kernels.hog.scalar.direction` for whole maps."""

    def number(value: np.float32) -> str:
        return graph.weight(np.asarray(value, np.float32))

    def weighed(cosine: np.float32, sine: np.float32) -> tuple[str, str]:
        return graph.op("Mul", [across, number(cosine)]), graph.op("Mul", [down, number(sine)])

    across, down = graph.op("Abs", [dx]), graph.op("Abs", [dy])
    zero, opposite = number(scalar.ZERO), number(scalar.OPPOSITE)
    score_1, score_2, score_3 = (
        graph.op("Add", [*weighed(cosine, sine)])
        for cosine, sine in (
            (scalar.COS_20, scalar.SIN_20),
            (scalar.COS_40, scalar.SIN_40),
            (scalar.COS_60, scalar.SIN_60),
        )
    )
    part_x, part_y = weighed(scalar.COS_80, scalar.SIN_80)
    score_4 = graph.op("Add", [part_y, part_x])
    signs_differ = graph.op("Xor", [graph.op("Less", [dx, zero]), graph.op("Less", [dy, zero])])
    tied = graph.op("Equal", [graph.op("Sub", [part_y, part_x]), score_4])
    mirrored = graph.op("And", [signs_differ, graph.op("Not", [tied])])
    ahead = graph.op("Where", [mirrored, number(scalar.LAST_WINS), zero])
    risen = [graph.op("Greater", [score_1, across])]
    for later, earlier in ((score_2, score_1), (score_3, score_2), (score_4, score_3)):
        risen.append(graph.op("Greater", [graph.op("Sub", [later, earlier]), ahead]))
    counted = [graph.op("Cast", [rise], {"to": onnx.TensorProto.FLOAT}) for rise in risen]
    rises = graph.op("Sum", counted)
    along_x = graph.op("Equal", [rises, zero])
    turned = graph.op("And", [mirrored, graph.op("Not", [along_x])])
    undirected = graph.op("Where", [turned, graph.op("Sub", [opposite, rises]), rises])
    deciding = graph.op("Where", [along_x, dx, dy])
    reversed_bin = graph.op("Add", [undirected, opposite])
    return graph.op("Where", [graph.op("Less", [deciding, zero]), reversed_bin, undirected])


def _shares(graph: GraphWriter, grey: str, axis: int, side: int, rest: int) -> str:
    """(cells, length - 2): the bilinear share of each pixel with a gradient for each cell along an axis."""
    length = graph.op("Gather", [graph.op("Shape", [grey]), graph.weight(axis)])
    zero, one = graph.weight(0), graph.weight(1)
    pixels = graph.op("Range", [one, graph.op("Sub", [length, one]), one])
    count = graph.op("Div", [graph.op("Add", [length, graph.weight(rest)]), graph.weight(side)])
    cells = graph.op("Unsqueeze", [graph.op("Range", [zero, count, one]), graph.weight([1])])
    pixels, cells = (graph.op("Cast", [v], {"to": onnx.TensorProto.DOUBLE}) for v in (pixels, cells))
    half = graph.weight(np.asarray(0.5))
    middle = graph.op("Add", [pixels, half])
    places = graph.op("Sub", [graph.op("Div", [middle, graph.weight(np.asarray(float(side)))]), half])
    away = graph.op("Abs", [graph.op("Sub", [places, cells])])
    near = graph.op("Sub", [graph.weight(np.asarray(1, np.float64)), away])
    return graph.op("Relu", [graph.op("Cast", [near], {"to": onnx.TensorProto.FLOAT})])


def _normalised(graph: GraphWriter, directed: str) -> str:
    """All 31 channels from the raw directed histograms (N, 18, H', W')."""
    count = scalar.ORIENTATIONS
    ahead, behind = _cut(graph, directed, [1], [0], [count]), _cut(graph, directed, [1], [count], [2 * count])
    undirected = graph.op("Add", [ahead, behind])
    channels = graph.weight([1])
    energy = graph.op("ReduceSum", [graph.op("Mul", [undirected, undirected]), channels], {"keepdims": 1})
    padded = graph.op("Pad", [energy, graph.weight([0, 0, 1, 1, 0, 0, 1, 1])], {"mode": "edge"})
    mean = graph.op("AveragePool", [padded], {"kernel_shape": [2, 2]})  # of a block of 2 x 2 cells
    total = graph.op("Add", [graph.op("Mul", [mean, graph.weight(4.0)]), graph.weight(scalar.EPSILON)])
    factors = graph.op("Reciprocal", [graph.op("Sqrt", [total])])  # (N, 1, H' + 1, W' + 1)
    histograms = graph.op("Concat", [directed, undirected], {"axis": 1})
    clamped, textures = [], []
    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
        factor = _cut(graph, factors, [2, 3], [y, x], [y - 1 or END, x - 1 or END])
        scaled = graph.op("Mul", [histograms, factor])
        clamped.append(graph.op("Min", [scaled, graph.weight(np.asarray(scalar.CLAMP))]))
        both = _cut(graph, clamped[-1], [1], [2 * count], [3 * count])
        total = graph.op("ReduceSum", [both, channels], {"keepdims": 1})
        textures.append(graph.op("Mul", [total, graph.weight(np.asarray(scalar.TEXTURE))]))
    halves = graph.op("Mul", [graph.op("Sum", clamped), graph.weight(0.5)])
    return graph.op("Concat", [halves, *textures], {"axis": 1})
