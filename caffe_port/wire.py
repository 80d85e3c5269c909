"""Opens weights files: which layers a caffemodel holds, their blobs' shapes, and the numbers when asked for.

Source: `NetParameter` in V0, V1 and V2 form, and Blob::FromProto of Caffe 1.0: the four legacy dimensions
win over `shape`, `double_data` over `data`; numbers may be packed or not. The file is mapped, so that a
packed blob's array is a view of it. What weights depend on (layers, names, blobs) is held strictly: a field
of another wire type there is an error.
"""

import math
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from caffe_port.binary import BYTES, NARROW, VARINT, WIDE, Buffer, decode, integer, map_file
from caffe_port.errors import ConversionError
from caffe_port.schema import ENUM_NAMES, MESSAGES
from caffe_port.upgrade import V0_TYPES, V1_TYPES

MAX_LAYERS = 20_000
MAX_BLOBS = 50_000
MAX_AXES = 32  # kMaxBlobAxes of Caffe
MAX_RUNS = 1000  # pieces of one blob; files have one

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_LEGACY = ("num", "channels", "height", "width")
_NUMBERS = {"data": ("float32", NARROW), "double_data": ("float64", WIDE)}
_FREIBURG_DECONVOLUTION = 34  # in Caffe 1.0 this is MVN, which has no blobs


def _names(message: str, *fields: str) -> dict[int, str]:
    return {MESSAGES[message][name].number: name for name in fields}


_NET = _names("NetParameter", "layer", "layers")
_BLOB = _names("BlobProto", *_LEGACY, "shape", *_NUMBERS)
_LAYER = {
    message: _names(message, "name", "type", "blobs", *inner)
    for message, inner in (
        ("LayerParameter", ()),
        ("V1LayerParameter", ("layer",)),
        ("V0LayerParameter", ()),
    )
}


@dataclass(frozen=True, slots=True)
class BlobIndex:
    """Where one blob's numbers lie.

    Attributes
    ----------
    shape : tuple of int
        As the file gives it; num, channels, height, width where `legacy`.
    legacy : bool
        The shape is in the four dimensions of old files.
    dtype : str
        "float32" or "float64".
    count : int
        Numbers that the file holds for the blob.
    source, layer, position
        File, name of the layer and place of the blob in it, for errors.
    """

    shape: tuple[int, ...]
    legacy: bool
    dtype: str
    count: int
    source: str = field(repr=False)
    layer: str = field(repr=False)
    position: int = field(repr=False)
    _view: memoryview = field(repr=False)
    _runs: tuple[tuple[int, int, int], ...] = field(repr=False)  # first byte, count, bytes apart
    _span: tuple[int, int] = field(default=(0, 0), repr=False)  # of the whole BlobProto

    @property
    def where(self) -> str:
        """File, layer and position, for errors."""
        layer = f"layer {self.layer[:80]!r}: " if self.layer else ""
        return f"{self.source}: {layer}blob {self.position}"

    @property
    def encoded(self) -> memoryview:
        """The BlobProto as it stands in a caffemodel."""
        return self._view[slice(*self._span)]

    def check(self) -> None:
        """Raise ConversionError if the shape asks for another count of numbers than the file holds."""
        if any(dim < 0 for dim in self.shape) or math.prod(self.shape) != self.count:
            shape = " x ".join(map(str, self.shape)) or "()"
            wanted = f"shape {shape}, {math.prod(self.shape)} numbers"
            raise ConversionError(f"{self.where} has {wanted}; the file holds {self.count}")

    def array(self) -> np.ndarray:
        """The numbers in the blob's shape: a read-only view of the file if they are packed, else a copy.

        Raises
        ------
        ConversionError
            As `check`.
        """
        self.check()
        dtype = np.dtype(self.dtype).newbyteorder("<")
        parts = [np.ndarray(n, dtype, self._view, at, (stride,)) for at, n, stride in self._runs]
        if len(parts) == 1 and parts[0].strides == (dtype.itemsize,):
            return parts[0].reshape(self.shape)
        return np.concatenate([np.empty(0, dtype), *parts]).reshape(self.shape)


@dataclass(frozen=True, slots=True)
class LayerBlobs:
    """One layer of a weights file: its name, its type by today's name ("" if unknown), its blobs.

    A blob is None where an HDF5 file leaves it out because another layer owns the shared parameter.
    """

    name: str
    type: str
    blobs: tuple[BlobIndex | None, ...]


@dataclass(frozen=True)
class CaffeModel:
    """A weights file, indexed.

    Attributes
    ----------
    source : str
        The file.
    format : str
        "V0", "V1", "V2" or "HDF5".
    layers : tuple of LayerBlobs
        Every layer of the file in its order, with or without blobs.
    """

    source: str
    format: str
    layers: tuple[LayerBlobs, ...]
    _buffer: Buffer | None = field(default=None, repr=False)
    _layer_message: str = field(default="LayerParameter", repr=False)

    @cached_property
    def net(self) -> dict[str, Any]:
        """The NetParameter of the file in the file's own format, without blobs; {} for HDF5."""
        if self._buffer is None:
            return {}
        buffer = Buffer(self._buffer.view, self.source)
        net = decode(buffer, 0, len(buffer.view), "NetParameter", skip=frozenset(_NET.values()))
        for number, _, _, begin, end in buffer.fields(0, len(buffer.view)):
            if number in _NET:
                layer = decode(buffer, begin, end, self._layer_message, skip=frozenset({"blobs"}))
                net.setdefault(_NET[number], []).append(layer)
        return net

    @property
    def message(self) -> dict[str, Any]:
        """`net` with every layer's blobs, as encoded bytes that are views of the file; {} for HDF5."""
        result = dict(self.net)
        for name in result.keys() & set(_NET.values()):
            result[name] = [_with_blobs(*pair) for pair in zip(result[name], self.layers, strict=True)]
        return result


def _with_blobs(layer: dict[str, Any], found: LayerBlobs) -> dict[str, Any]:
    blobs = [blob.encoded for blob in found.blobs if blob is not None]
    if not blobs:
        return layer
    return (
        {**layer, "layer": {**layer["layer"], "blobs": blobs}}
        if "layer" in layer
        else {**layer, "blobs": blobs}
    )


def open_weights(path: str | os.PathLike[str]) -> CaffeModel:
    """Open a caffemodel or an HDF5 weights file, told apart by content. See `open_caffemodel`."""
    with Path(path).open("rb") as file:
        is_hdf5 = file.read(len(_HDF5_MAGIC)) == _HDF5_MAGIC
    if is_hdf5:
        from caffe_port.hdf5 import open_hdf5  # h5py is an optional extra

        return open_hdf5(path)
    return open_caffemodel(path)


def open_caffemodel(path: str | os.PathLike[str]) -> CaffeModel:
    """Index a caffemodel without reading its numbers.

    Parameters
    ----------
    path : str or path-like
        A file in V0, V1 or V2 form, of any size. An empty file holds no layers, as in Caffe.

    Returns
    -------
    CaffeModel

    Raises
    ------
    ConversionError
        The file is truncated, malformed or mixes `layer` and `layers`.
    OSError
        The file cannot be read.
    """
    return index(map_file(path))


def index(buffer: Buffer) -> CaffeModel:
    """Index a caffemodel that is already in memory. See `open_caffemodel`."""
    found: dict[str, list[_Found]] = {"layer": [], "layers": []}
    for number, wire, _, begin, end in buffer.fields(0, len(buffer.view)):
        if number not in _NET:
            continue
        if wire != BYTES or sum(map(len, found.values())) >= MAX_LAYERS:
            raise buffer.fail(begin, f"field {_NET[number]!r} is no message, or is over {MAX_LAYERS} layers")
        message = "LayerParameter" if _NET[number] == "layer" else "V1LayerParameter"
        layer = _Found()
        _scan_layer(buffer, begin, end, message, layer)
        found[_NET[number]].append(layer)
    if found["layer"] and found["layers"]:
        raise ConversionError(f"{buffer.source}: fields 'layer' and 'layers' in one net; Caffe allows one")
    layers = found["layer"] or found["layers"]
    if sum(len(layer.blobs) for layer in layers) > MAX_BLOBS:
        raise ConversionError(f"{buffer.source}: more than {MAX_BLOBS} blobs, the most that a net may have")
    file_format = "V2" if not found["layers"] else "V0" if any(layer.is_v0 for layer in layers) else "V1"
    freiburg = any(layer.number == _FREIBURG_DECONVOLUTION and layer.blobs for layer in layers)
    message = "LayerParameter" if file_format == "V2" else "V1LayerParameter"
    message = "FreiburgLayerParameter" if freiburg else message
    indexed = tuple(_index_layer(buffer, layer, message) for layer in layers)
    return CaffeModel(buffer.source, file_format, indexed, buffer, message)


@dataclass(slots=True)
class _Found:
    name: str = ""
    type: str = ""
    number: int = 0
    is_v0: bool = False
    blobs: list[tuple[int, int]] = field(default_factory=list)


def _scan_layer(buffer: Buffer, begin: int, end: int, message: str, layer: _Found) -> None:
    for number, wire, value, start, stop in buffer.fields(begin, end):
        name = _LAYER[message].get(number)
        if name is None:
            continue
        is_enum = name == "type" and message == "V1LayerParameter"
        if wire != (VARINT if is_enum else BYTES):
            raise buffer.fail(start, f"field {name!r} of {message} has wire type {wire}")
        if name == "name":
            layer.name = buffer.text(start, stop)
        elif name == "blobs":
            layer.blobs.append((start, stop))
        elif name == "layer":
            layer.is_v0 = True
            _scan_layer(buffer, start, stop, "V0LayerParameter", layer)
        elif is_enum:
            layer.number = value
        else:
            layer.type = buffer.text(start, stop)


def _index_layer(buffer: Buffer, layer: _Found, message: str) -> LayerBlobs:
    kind = layer.type
    if layer.is_v0:
        kind = V1_TYPES.get(V0_TYPES.get(kind, ""), "")
    elif message != "LayerParameter":
        enum = MESSAGES[message]["type"].kind.removeprefix("enum:")
        kind = V1_TYPES.get(ENUM_NAMES[enum].get(layer.number, ""), "")
    blobs = []
    for position, (begin, end) in enumerate(layer.blobs):
        buffer.context = f"layer {layer.name[:80]!r}: blob {position}: "
        blobs.append(_index_blob(buffer, begin, end, layer.name, position))
    buffer.context = ""
    return LayerBlobs(layer.name, kind, tuple(blobs))


def index_blob(buffer: Buffer) -> BlobIndex:
    """Index a file that is one blob: a binaryproto, as Caffe keeps means."""
    return _index_blob(buffer, 0, len(buffer.view), "", 0)


def _index_blob(buffer: Buffer, begin: int, end: int, layer: str, position: int) -> BlobIndex:
    legacy: dict[str, int] = {}
    dims: list[int] = []
    runs: dict[str, list[tuple[int, int, int]]] = {name: [] for name in _NUMBERS}
    for number, wire, value, start, stop in buffer.fields(begin, end):
        name = _BLOB.get(number)
        if name is None:
            continue
        if name in _LEGACY and wire == VARINT:
            legacy[name] = integer("int32", value)
        elif name == "shape" and wire == BYTES:
            dims += decode(buffer, start, stop, "BlobShape").get("dim", [])
        elif name in runs and wire in (BYTES, _NUMBERS[name][1]):
            runs[name].append(_run(buffer, name, wire, value, start, stop))
            if len(runs[name]) > MAX_RUNS:
                raise buffer.fail(start, f"field {name!r} in more than {MAX_RUNS} pieces")
        else:
            raise buffer.fail(start, f"field {name!r} of BlobProto has wire type {wire}")
        if len(dims) > MAX_AXES:
            raise buffer.fail(start, f"{len(dims)} axes; a blob may have {MAX_AXES}")
    shape = tuple(legacy.get(name, 0) for name in _LEGACY) if legacy else tuple(dims)
    used = "double_data" if any(count for _, count, _ in runs["double_data"]) else "data"
    kept = tuple(run for run in runs[used] if run[1])
    count = sum(run[1] for run in kept)
    place = buffer.source, layer, position
    return BlobIndex(shape, bool(legacy), _NUMBERS[used][0], count, *place, buffer.view, kept, (begin, end))


def _run(buffer: Buffer, name: str, wire: int, value: int, start: int, stop: int) -> tuple[int, int, int]:
    width = np.dtype(_NUMBERS[name][0]).itemsize
    if wire != BYTES:
        return start, value, width + 1
    count, rest = divmod(stop - start, width)
    if rest:
        raise buffer.fail(start, f"field {name!r} has {stop - start} bytes, no multiple of {width}")
    return start, count, width
