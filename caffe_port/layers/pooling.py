"""Pooling (MAX with mask, AVE, STOCHASTIC at test) and spatial pyramid pooling.

Source: `src/caffe/layers/{pooling,spp}_layer.cpp` of Caffe 1.0; STOCHASTIC, which has no CPU code, from
`pooling_layer.cu`. Sizes round up and are clipped only with padding (`shapes.pooled`). MAX starts from
-FLT_MAX and takes what is greater, so NaN and -inf never win; AVE divides by the window's area with
padding, clipped at size + pad.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from caffe_port.errors import ConversionError
from caffe_port.layers.row import Message, Row, Tensors
from caffe_port.shapes import MAX_MAP, count, need_axes, pool_extents, pooled, pyramid_pooling, show
from caffe_port.spec import PoolingSpec, Shape, value_of

FLT_MAX = torch.finfo(torch.float32).max


def _pair(values: Message, field: str) -> tuple[int, int] | None:
    """(height, width) from `field`, or from `field_h` and `field_w`; None when no form is set."""
    single = {"kernel": "kernel_size"}.get(field, field)
    sides = [values[f"{field}_{side}"] for side in "hw" if f"{field}_{side}" in values]
    if single in values and len(sides) < (2 if field == "kernel" else 1):
        return values[single], values[single]  # Caffe passes over a lone kernel_h or kernel_w
    if single in values or len(sides) == 1:
        raise ConversionError(
            f"field 'pooling_param.{field}': set {single}, or both {field}_h and {field}_w; not both"
        )
    return (sides[0], sides[1]) if sides else None


def _read(layer: Message) -> PoolingSpec:
    values = layer.get("pooling_param", {})
    kernel, stride, pad = (_pair(values, field) for field in ("kernel", "stride", "pad"))
    method = value_of("PoolingParameter", "pool", values)
    # ceil_mode is the older fork field for what Caffe 1.0 calls round_mode.
    mode = value_of("PoolingParameter", "round_mode", values) if values.get("ceil_mode", True) else "FLOOR"
    stride, pad = stride or (1, 1), pad or (0, 0)
    if value_of("PoolingParameter", "global_pooling", values):
        if kernel is not None:
            raise ConversionError(
                "field 'pooling_param.kernel_size' is set besides global_pooling; set one of the two"
            )
        if stride != (1, 1) or pad != (0, 0):
            raise ConversionError("field 'pooling_param.global_pooling' allows only pad 0 and stride 1")
    elif kernel is None or min(kernel) < 1:
        raise ConversionError(f"field 'pooling_param.kernel_size' is {kernel}; it must be set and at least 1")
    if min(stride) < 1:
        raise ConversionError(f"field 'pooling_param.stride' is {stride}; it must be at least 1")
    if any(pad) and (method == "STOCHASTIC" or any(p >= k for p, k in zip(pad, kernel or (), strict=False))):
        raise ConversionError(
            f"field 'pooling_param.pad' is {pad}; it must be less than the kernel {kernel}, and 0 for "
            "STOCHASTIC"
        )
    if method != "MAX" and len(layer.get("top", [])) > 1:
        raise ConversionError(
            f"field 'top' is set {len(layer['top'])} times; only MAX pooling has a second top"
        )
    return PoolingSpec(method, kernel, stride, pad, mode)


def _shape(p: PoolingSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    shape = bottoms[0]
    need_axes(shape, 4)
    kernel = p.kernel or shape[2:]
    sizes = [
        pooled(size, k, s, pad, p.round_mode, clips=any(p.pad))
        for size, k, s, pad in zip(shape[2:], kernel, p.stride, p.pad, strict=True)
    ]
    needed = [(n - 1) * s + k for n, s, k in zip(sizes, p.stride, _kernel(p, shape[2:]), strict=True)]
    if count((*shape[:2], *needed)) > MAX_MAP:
        # differs from Caffe: which needs no map that holds all windows.
        raise ConversionError(
            f"fields 'stride' and 'pad' of pooling_param are {p.stride} and {p.pad}: the windows span a map "
            f"of {show(needed)}; at most {MAX_MAP} numbers are allowed"
        )
    return [(*shape[:2], *sizes)] * tops


def _kernel(p: PoolingSpec, size: Sequence[int]) -> list[int]:
    """The kernel as far as it can reach: from the padding to the map's end."""
    kernel = p.kernel or size
    return [min(k, have + pad) for k, have, pad in zip(kernel, size, p.pad, strict=True)]


def whole_windows(
    p: PoolingSpec, size: Sequence[int], windows: Sequence[int]
) -> tuple[list[int], list[int], list[int]]:
    """Kernel, stride, and the padding for F.pad (left, right, top, bottom; less than 0 crops) that makes
    every window whole.
    """
    kernel = _kernel(p, size)
    stride = [s if n > 1 else 1 for s, n in zip(p.stride, windows, strict=True)]
    room: list[int] = []
    for k, s, pad, have, n in zip(kernel, stride, p.pad, size, windows, strict=True):
        room = [pad, (n - 1) * s + k - pad - have, *room]
    return kernel, stride, room


def _max(p: PoolingSpec, x: torch.Tensor, shape: Shape, mask: bool) -> list[torch.Tensor]:
    """MAX pooling, and the flat h * w index of each maximum (-1 where nothing is greater than -FLT_MAX)."""
    lowest = max(-FLT_MAX, torch.finfo(x.dtype).min)
    kernel, stride, room = whole_windows(p, x.shape[2:], shape[2:])

    def pool(x: torch.Tensor) -> list[torch.Tensor]:
        padded = F.pad(x, room, value=lowest) if any(room) else x
        if mask:
            return list(F.max_pool2d(padded, kernel, stride, return_indices=True))
        return [F.max_pool2d(padded, kernel, stride)]

    if torch.compiler.is_exporting():
        return pool(x)  # a graph states MAX alone: what NaN and -inf do is up to its runtime
    tops = []
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        x = x.contiguous(memory_format=torch.channels_last)  # ten times as fast
        tops = pool(x)
    if not tops or not math.isfinite(tops[0].detach().sum()):
        tops = pool(x.nan_to_num(nan=lowest, posinf=math.inf, neginf=lowest))
    if mask:
        width = x.shape[3] + room[0] + room[1]
        row, column = tops[1] // width - room[2], tops[1] % width - room[0]
        index = (row * x.shape[3] + column).masked_fill(tops[0] == lowest, -1)
        tops[1] = index.to(x.dtype)
    return tops


def _average(p: PoolingSpec, x: torch.Tensor, shape: Shape) -> torch.Tensor:
    kernel, stride, room = whole_windows(p, x.shape[2:], shape[2:])
    if not any(room):
        return F.avg_pool2d(x, kernel, stride)
    heights, widths = (
        pool_extents(*setting)
        for setting in zip(x.shape[2:], p.kernel or x.shape[2:], p.stride, p.pad, shape[2:], strict=True)
    )
    areas = [[float(h * w) for w in widths] for h in heights]
    sums = F.avg_pool2d(F.pad(x, room), kernel, stride, divisor_override=1)
    return (sums / torch.tensor(areas, device=x.device)).to(x.dtype)


def _stochastic(p: PoolingSpec, x: torch.Tensor, shape: Shape) -> torch.Tensor:
    """Each value weighted by itself: sum of squares over sum, 0 where the sum is not positive."""
    kernel, stride, room = whole_windows(p, x.shape[2:], shape[2:])
    padded = F.pad(x, room)
    total, squares = (
        F.avg_pool2d(values, kernel, stride, divisor_override=1) for values in (padded, padded**2)
    )
    return torch.where(total > 0, squares / total, torch.zeros_like(total))


def _pool(p: PoolingSpec, x: torch.Tensor, shape: Shape, mask: bool) -> list[torch.Tensor]:
    if p.method == "MAX":
        return _max(p, x, shape, mask)
    return [_average(p, x, shape) if p.method == "AVE" else _stochastic(p, x, shape)]


def _run(p: PoolingSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    return _pool(p, bottoms[0], shapes[0], len(shapes) > 1)


def _levels(p: tuple[int, str], shape: Shape) -> list[PoolingSpec]:
    """The poolings of an SPP layer, coarsest first."""
    height, method = p
    need_axes(shape, 4)
    levels = []
    for level in range(height):
        (kh, ph), (kw, pw) = (pyramid_pooling(size, level) for size in shape[2:])
        if ph >= kh or pw >= kw or (method == "STOCHASTIC" and (ph or pw)):
            raise ConversionError(
                f"field 'spp_param.pyramid_height' is {height}: level {level} cannot divide a map of "
                f"{shape[2]} x {shape[3]} into {2**level} bins a side"
            )
        levels.append(PoolingSpec(method, (kh, kw), (kh, kw), (ph, pw), "CEIL"))
    return levels


def _read_pyramid(layer: Message) -> tuple[int, str]:
    values = layer.get("spp_param", {})
    height = value_of("SPPParameter", "pyramid_height", values)
    if not 1 <= height <= 16:
        raise ConversionError(f"field 'spp_param.pyramid_height' is {height}; allowed are 1 to 16")
    return height, value_of("SPPParameter", "pool", values)


def _pyramid_shape(p: tuple[int, str], bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    shapes = [_shape(level, bottoms, 1)[0] for level in _levels(p, bottoms[0])]
    return shapes if len(shapes) == 1 else [(shapes[0][0], sum(count(shape, 1) for shape in shapes))]


def _pyramid(
    p: tuple[int, str], bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]
) -> list[torch.Tensor]:
    bottom = tuple(bottoms[0].shape)
    maps = [_pool(level, bottoms[0], _shape(level, [bottom], 1)[0], False)[0] for level in _levels(p, bottom)]
    return maps if len(maps) == 1 else [torch.cat([level.flatten(1) for level in maps], 1)]


ROWS = {
    "Pooling": Row(_read, _shape, _run, tops=(1, 2), fresh=True),
    "SPP": Row(_read_pyramid, _pyramid_shape, _pyramid),
}
