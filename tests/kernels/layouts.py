"""The same picture laid out in memory in ways that NumPy allows."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def _unaligned(gray: NDArray) -> NDArray:
    raw = np.empty(gray.nbytes + 1, np.uint8)
    view = raw[1:].view(gray.dtype).reshape(gray.shape)
    view[:] = gray
    return view


def _read_only(gray: NDArray) -> NDArray:
    copy = gray.copy()
    copy.setflags(write=False)
    return copy


LAYOUTS: dict[str, Callable[[NDArray], NDArray]] = {
    "Fortran order": np.asfortranarray,
    "negative strides": lambda gray: gray[::-1, ::-1].copy()[::-1, ::-1],
    "every other pixel": lambda gray: np.repeat(np.repeat(gray, 2, axis=0), 2, axis=1)[::2, ::2],
    "read-only": _read_only,
    "unaligned": _unaligned,
    "broadcast batch": lambda gray: np.broadcast_to(gray, (2, *gray.shape))[1],
}
