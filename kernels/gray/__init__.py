"""Grey values of RGB pictures as MATLAB's rgb2gray gives them; `kernels.gray.scalar` has the weights."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kernels.backend import array_of, contiguous, empty, holding, on_gpu
from kernels.gray.scalar import WEIGHTS

__all__ = ["WEIGHTS", "gray"]


def gray(rgb: ArrayLike) -> Any:
    """Luminance of RGB images, the convention of MATLAB's rgb2gray.

    Parameters
    ----------
    rgb : (H, W, 3) or (N, H, W, 3) array, uint8 or float32
        Red, green, blue. float32 may have any range and is neither clipped nor rescaled.

    Returns
    -------
    (H, W) or (N, H, W) array of the same dtype
        0.2989 R + 0.5870 G + 0.1140 B (weights in full: `WEIGHTS`), summed in float64; uint8 is rounded, halves up.
        A NumPy array, or a CuPy array where `rgb` lives on a GPU.

    Raises
    ------
    TypeError
        If `rgb` is neither uint8 nor float32.
    ValueError
        If `rgb` has another rank, or its last axis is not 3 long.
    """
    pixels = array_of(rgb)
    if pixels.dtype not in (np.uint8, np.float32):
        raise TypeError(f"rgb has dtype {pixels.dtype}: it must be uint8 or float32")
    if pixels.ndim not in (3, 4) or pixels.shape[-1] != 3:
        raise ValueError(f"rgb has shape {pixels.shape}: it must be (H, W, 3) or (N, H, W, 3)")
    count = math.prod(pixels.shape[:-1])
    planes = contiguous(pixels).reshape((count, 3))
    offset = 0.5 if pixels.dtype == np.uint8 else 0.0
    grays = empty((count,), pixels.dtype, beside=pixels)
    if on_gpu(pixels):
        from kernels.gray import cuda  # late: nothing of CUDA before a GPU array comes in

        with holding(pixels):
            cuda.compute(planes, offset, grays)
    else:
        from kernels.gray import cpu  # late: Numba costs a good part of a second

        cpu.weigh(planes, offset, grays)
    return grays.reshape(pixels.shape[:-1])
