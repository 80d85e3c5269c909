"""Layers that move numbers or sum them: parts, copies, orders, reductions, and those that do nothing at all.

Layers that only give their bottom another shape (Split, Flatten, Reshape) are never written: `caffe_graph` reads their
tops as the bottom's memory.
"""

from caffe_port.shapes import axis_of, crop_offsets
from export.caffe_layers.layer import Layer
from export.writer import GraphWriter


def _concat(graph: GraphWriter, layer: Layer) -> list[str]:
    axis = axis_of(layer.params, layer.bottom_shapes[0], "concat_param.axis")
    return [graph.op("Concat", layer.bottoms, {"axis": axis})]


def _slice(graph: GraphWriter, layer: Layer) -> list[str]:
    axis = axis_of(layer.params.axis, layer.bottom_shapes[0], "slice_param.axis")
    sizes = graph.weight([shape[axis] for shape in layer.top_shapes])
    return graph.ops("Split", [layer.bottoms[0], sizes], len(layer.top_shapes), {"axis": axis})


def _crop(graph: GraphWriter, layer: Layer) -> list[str]:
    ranges = crop_offsets(
        layer.bottom_shapes[0], layer.bottom_shapes[1], layer.params.axis, layer.params.offset
    )
    starts, ends = zip(*((start, start + size) for start, size in ranges[1:]), strict=True)
    axes = list(range(1, len(ranges)))
    return [graph.op("Slice", [layer.bottoms[0], *map(graph.weight, (list(starts), list(ends), axes))])]


def _tile(graph: GraphWriter, layer: Layer) -> list[str]:
    axis = axis_of(layer.params.axis, layer.bottom_shapes[0], "tile_param.axis")
    repeats = [layer.params.tiles if a == axis else 1 for a in range(len(layer.bottom_shapes[0]))]
    return [graph.op("Tile", [layer.bottoms[0], graph.weight(repeats)])]


def _permute(graph: GraphWriter, layer: Layer) -> list[str]:
    axes = len(layer.bottom_shapes[0])
    order = [*layer.params, *(axis for axis in range(axes) if axis not in layer.params)]
    return [graph.op("Transpose", [layer.bottoms[0]], {"perm": order})]


def _shuffle(graph: GraphWriter, layer: Layer) -> list[str]:
    _, channels, *sides = layer.bottom_shapes[0]
    groups = graph.op(
        "Reshape", [layer.bottoms[0], graph.weight([0, layer.params, channels // layer.params, *sides])]
    )
    swapped = graph.op("Transpose", [groups], {"perm": [0, 2, 1, 3, 4]})
    return [graph.op("Reshape", [swapped, graph.weight([0, channels, *sides])])]


def _reduction(graph: GraphWriter, layer: Layer) -> list[str]:
    p, shape = layer.params, layer.bottom_shapes[0]
    axes = graph.weight(list(range(axis_of(p.axis, shape, "reduction_param.axis"), len(shape))))
    value = graph.op("Abs", [layer.bottoms[0]]) if p.operation == "ASUM" else layer.bottoms[0]
    kind = {"SUMSQ": "ReduceSumSquare", "MEAN": "ReduceMean"}.get(p.operation, "ReduceSum")
    reduced = graph.op(kind, [value, axes], {"keepdims": 0})
    return [reduced if p.coeff == 1 else graph.op("Mul", [reduced, graph.weight(float(p.coeff))])]


def _same(graph: GraphWriter, layer: Layer) -> list[str]:
    return [layer.bottoms[0]]


WRITERS = {
    "Dropout": _same,
    "Concat": _concat,
    "Slice": _slice,
    "Split": _same,
    "Flatten": _same,
    "Reshape": _same,
    "Crop": _crop,
    "Tile": _tile,
    "Permute": _permute,
    "ShuffleChannel": _shuffle,
    "Reduction": _reduction,
}
