"""One process at a time writes a run folder."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

LOCK = "lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run folder until the block ends or the process does, however it ends; the file ``lock`` stays.

    Raises
    ------
    BlockingIOError : if another process holds it.
    OSError : if there is no such folder, or it cannot be written.
    """
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"{folder}: another process is training this run; wait for it or stop it, or choose another --out"
            ) from error
        yield
