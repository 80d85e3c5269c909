"""The Gaussian scale space, and its gradients.

Source: vl/sift.c (VLFeat 0.9.21), vl_sift_process_first_octave, vl_sift_process_next_octave, update_gradient;
vl/imopv_sse2.c, _vl_imconvcol_vf_sse2. A sum of taps runs from the first pixel to the last in float32, columns first and
then rows, as there: so levels are equal bit for bit.

Conventions: an octave is (levels + 3, h, w) float32, level s = -1 at index 0; beyond the border the nearest pixel counts.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.sift import scalar
from kernels.sift.geometry import base_taps, level_taps, octave_length

COMPILE = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
}  # and no fastmath: it changes sums and comparisons

_fast_sqrt = njit(**COMPILE)(scalar.fast_sqrt)
_fast_atan2 = njit(**COMPILE)(scalar.fast_atan2)
_mod_2pi = njit(**COMPILE)(scalar.mod_2pi)


@njit(**COMPILE)
def _weigh(source: NDArray, starts: NDArray, taps: NDArray, target: NDArray) -> None:
    """target[x] = sum over j of taps[j] * source[starts[j] + x], an odd number of taps, four in one go."""
    n = target.size
    first = taps.size & 3  # 1 or 3
    a, b = source[starts[0] :][:n], source[starts[first >> 1] :][:n]
    c = source[starts[first - 1] :][:n]
    if first == 1:
        for x in range(n):
            target[x] = taps[0] * a[x]
    else:
        for x in range(n):
            target[x] = taps[0] * a[x] + taps[1] * b[x] + taps[2] * c[x]
    for j in range(first, taps.size, 4):
        p, q, r, s = taps[j], taps[j + 1], taps[j + 2], taps[j + 3]
        a, b = source[starts[j] :][:n], source[starts[j + 1] :][:n]
        c, d = source[starts[j + 2] :][:n], source[starts[j + 3] :][:n]
        for x in range(n):
            target[x] = target[x] + p * a[x] + q * b[x] + r * c[x] + s * d[x]


@njit(**COMPILE)
def smooth(source: NDArray, taps: NDArray, first: int, last: int, target: NDArray) -> None:
    """Rows first..last-1 of source (h, w), smoothed by taps along y and along x, into target."""
    height, width = source.shape
    radius = taps.size // 2
    flat = source.reshape(source.size)
    column_starts, row_starts = np.empty(taps.size, np.int64), np.arange(taps.size)
    row = np.empty(width + 2 * radius, np.float32)
    for y in range(first, last):
        for j in range(taps.size):
            column_starts[j] = min(max(y - radius + j, 0), height - 1) * width
        _weigh(flat, column_starts, taps, row[radius : radius + width])
        row[:radius] = row[radius]
        row[radius + width :] = row[radius + width - 1]
        _weigh(row, row_starts, taps, target[y])


def resampled(image: NDArray, octave: int) -> NDArray:
    """Image (H, W) float32 as it enters an octave: doubled by linear interpolation, or every 2**octave-th pixel."""
    for _ in range(-octave):
        image = _doubled(_doubled(image).T).T
    if octave > 0:
        height, width = (octave_length(length, octave) << octave for length in image.shape)
        image = image[: height : 1 << octave, : width : 1 << octave]
    return np.ascontiguousarray(image)


def _doubled(image: NDArray) -> NDArray:
    """Rows with the mean of each two neighbours put between them, and the last pixel twice."""
    doubled = np.repeat(image, 2, axis=1)
    doubled[:, 1:-1:2] = np.float32(0.5) * (image[:, :-1] + image[:, 1:])
    return doubled


def first_level(image: NDArray, levels: int, first_octave: int) -> NDArray:
    """Level -1 of the first octave, from the image (H, W) float32."""
    base, taps = resampled(image, first_octave), base_taps(levels, first_octave)
    if taps is None:
        return base
    smoothed = np.empty_like(base)
    smooth(base, taps, 0, len(base), smoothed)
    return smoothed


def octave_levels(lowest: NDArray, levels: int) -> NDArray:
    """All levels of an octave (levels + 3, h, w), from level -1 of (h, w)."""
    octave = np.empty((levels + 3, *lowest.shape), np.float32)
    octave[0] = lowest
    for s, taps in enumerate(level_taps(levels)):
        smooth(octave[s], taps, 0, len(lowest), octave[s + 1])
    return octave


def next_level(octave: NDArray) -> NDArray:
    """Level -1 of the next octave: every other pixel of the level that is twice as smooth as level -1."""
    return resampled(octave[-3], 1)


@njit(**COMPILE)
def _polar_row(across: NDArray, down: NDArray, magnitudes: NDArray, angles: NDArray) -> None:
    for x in range(across.size):  # runs in vector lanes
        dx, dy = across[x], down[x]
        magnitudes[x] = _fast_sqrt(dx * dx + dy * dy)
        angles[x] = _mod_2pi(np.float32(_fast_atan2(dy, dx) + scalar.TWO_PI))


@njit(**COMPILE)
def polar(level: NDArray, first: int, last: int, magnitudes: NDArray, angles: NDArray) -> None:
    """Gradients of the rows first..last-1 of a level (h, w), at least 2 x 2: magnitude and angle in [0, 2 pi]."""
    height, width = level.shape
    across, down = np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(first, last):
        row, above, below = level[y], level[max(y - 1, 0)], level[min(y + 1, height - 1)]
        half = scalar.HALF if 0 < y < height - 1 else scalar.ONE
        for x in range(width):
            down[x] = half * (below[x] - above[x])
        for x in range(1, width - 1):
            across[x] = scalar.HALF * (row[x + 1] - row[x - 1])
        across[0], across[width - 1] = row[1] - row[0], row[width - 1] - row[width - 2]
        _polar_row(across, down, magnitudes[y], angles[y])


def gradients(octave: NDArray) -> NDArray:
    """Gradients of the levels 0 ... levels - 1 of an octave (levels + 3, h, w): (levels, 2, h, w)."""
    result = np.empty((len(octave) - 3, 2, *octave.shape[1:]), np.float32)
    for level, (magnitudes, angles) in zip(octave[1:], result, strict=False):
        polar(level, 0, len(level), magnitudes, angles)
    return result
