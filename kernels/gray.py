"""Grey values of RGB pictures as MATLAB's rgb2gray gives them.

Source: MATLAB's documentation of rgb2gray and rgb2ntsc: the weights are the first row of the inverse of NTSC's
YIQ-to-RGB matrix [1 0.956 0.621; 1 -0.272 -0.647; 1 -1.106 1.703]; uint8 is rounded to the nearest, halves up.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

WEIGHTS = (0.298936021293775, 0.587043074451121, 0.114020904255103)


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
    luminance = pixels[..., 0] * WEIGHTS[0] + pixels[..., 1] * WEIGHTS[1] + pixels[..., 2] * WEIGHTS[2]
    if pixels.dtype == np.uint8:
        luminance = np.floor(luminance + 0.5)
    return luminance.astype(pixels.dtype)
