"""Opens Caffe's HDF5 weights: one dataset a blob at /data/<layer>/<position>.

Source: Net::ToHDF5 and Net::CopyTrainedLayersFromHDF5 of Caffe 1.0. The file keeps no types and no net.
Links out of the file, datasets stored outside it and compressed data larger than the file are refused.
"""

import math
import os
from pathlib import Path
from typing import Any

from caffe_port.binary import Buffer, map_file
from caffe_port.blob import MAX_AXES, BlobIndex
from caffe_port.errors import ConversionError
from caffe_port.wire import MAX_BLOBS, MAX_LAYERS, CaffeModel, LayerBlobs


def open_hdf5(path: str | os.PathLike[str]) -> CaffeModel:
    """Index an HDF5 weights file; needs the extra `hdf5`.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    CaffeModel
        Layers in HDF5's order (by name), without types and without `net`.

    Raises
    ------
    ConversionError
        h5py is not installed, or the file is damaged or not in Caffe's layout.
    OSError
        The file cannot be read.
    """
    try:
        import h5py
    except ImportError as error:
        remedy = "pip install 'caffe-port[hdf5]'"
        raise ConversionError(f"{path}: HDF5 weights need h5py, which is not installed: {remedy}") from error
    buffer = map_file(path)
    try:
        with h5py.File(Path(path), "r") as file:
            data = _member(file, "data", h5py.Group, h5py, f"{path}")
            if len(data) > MAX_LAYERS:
                raise ConversionError(f"{path}: {len(data)} layers; a net may have {MAX_LAYERS}")
            names = [name for name in data if isinstance(name, str)]
            if len(names) < len(data):
                raise ConversionError(f"{path}: a layer whose name is not UTF-8")
            layers = tuple(_layer(buffer, data, name, h5py) for name in names)
    except ConversionError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        detail = " ".join(str(error).split())[:200]
        raise ConversionError(f"{path}: HDF5 cannot read it ({detail}); the file is damaged") from error
    return CaffeModel(str(path), "HDF5", layers)


def _member(group: Any, name: str, kind: type, h5py: Any, where: str) -> Any:
    link = group.get(name, getlink=True)
    if link is None:
        raise ConversionError(f"{where}: no {name!r} in it; Caffe's weights are at /data/<layer>/<position>")
    if not isinstance(link, h5py.HardLink):
        raise ConversionError(f"{where}: {name!r} is a link to elsewhere; weights must be in the file itself")
    member = group[name]
    if not isinstance(member, kind):
        raise ConversionError(f"{where}: {name!r} is no {kind.__name__.lower()}")
    return member


def _layer(buffer: Buffer, data: Any, name: str, h5py: Any) -> LayerBlobs:
    where = f"{buffer.source}: layer {name!r}"
    group = _member(data, name, h5py.Group, h5py, buffer.source)
    positions = {int(key): key for key in group if isinstance(key, str) and key.isdecimal() and len(key) < 6}
    if len(positions) != len(group) or max(positions, default=0) >= MAX_BLOBS:
        raise ConversionError(f"{where}: holds {list(group)[:5]}; Caffe's datasets are named 0, 1, ...")
    blobs: list[BlobIndex | None] = []
    for position in range(max(positions, default=-1) + 1):
        key = positions.get(position)
        dataset = _member(group, key, h5py.Dataset, h5py, where) if key else None
        blobs.append(_blob(buffer, dataset, name, position) if key else None)
    return LayerBlobs(name, "", tuple(blobs))


def _blob(buffer: Buffer, dataset: Any, layer: str, position: int) -> BlobIndex:
    where = f"{buffer.source}: layer {layer!r}: blob {position}"
    dtype, shape = dataset.dtype, dataset.shape
    if dtype.kind != "f" or dtype.itemsize not in (4, 8) or shape is None or len(shape) > MAX_AXES:
        raise ConversionError(
            f"{where}: a dataset of {dtype} with shape {shape}; allowed are float32 and float64"
        )
    count, size = math.prod(shape), len(buffer.view)
    if dataset.external is not None or dataset.is_virtual or count * dtype.itemsize > size:
        raise ConversionError(f"{where}: {count} numbers of {dtype} are not in this file of {size} bytes")
    offset = dataset.id.get_offset()
    if offset is None or dtype.byteorder == ">" or offset + count * dtype.itemsize > size:
        buffer = Buffer(dataset[()].astype(dtype.newbyteorder("<")).tobytes(), buffer.source)
        offset = 0
    runs = ((offset, count, dtype.itemsize),) if count else ()
    place = buffer.source, layer, position
    return BlobIndex(tuple(map(int, shape)), False, f"float{8 * dtype.itemsize}", count, *place, buffer, runs)
