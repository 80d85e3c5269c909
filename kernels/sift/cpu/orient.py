"""The one to four directions of a keypoint.

Source: vl/sift.c (VLFeat 0.9.21), vl_sift_calc_keypoint_orientations; sums in float64, row by row.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.sift import scalar

COMPILE = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
}  # and no fastmath: it changes sums and comparisons
BINS = scalar.ORIENTATION_BINS

_fast_exp = njit(**COMPILE)(scalar.fast_exp)
_floor = njit(**COMPILE)(scalar.floor)
_smooth_histogram = njit(**COMPILE)(scalar.smooth_histogram)
_peak_angle = njit(**COMPILE)(scalar.peak_angle)


@njit(**COMPILE)
def gather(
    magnitudes: NDArray, angles: NDArray, x: float, y: float, sigma: float, table: NDArray, histogram: NDArray
) -> None:
    """Histogram (36,) float64 of the directions around a keypoint, all in samples of the octave; overwritten."""
    height, width = magnitudes.shape
    centre_x, centre_y = int(x + 0.5), int(y + 0.5)
    sigma_window = scalar.ORIENTATION_WINDOW * sigma
    radius = max(int(3.0 * sigma_window), 1)
    histogram[:] = 0.0
    for row in range(max(centre_y - radius, 0), min(centre_y + radius, height - 1) + 1):
        dy = row - y
        for column in range(max(centre_x - radius, 0), min(centre_x + radius, width - 1) + 1):
            dx = column - x
            distance_2 = dx * dx + dy * dy
            if distance_2 >= radius * radius + 0.6:
                continue
            weight = _fast_exp(distance_2 / (2 * sigma_window * sigma_window), table)
            magnitude = np.float64(magnitudes[row, column])
            position = BINS * np.float64(angles[row, column]) / scalar.TWO_PI
            bin_ = _floor(position - 0.5)
            share = position - bin_ - 0.5
            histogram[bin_ if bin_ >= 0 else BINS - 1] += (1 - share) * magnitude * weight
            histogram[bin_ + 1 if bin_ < BINS - 1 else 0] += share * magnitude * weight


@njit(**COMPILE)
def peaks(histogram: NDArray, angles: NDArray) -> int:
    """Directions of the peaks that reach 80 % of the highest, into angles (4,); returns how many."""
    highest = 0.0
    for i in range(BINS):
        highest = max(highest, histogram[i])
    count = 0
    for i in range(BINS):
        here = histogram[i]
        before, after = histogram[i - 1 if i > 0 else BINS - 1], histogram[i + 1 if i < BINS - 1 else 0]
        if here > 0.8 * highest and here > before and here > after and count < scalar.MOST_ORIENTATIONS:
            angles[count] = _peak_angle(i, before, here, after)
            count += 1
    return count


@njit(**COMPILE)
def orientations(
    gradients: NDArray,
    places: NDArray,
    values: NDArray,
    index: int,
    table: NDArray,
    angles: NDArray,
    counts: NDArray,
) -> None:
    """Directions of the keypoints of octave `index`: angles (K, 4) float64, and how many of them, (K,) int32.

    gradients (levels, 2, h, w); places (K, 3) and values (K, 3) as `detect.refine` leaves them.
    """
    spacing = 2.0**index
    histogram = np.empty(BINS, np.float64)
    for k in range(len(places)):
        magnitude, angle = gradients[places[k, 2], 0], gradients[places[k, 2], 1]
        x, y, sigma = values[k, 0] / spacing, values[k, 1] / spacing, values[k, 2] / spacing
        gather(magnitude, angle, x, y, sigma, table, histogram)
        for _ in range(scalar.SMOOTHINGS):
            _smooth_histogram(histogram)
        counts[k] = peaks(histogram, angles[k])
