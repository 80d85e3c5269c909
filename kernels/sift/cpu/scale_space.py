"""The Gaussian scale space, and its gradients.

Source: vl/sift.c (VLFeat 0.9.21), vl_sift_process_first_octave, vl_sift_process_next_octave, update_gradient;
vl/imopv_sse2.c, _vl_imconvcol_vf_sse2. A sum of taps runs from the first pixel to the last in float32, columns first
and then rows, as there: so levels are equal bit for bit.

Conventions: an octave is (levels + 3, h, w) float32, level s = -1 at index 0; beyond the border the nearest pixel
counts.
"""

import math
from contextlib import ExitStack
from functools import lru_cache
from threading import Lock

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.compiling import COMPILE, INLINE, INNER
from kernels.sift import scalar
from kernels.sift.geometry import base_taps, level_taps, octave_length
from kernels.threads import bands, run

BAND = 64  # rows that one of several threads computes at a time
WORTH_A_CALL = 1 << 15  # samples whose gradients are computed together
TOGETHER = 4  # taps that are summed up in one pass over a row

_fast_sqrt = njit(**INLINE)(scalar.fast_sqrt)
_fast_atan2 = njit(**INLINE)(scalar.fast_atan2)
_mod_2pi = njit(**INLINE)(scalar.mod_2pi)


def first_level(image: NDArray, levels: int, first_octave: int, *, threads: int = 1) -> NDArray:
    """Level -1 of the first octave, from the image (H, W) float32."""
    base, taps = resampled(image, first_octave), base_taps(levels, first_octave)
    if taps is None:
        return base
    smoothed = np.empty_like(base)
    smooth(base, _together((taps,)), smoothed[None], threads=threads)
    return smoothed


def octave_levels(lowest: NDArray, levels: int, *, threads: int = 1, room: NDArray | None = None) -> NDArray:
    """All levels of an octave (levels + 3, h, w), from level -1 of (h, w); in room, flat float32, if there is some."""
    octave = _array((levels + 3, *lowest.shape), room)
    octave[0] = lowest
    smooth(octave[0], _level_filters(levels), octave[1:], threads=threads)
    return octave


def _array(shape: tuple[int, ...], room: NDArray | None) -> NDArray:
    """A float32 array, not filled: the front of room, or a new one."""
    return np.empty(shape, np.float32) if room is None else room[: math.prod(shape)].reshape(shape)


def next_level(octave: NDArray) -> NDArray:
    """Level -1 of the next octave: every other pixel of the level that is twice as smooth as level -1."""
    return resampled(octave[-3], 1)


def gradients(octave: NDArray, *, threads: int = 1) -> NDArray:
    """Magnitude and angle in [0, 2 pi] of the levels 0 ... levels - 1: (levels, 2, h, w), h and w 2 or more."""
    lazy = LazyGradients(octave)
    run(lazy.compute, (((s, *rows),) for s in range(len(octave) - 3) for rows in lazy.bands), threads)
    return lazy.polar


class LazyGradients:
    """The gradients of an octave, computed where and when they are needed: they are still in the cache then.

    Parameters
    ----------
    octave : (levels + 3, h, w) float32 array
    room : flat float32 array, optional
        Where to keep them.

    Attributes
    ----------
    polar : (levels, 2, h, w) float32 array
        As of `gradients`, in the rows that have been computed.
    """

    def __init__(self, octave: NDArray, room: NDArray | None = None):
        levels, height, width = len(octave) - 3, *octave.shape[1:]
        self._octave = octave
        self.polar = _array((levels, 2, height, width), room)
        self._rows = max(BAND, WORTH_A_CALL // width)
        self.bands = bands(height, self._rows)
        self._locks = {(s, first): Lock() for s in range(levels) for first, _ in self.bands}
        self._done: set[tuple[int, int, int]] = set()

    def compute(self, *wanted: tuple[int, int, int]) -> None:
        """Compute rows first..last-1 of level s, as far as they are in the image and have not been yet.

        Each of wanted is s, first, last, by s: so threads that wait for one another do not do so in a circle.
        """
        parts = [
            (s, *band)
            for s, first, last in wanted
            for band in self.bands[max(first, 0) // self._rows : -(-last // self._rows)]
        ]
        with ExitStack() as locked:
            for s, begin, _ in parts:
                locked.enter_context(self._locks[s, begin])
            missing = [part for part in parts if part not in self._done]
            if missing:
                across = np.empty(self.polar.shape[3], np.float32)
                _polar_rows(self._octave, np.array(missing), across, self.polar)
                self._done.update(missing)


def resampled(image: NDArray, octave: int) -> NDArray:
    """Image (H, W) float32 as it enters an octave: doubled by linear interpolation, or every 2**octave-th pixel."""
    for _ in range(-octave):
        image = _doubled(
            _doubled(image).T
        ).T  # differs from VLFeat: below octave -1 it mixes up height and width
    if octave > 0:
        height, width = (octave_length(length, octave) << octave for length in image.shape)
        image = image[: height : 1 << octave, : width : 1 << octave]
    return np.ascontiguousarray(image)


def _doubled(image: NDArray) -> NDArray:
    """Rows with the mean of each two neighbours put between them, and the last pixel twice."""
    doubled = np.repeat(image, 2, axis=1)
    doubled[:, 1:-1:2] = np.float32(0.5) * (image[:, :-1] + image[:, 1:])
    return doubled


Filters = tuple[
    NDArray, NDArray
]  # (n, most) float32; (n, 2) int64: each one's radius, and its taps with some zeros


def smooth(image: NDArray, filters: Filters, targets: NDArray, *, threads: int = 1) -> None:
    """Convolve an image (h, w) float32 with filter after filter, along y and along x, into targets (n, h, w)."""
    taps, sizes = filters
    height, width = image.shape

    def band(s: int, end: int, first: int, last: int) -> None:
        source, row = targets[s - 1] if s else image, np.zeros(width + taps.shape[1], np.float32)
        some = taps[s:end], sizes[s:end]
        _smooth_rows(
            source.reshape(-1), height, width, *some, first, last, row, targets[s:end].reshape(end - s, -1)
        )

    if threads == 1:
        band(0, len(targets), 0, height)
        return
    for s in range(len(targets)):
        run(band, ((s, s + 1, *rows) for rows in bands(height, BAND)), threads)


@lru_cache(maxsize=64)
def _level_filters(levels: int) -> Filters:
    """What makes the levels 0 ... levels + 1, each from the one before."""
    return _together(level_taps(levels))


def _together(filters: tuple[NDArray, ...]) -> Filters:
    """Filters of odd lengths side by side, with zeros behind them for whole passes: no sum changes when 0 is added."""
    sizes = np.array([(taps.size // 2, taps.size + -(taps.size - 1) % TOGETHER) for taps in filters])
    together = np.zeros((len(filters), sizes[:, 1].max()), np.float32)
    for row, taps in zip(together, filters, strict=True):
        row[: taps.size] = taps
    return together, sizes


@njit(**INNER)
def _weigh(
    source: NDArray, first: int, last: int, stride: int, taps: NDArray, target: NDArray, at: int, length: int
) -> None:
    """target[at + x] = sum over j of taps[j] * source[x + stride * k], where k is first + j, but within 0 and last."""
    o, n = np.uint64(at), np.uint64(length)  # unsigned: no test for indices below 0
    tap, a = taps[0], np.uint64(max(first, 0) * stride)
    for x in range(n):
        target[o + x] = tap * source[a + x]
    for j in range(1, taps.size, TOGETHER):
        p, q, r, s = taps[j], taps[j + 1], taps[j + 2], taps[j + 3]
        k = first + j
        a = np.uint64(min(max(k, 0), last) * stride)
        b = np.uint64(min(max(k + 1, 0), last) * stride)
        c = np.uint64(min(max(k + 2, 0), last) * stride)
        d = np.uint64(min(max(k + 3, 0), last) * stride)
        for x in range(n):  # runs in vector lanes
            target[o + x] = (
                target[o + x] + p * source[a + x] + q * source[b + x] + r * source[c + x] + s * source[d + x]
            )


@njit(**COMPILE)
def _smooth_rows(
    image: NDArray,
    height: int,
    width: int,
    taps: NDArray,
    sizes: NDArray,
    first: int,
    last: int,
    row: NDArray,
    targets: NDArray,
) -> None:
    """Rows first..last-1 of a flat image, smoothed along y into row, which has room on both sides, then along x.

    With several filters, each is applied to the result of the one before, of which all rows are needed.
    """
    start, step = np.int64(0), np.int64(1)  # not literals, for which _weigh would be compiled once more
    for s in range(targets.shape[0]):
        radius, weights, target = sizes[s, 0], taps[s, : sizes[s, 1]], targets[s]
        for y in range(first, last):
            _weigh(image, y - radius, height - 1, width, weights, row, radius, width)
            left, right = row[radius], row[radius + width - 1]
            for x in range(radius):
                row[x] = left
                row[radius + width + x] = right
            _weigh(row, start, weights.size, step, weights, target, y * width, width)
        image = target


@njit(**COMPILE)
def _polar_rows(octave: NDArray, bands: NDArray, across: NDArray, polar: NDArray) -> None:
    """Gradients of bands (n, 3) of an octave: s and rows first..last-1; across is room for one row."""
    height, width = octave.shape[1], octave.shape[2]
    for band in range(bands.shape[0]):
        s, first, last = bands[band, 0], bands[band, 1], bands[band, 2]
        level, magnitude_and_angle = octave[s + 1], polar[s]
        for y in range(first, last):
            row, above, below = level[y], level[max(y - 1, 0)], level[min(y + 1, height - 1)]
            magnitudes, angles = magnitude_and_angle[0, y], magnitude_and_angle[1, y]
            for x in range(1, width - 1):
                across[x] = scalar.HALF * (row[x + 1] - row[x - 1])
            across[0], across[width - 1] = row[1] - row[0], row[width - 1] - row[width - 2]
            half = scalar.HALF if 0 < y < height - 1 else scalar.ONE
            for x in range(width):  # runs in vector lanes
                dx, dy = across[x], half * (below[x] - above[x])
                magnitudes[x] = _fast_sqrt(dx * dx + dy * dy)
                angles[x] = _mod_2pi(np.float32(_fast_atan2(dy, dx) + scalar.TWO_PI))
