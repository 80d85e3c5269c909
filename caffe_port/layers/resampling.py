"""Interp and Upsample, of well-known forks.

Source: Interp from `interp_layer.cpp` and `util/interp.cpp` of DeepLab v2 and PSPNet: bilinear with aligned
corners. Upsample with one bottom from darknet2caffe: each number repeated; with two bottoms from
`upsample_layer.cpp` of SegNet (alexgkendall/caffe-segnet): each number put where the mask of a MAX pooling
says, zeros elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from caffe_port.errors import ConversionError
from caffe_port.layers.row import Message, Row, Tensors
from caffe_port.shapes import count, need_axes, positive, show
from caffe_port.spec import Shape, UpsampleSpec, read_spec


@dataclass(frozen=True)
class InterpSpec:
    """Output size: from a second bottom, `height` and `width`, or shrinking then zooming."""

    pad_beg: int
    pad_end: int
    height: int | None = None
    width: int | None = None
    zoom_factor: int | None = None
    shrink_factor: int | None = None


def _read_interp(layer: Message) -> InterpSpec:
    spec = read_spec(InterpSpec, "InterpParameter", layer.get("interp_param", {}))
    factor = spec.zoom_factor is not None or spec.shrink_factor is not None
    if spec.pad_beg > 0 or spec.pad_end > 0:
        raise ConversionError(
            f"fields 'pad_beg' and 'pad_end' of interp_param are {spec.pad_beg} and {spec.pad_end}; they "
            "crop, so they "
            "are 0 or less"
        )
    if len(layer.get("bottom", [])) < 2 and not factor and (spec.height is None or spec.width is None):
        raise ConversionError(
            "field 'interp_param.height' is not set; Caffe 1.0 has no type Interp, and DeepLab's needs "
            "height and width, "
            "zoom_factor, shrink_factor or a second bottom"
        )
    if min(spec.zoom_factor or 1, spec.shrink_factor or 1) < 1:
        raise ConversionError(
            f"field 'interp_param.zoom_factor' is {spec.zoom_factor}; factors are at least 1"
        )
    return spec


def _interp_size(p: InterpSpec, size: int, explicit: int | None, other: int | None) -> int:
    size = positive(size + p.pad_beg + p.pad_end, "field 'interp_param.pad_beg'")
    if other is not None:
        return other
    if p.zoom_factor is None and p.shrink_factor is None:
        return positive(explicit or 0, "field 'interp_param.height' or 'width'")
    size = (size - 1) // (p.shrink_factor or 1) + 1
    return size + (size - 1) * ((p.zoom_factor or 1) - 1)


def _interp_shape(p: InterpSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    for shape in bottoms:
        need_axes(shape, 4)
    others = bottoms[1][2:] if len(bottoms) > 1 else (None, None)
    sizes = zip(bottoms[0][2:], (p.height, p.width), others, strict=True)
    return [(*bottoms[0][:2], *(_interp_size(p, *size) for size in sizes))]


def _interp(p: InterpSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    x = F.pad(bottoms[0], [p.pad_beg, p.pad_end] * 2)
    return [F.interpolate(x, tuple(shapes[0][2:]), mode="bilinear", align_corners=True)]


def _read_upsample(layer: Message) -> UpsampleSpec:
    values = layer.get("upsample_param", {})
    if not values:
        raise ConversionError(
            "field 'upsample_param' is not set; Caffe 1.0 has no type Upsample, forks need 'scale'"
        )
    scale = (
        (values.get("scale_h", 0), values.get("scale_w", 0))
        if "scale_h" in values or "scale_w" in values
        else None
    )
    scale = scale or (values.get("scale", 2),) * 2
    size = (values.get("upsample_h", 0), values.get("upsample_w", 0))
    if min(scale) < 1 or (max(size) > 0 and min(size) < 1):
        raise ConversionError(
            f"field 'upsample_param.scale' is {show(scale)}, the size {show(size)}; give both sides"
        )
    pad_out = (int(values.get("pad_out_h", False)), int(values.get("pad_out_w", False)))
    return UpsampleSpec(scale, pad_out, size if max(size) else None)


def _upsample_shape(p: UpsampleSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    need_axes(bottoms[0], 4)
    if len(bottoms) == 1:
        return [
            (*bottoms[0][:2], *(size * scale for size, scale in zip(bottoms[0][2:], p.scale, strict=True)))
        ]
    if bottoms[1] != bottoms[0]:
        raise ConversionError(
            f"field 'bottom': a mask of shape {show(bottoms[1])} for numbers of {show(bottoms[0])}"
        )
    sizes = p.size or tuple(
        size * scale - pad for size, scale, pad in zip(bottoms[0][2:], p.scale, p.pad_out, strict=True)
    )
    return [(*bottoms[0][:2], *(positive(size, "field 'upsample_param.pad_out_h'") for size in sizes))]


def _upsample(
    p: UpsampleSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]
) -> list[torch.Tensor]:
    x = bottoms[0]
    if len(bottoms) == 1:
        return [x.repeat_interleave(p.scale[0], 2).repeat_interleave(p.scale[1], 3)]
    places, cells = bottoms[1].flatten(2).long(), count(shapes[0], 2)
    if places.numel() and not 0 <= int(places.min()) <= int(places.max()) < cells:
        raise ConversionError(
            f"field 'upsample_param.scale': the mask points to {int(places.max())}; the top has {cells} cells"
        )
    return [x.new_zeros(*shapes[0][:2], cells).scatter(2, places, x.flatten(2)).reshape(shapes[0])]


ROWS = {
    "Interp": Row(_read_interp, _interp_shape, _interp, bottoms=(1, 2), source="DeepLab v2 and PSPNet"),
    "Upsample": Row(
        _read_upsample, _upsample_shape, _upsample, bottoms=(1, 2), source="SegNet; darknet2caffe"
    ),
}
