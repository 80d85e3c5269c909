"""Shapes of Caffe's blobs as pure functions: what each layer makes of its bottoms' shapes, without torch.

Source: the Reshape functions under `src/caffe/layers/` of Caffe 1.0. Shapes are tuples, N first; pairs are
(height, width). Convolution rounds down, pooling rounds up; see `pooled`. A refusal names the field; the
caller names the layer.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from caffe_port.errors import ConversionError
from caffe_port.spec import Shape

MAX_COUNT = 2**31 - 1  # Caffe counts a blob's numbers in an int
MAX_MAP = 2**30  # numbers of a padded map


def show(shape: Sequence[int]) -> str:
    """A shape as Caffe prints it: `2 3 4 5`, or `scalar`."""
    return " ".join(str(size) for size in shape) or "scalar"


def count(shape: Sequence[int], start: int = 0, end: int | None = None) -> int:
    """Numbers that the axes from `start` up to `end` span."""
    return math.prod(shape[start:end])


def axis_of(axis: int, shape: Sequence[int], field: str) -> int:
    """An axis as a number from 0 on; negative ones count from the end."""
    if not -len(shape) <= axis < len(shape):
        raise ConversionError(f"field '{field}' is {axis}, out of range for a bottom of shape {show(shape)}")
    return axis % len(shape)


def need_axes(shape: Sequence[int], axes: int, field: str = "bottom") -> None:
    """Refuse a bottom with another number of axes."""
    if len(shape) != axes:
        raise ConversionError(
            f"field '{field}': shape {show(shape)} has {len(shape)} axes; it must have {axes}"
        )


def legacy(shape: Sequence[int]) -> tuple[int, int, int, int]:
    """num, channels, height and width: axes that are not there count as 1."""
    if len(shape) > 4:
        raise ConversionError(
            f"field 'bottom': shape {show(shape)} has {len(shape)} axes; at most 4 are allowed"
        )
    return (*shape, *(1,) * (4 - len(shape)))  # type: ignore[return-value]


def per_axis(values: Sequence[int], axes: int, field: str, *, unset: int | None, low: int = 1) -> Shape:
    """A setting of a convolution for each spatial axis, from one value, one an axis, or none (`unset`)."""
    if not values and unset is not None:
        return (unset,) * axes
    if len(values) != 1 and len(values) != axes:
        raise ConversionError(
            f"field '{field}' must be set once, or once for each of {axes} spatial axes; it is set "
            f"{len(values)} times"
        )
    if any(value < low for value in values):
        raise ConversionError(f"field '{field}' is {show(values)}; every value must be at least {low}")
    return tuple(values) if len(values) == axes else (values[0],) * axes


def positive(size: int, what: str) -> int:
    """A top's size, refused when nothing is left."""
    if size < 1:
        raise ConversionError(f"{what} leaves a top of size {size}; it must be at least 1")
    return size


def convolved(size: int, kernel: int, stride: int, pad: int, dilation: int) -> int:
    """Size after a convolution: rounds down."""
    extent = dilation * (kernel - 1) + 1
    left = size + 2 * pad - extent
    return positive(
        left // stride + 1,
        f"field 'kernel_size': kernel {kernel}, pad {pad}, dilation {dilation} on size {size}",
    )


def deconvolved(size: int, kernel: int, stride: int, pad: int, dilation: int) -> int:
    """Size after a deconvolution."""
    extent = dilation * (kernel - 1) + 1
    return positive(
        stride * (size - 1) + extent - 2 * pad, f"field 'pad': pad {pad}, kernel {kernel} on size {size}"
    )


def pooled(size: int, kernel: int, stride: int, pad: int, round_mode: str, *, clips: bool) -> int:
    """Size after pooling.

    Rounds up (or down: FLOOR). Where any axis is padded (`clips`), a last window that would start at or
    beyond `size + pad` is dropped; otherwise nothing is clipped, so a window may lie outside the map.
    """
    left = size + 2 * pad - kernel
    windows = (-(-left // stride) if round_mode == "CEIL" else left // stride) + 1
    if clips and (windows - 1) * stride >= size + pad:
        windows -= 1
    return positive(windows, f"field 'kernel_size': kernel {kernel}, pad {pad} on size {size}")


def pool_extents(size: int, kernel: int, stride: int, pad: int, windows: int) -> list[int]:
    """Length of each window of an AVE pooling: padding counts, up to `size + pad`; 0 or less outside the
    map.
    """
    starts = [window * stride - pad for window in range(windows)]
    return [min(start + kernel, size + pad) - start for start in starts]


def pyramid_pooling(size: int, level: int) -> tuple[int, int]:
    """Kernel (also the stride) and pad of an SPP level with 2**level bins."""
    bins = 2**level
    kernel = -(-size // bins)
    return kernel, (kernel * bins - size + 1) // 2


def reshaped(shape: Shape, new: Shape, axis: int, num_axes: int) -> Shape:
    """Shape after Reshape: `new` replaces `num_axes` axes from `axis`; 0 copies an axis, -1 is inferred."""
    start = axis if axis >= 0 else len(shape) + axis + 1
    if not 0 <= start <= len(shape):
        raise ConversionError(
            f"field 'reshape_param.axis' is {axis}, out of range for a bottom of shape {show(shape)}"
        )
    end = len(shape) if num_axes == -1 else start + num_axes
    if num_axes < -1 or end > len(shape):
        raise ConversionError(
            f"field 'reshape_param.num_axes' is {num_axes}; from axis {start} on the bottom has "
            f"{len(shape) - start}"
        )
    if new.count(-1) > 1 or min(new, default=0) < -1:
        raise ConversionError(f"field 'reshape_param.shape' is {show(new)}; one dim may be -1, none less")
    dims = list(new)
    for position in (position for position, dim in enumerate(dims) if dim == 0):
        if start + position >= len(shape):
            raise ConversionError(
                f"field 'reshape_param.shape' is {show(new)}: no bottom axis to copy for dim 0"
            )
        dims[position] = shape[start + position]
    total, rest = count(shape), count(shape, 0, start) * count(shape, end)
    if -1 in dims:
        known = rest * math.prod(dim for dim in dims if dim != -1)
        if known == 0 or total % known:
            raise ConversionError(
                f"field 'reshape_param.shape' is {show(new)}: the bottom's count {total} is no multiple "
                f"of {known}"
            )
        dims[dims.index(-1)] = total // known
    result = (*shape[:start], *dims, *shape[end:])
    if count(result) != total:
        raise ConversionError(
            f"field 'reshape_param.shape' is {show(new)}: the top would have {count(result)} numbers, the "
            "bottom "
            f"has {total}"
        )
    return result


def flattened(shape: Shape, axis: int, end_axis: int) -> Shape:
    """Shape after Flatten of the axes from `axis` to `end_axis`, both included."""
    start = axis_of(axis, shape, "flatten_param.axis")
    end = axis_of(end_axis, shape, "flatten_param.end_axis")
    if start > end + 1:
        raise ConversionError(f"field 'flatten_param.end_axis' is {end_axis}, before axis {axis}")
    return (*shape[:start], count(shape, start, end + 1), *shape[end + 1 :])


def concatenated(shapes: Sequence[Shape], axis: int) -> Shape:
    """Shape after Concat along `axis`."""
    first = shapes[0]
    at = axis_of(axis, first, "concat_param.axis")
    for shape in shapes[1:]:
        if len(shape) != len(first) or shape[:at] != first[:at] or shape[at + 1 :] != first[at + 1 :]:
            raise ConversionError(
                f"field 'bottom': shapes {show(first)} and {show(shape)} differ outside concat_param.axis "
                f"{at}"
            )
    return (*first[:at], sum(shape[at] for shape in shapes), *first[at + 1 :])


def sliced(shape: Shape, axis: int, points: Sequence[int], tops: int) -> list[Shape]:
    """Shapes after Slice along `axis` at `points`, or in equal parts."""
    at = axis_of(axis, shape, "slice_param.axis")
    if not points:
        if shape[at] % tops:
            raise ConversionError(
                f"field 'top' is set {tops} times, which does not divide size {shape[at]} of "
                f"slice_param.axis {at}"
            )
        sizes = [shape[at] // tops] * tops
    else:
        if len(points) != tops - 1:
            raise ConversionError(
                f"field 'slice_param.slice_point' is set {len(points)} times; {tops} tops need {tops - 1}"
            )
        edges = [0, *points, shape[at]]
        sizes = [end - start for start, end in pairwise(edges)]
        if min(sizes) < 1:
            raise ConversionError(
                f"field 'slice_param.slice_point' is {show(points)}; points must increase and lie inside "
                "size "
                f"{shape[at]} of axis {at}"
            )
    return [(*shape[:at], size, *shape[at + 1 :]) for size in sizes]


def crop_offsets(shape: Shape, reference: Shape, axis: int, offset: Sequence[int]) -> list[tuple[int, int]]:
    """(start, size) of Crop for each axis of the bottom."""
    start = axis_of(axis, shape, "crop_param.axis")
    if len(offset) > 1 and start + len(offset) != len(shape):
        raise ConversionError(
            f"field 'crop_param.offset' is set {len(offset)} times; set it once, or once for each of the "
            f"{len(shape) - start} axes from {start} on"
        )
    if len(reference) < len(shape):
        raise ConversionError(
            f"field 'bottom': cropping {show(shape)} to {show(reference)} needs as many axes"
        )
    offsets = list(offset) or [0]
    ranges = [(0, size) for size in shape[:start]]
    for position in range(start, len(shape)):
        at = offsets[position - start] if len(offsets) > 1 else offsets[0]
        if shape[position] - at < reference[position]:
            raise ConversionError(
                f"field 'crop_param.offset': size {reference[position]} at offset {at} is out of bounds "
                "on axis "
                f"{position} of shape {show(shape)}"
            )
        ranges.append((at, reference[position]))
    return ranges


def broadcast_shape(shape: Shape, axis: int, num_axes: int, field: str) -> Shape:
    """Shape of the blob of Scale and Bias: `num_axes` axes of the bottom from `axis` on (-1: to the last)."""
    start = axis_of(axis, shape, f"{field}.axis")
    if num_axes < -1 or start + num_axes > len(shape):
        raise ConversionError(
            f"field '{field}.num_axes' is {num_axes}; from axis {start} on the bottom {show(shape)} has "
            f"{len(shape) - start}"
        )
    return shape[start:] if num_axes == -1 else shape[start : start + num_axes]


def broadcast_axis(shape: Shape, blob: Shape, axis: int, field: str) -> int:
    """Axis of the bottom at which the blob of Scale or Bias starts, its sizes checked."""
    start = axis_of(axis, shape, f"{field}.axis") if blob else 0
    if shape[start : start + len(blob)] != tuple(blob):
        raise ConversionError(
            f"field '{field}.axis': a blob of shape {show(blob)} does not match the bottom {show(shape)} "
            "from axis "
            f"{start} on"
        )
    return start


def same(shapes: Sequence[Shape]) -> Shape:
    """The one shape that all bottoms have."""
    for shape in shapes[1:]:
        if shape != shapes[0]:
            raise ConversionError(f"field 'bottom': shapes {show(shapes[0])} and {show(shape)} differ")
    return shapes[0]
