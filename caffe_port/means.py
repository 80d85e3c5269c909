"""Reads the mean that a net's pictures are reduced by: values, an .npy file or a binaryproto.

Source: NumPy's .npy format 1.0 to 3.0 (numpy/lib/format.py); Caffe's `compute_image_mean` writes
binaryprotos.
"""

import math
import os
import re

import numpy as np

from caffe_port.binary import Buffer, map_file
from caffe_port.blob import index_blob
from caffe_port.errors import ConversionError

MAX_BYTES = 2**28
_NPY_MAGIC = b"\x93NUMPY"
_NPY_HEADER = re.compile(
    rb"\{'descr': '([<>|][fiu][1248])', 'fortran_order': (True|False), 'shape': \(([0-9, ]{0,60})\),? ?\} *\n"
)


def read_mean(source: str | os.PathLike[str]) -> np.ndarray:
    """Read a mean.

    Parameters
    ----------
    source : str or path-like
        A file, told apart by content, or numbers like "104,117,123".

    Returns
    -------
    ndarray
        (C,) or (C, H, W) float32, in the net's channel order.

    Raises
    ------
    ConversionError
        The file is none of these, or has other axes than one, three, or four with one picture.
    OSError
        There is no such file.
    """
    values = _values(str(source))
    if values is not None:
        return values
    buffer = map_file(source)
    if len(buffer.view) > MAX_BYTES:
        raise ConversionError(f"{source}: a mean of more than {MAX_BYTES >> 20} MiB")
    if buffer.view[: len(_NPY_MAGIC)] == _NPY_MAGIC:
        array = read_npy(buffer)
    else:
        try:
            array = index_blob(buffer).array()
        except ConversionError as error:
            raise ConversionError(
                f"{error}; a mean is an .npy file, a binaryproto or numbers with commas"
            ) from error
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    if array.ndim not in (1, 3) or not array.size:
        raise ConversionError(f"{source}: a mean of shape {array.shape}; allowed are (C,) and (C, H, W)")
    return np.ascontiguousarray(array, np.float32)


def _values(text: str) -> np.ndarray | None:
    try:
        return np.array([float(part) for part in text.split(",")], np.float32)
    except ValueError:
        return None


def read_npy(buffer: Buffer) -> np.ndarray:
    """Read an .npy file of numbers. NumPy's reader evaluates the header; this one knows its one form."""
    raw = bytes(buffer.view[:4096])
    start = 10 if raw[6:7] == b"\x01" else 12  # magic, two bytes of version, length of the header
    match = _NPY_HEADER.match(raw, start)
    stop = start + int.from_bytes(raw[8:start], "little")
    if match is None or match.end() != stop:
        raise ConversionError(f"{buffer.source}: not an .npy file of numbers; floats and integers are read")
    dtype = np.dtype(match[1].decode())
    shape = tuple(int(part) for part in match[3].decode().split(",") if part.strip())
    if stop + math.prod(shape) * dtype.itemsize != len(buffer.view):
        found = f"{len(buffer.view) - stop} bytes of numbers"
        raise ConversionError(f"{buffer.source}: an .npy file of shape {shape}, {dtype}, with {found}")
    return np.ndarray(shape, dtype, buffer.view, stop, order="F" if match[2] == b"True" else "C")
