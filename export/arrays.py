"""Arrays from files that were made elsewhere."""

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

MAX_BYTES = 2**32  # of the array once unpacked


def read_array(path: Path, name: str) -> np.ndarray:
    """The array ``name`` of an ``.npz`` file; nothing is unpickled.

    Returns
    -------
    Whatever real array it holds; the decoder checks shape and dtype.

    Raises
    ------
    FileNotFoundError : if there is no such file.
    ValueError : if it is no ``.npz`` file, has no such array, or unpacks to more than 4 GiB.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give an .npz file with an array named {name}")
    try:
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo(f"{name}.npy").file_size
            with archive.open(f"{name}.npy") as file:
                claimed = _claimed_bytes(file)
            if claimed > min(size, MAX_BYTES):
                raise ValueError(f"it claims {claimed} bytes and holds {size}; at most {MAX_BYTES} are read")
            with archive.open(f"{name}.npy") as file:
                return np.lib.format.read_array(file, allow_pickle=False)
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError) as error:
        reason = str(error).strip("\"'")
        raise ValueError(f"{path}: cannot be read as .npz with an array named {name} ({reason})") from error


def _claimed_bytes(file: IO[bytes]) -> int:
    """Size of the array by its own header."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return math.prod(shape) * dtype.itemsize
