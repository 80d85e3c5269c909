"""Reduction and ArgMax.

Source: `src/caffe/layers/{reduction,argmax}_layer.cpp` of Caffe 1.0. Reduction spans all axes from `axis`
on. ArgMax gives ties to the larger index; without `axis` each item is flattened and the top is (N, 1, k),
or (N, 2, k) with indices in row 0 and values in row 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from caffe_port.errors import ConversionError
from caffe_port.layers.row import Message, Row, Tensors, reader
from caffe_port.shapes import axis_of, count
from caffe_port.spec import Shape, read_spec


@dataclass(frozen=True)
class ReductionSpec:
    operation: str
    axis: int
    coeff: float


@dataclass(frozen=True)
class ArgMaxSpec:
    out_max_val: bool
    top_k: int
    axis: int | None = None


_REDUCE = {
    "SUM": lambda x: x.sum(-1),
    "ASUM": lambda x: x.abs().sum(-1),
    "SUMSQ": lambda x: (x * x).sum(-1),
    "MEAN": lambda x: x.mean(-1),
}


def _reduced_shape(p: ReductionSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    return [bottoms[0][: axis_of(p.axis, bottoms[0], "reduction_param.axis")]]


def _reduce(
    p: ReductionSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]
) -> list[torch.Tensor]:
    rows = bottoms[0].flatten(axis_of(p.axis, bottoms[0].shape, "reduction_param.axis"))
    top = _REDUCE[p.operation](rows)
    return [top if p.coeff == 1 else top * p.coeff]


def _read_argmax(layer: Message) -> ArgMaxSpec:
    spec = read_spec(ArgMaxSpec, "ArgMaxParameter", layer.get("argmax_param", {}))
    if spec.top_k < 1:
        raise ConversionError(f"field 'argmax_param.top_k' is {spec.top_k}; it must be at least 1")
    return spec


def _argmax_shape(p: ArgMaxSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    shape = bottoms[0]
    if p.axis is None and not shape:
        raise ConversionError("field 'bottom': a scalar has no items to take the maximum of")
    axis = None if p.axis is None else axis_of(p.axis, shape, "argmax_param.axis")
    size = count(shape, 1) if axis is None else shape[axis]
    if p.top_k > size:
        raise ConversionError(
            f"field 'argmax_param.top_k' is {p.top_k}; there are {size} numbers to choose from"
        )
    if axis is not None:
        return [(*shape[:axis], p.top_k, *shape[axis + 1 :])]
    return [(shape[0], 1 + p.out_max_val, p.top_k) + (1,) * (len(shape) - 3)]


def largest(x: torch.Tensor, top_k: int) -> torch.Tensor:
    """Indices of the `top_k` largest along the last axis, the largest first, ties to the larger index.

    A NaN wins over what stands before it and loses to what stands after, as in the scan of Caffe's
    partial_sort for one maximum. differs from Caffe: for more than one, NaN counts as the largest; Caffe's
    order is then that of a heap whose comparisons contradict each other.
    """
    last = x.shape[-1] - 1
    if top_k == 1:
        numbers = torch.arange(last + 1, device=x.device)
        blind = torch.where(x.isnan(), numbers, -1).amax(-1, keepdim=True)  # the last NaN
        x = x.masked_fill(numbers <= blind, -torch.inf)
        return last - x.flip(-1).argmax(-1, keepdim=True)
    return last - x.flip(-1).sort(dim=-1, descending=True, stable=True).indices[..., :top_k]


def _argmax(p: ArgMaxSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    x = bottoms[0]
    x = x.reshape(x.shape[0], 1, count(x.shape, 1)) if p.axis is None else x.movedim(p.axis, -1)
    indices = largest(x.detach(), p.top_k)
    values = x.gather(-1, indices)
    if p.axis is None:
        rows = [indices.to(x.dtype), values] if p.out_max_val else [indices.to(x.dtype)]
        return [torch.cat(rows, 1).reshape(shapes[0])]
    return [(values if p.out_max_val else indices.to(x.dtype)).movedim(-1, p.axis)]


ROWS = {
    "Reduction": Row(reader(ReductionSpec, "reduction_param", "ReductionParameter"), _reduced_shape, _reduce),
    "ArgMax": Row(_read_argmax, _argmax_shape, _argmax),
}
