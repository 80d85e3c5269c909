"""Reads and writes .npz files: bounded, one array at a time, nothing unpickled.

Source: NumPy's .npz is a zip of .npy members (numpy/lib/_npyio_impl.py); `means.py` reads an .npy.
"""

import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from caffe_port.binary import Buffer
from caffe_port.errors import ConversionError
from caffe_port.means import read_npy

MAX_BYTES = 2**32  # of all arrays of a file, once unpacked
_CHUNK = 2**22
_KNOWN_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Arrays(Mapping[str, np.ndarray]):
    """The arrays of an .npz file by name, each read when it is asked for.

    Parameters
    ----------
    path : str or path-like

    Raises
    ------
    ConversionError
        The file is no .npz file of numbers, is damaged, or unpacks to more than 4 GiB; here or on reading.
    OSError
        The file cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        try:
            with Path(path).open("rb") as file, zipfile.ZipFile(file) as archive:
                infos = archive.infolist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise ConversionError(f"{path}: not an .npz file ({error})") from error
        for info in infos:
            if info.flag_bits & 1 or info.compress_type not in _KNOWN_METHODS:
                raise ConversionError(
                    f"{path}: array {info.filename[:80]!r} is encrypted or packed in an unknown way"
                )
        total = sum(info.file_size for info in infos)
        if total > MAX_BYTES:
            raise ConversionError(f"{path}: arrays of {total} bytes; at most {MAX_BYTES} are read")
        self._members = {info.filename.removesuffix(".npy"): info for info in infos}

    def __getitem__(self, name: str) -> np.ndarray:
        info = self._members[name]
        source = f"{self.path}: array {name[:80]!r}"
        try:
            with Path(self.path).open("rb") as file, zipfile.ZipFile(file) as archive:
                data = archive.read(info)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
            raise ConversionError(f"{source} is damaged ({error})") from error
        return read_npy(Buffer(data, source))

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


def write_npz(
    file: BinaryIO,
    arrays: Mapping[str, np.ndarray],
    streamed: str,
    shape: tuple[int, ...],
    rows: BinaryIO,
) -> None:
    """Write an .npz file with one float32 array that does not fit in memory.

    Parameters
    ----------
    file : binary file
        Where to write.
    arrays : mapping of str to ndarray
        Small arrays.
    streamed : str
        Name of the large one, whose shape is `shape` and whose numbers are what `rows` holds from its start.
    """
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(_member(name), "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        rows.seek(0)
        with archive.open(_member(streamed), "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, header)
            while chunk := rows.read(_CHUNK):
                member.write(chunk)


def _member(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(f"{name}.npy")  # with the zip's oldest date: equal arrays give equal files
