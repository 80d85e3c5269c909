"""Caffe's layers that work number by number or normalise, in plain float64: slow and obvious.

Written from `src/caffe/layers/` of Caffe 1.0 and nothing else. See `windows` for the conventions.
"""

import math
from collections.abc import Callable

import numpy as np

from caffe_port.reference.windows import FLT_MAX, Arrays, Layer, Run, axis_number


def cpp_max(a: float, b: float) -> float:
    """std::max: NaN in a stays, NaN in b loses."""
    return b if a < b else a


def cpp_min(a: float, b: float) -> float:
    return b if b < a else a


def c_pow(x: float, y: float) -> float:
    with np.errstate(all="ignore"):
        return float(np.power(np.float64(x), np.float64(y)))


def c_exp(x: float) -> float:
    with np.errstate(all="ignore"):
        return float(np.exp(np.float64(x)))


def c_log(x: float) -> float:
    with np.errstate(all="ignore"):
        return float(np.log(np.float64(x)))


def relu(p: Layer, x: float) -> float:
    slope = p.get("negative_slope", 0.0)
    return cpp_max(x, 0.0) + slope * cpp_min(x, 0.0)


def elu(p: Layer, x: float) -> float:
    return cpp_max(x, 0.0) + p.get("alpha", 1.0) * (c_exp(cpp_min(x, 0.0)) - 1.0)


def sigmoid(p: Layer, x: float) -> float:
    return 0.5 * math.tanh(0.5 * x) + 0.5


def bnll(p: Layer, x: float) -> float:
    return x + c_log(1.0 + c_exp(-x)) if x > 0 else c_log(1.0 + c_exp(x))


def swish(p: Layer, x: float) -> float:
    return x * sigmoid(p, p.get("beta", 1.0) * x)


def clip(p: Layer, x: float) -> float:
    return cpp_max(p["min"], cpp_min(x, p["max"]))


def threshold(p: Layer, x: float) -> float:
    return 1.0 if x > p.get("threshold", 0.0) else 0.0


def power(p: Layer, x: float) -> float:
    exponent, scale, shift = p.get("power", 1.0), p.get("scale", 1.0), p.get("shift", 0.0)
    if exponent * scale == 0:
        return 1.0 if exponent == 0 else c_pow(shift, exponent)
    value = x * scale + shift
    return value if exponent == 1 else c_pow(value, exponent)


def exponential(p: Layer, x: float) -> float:
    base, scale, shift = p.get("base", -1.0), p.get("scale", 1.0), p.get("shift", 0.0)
    log_base = 1.0 if base == -1 else math.log(base)
    return c_exp(log_base * (scale * x)) * c_exp(log_base * shift)


def logarithm(p: Layer, x: float) -> float:
    base, scale, shift = p.get("base", -1.0), p.get("scale", 1.0), p.get("shift", 0.0)
    return c_log(scale * x + shift) / (1.0 if base == -1 else math.log(base))


def relu6(p: Layer, x: float) -> float:
    return cpp_min(cpp_max(x, 0.0), 6.0)


def pointwise(field: str, function: Callable[[Layer, float], float]) -> Run:
    def run(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
        param = layer.get(field, {})
        return [np.array([function(param, float(x)) for x in bottoms[0].ravel()]).reshape(bottoms[0].shape)]

    return run


def prelu(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    x, slopes = bottoms[0], [float(slope) for slope in blobs[0].ravel()]
    top = np.zeros_like(x)
    for at in np.ndindex(*x.shape):
        slope = slopes[at[1]] if len(slopes) > 1 else slopes[0]
        top[at] = cpp_max(float(x[at]), 0.0) + slope * cpp_min(float(x[at]), 0.0)
    return [top]


def eltwise(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    param = layer.get("eltwise_param", {})
    operation = param.get("operation", "SUM")
    coeff = param.get("coeff") or [1.0] * len(bottoms)
    top = np.zeros_like(bottoms[0])
    for at in np.ndindex(*top.shape):
        values = [bottom[at] for bottom in bottoms]
        if operation == "PROD":
            top[at] = math.prod(values)
        elif operation == "SUM":
            top[at] = sum(c * value for c, value in zip(coeff, values, strict=True) if c)
        else:
            best = values[0] if values[0] > values[1] else values[1]
            for value in values[2:]:
                best = value if value > best else best
            top[at] = best
    return [top]


def scale_or_bias(field: str, adds: bool) -> Run:
    def run(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
        param, x = layer.get(field, {}), bottoms[0]
        blob = bottoms[1] if len(bottoms) > 1 else blobs[0]
        axis = axis_number(param.get("axis", 1), x) if blob.ndim else 0
        top = np.zeros_like(x)
        for at in np.ndindex(*x.shape):
            inner = at[axis : axis + blob.ndim]
            top[at] = x[at] + blob[inner] if adds else x[at] * blob[inner]
            if param.get("bias_term", False):
                top[at] += blobs[-1][inner]
        return [top]

    return run


def batch_norm(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    param, x = layer.get("batch_norm_param", {}), bottoms[0]
    top = np.zeros_like(x)
    for c in range(x.shape[1]):
        plane = x[:, c]
        if param.get("use_global_stats", True):
            factor = 0.0 if blobs[2][0] == 0 else 1.0 / blobs[2][0]
            mean, variance = blobs[0][c] * factor, blobs[1][c] * factor
        else:
            mean = sum(plane.ravel()) / plane.size
            variance = sum((value - mean) ** 2 for value in plane.ravel()) / plane.size
        top[:, c] = (plane - mean) / math.sqrt(variance + param.get("eps", 1e-5))
    return [top]


def mvn(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    param = layer.get("mvn_param", {})
    x = bottoms[0].reshape(*bottoms[0].shape, *(1,) * (4 - bottoms[0].ndim))
    groups = x.shape[0] if param.get("across_channels", False) else x.shape[0] * x.shape[1]
    rows = x.reshape(groups, -1)
    top = np.zeros_like(rows)
    for number, row in enumerate(rows):
        mean = sum(row) / len(row)
        top[number] = row - mean
        if param.get("normalize_variance", True):
            deviation = math.sqrt(sum((value - mean) ** 2 for value in row) / len(row))
            top[number] /= deviation + param.get("eps", 1e-9)
    return [top.reshape(x.shape)]


def softmax_rows(x: np.ndarray, axis: int) -> np.ndarray:
    top = np.zeros_like(x)
    for outer in np.ndindex(*x.shape[:axis]):
        for inner in np.ndindex(*x.shape[axis + 1 :]):
            place = (*outer, slice(None), *inner)
            values = [float(value) for value in x[place]]
            highest = values[0]
            for value in values:
                highest = cpp_max(highest, value)
            powers = [c_exp(value - highest) for value in values]
            top[place] = [value / sum(powers) for value in powers]
    return top


def softmax(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    axis = axis_number(layer.get("softmax_param", {}).get("axis", 1), bottoms[0])
    return [softmax_rows(bottoms[0], axis)]


def inner_product(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    param, x = layer["inner_product_param"], bottoms[0]
    axis = axis_number(param.get("axis", 1), x)
    rows = x.reshape(math.prod(x.shape[:axis]), -1)
    weight = blobs[0].T if param.get("transpose", False) else blobs[0]
    top = np.zeros((len(rows), param["num_output"]))
    for n, o in np.ndindex(*top.shape):
        top[n, o] = sum(a * b for a, b in zip(rows[n], weight[o], strict=True))
        if param.get("bias_term", True):
            top[n, o] += blobs[1][o]
    return [top.reshape(*x.shape[:axis], param["num_output"])]


def embed(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    param, ids = layer["embed_param"], bottoms[0]
    top = np.zeros((*ids.shape, param["num_output"]))
    for at in np.ndindex(*ids.shape):
        top[at] = blobs[0][int(ids[at])] + (blobs[1] if param.get("bias_term", True) else 0.0)
    return [top]


def normalize(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    """SSD's."""
    param, x = layer["norm_param"], bottoms[0]
    top = np.zeros_like(x)
    for at in np.ndindex(*x.shape):
        others = x[at[0]] if param.get("across_spatial", True) else x[(at[0], slice(None), *at[2:])]
        norm = math.sqrt(sum(value * value for value in others.ravel()) + param.get("eps", 1e-10))
        scale = blobs[0].ravel()[at[1] if blobs[0].size > 1 else 0]
        top[at] = x[at] / norm * scale
    return [top]


LAYERS = {
    "ReLU": pointwise("relu_param", relu),
    "ReLU6": pointwise("relu6_param", relu6),
    "ELU": pointwise("elu_param", elu),
    "Sigmoid": pointwise("sigmoid_param", sigmoid),
    "TanH": pointwise("tanh_param", lambda p, x: math.tanh(x)),
    "AbsVal": pointwise("absval_param", lambda p, x: abs(x)),
    "BNLL": pointwise("bnll_param", bnll),
    "Swish": pointwise("swish_param", swish),
    "Clip": pointwise("clip_param", clip),
    "Threshold": pointwise("threshold_param", threshold),
    "Dropout": pointwise("dropout_param", lambda p, x: x),
    "Power": pointwise("power_param", power),
    "Exp": pointwise("exp_param", exponential),
    "Log": pointwise("log_param", logarithm),
    "PReLU": prelu,
    "Eltwise": eltwise,
    "Scale": scale_or_bias("scale_param", False),
    "Bias": scale_or_bias("bias_param", True),
    "BatchNorm": batch_norm,
    "MVN": mvn,
    "Softmax": softmax,
    "InnerProduct": inner_product,
    "Embed": embed,
    "Normalize": normalize,
}

__all__ = ["FLT_MAX", "LAYERS", "softmax_rows"]
