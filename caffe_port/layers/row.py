"""What every row of `LAYERS` says about a layer type.

A row is data and plain functions: `read` turns the layer's message into its parameter spec, `shape` and
`blobs` give the tops' and the parameter blobs' shapes, `run` computes the tops. Shapes that Caffe refuses
are refused by `shape` or `blobs` with a ConversionError that names the field.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from caffe_port.spec import BlobSpec, Shape, read_spec

Message = dict[str, Any]
Tensors = Sequence[torch.Tensor]
Read = Callable[[Message], Any]


def no_blobs(params: Any, bottoms: Sequence[Shape]) -> list[BlobSpec]:
    """Blobs of a layer that learns nothing."""
    return []


def never(*_: Any) -> bool:
    """No, whatever the layer."""
    return False


def always(*_: Any) -> bool:
    """Yes, whatever the layer."""
    return True


@dataclass(frozen=True)
class Row:
    """One layer type.

    Attributes
    ----------
    read : callable
        `read(layer)`: a V2 LayerParameter -> the parameter spec.
    shape : callable
        `shape(params, bottoms, tops)`: the bottoms' shapes and the number of tops -> the tops' shapes.
    run : callable
        `run(params, bottoms, blobs, shapes)`: tensors, parameter blobs and the tops' shapes -> the tops.
        Never changes a bottom.
    blobs : callable
        `blobs(params, bottoms)`: the bottoms' shapes -> a BlobSpec for each parameter blob, in Caffe's order.
    bottoms, tops : tuple
        Least and most (None: any) number of bottoms and tops.
    equal_counts : bool
        One top for each bottom.
    automatic_top : bool
        Caffe names the first top itself where the file does not.
    in_place : callable
        `in_place(params)`: whether the top may be the bottom.
    aliases : callable
        `aliases(bottoms, tops)`, counts: whether all tops are the first bottom's memory; such a layer is
        never run.
    overwrite : callable, optional
        `overwrite(params, bottom, blobs)`: the same as `run`, written over the bottom.
    fresh : bool
        The tops are always new memory, so that an in-place layer that follows may write over them.
    source : str
        Where the type comes from.
    """

    read: Read
    shape: Callable[[Any, Sequence[Shape], int], list[Shape]]
    run: Callable[[Any, Tensors, Tensors, Sequence[Shape]], list[torch.Tensor]]
    blobs: Callable[[Any, Sequence[Shape]], list[BlobSpec]] = no_blobs
    bottoms: tuple[int, int | None] = (1, 1)
    tops: tuple[int, int | None] = (1, 1)
    equal_counts: bool = False
    automatic_top: bool = False
    in_place: Callable[[Any], bool] = never
    aliases: Callable[[int, int], bool] = never
    overwrite: Callable[[Any, torch.Tensor, Tensors], torch.Tensor] | None = None
    fresh: bool = False
    source: str = "Caffe 1.0"


def nothing(layer: Message) -> None:
    """Read a layer that has no parameters."""


def reader(spec: type[Any], field: str, message: str) -> Read:
    """Read a parameter spec whose fields are Caffe's own, from `field` of the layer."""
    return lambda layer: read_spec(spec, message, layer.get(field, {}))


def like_bottom(params: Any, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    """One top of the first bottom's shape."""
    return [bottoms[0]]
