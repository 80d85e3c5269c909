"""Convolution, Deconvolution and Im2col over one, two or three spatial axes.

Source: `src/caffe/layers/{base_conv,conv,deconv,im2col}_layer.cpp` of Caffe 1.0. Weights are (out,
in/group, kernel...) for a convolution, a cross-correlation, and (in, out/group, kernel...) for a
deconvolution. Axes before `axis` are batch axes. The explicit output size of a deconvolution is the
Freiburg fork's (`src/caffe/layers/deconv_layer.cpp` and `DeConvolutionParameter` in tgebru/transform).
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from caffe_port.errors import ConversionError
from caffe_port.layers.row import Message, Row, Tensors
from caffe_port.shapes import MAX_MAP, axis_of, convolved, count, deconvolved, per_axis, positive, same, show
from caffe_port.spec import BlobSpec, ConvolutionSpec, Shape, read_spec, value_of

_CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_DECONVOLVE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _pair(values: Message, field: str, low: int) -> tuple[int, ...]:
    """`field_h` and `field_w` where one is set, else the repeated field."""
    repeated = {"kernel": "kernel_size"}.get(field, field)
    height, width = f"{field}_h", f"{field}_w"
    if height not in values and width not in values:
        return tuple(values.get(repeated, ()))
    if values.get(repeated):
        raise ConversionError(
            f"fields '{repeated}' and '{height}' or '{width}' of convolution_param are both set; set one form"
        )
    pair = (values.get(height, 0), values.get(width, 0))
    if min(pair) < low:
        raise ConversionError(
            f"fields '{height}' and '{width}' of convolution_param are {show(pair)}; each must be at "
            f"least {low}"
        )
    return pair


def _read(layer: Message) -> ConvolutionSpec:
    values = layer.get("convolution_param", {})
    return read_spec(
        ConvolutionSpec,
        "ConvolutionParameter",
        values,
        kernel=_pair(values, "kernel", 1),
        stride=_pair(values, "stride", 1),
        pad=_pair(values, "pad", 0),
    )


def _read_deconvolution(layer: Message) -> ConvolutionSpec:
    if "deconvolution_param" not in layer:
        return _read(layer)
    values = layer["deconvolution_param"]

    def get(field: str) -> Any:
        return value_of("DeConvolutionParameter", field, values)

    needed = ("output_channels", "output_height", "output_width", "kernel_size", "stride", "group")
    if wrong := [field for field in needed if get(field) < 1]:
        raise ConversionError(
            f"field 'deconvolution_param.{wrong[0]}' is {get(wrong[0])}; it must be at least 1"
        )
    return ConvolutionSpec(
        num_output=get("output_channels"),
        kernel=(get("kernel_size"),),
        stride=(get("stride"),),
        pad=(get("pad"),),
        dilation=(),
        group=get("group"),
        # The fork asks convolution_param, not its own message.
        bias_term=layer.get("convolution_param", {}).get("bias_term", True),
        axis=1,
        weight_filler=get("weight_filler"),
        bias_filler=get("bias_filler"),
        output_size=(get("output_height"), get("output_width")),
    )


def windows_of(p: ConvolutionSpec, shape: Shape) -> tuple[int, list[tuple[int, int, int, int]]]:
    """The channel axis, and kernel, stride, pad and dilation of each spatial axis."""
    axis = axis_of(p.axis, shape, "convolution_param.axis")
    axes = len(shape) - axis - 1
    if axes > 3:
        # differs from Caffe: which convolves over any number of axes.
        raise ConversionError(
            f"field 'convolution_param.axis': {axes} spatial axes in {show(shape)}; at most 3 are allowed"
        )
    kernel = per_axis(p.kernel, axes, "convolution_param.kernel_size", unset=None)
    stride = per_axis(p.stride, axes, "convolution_param.stride", unset=1)
    pad = per_axis(p.pad, axes, "convolution_param.pad", unset=0, low=0)
    dilation = per_axis(p.dilation, axes, "convolution_param.dilation", unset=1)
    padded = [size + 2 * p for size, p in zip(shape[axis + 1 :], pad, strict=True)]
    if count((*shape[: axis + 1], *padded)) > MAX_MAP:
        # differs from Caffe: which never makes the padded map.
        raise ConversionError(
            f"field 'convolution_param.pad' is {show(pad)}: a padded map may hold {MAX_MAP} numbers at most"
        )
    return axis, list(zip(kernel, stride, pad, dilation, strict=True))


def _check_group(p: ConvolutionSpec, channels: int) -> None:
    if p.num_output < 1:
        raise ConversionError(
            f"field 'convolution_param.num_output' is {p.num_output}; it must be at least 1"
        )
    if p.group < 1 or channels % p.group or p.num_output % p.group:
        raise ConversionError(
            f"field 'convolution_param.group' is {p.group}; it must divide num_output {p.num_output} and the "
            f"bottom's {channels} channels"
        )


def _conv_shape(p: ConvolutionSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    shape = same(bottoms)
    axis, windows = windows_of(p, shape)
    _check_group(p, shape[axis])
    sizes = (convolved(size, *window) for size, window in zip(shape[axis + 1 :], windows, strict=True))
    return [(*shape[:axis], p.num_output, *sizes)] * tops


def _deconv_shape(p: ConvolutionSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    shape = same(bottoms)
    axis, windows = windows_of(p, shape)
    _check_group(p, shape[axis])
    sizes = [deconvolved(size, *window) for size, window in zip(shape[axis + 1 :], windows, strict=True)]
    if p.output_size is not None:
        _check_output(p.output_size, sizes, windows)
        sizes = list(p.output_size)
    return [(*shape[:axis], p.num_output, *sizes)] * tops


def _check_output(
    output: tuple[int, int], sizes: list[int], windows: list[tuple[int, int, int, int]]
) -> None:
    """An explicit size must be one that a convolution of these settings maps back onto the bottom."""
    fields = ("output_height", "output_width")
    if len(sizes) != 2:
        raise ConversionError(
            f"field 'deconvolution_param.output_height': {len(sizes)} spatial axes; needs 2"
        )
    for field, size, least, (_, stride, _, _) in zip(fields, output, sizes, windows, strict=True):
        if not least <= size < least + stride:
            raise ConversionError(
                f"field 'deconvolution_param.{field}' is {size}; this bottom, kernel, stride and pad "
                f"allow {least} "
                f"to {least + stride - 1}"
            )


def _blobs(p: ConvolutionSpec, shape: Shape, outer: int, inner: int) -> list[BlobSpec]:
    _, windows = windows_of(p, shape)
    weight = BlobSpec((outer, inner // p.group, *(window[0] for window in windows)), p.weight_filler)
    return [weight, BlobSpec((p.num_output,), p.bias_filler)][: 1 + p.bias_term]


def _conv_blobs(p: ConvolutionSpec, bottoms: Sequence[Shape]) -> list[BlobSpec]:
    channels = bottoms[0][axis_of(p.axis, bottoms[0], "convolution_param.axis")]
    return _blobs(p, bottoms[0], p.num_output, channels)


def _deconv_blobs(p: ConvolutionSpec, bottoms: Sequence[Shape]) -> list[BlobSpec]:
    channels = bottoms[0][axis_of(p.axis, bottoms[0], "convolution_param.axis")]
    return _blobs(p, bottoms[0], channels, p.num_output)


def _laid_out(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The bottom in the memory order in which torch convolves fastest on a CPU.

    Pictures (4 channels or fewer) with channels last: half the time, and what follows them profits too.
    Others channels first, since torch would reorder the weights at every call. Weights with channels last
    are the caller's choice for all.
    """
    if x.dim() != 4 or x.device.type != "cpu" or torch.compiler.is_compiling():
        return x
    if weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous():
        return x
    return x.contiguous(memory_format=torch.channels_last if x.shape[1] <= 4 else torch.contiguous_format)


def _each(
    p: ConvolutionSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape], deconv: bool
) -> list[Any]:
    """Every bottom through the same weights, as (batch, channels, at least one spatial axis)."""
    axis, windows = windows_of(p, tuple(bottoms[0].shape))
    lead, spatial = bottoms[0].shape[:axis], bottoms[0].shape[axis + 1 :]
    weight, bias = blobs[0], blobs[1] if p.bias_term else None
    if not spatial:
        windows, weight = [(1, 1, 0, 1)], weight.unsqueeze(-1)
    settings = [list(column) for column in zip(*windows, strict=True)]
    _, stride, pad, dilation = settings
    tops = []
    for bottom, shape in zip(bottoms, shapes, strict=True):
        x = bottom if axis == 1 and spatial else bottom.reshape(-1, bottom.shape[axis], *(spatial or (1,)))
        if deconv:
            rest = [0] * len(windows)
            if p.output_size is not None:
                sizes = [deconvolved(size, *window) for size, window in zip(spatial, windows, strict=True)]
                rest = [size - least for size, least in zip(p.output_size, sizes, strict=True)]
            y = _DECONVOLVE[len(windows)](x, weight, bias, stride, pad, rest, p.group, dilation)
        else:
            x = _laid_out(x, weight)
            y = _CONVOLVE[len(windows)](x, weight, bias, stride, pad, dilation, p.group)
        tops.append(y if axis == 1 and spatial else y.reshape(*lead, *shape[axis:]))
    return tops


def _convolve(
    p: ConvolutionSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]
) -> list[torch.Tensor]:
    return _each(p, bottoms, blobs, shapes, False)


def _deconvolve(
    p: ConvolutionSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]
) -> list[torch.Tensor]:
    return _each(p, bottoms, blobs, shapes, True)


def _columns_shape(p: ConvolutionSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    shape = bottoms[0]
    axis, windows = windows_of(p, shape)
    if not windows:
        raise ConversionError(f"field 'convolution_param.axis': {show(shape)} has no axis after it")
    channels = shape[axis] * math.prod(window[0] for window in windows)
    sizes = (convolved(size, *window) for size, window in zip(shape[axis + 1 :], windows, strict=True))
    return [(*shape[:axis], positive(channels, "field 'bottom'"), *sizes)]


def _columns(
    p: ConvolutionSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]
) -> list[torch.Tensor]:
    """Channel (c, kernel position) of the top at an output position is the bottom's value under that
    position.
    """
    axis, windows = windows_of(p, tuple(bottoms[0].shape))
    x = bottoms[0].reshape(-1, *bottoms[0].shape[axis:])
    x = F.pad(x, [pad for window in reversed(windows) for pad in (window[2],) * 2])
    for position, (kernel, stride, _, dilation) in enumerate(windows):
        x = x.unfold(2 + position, dilation * (kernel - 1) + 1, stride)[
            ..., ::dilation
        ]  # (n, c, out..., kernel...)
    axes = len(windows)
    x = x.permute(0, 1, *range(2 + axes, 2 + 2 * axes), *range(2, 2 + axes))  # (n, c, kernel..., out...)
    return [x.reshape(shapes[0])]


_many = partial(Row, fresh=True, bottoms=(1, None), tops=(1, None), equal_counts=True)

ROWS = {
    "Convolution": _many(_read, _conv_shape, _convolve, _conv_blobs),
    "Deconvolution": _many(_read_deconvolution, _deconv_shape, _deconvolve, _deconv_blobs),
    "Im2col": Row(_read, _columns_shape, _columns),
}
