"""The one to four directions of a keypoint.

Source: vl/sift.c (VLFeat 0.9.21), vl_sift_calc_keypoint_orientations. Each bin's sum runs row by row in float64.
Conventions: places and values of keypoints as `kernels.sift.cpu.detect` has them; gradients (levels, 2, h, w).
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.compiling import COMPILE, INLINE, INNER
from kernels.sift import scalar

BINS = scalar.ORIENTATION_BINS
SLACK = 1e-3  # pixels that the circle may be off
EXP_TABLE = scalar.EXP_TABLE

_fast_exp = njit(**INLINE)(scalar.fast_exp)
_smooth_histogram = njit(**INNER)(scalar.smooth_histogram)
_peaks = njit(**INNER)(scalar.peaks)


def orientations(gradients: NDArray, places: NDArray, values: NDArray, index: int) -> tuple[NDArray, NDArray]:
    """Directions of the keypoints (K, 3) of octave `index`, up to four for each.

    Returns
    -------
    owners : (N,) int32 array
        Whose, in order.
    angles : (N,) float64 array
        In [0, 2 pi), for each keypoint in the order of the histogram's bins.
    """
    width, most = gradients.shape[3], scalar.MOST_ORIENTATIONS * len(places)
    bins, parts = np.empty((2, width), np.uint32), np.empty((2, width))
    owners, angles = np.empty(most, np.int32), np.empty(most)
    count = _orient(gradients, places, values, 2.0**index, bins, parts, owners, angles)
    return owners[:count], angles[:count]


@njit(**INNER)
def _share(
    magnitudes: NDArray,
    angles: NDArray,
    first: int,
    length: int,
    x: float,
    dy: float,
    farthest: float,
    spread: float,
    bins: NDArray,
    parts: NDArray,
) -> None:
    """The two bins of each of `length` samples of a row, and its shares of them; 0 outside the circle."""
    lower_bins, upper_bins, lower_parts, upper_parts = bins[0], bins[1], parts[0], parts[1]
    offset = np.uint64(first)
    for i in range(np.uint64(length)):  # runs in vector lanes
        dx = np.float64(np.int32(i)) + (first - x)
        distance = dx * dx + dy * dy
        position = BINS * np.float64(angles[offset + i]) / scalar.TWO_PI
        lower = np.floor(position - 0.5)
        share = position - lower - 0.5
        weight = _fast_exp(distance / spread, EXP_TABLE)
        weight = weight if distance < farthest else 0.0
        magnitude = np.float64(magnitudes[offset + i])
        bin_ = np.int32(lower)
        lower_bins[i] = bin_ if bin_ >= 0 else BINS - 1
        upper_bins[i] = bin_ + 1 if bin_ < BINS - 1 else 0
        lower_parts[i] = (1 - share) * magnitude * weight
        upper_parts[i] = share * magnitude * weight


@njit(**INNER)
def _gather(
    gradients: NDArray,
    level: int,
    x: float,
    y: float,
    sigma: float,
    bins: NDArray,
    parts: NDArray,
    histogram: NDArray,
) -> None:
    """Histogram (36,) float64 of the directions around (x, y), all in samples of the octave."""
    height, width = gradients.shape[2], gradients.shape[3]
    centre_y = int(y + 0.5)
    sigma_window = scalar.ORIENTATION_WINDOW * sigma
    radius = max(int(3.0 * sigma_window), 1)
    spread, farthest = 2 * sigma_window * sigma_window, radius * radius + 0.6
    for i in range(BINS):
        histogram[i] = 0.0
    for row in range(max(centre_y - radius, 0), min(centre_y + radius, height - 1) + 1):
        dy = row - y
        half = math.sqrt(max(farthest - dy * dy, 0.0)) + SLACK
        first, last = max(math.ceil(x - half), 0), min(math.floor(x + half), width - 1)
        length = min((last - first + 4) & -4, width - first)  # more, if there are, to fill vector lanes
        magnitudes, angles = gradients[level, 0, row], gradients[level, 1, row]
        _share(magnitudes, angles, first, length, x, dy, farthest, spread, bins, parts)
        for i in range(np.uint64(length)):
            histogram[bins[0, i]] += parts[0, i]
            histogram[bins[1, i]] += parts[1, i]


@njit(**COMPILE)
def _orient(
    gradients: NDArray,
    places: NDArray,
    values: NDArray,
    spacing: float,
    bins: NDArray,
    parts: NDArray,
    owners: NDArray,
    angles: NDArray,
) -> int:
    """Directions of keypoints, returns how many; bins (2, w) and parts (2, w) are room for the samples of a row."""
    histogram = np.empty(BINS, np.float64)
    count = 0
    for k in range(places.shape[0]):
        x, y, sigma = values[k, 0] / spacing, values[k, 1] / spacing, values[k, 2] / spacing
        _gather(gradients, places[k, 2], x, y, sigma, bins, parts, histogram)
        for _ in range(scalar.SMOOTHINGS):
            _smooth_histogram(histogram)
        for _ in range(_peaks(histogram, angles[count:])):
            owners[count] = k
            count += 1
    return count
