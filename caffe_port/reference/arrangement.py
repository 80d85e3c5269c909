"""Caffe's layers that rearrange, reduce or choose numbers, in plain float64: slow and obvious.

Written from `src/caffe/layers/` of Caffe 1.0 and nothing else. See `windows` for the conventions.
Tops of Split, Flatten, Reshape, and of Concat and Slice with one bottom and one top, are views of the
bottom: they share its memory.
"""

import itertools
import math

import numpy as np

from caffe_port.reference.windows import Arrays, Layer, axis_number


def old_axis(param: Layer, old: str) -> int:
    return param[old] if old in param else param.get("axis", 1)


def concat(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    if len(bottoms) == 1:
        return [bottoms[0]]
    axis = axis_number(old_axis(layer.get("concat_param", {}), "concat_dim"), bottoms[0])
    shape = list(bottoms[0].shape)
    shape[axis] = sum(bottom.shape[axis] for bottom in bottoms)
    top, start = np.zeros(shape), 0
    for bottom in bottoms:
        for at in np.ndindex(*bottom.shape):
            to = list(at)
            to[axis] += start
            top[tuple(to)] = bottom[at]
        start += bottom.shape[axis]
    return [top]


def slice_layer(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    param, x, tops = layer.get("slice_param", {}), bottoms[0], len(layer["top"])
    if tops == 1:
        return [x]
    axis = axis_number(old_axis(param, "slice_dim"), x)
    points = list(param.get("slice_point", []))
    points = points or [x.shape[axis] // tops * part for part in range(1, tops)]
    edges = [0, *points, x.shape[axis]]
    return [np.take(x, range(start, end), axis) for start, end in itertools.pairwise(edges)]


def split(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    return [bottoms[0]] * len(layer["top"])


def flatten(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    param, x = layer.get("flatten_param", {}), bottoms[0]
    start, end = axis_number(param.get("axis", 1), x), axis_number(param.get("end_axis", -1), x)
    middle = math.prod(x.shape[start : end + 1])
    return [x.reshape(*x.shape[:start], middle, *x.shape[end + 1 :])]


def reshape(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    param, x = layer["reshape_param"], bottoms[0]
    axis, num_axes = param.get("axis", 0), param.get("num_axes", -1)
    start = axis if axis >= 0 else x.ndim + axis + 1
    end = x.ndim if num_axes == -1 else start + num_axes
    dims = [x.shape[start + i] if dim == 0 else dim for i, dim in enumerate(param["shape"].get("dim", []))]
    return [x.reshape(*x.shape[:start], *dims, *x.shape[end:])]


def crop(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    param, (x, reference) = layer.get("crop_param", {}), bottoms
    start, offsets = axis_number(param.get("axis", 2), x), param.get("offset", [])
    offset = [0] * start + (list(offsets) if len(offsets) > 1 else list(offsets or [0]) * (x.ndim - start))
    top = np.zeros(x.shape[:start] + reference.shape[start : x.ndim])
    for at in np.ndindex(*top.shape):
        top[at] = x[tuple(i + o for i, o in zip(at, offset, strict=True))]
    return [top]


def tile(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    param, x = layer["tile_param"], bottoms[0]
    axis = axis_number(param.get("axis", 1), x)
    shape = list(x.shape)
    shape[axis] *= param["tiles"]
    top = np.zeros(shape)
    for at in np.ndindex(*shape):
        origin = list(at)
        origin[axis] %= x.shape[axis]
        top[at] = x[tuple(origin)]
    return [top]


def filter_layer(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    *data, selector = bottoms
    kept = [n for n, value in enumerate(selector.ravel()) if value != 0]
    return [np.array([bottom[n] for n in kept]).reshape(len(kept), *bottom.shape[1:]) for bottom in data]


def batch_reindex(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    return [np.array([bottoms[0][int(index)] for index in bottoms[1]])]


def reduction(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    param, x = layer.get("reduction_param", {}), bottoms[0]
    axis = axis_number(param.get("axis", 0), x)
    rows = x.reshape(math.prod(x.shape[:axis]), -1)
    how = {
        "SUM": sum,
        "ASUM": lambda row: sum(abs(value) for value in row),
        "SUMSQ": lambda row: sum(value * value for value in row),
        "MEAN": lambda row: sum(row) / len(row),
    }[param.get("operation", "SUM")]
    values = [how(row) * param.get("coeff", 1.0) for row in rows]
    return [np.array(values).reshape(x.shape[:axis])]


def argmax(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    param, x = layer.get("argmax_param", {}), bottoms[0]
    top_k, values_too = param.get("top_k", 1), param.get("out_max_val", False)

    def best(row: np.ndarray) -> list[tuple[float, int]]:
        """(value, index) pairs, the largest first: of equal values the larger index."""
        if top_k == 1:  # partial_sort scans, and a comparison with NaN never says "less"
            held = 0
            for index in range(1, len(row)):
                held = held if row[index] < row[held] else index
            return [(row[held], held)]
        return sorted(((value, index) for index, value in enumerate(row)), reverse=True)[:top_k]

    if "axis" not in param:
        shape = [1] * max(x.ndim, 3)
        shape[0], shape[2] = x.shape[0], top_k
        shape[1] = 2 if values_too else 1
        top = np.zeros((x.shape[0], 1 + values_too, top_k))
        for n in range(x.shape[0]):
            pairs = best(np.atleast_1d(x[n]).ravel())
            top[n, 0] = [index for _, index in pairs]
            if values_too:
                top[n, 1] = [value for value, _ in pairs]
        return [top.reshape(shape)]
    axis = axis_number(param["axis"], x)
    top = np.zeros((*x.shape[:axis], top_k, *x.shape[axis + 1 :]))
    for outer in np.ndindex(*x.shape[:axis]):
        for inner in np.ndindex(*x.shape[axis + 1 :]):
            place = (*outer, slice(None), *inner)
            top[place] = [value if values_too else index for value, index in best(x[place])]
    return [top]


def permute(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    """SSD's."""
    order, x = list(layer["permute_param"]["order"]), bottoms[0]
    order += [axis for axis in range(x.ndim) if axis not in order]
    top = np.zeros([x.shape[axis] for axis in order])
    for at in np.ndindex(*top.shape):
        origin = [0] * x.ndim
        for position, axis in enumerate(order):
            origin[axis] = at[position]
        top[at] = x[tuple(origin)]
    return [top]


def shuffle_channel(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    """ShuffleNet's: channel i of group g goes to channel i * groups + g."""
    groups, x = layer.get("shuffle_channel_param", {}).get("group", 1), bottoms[0]
    top, size = np.zeros_like(x), x.shape[1] // groups
    for g in range(groups):
        for i in range(size):
            top[:, i * groups + g] = x[:, g * size + i]
    return [top]


def interp(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    """DeepLab's: bilinear, corners aligned."""
    param = layer.get("interp_param", {})
    begin, end = -param.get("pad_beg", 0), param.get("pad_end", 0)
    x = bottoms[0][:, :, begin : bottoms[0].shape[2] + end, begin : bottoms[0].shape[3] + end]
    sizes = list(x.shape[2:])
    if len(bottoms) > 1:
        sizes = list(bottoms[1].shape[2:])
    elif "zoom_factor" in param or "shrink_factor" in param:
        sizes = [(size - 1) // param.get("shrink_factor", 1) + 1 for size in sizes]
        sizes = [size + (size - 1) * (param.get("zoom_factor", 1) - 1) for size in sizes]
    else:
        sizes = [param["height"], param["width"]]
    top = np.zeros((*x.shape[:2], *sizes))
    for h, w in np.ndindex(*sizes):
        at = [
            i * (have - 1) / (want - 1) if want > 1 else 0.0
            for i, have, want in zip((h, w), x.shape[2:], sizes, strict=True)
        ]
        low = [int(a) for a in at]
        high = [min(a + 1, size - 1) for a, size in zip(low, x.shape[2:], strict=True)]
        dy, dx = at[0] - low[0], at[1] - low[1]
        top[:, :, h, w] = (1 - dy) * (
            (1 - dx) * x[:, :, low[0], low[1]] + dx * x[:, :, low[0], high[1]]
        ) + dy * ((1 - dx) * x[:, :, high[0], low[1]] + dx * x[:, :, high[0], high[1]])
    return [top]


def upsample(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    """darknet2caffe's with one bottom, SegNet's with two."""
    param, x = layer["upsample_param"], bottoms[0]
    scale = param.get("scale", 2)
    sizes = [size * scale for size in x.shape[2:]]
    if len(bottoms) == 1:
        top = np.zeros((*x.shape[:2], *sizes))
        for h, w in np.ndindex(*sizes):
            top[:, :, h, w] = x[:, :, h // scale, w // scale]
        return [top]
    if "upsample_h" in param:
        sizes = [param["upsample_h"], param["upsample_w"]]
    top = np.zeros((*x.shape[:2], sizes[0] * sizes[1]))
    for n, c, h, w in np.ndindex(*x.shape):
        top[n, c, int(bottoms[1][n, c, h, w])] = x[n, c, h, w]
    return [top.reshape(*x.shape[:2], *sizes)]


LAYERS = {
    "Concat": concat,
    "Slice": slice_layer,
    "Split": split,
    "Flatten": flatten,
    "Reshape": reshape,
    "Crop": crop,
    "Tile": tile,
    "Filter": filter_layer,
    "BatchReindex": batch_reindex,
    "Silence": lambda layer, bottoms, blobs: [],
    "Reduction": reduction,
    "ArgMax": argmax,
    "Permute": permute,
    "ShuffleChannel": shuffle_channel,
    "Interp": interp,
    "Upsample": upsample,
}
