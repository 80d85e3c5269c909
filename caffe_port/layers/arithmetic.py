"""Power, Exp, Log, and Eltwise over several bottoms.

Source: `src/caffe/layers/{power,exp,log,eltwise}_layer.cpp` of Caffe 1.0. Constants are rounded to float32
where Caffe holds them in floats.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch

from caffe_port.errors import ConversionError
from caffe_port.layers.activation import neuron
from caffe_port.layers.row import Message, Row, Tensors, reader
from caffe_port.shapes import same
from caffe_port.spec import Shape, read_spec


@dataclass(frozen=True)
class PowerSpec:
    """(shift + scale * x)^power."""

    power: float
    scale: float
    shift: float


@dataclass(frozen=True)
class ExpSpec:
    """base^(shift + scale * x), or with `Log` the logarithm of shift + scale * x; base -1 is e."""

    base: float
    scale: float
    shift: float


@dataclass(frozen=True)
class EltwiseSpec:
    operation: str
    coeff: tuple[float, ...]


def _raise(x: torch.Tensor, power: float) -> torch.Tensor:
    """C's pow: unlike a square root, (-inf)^0.5 is inf and (-0)^0.5 is 0."""
    if power == 0.5:
        return torch.where(x == -math.inf, -x, (x + 0.0).sqrt())
    return x if power == 1 else x.pow(power)


def _power(p: PowerSpec, x: torch.Tensor) -> torch.Tensor:
    with np.errstate(all="ignore"):
        if np.float32(p.power) * np.float32(p.scale) == 0:
            return torch.full_like(x, float(np.power(np.float32(p.shift), np.float32(p.power))))
    x = x if p.scale == 1 else x * p.scale
    return _raise(x if p.shift == 0 else x + p.shift, p.power)


def log_of_base(p: ExpSpec, field: str) -> np.float32:
    """Natural logarithm of the base, in single precision."""
    if p.base == -1:
        return np.float32(1)
    if not 0 < p.base < math.inf:
        raise ConversionError(f"field '{field}.base' is {p.base:g}; it must be positive, or -1 for e")
    return np.log(np.float32(p.base))


def _read_exp(layer: Message) -> ExpSpec:
    spec = read_spec(ExpSpec, "ExpParameter", layer.get("exp_param", {}))
    log_of_base(spec, "exp_param")
    return spec


def _read_log(layer: Message) -> ExpSpec:
    spec = read_spec(ExpSpec, "LogParameter", layer.get("log_param", {}))
    if log_of_base(spec, "log_param") == 0:
        raise ConversionError(
            "field 'log_param.base' is 1, whose logarithm is 0; any other positive base is allowed"
        )
    return spec


def _exp(p: ExpSpec, x: torch.Tensor) -> torch.Tensor:
    with np.errstate(all="ignore"):
        inner = float(log_of_base(p, "exp_param") * np.float32(p.scale))
        base, shift = np.float32(p.base), np.float32(p.shift)
        outer = float(np.exp(shift) if p.base == -1 else np.power(base, shift)) if p.shift else 1.0
    y = torch.exp(x if inner == 1 else x * inner)
    return y if outer == 1 else y * outer


def _log(p: ExpSpec, x: torch.Tensor) -> torch.Tensor:
    outer = float(np.float32(1) / log_of_base(p, "log_param"))
    x = x if p.scale == 1 else x * p.scale
    y = torch.log(x if p.shift == 0 else x + p.shift)
    return y if outer == 1 else y * outer


def _read_eltwise(layer: Message) -> EltwiseSpec:
    spec = read_spec(EltwiseSpec, "EltwiseParameter", layer.get("eltwise_param", {}))
    bottoms = len(layer.get("bottom", []))
    if len(spec.coeff) not in (0, bottoms):
        raise ConversionError(
            f"field 'eltwise_param.coeff' is set {len(spec.coeff)} times; set it once for each of "
            f"{bottoms} bottoms"
        )
    if spec.coeff and spec.operation == "PROD":
        raise ConversionError("field 'eltwise_param.coeff' is set; PROD takes no coefficients, only SUM does")
    return spec


def _eltwise_shape(p: EltwiseSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    return [same(bottoms)]


def _greater(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """b where it is greater than a: NaN in a stays, NaN in b is passed over."""
    return torch.where(b > a, b, a)


def _eltwise(p: EltwiseSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    if p.operation == "PROD":
        return [reduce(torch.mul, bottoms)]
    if p.operation == "MAX":
        first, second, *rest = bottoms
        return [reduce(_greater, rest, torch.where(first > second, first, second))]
    coeff = p.coeff or (1.0,) * len(bottoms)
    # A coefficient 0 leaves its bottom out, infinities too, as BLAS does.
    terms = [(weight, x) for weight, x in zip(coeff, bottoms, strict=True) if weight]
    if not terms:
        return [torch.zeros_like(bottoms[0])]
    (weight, x), *others = terms
    total = x.clone() if weight == 1 else x * weight
    for weight, x in others:
        total = torch.add(total, x, alpha=weight)
    return [total]


ROWS = {
    "Power": neuron(reader(PowerSpec, "power_param", "PowerParameter"), _power),
    "Exp": neuron(_read_exp, _exp),
    "Log": neuron(_read_log, _log),
    "Eltwise": Row(
        _read_eltwise,
        _eltwise_shape,
        _eltwise,
        bottoms=(2, None),
        in_place=lambda p: p.operation == "PROD",
        fresh=True,
    ),
}
