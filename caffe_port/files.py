"""Writes a file whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: str | os.PathLike[str], *, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the block ends well, and vanishes when it does not.

    Parameters
    ----------
    path : str or path-like
        Where the file shall be; its folder must exist.
    durable : bool
        Wait until the disk has it, so that even a power cut leaves the old file or the new one.

    Yields
    ------
    binary file
        A temporary file in the same folder; its `name` is its path.

    Raises
    ------
    OSError
        The folder is missing or cannot be written, `path` is a folder, or the disk is full.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target}: the folder {target.parent} does not exist; create it first")
    if target.is_dir():
        raise IsADirectoryError(f"{target}: is a folder; name a file")
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    temporary = Path(name)
    try:
        os.close(handle)
        with open(name, "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
        if durable:
            _flush_folder(target.parent)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # as of a write to a full disk
            error.filename = str(target)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8, whole or not at all; see `replacing`."""
    with replacing(path) as file:
        file.write(text.encode())


def _flush_folder(folder: Path) -> None:
    """Make the renaming itself survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
