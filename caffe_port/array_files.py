"""Reads one array from a file that was made elsewhere: .npy, .npz or MATLAB's .mat; bounded, nothing unpickled.

Source: NumPy's .npy and .npz as in `means` and `arrays`; .mat files of versions 4 to 7 by SciPy's reader
(scipy.io.loadmat), 7.3, which is HDF5, not.
"""

import math
import os
from pathlib import Path

import numpy as np

from caffe_port.arrays import MAX_BYTES, Arrays
from caffe_port.binary import map_file
from caffe_port.errors import ConversionError
from caffe_port.means import read_npy

_MAT_BYTES = {"int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "single": 4}
_MAT_BYTES |= {"double": 8, "int64": 8, "uint64": 8}  # MATLAB's classes


def read_array(path: str | os.PathLike[str], name: str = "") -> np.ndarray:
    """Read an array.

    Parameters
    ----------
    path : str or path-like
        The file; its suffix says what it is.
    name : str
        Of the array in an .npz or .mat file; may be left out where it holds one.

    Returns
    -------
    ndarray
        Whatever real numbers it holds.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ConversionError
        The file is none of these or damaged, has no such array, or it is larger than 4 GiB or not of numbers.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"{path}: no such file; give an .npy, .npz or .mat file of numbers")
    suffix = file.suffix.lower()
    if suffix == ".npy":
        return read_npy(map_file(path))
    if suffix == ".npz":
        arrays = Arrays(path)
        return arrays[_chosen(str(path), list(arrays), name)]
    if suffix == ".mat":
        return _read_mat(file, name)
    raise ConversionError(f"{path}: its suffix is {suffix!r}; .npy, .npz and .mat files are read")


def _chosen(source: str, names: list[str], name: str) -> str:
    if name in names:
        return name
    if not name and len(names) == 1:
        return names[0]
    held = ", ".join(known[:40] for known in names[:10]) or "none"
    wanted = f"has no array {name!r}" if name else "holds not one array: name the one to read"
    raise ConversionError(f"{source}: {wanted}; its arrays are {held}")


def _read_mat(path: Path, name: str) -> np.ndarray:
    try:
        from scipy import io
    except ImportError as error:
        raise ConversionError(f"{path}: SciPy reads .mat files; pip install caffe-port[mat]") from error
    try:
        held = {known: (shape, kind) for known, shape, kind in io.whosmat(path)}
        chosen = _chosen(str(path), list(held), name)
        shape, kind = held[chosen]
        if kind not in _MAT_BYTES:
            raise ConversionError(f"{path}: array {chosen[:80]!r} is of class {kind}; numbers are read")
        if math.prod(shape) * _MAT_BYTES[kind] > MAX_BYTES:
            raise ConversionError(
                f"{path}: array {chosen[:80]!r} of {shape}; at most {MAX_BYTES} bytes are read"
            )
        array = io.loadmat(path, variable_names=[chosen])[chosen]
    except NotImplementedError as error:
        raise ConversionError(f"{path}: of MATLAB's version 7.3; save it with -v7 or as .npy") from error
    except (ValueError, TypeError, KeyError, IndexError, EOFError, OSError, MemoryError) as error:
        if isinstance(error, ConversionError):
            raise
        raise ConversionError(
            f"{path}: not a .mat file, or damaged ({' '.join(str(error).split())})"
        ) from error
    if array.dtype.kind not in "fiu":
        raise ConversionError(f"{path}: array {chosen[:80]!r} holds {array.dtype}; real numbers are read")
    return array
