"""Features from files: NumPy's .npy and .npz, MATLAB's .mat. Bounded, checked, nothing unpickled.

One row a picture, (N, *shape) or (N, C * H * W), channels first; a single vector counts as one row.
"""

import math
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from caffe_port.arrays import MAX_BYTES, Arrays
from caffe_port.binary import map_file
from caffe_port.means import read_npy
from decoders.extras import need

_DAMAGE = (
    ValueError,
    OSError,
    TypeError,
    LookupError,
    ArithmeticError,
    EOFError,
    MemoryError,
    struct.error,
    zlib.error,
)
_NAME = "features"  # of the array, in files of several


def read_features(path: Path, shape: tuple[int, ...], array: str | None = None) -> np.ndarray:
    """Read features of one shape.

    Parameters
    ----------
    path : a .npy, .npz or .mat file; the last one needs SciPy, and version 7 or older of MATLAB's format.
    shape : of one picture's features.
    array : which array of an .npz or .mat file; by default ``features``, or the only one.

    Returns
    -------
    (N, *shape) float32.

    Raises
    ------
    ValueError : if the file is none of these, is damaged, too large, or holds other features.
    OSError : if it cannot be read.
    """
    if path.suffix not in READERS:
        raise ValueError(f"{path}: features are read from {', '.join(READERS)} files")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
    values = READERS[path.suffix](path, array)
    if values.dtype.kind not in "fiu" or not values.size:
        raise ValueError(
            f"{path}: an array of {values.dtype}, shape {values.shape}; real numbers are features"
        )
    if values.shape in (shape, (math.prod(shape),)):
        values = values[None]
    if values.ndim < 2 or values.shape[1:] not in (shape, (math.prod(shape),)):
        raise ValueError(
            f"{path}: features of shape {values.shape}; (N, {', '.join(map(str, shape))}) or "
            f"(N, {math.prod(shape)}) are wanted, channels first"
        )
    rows = np.ascontiguousarray(values.reshape(len(values), *shape), np.float32)
    if not np.isfinite(rows).all():
        raise ValueError(f"{path}: features hold NaN or infinity")
    return rows


def _npy(path: Path, array: str | None) -> np.ndarray:
    if array is not None:
        raise ValueError(f"{path}: an .npy file holds one array without a name; leave --array out")
    return read_npy(map_file(path))


def _npz(path: Path, array: str | None) -> np.ndarray:
    arrays = Arrays(path)
    return arrays[_chosen(path, list(arrays), array)]


def _mat(path: Path, array: str | None) -> np.ndarray:
    matlab = need("scipy.io", "mat")
    listed = _of_matlab(path, lambda: matlab.whosmat(path))
    name = _chosen(path, [name for name, _, _ in listed], array)
    size = next(math.prod(shape) for found, shape, _ in listed if found == name)
    if size * 8 > MAX_BYTES:
        raise ValueError(f"{path}: array {name} has {size} numbers; at most {MAX_BYTES // 8} are read")
    values = _of_matlab(path, lambda: matlab.loadmat(path, variable_names=[name])[name])
    if not isinstance(values, np.ndarray):
        raise ValueError(f"{path}: {name} is sparse; full arrays are read")
    return values[0] if values.ndim == 2 and values.shape[0] == 1 else values


def _of_matlab(path: Path, read: Callable[[], Any]) -> Any:
    """What SciPy reads, its many ways to fail as one."""
    try:
        return read()
    except NotImplementedError as error:
        raise ValueError(f"{path}: MATLAB's version 7.3; save it with save(..., '-v7')") from error
    except (*_DAMAGE, need("scipy.io.matlab", "mat").MatReadError) as error:
        raise ValueError(f"{path}: damaged, or not a MATLAB file ({error})") from error


def _chosen(path: Path, names: list[str], wanted: str | None) -> str:
    if wanted is None:
        wanted = names[0] if len(names) == 1 else _NAME
    if wanted not in names:
        raise ValueError(
            f"{path}: no array {wanted}; there are {', '.join(names) or 'none'}; name one with --array"
        )
    return wanted


READERS: Mapping[str, Callable[[Path, str | None], np.ndarray]] = MappingProxyType(
    {".npy": _npy, ".npz": _npz, ".mat": _mat}
)
