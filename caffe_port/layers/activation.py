"""Layers that map each number by itself, with or without a learned slope.

Source: `src/caffe/layers/{relu,prelu,elu,sigmoid,tanh,bnll,swish,dropout,clip,threshold,absval}_layer.cpp` of
Caffe 1.0, TEST phase; ReLU6 from chuanqi305's fork. max and min are C++'s: NaN in the first argument stays.
ReLU is max(x, 0) + slope * min(x, 0), so ReLU(-inf) with slope 0 is NaN.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from caffe_port.errors import ConversionError
from caffe_port.layers.row import Message, Row, Tensors, always, like_bottom, nothing, reader
from caffe_port.shapes import legacy, show
from caffe_port.spec import BlobSpec, FillerSpec, Shape, read_spec


@dataclass(frozen=True)
class ReluSpec:
    negative_slope: float


QUARTER = FillerSpec(value=0.25)


@dataclass(frozen=True)
class PreluSpec:
    filler: FillerSpec = QUARTER
    channel_shared: bool = False


@dataclass(frozen=True)
class EluSpec:
    alpha: float


@dataclass(frozen=True)
class SwishSpec:
    beta: float


@dataclass(frozen=True)
class ClipSpec:
    min: float
    max: float


@dataclass(frozen=True)
class ThresholdSpec:
    threshold: float


def _relu(p: ReluSpec, x: torch.Tensor) -> torch.Tensor:
    y = F.leaky_relu(x, p.negative_slope)
    return y if p.negative_slope else y + 0.0  # -0 becomes 0


def _relu_over(p: ReluSpec, x: torch.Tensor, blobs: Tensors) -> torch.Tensor:
    y = F.leaky_relu_(x, p.negative_slope)
    return y if p.negative_slope else y.add_(0.0)


def _elu(p: EluSpec, x: torch.Tensor) -> torch.Tensor:
    return x.clamp(min=0) + p.alpha * torch.expm1(x.clamp(max=0))


def _swish(p: SwishSpec, x: torch.Tensor) -> torch.Tensor:
    return x * torch.sigmoid(p.beta * x)


def _clip(p: ClipSpec, x: torch.Tensor) -> torch.Tensor:
    """The greater of `min` and the lesser of x and `max`; NaN becomes `min`."""
    return torch.fmax(x.clamp(max=p.max), torch.full_like(x, p.min))


def _threshold(p: ThresholdSpec, x: torch.Tensor) -> torch.Tensor:
    return (x > p.threshold).to(x.dtype)


def _plain(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Any, torch.Tensor], torch.Tensor]:
    return lambda _, x: function(x)


def neuron(
    read: Callable[[Message], Any], function: Callable[[Any, torch.Tensor], torch.Tensor], **rest: Any
) -> Row:
    """Row of a layer that maps each number by itself."""

    def run(p: Any, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
        return [function(p, bottoms[0])]

    return Row(read, like_bottom, run, **{"in_place": always, **rest})


def _read_dropout(layer: Message) -> None:
    if layer.get("phase", "TEST") != "TEST":
        raise ConversionError(
            "field 'phase' is TRAIN, where dropout is random; only TEST is allowed: remove the field"
        )


def _prelu_shape(p: PreluSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    legacy(bottoms[0])
    if len(bottoms[0]) < 2:
        raise ConversionError(
            f"field 'bottom': shape {show(bottoms[0])} has no channel axis; 2 axes are needed"
        )
    return [bottoms[0]]


def _prelu_blobs(p: PreluSpec, bottoms: Sequence[Shape]) -> list[BlobSpec]:
    return [BlobSpec(() if p.channel_shared else bottoms[0][1:2], p.filler)]


def _prelu(p: PreluSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    return [F.prelu(bottoms[0], blobs[0].reshape(-1))]


def _read_prelu(layer: Message) -> PreluSpec:
    return read_spec(PreluSpec, "PReLUParameter", layer.get("prelu_param", {}))


def _read_clip(layer: Message) -> ClipSpec:
    values = layer.get("clip_param", {})
    if missing := [field for field in ("min", "max") if field not in values]:
        raise ConversionError(f"field 'clip_param.{missing[0]}' is not set; it is required")
    return read_spec(ClipSpec, "ClipParameter", values)


_fork = partial(neuron, source="chuanqi305/MobileNetv2-SSDLite and others")

ROWS = {
    "ReLU": neuron(reader(ReluSpec, "relu_param", "ReLUParameter"), _relu, overwrite=_relu_over),
    "PReLU": Row(_read_prelu, _prelu_shape, _prelu, _prelu_blobs, in_place=always),
    "ELU": neuron(reader(EluSpec, "elu_param", "ELUParameter"), _elu),
    "Sigmoid": neuron(nothing, _plain(torch.sigmoid)),
    "TanH": neuron(nothing, _plain(torch.tanh)),
    "BNLL": neuron(nothing, lambda _, x: torch.logaddexp(x, torch.zeros_like(x))),
    "Swish": neuron(reader(SwishSpec, "swish_param", "SwishParameter"), _swish),
    "Dropout": neuron(_read_dropout, lambda _, x: x),
    "Clip": neuron(_read_clip, _clip),
    "Threshold": neuron(reader(ThresholdSpec, "threshold_param", "ThresholdParameter"), _threshold),
    "AbsVal": Row(nothing, like_bottom, lambda p, bottoms, blobs, shapes: [bottoms[0].abs()]),
    "ReLU6": _fork(nothing, lambda _, x: x.clamp(0, 6)),
}
