"""Compile every kernel of the CPU now, so that no later call has to."""

import sys
import time
from collections.abc import Callable

import numpy as np

from kernels.gray import gray
from kernels.hog import hog
from kernels.lbp import lbp
from kernels.sift import sift

# One call with each type of pixel that a feature has code for.
CALLS: dict[str, tuple[Callable[..., object], tuple[type, ...]]] = {
    "gray": (lambda image: gray(np.repeat(image[..., None], 3, axis=2)), (np.uint8, np.float32)),
    "hog": (hog, (np.float32,)),
    "lbp": (lbp, (np.uint8, np.float32)),
    "sift": (sift, (np.float32,)),
}
LONG_S = 1.0  # after which one wants to know what is going on


def warmup(*, quiet: bool = False) -> float:
    """Compile all kernels of the CPU, or load what an earlier call has compiled and kept on disk.

    Parameters
    ----------
    quiet : bool
        Say nothing. Otherwise a line on standard error tells of the compiling once it has taken a second.

    Returns
    -------
    float
        Seconds that it took: some on a machine's first call, well under one afterwards.
    """
    y, x = np.mgrid[:64, :64]
    spot = 255 * np.exp(-((x - 31) ** 2 + (y - 29) ** 2) / 40)  # a blob, so that SIFT gets to its last stage
    start, told = time.perf_counter(), False
    for feature, dtypes in CALLS.values():
        for dtype in dtypes:
            if not (quiet or told) and time.perf_counter() - start > LONG_S:
                sys.stderr.write("kernels: compiling for this machine, once; this takes some seconds\n")
                told = True
            feature(spot.astype(dtype))
    return time.perf_counter() - start
