"""Layers that move numbers without changing them: shapes, parts, copies, orders.

Source:
`src/caffe/layers/{concat,slice,split,flatten,reshape,crop,tile,filter,batch_reindex,silence}_layer.cpp` of
Caffe 1.0; Permute from `permute_layer.cpp` of weiliu89/caffe (SSD), ShuffleChannel from
farmingyard/ShuffleNet. The tops of Split, Flatten and Reshape, and of Concat and Slice with one bottom and
one top, are the bottom's memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from caffe_port.errors import ConversionError
from caffe_port.layers.inner_product import row_numbers
from caffe_port.layers.row import Message, Row, Tensors, always, nothing, reader
from caffe_port.shapes import (
    axis_of,
    concatenated,
    crop_offsets,
    flattened,
    need_axes,
    reshaped,
    show,
    sliced,
)
from caffe_port.spec import ReshapeSpec, Shape, SliceSpec, read_spec


@dataclass(frozen=True)
class FlattenSpec:
    axis: int
    end_axis: int


@dataclass(frozen=True)
class CropSpec:
    axis: int
    offset: tuple[int, ...]


@dataclass(frozen=True)
class TileSpec:
    axis: int
    tiles: int


def _axis(layer: Message, field: str, old: str) -> int:
    """`axis`, or its older name."""
    values = layer.get(field, {})
    if "axis" in values and old in values:
        raise ConversionError(f"fields '{field}.axis' and '{field}.{old}' are both set; set one of the two")
    return values.get(old, values.get("axis", 1))


def _concat_shape(p: int, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    return [concatenated(bottoms, p)]


def _concat(p: int, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    return [torch.cat(list(bottoms), p)]


def _read_slice(layer: Message) -> SliceSpec:
    points = layer.get("slice_param", {}).get("slice_point", ())
    return SliceSpec(_axis(layer, "slice_param", "slice_dim"), tuple(points))


def _slice_shape(p: SliceSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    return sliced(bottoms[0], p.axis, p.slice_point, tops)


def _slice(p: SliceSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    axis = axis_of(p.axis, bottoms[0].shape, "slice_param.axis")
    return list(bottoms[0].split([shape[axis] for shape in shapes], axis))


def _view(p: object, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    return [bottoms[0].reshape(shape) for shape in shapes]


def _flatten_shape(p: FlattenSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    return [flattened(bottoms[0], p.axis, p.end_axis)]


def _reshape_shape(p: ReshapeSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    return [reshaped(bottoms[0], p.shape, p.axis, p.num_axes)]


def _crop_shape(p: CropSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    return [tuple(size for _, size in crop_offsets(bottoms[0], bottoms[1], p.axis, p.offset))]


def _crop(p: CropSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    ranges = crop_offsets(tuple(bottoms[0].shape), tuple(bottoms[1].shape), p.axis, p.offset)
    return [bottoms[0][tuple(slice(start, start + size) for start, size in ranges)]]


def _read_tile(layer: Message) -> TileSpec:
    spec = read_spec(TileSpec, "TileParameter", layer.get("tile_param", {}))
    if spec.tiles < 1:
        raise ConversionError(f"field 'tile_param.tiles' is {spec.tiles}; it must be set and at least 1")
    return spec


def _tile_shape(p: TileSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    axis = axis_of(p.axis, bottoms[0], "tile_param.axis")
    return [(*bottoms[0][:axis], bottoms[0][axis] * p.tiles, *bottoms[0][axis + 1 :])]


def _tile(p: TileSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    axis = axis_of(p.axis, bottoms[0].shape, "tile_param.axis")
    copies = bottoms[0].unsqueeze(axis).repeat_interleave(p.tiles, axis)
    return [copies.flatten(axis, axis + 1)]


def _split_shape(p: None, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    return [bottoms[0]] * tops


def _read_filter(layer: Message) -> None:
    bottoms, tops = len(layer.get("bottom", [])), len(layer.get("top", []))
    if tops != bottoms - 1:
        raise ConversionError(
            f"field 'top' is set {tops} times; {bottoms} bottoms, a selector last, need {bottoms - 1}"
        )


def _filter_shape(p: None, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    """As if every item stayed, which is what Caffe assumes when it sets the net up."""
    *data, selector = bottoms
    if any(size != 1 for size in selector[1:]) or any(shape[:1] != selector[:1] for shape in data):
        raise ConversionError(
            f"field 'bottom': the selector of shape {show(selector)} must hold one number for each item of "
            f"{', '.join(show(shape) for shape in data)}"
        )
    return data


def _filter(p: None, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    kept = (bottoms[-1].flatten() != 0).nonzero().flatten()
    return [bottom.index_select(0, kept) for bottom in bottoms[:-1]]


def _reindex_shape(p: None, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    need_axes(bottoms[1], 1)
    return [(*bottoms[1], *bottoms[0][1:])]


def _reindex(p: None, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    return [bottoms[0].index_select(0, row_numbers(bottoms[1], bottoms[0].shape[0], "bottom"))]


def _silence_shape(p: None, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    return []


def _silence(p: None, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    return []


def _read_permute(layer: Message) -> tuple[int, ...]:
    order = tuple(layer.get("permute_param", {}).get("order", ()))
    if not order:
        raise ConversionError(
            "field 'permute_param.order' is not set; Caffe 1.0 has no type Permute, and SSD's without "
            "order does nothing"
        )
    if len(set(order)) != len(order):
        raise ConversionError(f"field 'permute_param.order' is {show(order)}; each axis may come once")
    return order


def _order(p: tuple[int, ...], shape: Shape) -> tuple[int, ...]:
    """All axes: those named, then the others as they stand."""
    if max(p) >= len(shape):
        raise ConversionError(
            f"field 'permute_param.order' is {show(p)}; the bottom {show(shape)} has fewer axes"
        )
    return (*p, *(axis for axis in range(len(shape)) if axis not in p))


def _permute_shape(p: tuple[int, ...], bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    return [tuple(bottoms[0][axis] for axis in _order(p, bottoms[0]))]


def _permute(
    p: tuple[int, ...], bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]
) -> list[torch.Tensor]:
    return [bottoms[0].permute(_order(p, tuple(bottoms[0].shape)))]


def _shuffle_shape(p: int, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    need_axes(bottoms[0], 4)
    if p < 1 or bottoms[0][1] % p:
        raise ConversionError(
            f"field 'shuffle_channel_param.group' is {p}; it must divide the bottom's {bottoms[0][1]} "
            "channels"
        )
    return [bottoms[0]]


def _shuffle(p: int, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    return [bottoms[0].unflatten(1, (p, -1)).transpose(1, 2).flatten(1, 2)]


def _alone(bottoms: int, tops: int) -> bool:
    return bottoms == tops == 1


_MANY = (1, None)

ROWS = {
    "Concat": Row(
        lambda layer: _axis(layer, "concat_param", "concat_dim"),
        _concat_shape,
        _concat,
        bottoms=_MANY,
        aliases=_alone,
    ),
    "Slice": Row(_read_slice, _slice_shape, _slice, tops=_MANY, aliases=_alone),
    "Split": Row(nothing, _split_shape, _view, tops=_MANY, aliases=always),
    "Flatten": Row(
        reader(FlattenSpec, "flatten_param", "FlattenParameter"), _flatten_shape, _view, aliases=always
    ),
    "Reshape": Row(
        reader(ReshapeSpec, "reshape_param", "ReshapeParameter"), _reshape_shape, _view, aliases=always
    ),
    "Crop": Row(reader(CropSpec, "crop_param", "CropParameter"), _crop_shape, _crop, bottoms=(2, 2)),
    "Tile": Row(_read_tile, _tile_shape, _tile),
    "Filter": Row(_read_filter, _filter_shape, _filter, bottoms=(2, None), tops=_MANY),
    "BatchReindex": Row(nothing, _reindex_shape, _reindex, bottoms=(2, 2)),
    "Silence": Row(nothing, _silence_shape, _silence, bottoms=_MANY, tops=(0, 0)),
    "Permute": Row(_read_permute, _permute_shape, _permute, source="SSD (weiliu89/caffe)"),
    "ShuffleChannel": Row(
        lambda layer: layer.get("shuffle_channel_param", {}).get("group", 1),
        _shuffle_shape,
        _shuffle,
        source="farmingyard/ShuffleNet",
    ),
}
