"""What happens to a picture before its features, as ONNX: grey values, and Caffe's warp, crop and mean.

Source: `kernels.gray`; `caffe_port.preprocess.Recipe`, whose warp is OpenCV's `resize` of bytes with INTER_LINEAR
(modules/imgproc/src/resize.cpp): weights of 11 bits, along x first; rows lose 4 bits before the weights of y, products
lose 16, and the sum is rounded to the grey level. All of it is whole numbers below 2^53, computed in float64, so that
the result is OpenCV's bit for bit. Pictures are (N, H, W, 3) uint8 RGB, of any size.
"""

import numpy as np
import onnx

from caffe_port.preprocess import ORDERS, Recipe, crop_mean
from export.writer import GraphWriter, channels_first
from kernels.gray import WEIGHTS

_STEPS = 2048.0  # of a weight: OpenCV's INTER_RESIZE_COEF_BITS is 11
_DOUBLE, _FLOAT, _INT = onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def write_grey(graph: GraphWriter, pictures: str) -> str:
    """MATLAB's rgb2gray of (N, H, W, 3) uint8, not rounded: (N, 1, H, W) float32, 0..255."""
    return graph.op("Cast", [_grey(graph, pictures)], {"to": _FLOAT})


def write_rounded_grey(graph: GraphWriter, pictures: str) -> str:
    """The same rounded to whole numbers, halves up, as MATLAB does for bytes."""
    shifted = graph.op("Add", [_grey(graph, pictures), graph.weight(np.asarray(0.5))])
    return graph.op("Cast", [graph.op("Floor", [shifted])], {"to": _FLOAT})


def _grey(graph: GraphWriter, pictures: str) -> str:
    """Weighted sums of (N, H, W, 3) uint8 in the order and precision of `kernels.gray`: (N, 1, H, W) float64."""
    doubles = graph.op("Cast", [channels_first(graph, pictures)], {"to": _DOUBLE})
    planes = graph.ops("Split", [doubles], 3, {"axis": 1, "num_outputs": 3})
    red, green, blue = (
        graph.op("Mul", [plane, graph.weight(np.asarray(weight))])
        for plane, weight in zip(planes, WEIGHTS, strict=True)
    )
    return graph.op("Add", [graph.op("Add", [red, green]), blue])


def write_recipe(graph: GraphWriter, pictures: str, recipe: Recipe, size: tuple[int, int]) -> str:
    """A net's own preprocessing: warp, centre crop, channel order, mean, scale.

    Parameters
    ----------
    pictures : name of a value (N, H, W, 3) uint8, of any size.
    size : (H', W') of the net's input; without a warp, pictures are warped to it.

    Returns
    -------
    Name of the net's input, (N, 3, H', W') float32.

    Raises
    ------
    ValueError : if the recipe turns pictures to grey.
    """
    if recipe.order not in ORDERS:
        raise ValueError(f"the net takes pictures in {recipe.order}; pipelines take {' or '.join(ORDERS)}")
    warp = recipe.warp or size
    first = [(whole - part) // 2 for whole, part in zip(warp, size, strict=True)]
    values = _warped(graph, pictures, warp, first, size)
    planes = channels_first(graph, values)
    ordered = graph.op("Gather", [planes, graph.weight(list(ORDERS[recipe.order]))], {"axis": 1})
    mean = graph.weight(crop_mean(recipe.mean, size)[None].astype(np.float32), "mean")
    centred = graph.op("Sub", [ordered, mean])
    return centred if recipe.scale == 1 else graph.op("Mul", [centred, graph.weight(float(recipe.scale))])


def _warped(
    graph: GraphWriter, pictures: str, warp: tuple[int, int], first: list[int], size: tuple[int, int]
) -> str:
    """A part of the warped pictures: rows and columns from ``first`` on, (N, *size, 3) float32, whole numbers."""
    (upper, lower), (weight_upper, weight_lower) = _neighbours(
        graph, pictures, axis=1, warped=warp[0], first=first[0], count=size[0]
    )
    (left, right), (weight_left, weight_right) = _neighbours(
        graph, pictures, axis=2, warped=warp[1], first=first[1], count=size[1]
    )
    sums = []
    for row, weight in ((upper, weight_upper), (lower, weight_lower)):
        line = graph.op("Gather", [pictures, row], {"axis": 1})
        shares = [
            graph.op(
                "Mul",
                [graph.op("Cast", [graph.op("Gather", [line, column], {"axis": 2})], {"to": _DOUBLE}), share],
            )
            for column, share in ((left, weight_left), (right, weight_right))
        ]
        shortened = _floor_of(graph, graph.op("Add", shares), 16)
        sums.append(_floor_of(graph, graph.op("Mul", [shortened, weight]), 65536))
    total = graph.op("Add", [graph.op("Add", sums), graph.weight(np.asarray(2.0))])
    return graph.op("Cast", [_floor_of(graph, total, 4)], {"to": _FLOAT})


def _floor_of(graph: GraphWriter, value: str, divisor: int) -> str:
    return graph.op("Floor", [graph.op("Mul", [value, graph.weight(np.asarray(1 / divisor))])])


def _neighbours(
    graph: GraphWriter, pictures: str, *, axis: int, warped: int, first: int, count: int
) -> tuple[tuple[str, str], tuple[str, str]]:
    """The two source rows (axis 1) or columns (2) of each warped one, and their weights in 1 / 2048.

    Along x OpenCV puts all weight on the outermost column where it would reach beyond; along y it takes the outermost
    row twice.
    """
    length = graph.op("Gather", [graph.op("Shape", [pictures]), graph.weight([axis])])
    last = graph.op("Sub", [length, graph.weight([1])])
    middles = graph.weight(np.arange(first, first + count) + 0.5)
    zoom = graph.op(
        "Div", [graph.weight(np.asarray([float(warped)])), graph.op("Cast", [length], {"to": _DOUBLE})]
    )
    scale = graph.op("Div", [graph.weight(np.asarray([1.0])), zoom])  # OpenCV takes the inverse twice, too
    places = graph.op("Sub", [graph.op("Mul", [middles, scale]), graph.weight(np.asarray(0.5))])
    places = graph.op("Cast", [places], {"to": _FLOAT})
    floors = graph.op("Floor", [places])
    fraction = graph.op("Sub", [places, floors])
    before = graph.op("Cast", [floors], {"to": _INT})
    if axis == 2:
        outside = graph.op(
            "Or",
            [
                graph.op("Less", [before, graph.weight([0])]),
                graph.op("GreaterOrEqual", [before, last]),
            ],
        )
        fraction = graph.op("Where", [outside, graph.weight(0.0), fraction])
    after = graph.op("Add", [before, graph.weight([1])])
    indices = tuple(
        graph.op("Min", [graph.op("Max", [index, graph.weight([0])]), last]) for index in (before, after)
    )
    rest = graph.op("Sub", [graph.weight(1.0), fraction])
    form = graph.weight([-1, 1, 1] if axis == 1 else [-1, 1])
    weights = []
    for share in (rest, fraction):
        steps = graph.op("Round", [graph.op("Mul", [share, graph.weight(_STEPS)])])
        weights.append(graph.op("Reshape", [graph.op("Cast", [steps], {"to": _DOUBLE}), form]))
    return (indices[0], indices[1]), (weights[0], weights[1])
