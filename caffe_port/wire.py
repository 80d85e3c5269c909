"""Opens weights files: which layers a caffemodel holds, their blobs' shapes, and the numbers when asked for.

Source: `NetParameter` of Caffe 1.0 in V0, V1 and V2 form, and V1 of the Freiburg fork. The file is mapped, so
that a packed blob's array is a view of it: do not write into a file that is open. What weights depend on
(layers, names, blobs) is held strictly: a field of another wire type there is an error.
"""

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from caffe_port.binary import BYTES, VARINT, Buffer, decode, map_file
from caffe_port.blob import BlobIndex, index_blob
from caffe_port.errors import ConversionError
from caffe_port.schema import ENUM_NAMES, MESSAGES
from caffe_port.upgrade import V0_TYPES, V1_TYPES

__all__ = ["BlobIndex", "CaffeModel", "LayerBlobs", "index", "open_caffemodel", "open_weights"]

MAX_LAYERS = 20_000
MAX_BLOBS = 50_000

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_FREIBURG_DECONVOLUTION = 34  # in Caffe 1.0 this is MVN, which has no blobs


def _names(message: str, *fields: str) -> dict[int, str]:
    return {MESSAGES[message][name].number: name for name in fields}


_NET = _names("NetParameter", "layer", "layers")
_LAYER = {
    message: _names(message, "name", "type", "blobs", *inner)
    for message, inner in (
        ("LayerParameter", ()),
        ("V1LayerParameter", ("layer",)),
        ("V0LayerParameter", ()),
    )
}


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
        blobs.append(index_blob(buffer, begin, end, layer.name, position))
    buffer.context = ""
    return LayerBlobs(layer.name, kind, tuple(blobs))
