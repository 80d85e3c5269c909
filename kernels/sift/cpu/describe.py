"""The descriptor of a keypoint: 4 x 4 histograms of 8 directions, relative to the keypoint's own.

Source: vl/sift.c (VLFeat 0.9.21), vl_sift_calc_keypoint_descriptor. Each bin's sum runs row by row in float32.
Conventions: direction fastest, then x, then y, both along the keypoint's own axes.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.sift import scalar

COMPILE = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
}  # and no fastmath: it changes sums and comparisons

_fast_exp = njit(**COMPILE)(scalar.fast_exp)
_fast_sqrt = njit(**COMPILE)(scalar.fast_sqrt)
_floor = njit(**COMPILE)(scalar.floor)
_mod_2pi = njit(**COMPILE)(scalar.mod_2pi)
_descriptor_radius = njit(**COMPILE)(scalar.descriptor_radius)


@njit(**COMPILE)
def gather(
    magnitudes: NDArray,
    angles: NDArray,
    x: float,
    y: float,
    sigma: float,
    angle: float,
    magnif: float,
    window_size: float,
    table: NDArray,
    bins: NDArray,
) -> None:
    """Histograms (6, 6, 8) float32 around a keypoint, all in samples of the octave; the outermost bins are spill."""
    height, width = magnitudes.shape
    centre_x, centre_y = int(x + 0.5), int(y + 0.5)
    sine, cosine = math.sin(angle), math.cos(angle)
    bin_width = magnif * sigma + scalar.EPSILON
    radius = _descriptor_radius(bin_width)
    window_f = np.float32(window_size)
    spread = 2.0 * window_f * window_f
    bins[:] = scalar.ZERO
    for row in range(max(centre_y - radius, 1), min(centre_y + radius, height - 2) + 1):
        dy = np.float32(row - y)
        for column in range(max(centre_x - radius, 1), min(centre_x + radius, width - 2) + 1):
            dx = np.float32(column - x)
            along_x = np.float32((cosine * dx + sine * dy) / bin_width)
            along_y = np.float32((-sine * dx + cosine * dy) / bin_width)
            if not (abs(along_x) < 3 and abs(along_y) < 3):
                continue
            bin_x = _floor(np.float32(along_x - 0.5))
            bin_y = _floor(np.float32(along_y - 0.5))
            if bin_x < -3 or bin_x > 1 or bin_y < -3 or bin_y > 1:
                continue
            turn = _mod_2pi(np.float32(angles[row, column] - angle))
            direction = np.float32(np.float32(8) * turn / scalar.TWO_PI)
            bin_t = _floor(direction)
            window = np.float32(_fast_exp((along_x * along_x + along_y * along_y) / spread, table))
            share_x = np.float32(along_x - (bin_x + 0.5))
            share_y = np.float32(along_y - (bin_y + 0.5))
            share_t = direction - np.float32(bin_t)
            weight = window * magnitudes[row, column]
            for i in range(2):
                weight_x = weight * abs(np.float32(1 - i) - share_x)
                for j in range(2):
                    weight_y = weight_x * abs(np.float32(1 - j) - share_y)
                    for k in range(2):
                        part = weight_y * abs(np.float32(1 - k) - share_t)
                        bins[bin_y + j + 3, bin_x + i + 3, (bin_t + k) & 7] += part


@njit(**COMPILE)
def normalise(descriptor: NDArray) -> np.float32:
    """Scale a descriptor to unit length, in place; returns the length it had."""
    total = scalar.ZERO
    for i in range(descriptor.size):
        total += descriptor[i] * descriptor[i]
    length = _fast_sqrt(total) + scalar.EPSILON_F
    for i in range(descriptor.size):
        descriptor[i] /= length
    return length


@njit(**COMPILE)
def describe(
    gradients: NDArray,
    places: NDArray,
    values: NDArray,
    angles: NDArray,
    index: int,
    settings: tuple[float, float, float],
    table: NDArray,
    descriptors: NDArray,
) -> None:
    """Descriptors (K, 128) float32 of unit length of the keypoints of octave `index`, each with one angle (K,) float64.

    gradients (levels, 2, h, w); places (K, 3), values (K, 3) as `detect.refine` leaves them, repeated for each angle;
    settings: norm_thresh, magnif, window_size.
    """
    norm_thresh, magnif, window_size = settings
    spacing = 2.0**index
    bins = np.empty((6, 6, 8), np.float32)
    for k in range(len(places)):
        magnitude, angle = gradients[places[k, 2], 0], gradients[places[k, 2], 1]
        x, y, sigma = values[k, 0] / spacing, values[k, 1] / spacing, values[k, 2] / spacing
        descriptor = descriptors[k]
        if int(y + 0.5) >= magnitude.shape[0] - 1:  # the reference leaves memory as it was
            descriptor[:] = scalar.ZERO
            continue
        gather(magnitude, angle, x, y, sigma, angles[k], magnif, window_size, table, bins)
        descriptor.reshape((4, 4, 8))[:] = bins[1:5, 1:5]
        length = normalise(descriptor)
        if norm_thresh != 0 and length < norm_thresh:
            descriptor[:] = scalar.ZERO
            continue
        for i in range(descriptor.size):
            if descriptor[i] > scalar.CLAMP:
                descriptor[i] = scalar.CLAMP_F
        normalise(descriptor)
