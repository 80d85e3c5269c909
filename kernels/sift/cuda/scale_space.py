"""The Gaussian scale space of a batch and its gradients, on the GPU.

Source: as kernels/sift/cpu/scale_space.py, whose bits these kernels give.
Conventions: an octave is (N, levels + 3, h, w) float32, level s = -1 at index 0; gradients are (N, levels, 2, h, w).

Roofline, per sample of an octave of 3 levels: the six levels are read and written at least once, 48 bytes, for 2 * 101
products and sums each way, 404 operations: 8 a byte, below the 10 to 20 at which a GPU's arithmetic becomes the limit.
Two passes a level, one along each axis, move 16 bytes a level; a level fits into the cache between them or it does not.
"""

from typing import Any

import numpy as np
from numba import cuda

from kernels import backend, launch
from kernels.sift import scalar
from kernels.sift.geometry import base_taps, level_taps, octave_length

_fast_sqrt = launch.device(scalar.fast_sqrt)
_fast_atan2 = launch.device(scalar.fast_atan2)
_mod_2pi = launch.device(scalar.mod_2pi)


def first_octave(images: Any, levels: int, index: int) -> Any:
    """Octave `index`, all levels of it, from images (N, H, W), uint8 or float32."""
    count, height, width = images.shape
    base = _resampled(images.reshape((count, 1, height, width)), 0, index)
    octave, taps = _room(base, levels), base_taps(levels, index)
    if taps is None:
        launch.launch_threads(sample, _places(octave), base, 0, 1, octave)
    else:
        _smooth(base, 0, backend.device().put(taps), octave, 0)
    _fill(octave)
    return octave


def next_octave(octave: Any) -> Any:
    """All levels of the octave after this one."""
    base = _resampled(octave, octave.shape[1] - 3, 1)
    following = _room(base, octave.shape[1] - 3)
    launch.launch_threads(sample, _places(following), base, 0, 1, following)
    _fill(following)
    return following


def gradients(octave: Any) -> Any:
    """Magnitude and angle in [0, 2 pi] of the levels 0 ... levels - 1: (N, levels, 2, h, w), h and w 2 or more."""
    count, levels, height, width = octave.shape
    polar = backend.device().empty((count, levels - 3, 2, height, width), np.float32)
    launch.launch_threads(differentiate, _places(octave), octave, polar)
    return polar


def _places(octave: Any) -> tuple[int, int, int]:
    """Images, rows and columns of an octave."""
    count, _, height, width = octave.shape
    return count, height, width


def _room(base: Any, levels: int) -> Any:
    """An octave for levels as large as these."""
    count, height, width = _places(base)
    return backend.device().empty((count, levels + 3, height, width), np.float32)


def _resampled(octave: Any, level: int, index: int) -> Any:
    """A level as it enters the octave that lies `index` octaves further, (N, 1, h, w) float32."""
    count, height, width = _places(octave)
    for _ in range(-index):
        height, width = 2 * height, 2 * width
        larger = backend.device().empty((count, 1, height, width), np.float32)
        launch.launch_threads(enlarge, _places(larger), octave, level, larger)
        octave, level = larger, 0
    if index < 0:
        return octave
    size = octave_length(height, index), octave_length(width, index)
    smaller = backend.device().empty((count, 1, *size), np.float32)
    launch.launch_threads(sample, _places(smaller), octave, level, 1 << index, smaller)
    return smaller


def _smooth(source: Any, level: int, taps: Any, target: Any, target_level: int) -> None:
    """A level of one octave, smoothed along y and along x, into a level of another or of the same."""
    between = backend.device().empty(_places(source), np.float32)
    launch.launch_threads(smooth_columns, _places(source), source, level, taps, between)
    launch.launch_threads(smooth_rows, _places(source), between, taps, target, target_level)


def _fill(octave: Any) -> None:
    """The levels 0 ... levels + 1 of an octave, each from the one before."""
    for s, taps in enumerate(level_taps(octave.shape[1] - 3)):
        _smooth(octave, s, backend.device().put(taps), octave, s + 1)


@launch.kernel
def sample(source: Any, level: int, step: int, target: Any) -> None:
    """Every step-th pixel of a level along both axes, into the first level of target; one thread a sample.

    Per sample: 4 bytes read (of 32 that memory delivers, where step is 8 or more) and 4 written.
    """
    count, _, height, width = target.shape
    x, y = cuda.grid(2)
    if x < width and y < height:
        for n in range(cuda.blockIdx.z, count, cuda.gridDim.z):
            target[n, 0, y, x] = source[n, level, y * step, x * step]


@launch.kernel
def enlarge(source: Any, level: int, target: Any) -> None:
    """Twice the size along both axes, with means between neighbours, first along x; one thread a sample.

    Per sample: 1 byte read from memory (four samples share a pixel) and 4 written; 20 operations.
    """
    count, _, height, width = target.shape
    x, y = cuda.grid(2)
    if x < width and y < height:
        left, top = x // 2, y // 2
        right, below = min(left + x % 2, width // 2 - 1), min(top + y % 2, height // 2 - 1)
        for n in range(cuda.blockIdx.z, count, cuda.gridDim.z):
            upper, lower = source[n, level, top], source[n, level, below]
            mean_above = scalar.HALF * (np.float32(upper[left]) + np.float32(upper[right]))
            mean_below = scalar.HALF * (np.float32(lower[left]) + np.float32(lower[right]))
            target[n, 0, y, x] = scalar.HALF * (mean_above + mean_below)


@launch.kernel
def smooth_columns(source: Any, level: int, taps: Any, target: Any) -> None:
    """A level of source convolved along y into target (N, h, w); one thread a sample.

    Per sample: 4 bytes read from memory, the other taps' from the cache; 4 written; 6 operations a tap.
    """
    count, height, width = target.shape
    x, y = cuda.grid(2)
    if x < width and y < height:
        top = y - taps.size // 2
        for n in range(cuda.blockIdx.z, count, cuda.gridDim.z):
            total = taps[0] * source[n, level, max(top, 0), x]
            for j in range(1, taps.size):
                total += taps[j] * source[n, level, min(max(top + j, 0), height - 1), x]
            target[n, y, x] = total


@launch.kernel
def smooth_rows(source: Any, taps: Any, target: Any, level: int) -> None:
    """Source (N, h, w) convolved along x into a level of target; one thread a sample.

    Per sample: 4 bytes read from memory, the other taps' from the cache; 4 written; 6 operations a tap.
    """
    count, height, width = source.shape
    x, y = cuda.grid(2)
    if x < width and y < height:
        left = x - taps.size // 2
        for n in range(cuda.blockIdx.z, count, cuda.gridDim.z):
            total = taps[0] * source[n, y, max(left, 0)]
            for j in range(1, taps.size):
                total += taps[j] * source[n, y, min(max(left + j, 0), width - 1)]
            target[n, level, y, x] = total


@launch.kernel
def differentiate(octave: Any, polar: Any) -> None:
    """Gradients of the levels 0 ... levels - 1 as magnitude and angle; one thread a sample of all levels.

    Per sample of a level: 4 bytes read from memory, the other neighbours from the cache; 8 written; 45 operations.
    """
    count, levels, _, height, width = polar.shape
    x, y = cuda.grid(2)
    if x < width and y < height:
        left, right, above, below = (
            max(x - 1, 0),
            min(x + 1, width - 1),
            max(y - 1, 0),
            min(y + 1, height - 1),
        )
        half_x = scalar.HALF if 0 < x < width - 1 else scalar.ONE
        half_y = scalar.HALF if 0 < y < height - 1 else scalar.ONE
        for n in range(cuda.blockIdx.z, count, cuda.gridDim.z):
            for s in range(levels):
                image = octave[n, s + 1]
                dx, dy = (
                    half_x * (image[y, right] - image[y, left]),
                    half_y * (image[below, x] - image[above, x]),
                )
                polar[n, s, 0, y, x] = _fast_sqrt(dx * dx + dy * dy)
                angle = np.float32(np.float64(_fast_atan2(dy, dx)) + scalar.TWO_PI)
                polar[n, s, 1, y, x] = _mod_2pi(angle)
