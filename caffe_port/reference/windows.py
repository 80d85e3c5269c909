"""Caffe's layers that move a window over a map, as plain float64 loops: slow and obvious.

Written from `src/caffe/layers/` of Caffe 1.0 and nothing else. A layer is its V2 LayerParameter as a dict
of the fields that are set; bottoms and blobs are float64 arrays. Every function gives a list of tops.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

Layer = Mapping[str, Any]
Arrays = Sequence[np.ndarray]
Run = Callable[[Layer, Arrays, Arrays], list[np.ndarray]]

FLT_MAX = float(np.finfo(np.float32).max)


def axis_number(axis: int, array: np.ndarray) -> int:
    assert -array.ndim <= axis < array.ndim
    return axis + array.ndim if axis < 0 else axis


def convolution_settings(param: Layer, axes: int) -> list[list[int]]:
    """kernel, stride, pad and dilation, each a list with one entry a spatial axis."""
    settings = []
    for repeated, short, default in (
        ("kernel_size", "kernel", None),
        ("stride", "stride", 1),
        ("pad", "pad", 0),
        ("dilation", "dilation", 1),
    ):
        if short + "_h" in param or short + "_w" in param:
            values = [param.get(short + "_h", 0), param.get(short + "_w", 0)]
        else:
            values = list(param.get(repeated, [])) or [default]
        settings.append(values * axes if len(values) == 1 else values)
        assert len(settings[-1]) == axes
    return settings


def convolution(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    param = layer["convolution_param"]
    weight = blobs[0]
    group = param.get("group", 1)
    outputs = param["num_output"]
    tops = []
    for bottom in bottoms:
        axis = axis_number(param.get("axis", 1), bottom)
        kernel, stride, pad, dilation = convolution_settings(param, bottom.ndim - axis - 1)
        lead, channels, sizes = bottom.shape[:axis], bottom.shape[axis], bottom.shape[axis + 1 :]
        out_sizes = [
            (size + 2 * p - (d * (k - 1) + 1)) // s + 1
            for size, k, s, p, d in zip(sizes, kernel, stride, pad, dilation, strict=True)
        ]
        top = np.zeros((*lead, outputs, *out_sizes))
        for item in np.ndindex(*lead):
            for o in range(outputs):
                first = (o // (outputs // group)) * (channels // group)
                own = slice(first, first + channels // group)
                for place in np.ndindex(*out_sizes):
                    total = blobs[1][o] if param.get("bias_term", True) else 0.0
                    for tap in np.ndindex(*kernel):
                        at = [
                            position * s - p + t * d
                            for position, s, p, t, d in zip(place, stride, pad, tap, dilation, strict=True)
                        ]
                        if all(0 <= a < size for a, size in zip(at, sizes, strict=True)):
                            total += bottom[(*item, own, *at)] @ weight[(o, slice(None), *tap)]
                    top[(*item, o, *place)] = total
        tops.append(top)
    return tops


def deconvolution(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    """Each bottom number spreads its kernel over the top; positions outside are dropped."""
    fork = layer.get("deconvolution_param")
    param = layer.get("convolution_param", {})
    if fork is not None:
        bias_term = param.get("bias_term", True)
        param = {
            "num_output": fork["output_channels"],
            "kernel_size": [fork["kernel_size"]],
            "stride": [fork.get("stride", 1)],
            "pad": [fork.get("pad", 0)],
            "group": fork.get("group", 1),
            "bias_term": bias_term,
        }
    weight = blobs[0]
    group, outputs = param.get("group", 1), param["num_output"]
    tops = []
    for bottom in bottoms:
        axis = axis_number(param.get("axis", 1), bottom)
        kernel, stride, pad, dilation = convolution_settings(param, bottom.ndim - axis - 1)
        lead, channels, sizes = bottom.shape[:axis], bottom.shape[axis], bottom.shape[axis + 1 :]
        out_sizes = [
            s * (size - 1) + d * (k - 1) + 1 - 2 * p
            for size, k, s, p, d in zip(sizes, kernel, stride, pad, dilation, strict=True)
        ]
        if fork is not None:
            out_sizes = [fork["output_height"], fork["output_width"]]
        top = np.zeros((*lead, outputs, *out_sizes))
        if param.get("bias_term", True):
            top += blobs[1].reshape(-1, *(1,) * len(out_sizes))
        for item in np.ndindex(*lead):
            for c in range(channels):
                first = (c // (channels // group)) * (outputs // group)
                own = slice(first, first + outputs // group)
                for place in np.ndindex(*sizes):
                    for tap in np.ndindex(*kernel):
                        at = [
                            position * s - p + t * d
                            for position, s, p, t, d in zip(place, stride, pad, tap, dilation, strict=True)
                        ]
                        if all(0 <= a < size for a, size in zip(at, out_sizes, strict=True)):
                            spread = bottom[(*item, c, *place)] * weight[(c, slice(None), *tap)]
                            top[(*item, own, *at)] += spread
        tops.append(top)
    return tops


def im2col(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    param, bottom = layer["convolution_param"], bottoms[0]
    axis = axis_number(param.get("axis", 1), bottom)
    kernel, stride, pad, dilation = convolution_settings(param, bottom.ndim - axis - 1)
    lead, channels, sizes = bottom.shape[:axis], bottom.shape[axis], bottom.shape[axis + 1 :]
    out_sizes = [
        (size + 2 * p - (d * (k - 1) + 1)) // s + 1
        for size, k, s, p, d in zip(sizes, kernel, stride, pad, dilation, strict=True)
    ]
    top = np.zeros((*lead, channels * math.prod(kernel), *out_sizes))
    for item in np.ndindex(*lead):
        for row, (c, *tap) in enumerate(product(range(channels), *map(range, kernel))):
            for place in np.ndindex(*out_sizes):
                at = [
                    position * s - p + t * d
                    for position, s, p, t, d in zip(place, stride, pad, tap, dilation, strict=True)
                ]
                if all(0 <= a < size for a, size in zip(at, sizes, strict=True)):
                    top[(*item, row, *place)] = bottom[(*item, c, *at)]
    return [top]


def pooled_size(size: int, kernel: int, stride: int, pad: int, round_up: bool, any_pad: bool) -> int:
    exact = (size + 2 * pad - kernel) / stride
    windows = int(math.ceil(exact) if round_up else math.floor(exact)) + 1
    if any_pad and (windows - 1) * stride >= size + pad:
        windows -= 1
    return windows


def pooling(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    param, bottom = layer.get("pooling_param", {}), bottoms[0]
    height, width = bottom.shape[2:]
    kernel = [
        param.get("kernel_h", param.get("kernel_size")),
        param.get("kernel_w", param.get("kernel_size")),
    ]
    if param.get("global_pooling"):
        kernel = [height, width]
    stride = [param.get("stride_h", param.get("stride", 1)), param.get("stride_w", param.get("stride", 1))]
    pad = [param.get("pad_h", param.get("pad", 0)), param.get("pad_w", param.get("pad", 0))]
    round_up = param.get("round_mode", "CEIL") == "CEIL"
    out = [
        pooled_size(size, k, s, p, round_up, any(pad))
        for size, k, s, p in zip((height, width), kernel, stride, pad, strict=True)
    ]
    top = np.zeros((*bottom.shape[:2], *out))
    mask = np.full(top.shape, -1.0)
    for n, c, ph, pw in np.ndindex(*top.shape):
        top[n, c, ph, pw], mask[n, c, ph, pw] = pool_window(
            bottom[n, c], (ph, pw), kernel, stride, pad, param.get("pool", "MAX")
        )
    return [top, mask][: len(layer["top"])]


def pool_window(
    plane: np.ndarray,
    place: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    pad: Sequence[int],
    method: str,
) -> tuple[float, int]:
    """One pooled number, and the place of the maximum."""
    height, width = plane.shape
    hstart, wstart = (p * s - q for p, s, q in zip(place, stride, pad, strict=True))
    hend, wend = min(hstart + kernel[0], height + pad[0]), min(wstart + kernel[1], width + pad[1])
    area = (hend - hstart) * (wend - wstart)
    rows, columns = range(max(hstart, 0), min(hend, height)), range(max(wstart, 0), min(wend, width))
    best, at, total, squares = -FLT_MAX, -1, 0.0, 0.0
    for h in rows:
        for w in columns:
            value = plane[h, w]
            total += value
            squares += value * value
            if value > best:
                best, at = value, h * width + w
    if method == "MAX":
        return best, at
    if method == "STOCHASTIC":
        return (squares / total if total > 0 else 0.0), -1
    with np.errstate(all="ignore"):
        return np.float64(total) / np.float64(area), -1


def spp(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    param, bottom = layer["spp_param"], bottoms[0]
    levels = []
    for level in range(param["pyramid_height"]):
        bins = 2**level
        pool = {"pool": param.get("pool", "MAX")}
        for side, size in (("h", bottom.shape[2]), ("w", bottom.shape[3])):
            kernel = math.ceil(size / bins)
            pool[f"kernel_{side}"] = pool[f"stride_{side}"] = kernel
            pool[f"pad_{side}"] = (kernel * bins - size + 1) // 2
        levels += pooling({"pooling_param": pool, "top": ["level"]}, bottoms, blobs)
    if len(levels) == 1:
        return levels
    return [np.concatenate([level.reshape(len(level), -1) for level in levels], 1)]


def lrn(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    param, x = layer.get("lrn_param", {}), bottoms[0]
    size, alpha, beta = param.get("local_size", 5), param.get("alpha", 1.0), param.get("beta", 0.75)
    half = (size - 1) // 2
    top = np.zeros_like(x)
    for n, c, h, w in np.ndindex(*x.shape):
        total = 0.0
        if param.get("norm_region", "ACROSS_CHANNELS") == "ACROSS_CHANNELS":
            for other in range(max(c - half, 0), min(c + half + 1, x.shape[1])):
                total += x[n, other, h, w] ** 2
            base = param.get("k", 1.0) + alpha / size * total
        else:
            for i in range(max(h - half, 0), min(h + half + 1, x.shape[2])):
                for j in range(max(w - half, 0), min(w + half + 1, x.shape[3])):
                    total += x[n, c, i, j] ** 2
            base = 1.0 + alpha * total / (size * size)
        top[n, c, h, w] = x[n, c, h, w] * base**-beta
    return [top]


LAYERS = {
    "Convolution": convolution,
    "Deconvolution": deconvolution,
    "Im2col": im2col,
    "Pooling": pooling,
    "SPP": spp,
    "LRN": lrn,
}
