"""Grey values of RGB pictures as MATLAB's rgb2gray gives them.

Source: MATLAB's documentation of rgb2gray and rgb2ntsc: the weights are the first row of the inverse of NTSC's
YIQ-to-RGB matrix [1 0.956 0.621; 1 -0.272 -0.647; 1 -1.106 1.703]; uint8 is rounded to the nearest, halves up.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

WEIGHTS = RED, GREEN, BLUE = (0.298936021293775, 0.587043074451121, 0.114020904255103)


def gray(rgb: ArrayLike) -> NDArray:
    """Luminance of RGB images, the convention of MATLAB's rgb2gray.

    Parameters
    ----------
    rgb : (H, W, 3) or (N, H, W, 3) array, uint8 or float32
        Red, green, blue. float32 may have any range and is neither clipped nor rescaled.

    Returns
    -------
    (H, W) or (N, H, W) array of the same dtype
        0.2989 R + 0.5870 G + 0.1140 B (weights in full: `WEIGHTS`), summed in float64; uint8 is rounded, halves up.

    Raises
    ------
    TypeError
        If `rgb` is neither uint8 nor float32.
    ValueError
        If `rgb` has another rank, or its last axis is not 3 long.
    """
    pixels = np.asarray(rgb)
    if pixels.dtype not in (np.uint8, np.float32):
        raise TypeError(f"rgb has dtype {pixels.dtype}: it must be uint8 or float32")
    if pixels.ndim not in (3, 4) or pixels.shape[-1] != 3:
        raise ValueError(f"rgb has shape {pixels.shape}: it must be (H, W, 3) or (N, H, W, 3)")
    planes = np.require(pixels, requirements=["C", "A"]).reshape((-1, 3))  # (P, 3)
    grays = np.empty(len(planes), pixels.dtype)
    _kernel()(planes, 0.5 if pixels.dtype == np.uint8 else 0.0, grays)
    return grays.reshape(pixels.shape[:-1])


def weigh(pixels: NDArray, offset: float, grays: NDArray) -> None:
    """Weighted sums of pixels (P, 3) into grays (P,), plus an offset that makes uint8's cut a rounding."""
    for i in range(grays.size):
        grays[i] = pixels[i, 0] * RED + pixels[i, 1] * GREEN + pixels[i, 2] * BLUE + offset


@cache
def _kernel() -> Callable[[NDArray, float, NDArray], None]:
    from numba import njit  # late: Numba costs a good part of a second

    return njit(nogil=True, cache=True)(weigh)
