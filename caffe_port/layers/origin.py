"""Layers without a bottom: inputs, constants, parameters; and what the layers that read data would give.

Source: `src/caffe/layers/{input,dummy_data,parameter,memory_data}_layer.cpp` of Caffe 1.0. A layer that
reads files becomes an input; its shape is taken from the net where the net says it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from caffe_port.errors import ConversionError
from caffe_port.layers.row import Message, Row, Tensors
from caffe_port.spec import BlobSpec, DummyDataSpec, FillerSpec, InputSpec, Shape, value_of

_ANY = (1, None)


def _read_input(layer: Message) -> InputSpec:
    return InputSpec(value_of("InputParameter", "shape", layer.get("input_param", {})))


def _given(p: InputSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    raise ConversionError("field 'top': an input is given by the caller, not computed")


def _read_dummy(layer: Message) -> DummyDataSpec:
    values = layer.get("dummy_data_param", {})
    tops = len(layer.get("top", []))

    def each(field: str, found: Sequence[Any]) -> list[Any]:
        if len(found) not in (1, tops):
            raise ConversionError(
                f"field 'dummy_data_param.{field}' is set {len(found)} times; set it once, or once for each "
                f"of {tops} tops"
            )
        return list(found) * tops if len(found) == 1 else list(found)

    old = ("num", "channels", "height", "width")
    fillers = value_of("DummyDataParameter", "data_filler", values) or (FillerSpec(),)
    if any(values.get(field) for field in old):
        if values.get("shape"):
            raise ConversionError(
                "fields 'shape' and 'num' of dummy_data_param are both set; set one of the two"
            )
        shapes = list(zip(*(each(field, values.get(field, ())) for field in old), strict=True))
    else:
        shapes = each("shape", value_of("DummyDataParameter", "shape", values))
    spec = DummyDataSpec(tuple(shapes), tuple(each("data_filler", fillers)))
    if any(size < 1 for shape in spec.shapes for size in shape):
        raise ConversionError(
            f"field 'dummy_data_param.shape' is {spec.shapes}; every size must be at least 1"
        )
    return spec


def _dummy_blobs(p: DummyDataSpec, bottoms: Sequence[Shape]) -> list[BlobSpec]:
    """differs from Caffe: random numbers are drawn once, with the net's seed; Caffe draws them for every
    forward.
    """
    return [
        BlobSpec(shape, filler, trainable=False, stored=False)
        for shape, filler in zip(p.shapes, p.fillers, strict=True)
    ]


def _constants(p: object, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    return [blob.clone() for blob in blobs]


def _read_parameter(layer: Message) -> Shape:
    shape = value_of("ParameterParameter", "shape", layer.get("parameter_param", {}))
    if any(size < 1 for size in shape):
        raise ConversionError(f"field 'parameter_param.shape' is {shape}; every size must be at least 1")
    return shape


def _needed(layer: Message, field: str, *names: str) -> tuple[int, ...]:
    values = layer.get(field, {})
    if missing := [name for name in names if values.get(name, 0) < 1]:
        raise ConversionError(f"field '{field}.{missing[0]}' must be set and at least 1")
    return tuple(values[name] for name in names)


def _channels(transform: Message, colour: bool) -> int:
    means = len(transform.get("mean_value", ()))
    if transform.get("force_gray", False):
        return 1
    return means if means > 1 else 3 if colour else 1


def _pictures(field: str, labels: int) -> Callable[[Message, int], list[Shape | None]]:
    """Shapes from a layer that reads pictures: those that it crops or resizes have a size that the net
    says.
    """

    def shapes(layer: Message, tops: int) -> list[Shape | None]:
        values, transform = layer.get(field, {}), layer.get("transform_param", {})
        crop = transform.get("crop_size", values.get("crop_size", 0))
        height, width = (crop, crop) if crop else (values.get("new_height", 0), values.get("new_width", 0))
        items = values.get("batch_size", 1)
        # Colour is what Caffe's ImageData assumes; a database of grey pictures needs the shape from the
        # caller.
        picture = (items, _channels(transform, values.get("is_color", True)), height, width)
        return [picture if height and width else None, (items,) * labels][:tops]

    return shapes


def _memory(layer: Message, tops: int) -> list[Shape | None]:
    shape = _needed(layer, "memory_data_param", "batch_size", "channels", "height", "width")
    sizes: list[Shape | None] = [shape, shape[:1]]
    return sizes[:tops]


DATA_LAYERS: dict[str, Callable[[Message, int], list[Shape | None]]] = {
    "Data": _pictures("data_param", 1),
    "ImageData": _pictures("image_data_param", 1),
    "WindowData": _pictures("window_data_param", 1),
    "MemoryData": _memory,
    "HDF5Data": lambda layer, tops: [None] * tops,
}

ROWS = {
    "Input": Row(_read_input, lambda p, bottoms, tops: list(p.shapes), _given, bottoms=(0, 0), tops=_ANY),
    "DummyData": Row(
        _read_dummy,
        lambda p, bottoms, tops: list(p.shapes),
        _constants,
        _dummy_blobs,
        bottoms=(0, 0),
        tops=_ANY,
    ),
    "Parameter": Row(
        _read_parameter,
        lambda p, bottoms, tops: [p],
        _constants,
        lambda p, bottoms: [BlobSpec(p)],
        bottoms=(0, 0),
    ),
}
