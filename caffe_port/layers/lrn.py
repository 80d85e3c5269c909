"""Local response normalisation, across channels and within a channel.

Source: `src/caffe/layers/lrn_layer.cpp` of Caffe 1.0. Across channels, with n = local_size:
y = x * (k + alpha / n * sum of x^2 over n channels)^-beta, zeros beyond the first and last channel. Within
a channel: y = x * (1 + alpha * mean of x^2 over an n x n window)^-beta, zeros outside the map, and k is not
read.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from caffe_port.errors import ConversionError
from caffe_port.layers.row import Message, Row, Tensors
from caffe_port.shapes import need_axes
from caffe_port.spec import LrnSpec, Shape, read_spec


def _read(layer: Message) -> LrnSpec:
    spec = read_spec(LrnSpec, "LRNParameter", layer.get("lrn_param", {}))
    if spec.local_size % 2 == 0:
        raise ConversionError(f"field 'lrn_param.local_size' is {spec.local_size}; it must be odd")
    return spec


def _shape(p: LrnSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    need_axes(bottoms[0], 4)
    return [bottoms[0]]


def channel_sums(squares: torch.Tensor, weight: float, offset: float, reach: int) -> torch.Tensor:
    """`offset + weight * (sum over the channels c - reach .. c + reach)`: shifted sums, ends left out.

    squares : (N, C, H, W). Two additions a channel of reach: the least work of any form, and exact to the
    last bit but one, where a running sum would cancel.
    """
    sums = (squares * weight).add_(offset)
    for shift in range(1, min(reach, squares.shape[1] - 1) + 1):
        sums[:, shift:].add_(squares[:, :-shift], alpha=weight)
        sums[:, :-shift].add_(squares[:, shift:], alpha=weight)
    return sums


def negative_power(base: torch.Tensor, beta: float) -> torch.Tensor:
    """base^-beta of a positive base; square roots for the usual 3/4."""
    if beta == 0.75:
        root = base.rsqrt()
        return root * root.sqrt()
    return base.pow(-beta)


def _run(p: LrnSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    x = bottoms[0].float() if bottoms[0].dtype in (torch.float16, torch.bfloat16) else bottoms[0]
    reach = (p.local_size - 1) // 2
    if p.norm_region == "ACROSS_CHANNELS":
        base = channel_sums(x * x, p.alpha / p.local_size, p.k, reach)
    else:
        reach = min(reach, max(x.shape[2:]) - 1)
        sums = F.avg_pool2d(x * x, 2 * reach + 1, 1, reach, divisor_override=1)
        base = sums * (p.alpha / p.local_size**2) + 1.0
    return [(x * negative_power(base, p.beta)).to(bottoms[0].dtype)]


def _in_place(p: LrnSpec) -> bool:
    """Across channels Caffe would multiply its own result; within a channel it multiplies the bottom."""
    return p.norm_region == "WITHIN_CHANNEL"


ROWS = {"LRN": Row(_read, _shape, _run, in_place=_in_place)}
