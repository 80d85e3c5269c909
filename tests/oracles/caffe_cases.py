"""Random single layers that Caffe accepts, for comparing two implementations: one function a layer type.

`CASES[type](rng)` gives (layer, bottoms): a V2 LayerParameter dict with `bottom` and `top` left to the
caller unless their number matters, and float64 bottoms. Settings are drawn wide: rectangular, padded,
groups, unset fields, ties.
"""

from typing import Any

import numpy as np

from caffe_port.reference.windows import convolution_settings, pooled_size

Case = tuple[dict[str, Any], list[np.ndarray]]
Rng = np.random.Generator


def pick(rng: Rng, *choices: Any) -> Any:
    return choices[rng.integers(len(choices))]


def shape_of(rng: Rng, axes: int, most: int = 4) -> tuple[int, ...]:
    return tuple(int(size) for size in rng.integers(1, most + 1, axes))


def normal(rng: Rng, *shape: int) -> np.ndarray:
    """Numbers with some ties and some exact zeros."""
    values = rng.standard_normal(shape)
    return np.where(rng.random(shape) < 0.3, np.round(values), values)


def some(rng: Rng, **fields: Any) -> dict[str, Any]:
    """Each field set or left unset."""
    return {name: value for name, value in fields.items() if rng.random() < 0.6}


def windows(rng: Rng, axes: int, most_kernel: int = 4) -> dict[str, Any]:
    """kernel, stride, pad and dilation of a convolution, in every way that the file may say them."""
    if axes == 2 and rng.random() < 0.4:
        param: dict[str, Any] = {
            side: int(rng.integers(1, most_kernel + 1)) for side in ("kernel_h", "kernel_w")
        }
        if rng.random() < 0.6:
            param |= {side: int(rng.integers(1, 4)) for side in ("stride_h", "stride_w")}
        if rng.random() < 0.6:
            param |= some(rng, pad_h=int(rng.integers(0, 4)), pad_w=int(rng.integers(0, 4)))
    else:
        param = {"kernel_size": rng.integers(1, most_kernel + 1, pick(rng, 1, axes)).tolist()}
        param |= some(
            rng,
            stride=rng.integers(1, 4, pick(rng, 1, axes)).tolist(),
            pad=rng.integers(0, 4, pick(rng, 1, axes)).tolist(),
        )
    return param | some(rng, dilation=rng.integers(1, 3, pick(rng, 1, axes)).tolist())


def convolution(rng: Rng, reverse: bool = False) -> Case:
    axes = int(rng.integers(1, 4))
    group = int(rng.integers(1, 4))
    param = windows(rng, axes, 3 if axes == 3 else 4) | some(rng, bias_term=bool(rng.integers(2)))
    param |= {"num_output": group * int(rng.integers(1, 3)), "group": group}
    lead = int(rng.integers(1, 3))
    if lead == 2 or rng.random() < 0.2:
        param["axis"] = pick(rng, lead, -axes - 1)
    sizes = []
    for kernel, stride, pad, dilation in zip(*convolution_settings(param, axes), strict=True):
        lacking = dilation * (kernel - 1) + 1 - 2 * pad  # what a top of size 1 needs
        least = 1 + max(0, -(-(1 - lacking) // stride)) if reverse else max(1, lacking)
        sizes.append(least + int(rng.integers(0, 3)))
    shape = (*shape_of(rng, lead, 2), group * int(rng.integers(1, 3)), *sizes)
    return {"convolution_param": param}, [normal(rng, *shape) for _ in range(int(rng.integers(1, 3)))]


def im2col(rng: Rng) -> Case:
    layer, bottoms = convolution(rng)
    for field in ("num_output", "group", "bias_term"):
        layer["convolution_param"].pop(field, None)
    return layer, bottoms[:1]


def freiburg(rng: Rng) -> Case:
    """A deconvolution with explicit output size."""
    kernel, stride, pad = (int(rng.integers(low, high)) for low, high in ((3, 6), (1, 4), (0, 2)))
    group = int(rng.integers(1, 3))
    x = normal(rng, 2, 2 * group, *rng.integers(2, 5, 2).tolist())
    sizes = [stride * (n - 1) + kernel - 2 * pad + int(rng.integers(0, stride)) for n in x.shape[2:]]
    param = {"output_channels": group * 2, "output_height": sizes[0], "output_width": sizes[1]}
    param |= {"kernel_size": kernel, "stride": stride, "pad": pad, "group": group}
    return {"type": "Deconvolution", "deconvolution_param": param}, [x]


def pooling(rng: Rng) -> Case:
    method = pick(rng, "MAX", "AVE", "STOCHASTIC")
    while True:
        size = rng.integers(1, 10, 2).tolist()
        kernel, stride = rng.integers(1, 6, 2).tolist(), rng.integers(1, 6, 2).tolist()
        pad = [0, 0] if method == "STOCHASTIC" else [int(rng.integers(0, k)) for k in kernel]
        up = bool(rng.integers(3))
        if all(pooled_size(*four, up, any(pad)) > 0 for four in zip(size, kernel, stride, pad, strict=True)):
            break
    param: dict[str, Any] = {} if method == "MAX" else {"pool": method}
    if rng.random() < 0.1:
        param["global_pooling"] = True
    else:
        param |= dict(zip(("kernel_h", "kernel_w"), kernel, strict=True))
        param |= dict(zip(("stride_h", "stride_w"), stride, strict=True))
        param |= dict(zip(("pad_h", "pad_w"), pad, strict=True)) if any(pad) else {}
        param |= {} if up else {"round_mode": "FLOOR"}
    tops = ["y", "mask"] if method == "MAX" and rng.random() < 0.5 else ["y"]
    return {"pooling_param": param, "top": tops}, [normal(rng, 2, 2, *size)]


def spp(rng: Rng) -> Case:
    """Sizes for which each level's padding stays below its kernel, as Caffe asks."""
    height = int(rng.integers(1, 4))
    good = [
        n for n in range(1, 20) if all((-(-n // b) * b - n + 1) // 2 < -(-n // b) for b in (1, 2, 4)[:height])
    ]
    param = {"pyramid_height": height} | some(rng, pool=pick(rng, "MAX", "AVE"))
    return {"spp_param": param}, [normal(rng, 2, 2, pick(rng, *good), pick(rng, *good))]


def lrn(rng: Rng) -> Case:
    param = some(rng, local_size=2 * int(rng.integers(0, 6)) + 1, alpha=pick(rng, 1e-4, 0.5, 2.0))
    param |= some(rng, beta=pick(rng, 0.75, 0.5, 1.0, 0.3), k=pick(rng, 2.0, 0.5))
    param |= some(rng, norm_region=pick(rng, "WITHIN_CHANNEL", "ACROSS_CHANNELS"))
    return {"lrn_param": param}, [normal(rng, *shape_of(rng, 2, 7), *shape_of(rng, 2, 6))]


def inner_product(rng: Rng) -> Case:
    x = normal(rng, *shape_of(rng, int(rng.integers(1, 5))))
    param = {"num_output": int(rng.integers(1, 6)), "axis": int(rng.integers(-x.ndim, x.ndim))}
    return {"inner_product_param": param | some(rng, bias_term=False, transpose=True)}, [x]


def embed(rng: Rng) -> Case:
    rows = int(rng.integers(1, 6))
    ids = rng.integers(0, rows, shape_of(rng, int(rng.integers(1, 3)))) + rng.choice([0.0, 0.4])
    return {"embed_param": {"num_output": 3, "input_dim": rows} | some(rng, bias_term=False)}, [ids]


def neuron(field: str = "none", spread: float = 2.0, **choices: list[Any]) -> Any:
    def case(rng: Rng) -> Case:
        param = some(rng, **{name: pick(rng, *values) for name, values in choices.items()})
        x = normal(rng, *shape_of(rng, int(rng.integers(2, 5)))) * spread
        return ({field: param} if choices else {}), [x]

    return case


def clip(rng: Rng) -> Case:
    low, high = sorted(rng.standard_normal(2).tolist())
    return {"clip_param": {"min": low, "max": high}}, [normal(rng, *shape_of(rng, 3))]


def log(rng: Rng) -> Case:
    param = some(
        rng, base=pick(rng, 2.0, 10.0, 0.5, -1.0), scale=pick(rng, 0.5, 2.0), shift=pick(rng, 1.0, 3.0)
    )
    return {"log_param": param}, [np.abs(normal(rng, *shape_of(rng, 3))) + 0.1]


def prelu(rng: Rng) -> Case:
    return {"prelu_param": some(rng, channel_shared=True)}, [
        normal(rng, *shape_of(rng, int(rng.integers(2, 5))))
    ]


def eltwise(rng: Rng) -> Case:
    shape, count = shape_of(rng, int(rng.integers(1, 5))), int(rng.integers(2, 5))
    param = some(rng, operation=pick(rng, "PROD", "SUM", "MAX"))
    if param.get("operation", "SUM") == "SUM" and rng.random() < 0.6:
        param["coeff"] = rng.choice([0.0, 1.0, -1.0, 0.5, 3.0], count).tolist()
    return {"eltwise_param": param}, [normal(rng, *shape) for _ in range(count)]


def scale(field: str) -> Any:
    def case(rng: Rng) -> Case:
        x = normal(rng, *shape_of(rng, int(rng.integers(2, 5))))
        axis = int(rng.integers(0, x.ndim))
        num_axes = int(rng.integers(-1, x.ndim - axis + 1))
        param: dict[str, Any] = {"axis": pick(rng, axis, axis - x.ndim), "num_axes": num_axes}
        if field == "scale_param":
            param |= some(rng, bias_term=True)
        if rng.random() < 0.5:
            return {field: param}, [x]
        end = x.ndim if num_axes == -1 else axis + num_axes
        del param["num_axes"]
        return {field: param}, [x, normal(rng, *x.shape[axis:end])]

    return case


def batch_norm(rng: Rng) -> Case:
    param = some(rng, use_global_stats=bool(rng.integers(2)), eps=1e-3)
    return {"batch_norm_param": param}, [normal(rng, *rng.integers(2, 5, int(rng.integers(2, 6))).tolist())]


def mvn(rng: Rng) -> Case:
    x = normal(rng, *rng.integers(2, 5, int(rng.integers(1, 5))).tolist())
    return {"mvn_param": some(rng, normalize_variance=False, across_channels=True, eps=0.1)}, [x]


def axis_only(field: str, name: str = "axis", low: int = 1) -> Any:
    def case(rng: Rng) -> Case:
        x = normal(rng, *shape_of(rng, int(rng.integers(2, 5))))
        return {field: some(rng, **{name: int(rng.integers(-x.ndim, x.ndim))})}, [x]

    return case


def normalize(rng: Rng) -> Case:
    return {"norm_param": some(rng, across_spatial=False, channel_shared=False, eps=0.1)}, [
        normal(rng, *shape_of(rng, 4))
    ]


CASES = {
    "Convolution": convolution,
    "Deconvolution": lambda rng: convolution(rng, reverse=True),
    "Freiburg": freiburg,
    "Im2col": im2col,
    "Pooling": pooling,
    "SPP": spp,
    "LRN": lrn,
    "InnerProduct": inner_product,
    "Embed": embed,
    "ReLU": neuron("relu_param", negative_slope=[0.1, -0.3, 0.0, 1.5]),
    "ReLU6": neuron(spread=5.0),
    "ELU": neuron("elu_param", alpha=[0.3, 2.0]),
    "Sigmoid": neuron(spread=5.0),
    "TanH": neuron(),
    "AbsVal": neuron(),
    "BNLL": neuron(spread=10.0),
    "Swish": neuron("swish_param", beta=[0.5, -2.0]),
    "Threshold": neuron("threshold_param", threshold=[0.5, -1.0, 2.0]),
    "Dropout": neuron("dropout_param", dropout_ratio=[0.1, 0.9]),
    "Power": neuron(
        "power_param", power=[2.0, 0.5, 0.0, -1.0, 3.0], scale=[2.0, 0.0, -1.0], shift=[1.0, -0.5]
    ),
    "Exp": neuron("exp_param", base=[2.0, 10.0, 0.5], scale=[0.5, -1.0, 0.0], shift=[1.0, -1.0]),
    "Log": log,
    "Clip": clip,
    "PReLU": prelu,
    "Eltwise": eltwise,
    "Scale": scale("scale_param"),
    "Bias": scale("bias_param"),
    "BatchNorm": batch_norm,
    "MVN": mvn,
    "Softmax": axis_only("softmax_param"),
    "Normalize": normalize,
}
