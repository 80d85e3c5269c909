"""HOG features as a picture of oriented bars, one glyph of 21 x 21 pixels a cell.

Source: vl/hog.c (VLFeat 0.9.21), vl_hog_new (the bars) and vl_hog_render (the picture).
Conventions: a bar lies along the image's edge, at a right angle to the gradient; y down.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

ORIENTATIONS = 9
GLYPH_SIZE = 21
CHANNELS = 3 * ORIENTATIONS + 4


def hog_glyphs(features: ArrayLike) -> NDArray[np.float32]:
    """Draw the features of one image.

    Parameters
    ----------
    features : (31, H', W') float32 array
        As `kernels.hog` returns them; any finite values (a filter, a decoder's error) may be drawn.

    Returns
    -------
    (21 H', 21 W') float32 array
        A bar's brightness is the sum of its orientation's two directed entries and its undirected one; where bars
        cross they add up, but not beyond the brightest and the darkest bar of the cell (0 counts as one).

    Raises
    ------
    TypeError
        If `features` is not float32.
    ValueError
        If `features` has another shape, or is not finite.
    """
    cells = np.asarray(features)
    if cells.dtype != np.float32:
        raise TypeError(f"features have dtype {cells.dtype}: they must be float32")
    if cells.ndim != 3 or cells.shape[0] != CHANNELS or cells.size == 0:
        raise ValueError(f"features have shape {cells.shape}: they must be ({CHANNELS}, H', W') of one image")
    if not np.isfinite(cells).all():
        raise ValueError("features hold NaN or infinity: they must be finite")
    ahead, behind, both = cells[: 3 * ORIENTATIONS].reshape((3, ORIENTATIONS, *cells.shape[1:]))
    weights = ahead + behind + both  # (9, H', W')
    picture = np.zeros((cells.shape[1], GLYPH_SIZE, cells.shape[2], GLYPH_SIZE), np.float32)
    for weight, bar in zip(weights, bars(), strict=True):
        picture += weight[:, None, :, None] * bar[None, :, None, :]
    darkest, brightest = weights.min(axis=0, initial=0), weights.max(axis=0, initial=0)
    np.clip(picture, darkest[:, None, :, None], brightest[:, None, :, None], out=picture)
    return picture.reshape((cells.shape[1] * GLYPH_SIZE, cells.shape[2] * GLYPH_SIZE))


@lru_cache(maxsize=1)
def bars() -> NDArray[np.float32]:
    """The nine bars, (9, 21, 21): ones on a line through the centre, zeros elsewhere."""
    pictures = np.zeros((ORIENTATIONS, GLYPH_SIZE, GLYPH_SIZE), np.float32)
    for k, picture in enumerate(pictures):
        angle_rad = math.fmod(k * math.pi / ORIENTATIONS + math.pi / 2, math.pi)
        flat = angle_rad <= math.pi / 4 or angle_rad >= math.pi * 3 / 4
        along, rise = math.cos(angle_rad), math.sin(angle_rad)
        if not flat:
            along, rise = rise, along
        slope = (GLYPH_SIZE * rise / 2) / (GLYPH_SIZE * along / 2)
        offset = (1 - slope) * (GLYPH_SIZE - 1) / 2
        skip = int((1 - abs(along)) / 2 * GLYPH_SIZE)
        for i in range(skip, GLYPH_SIZE - skip):
            j = math.floor(slope * i + offset + 0.5)
            picture[(j, i) if flat else (i, j)] = 1
    return pictures
