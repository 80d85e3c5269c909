"""The descriptor of a keypoint: 4 x 4 histograms of 8 directions, relative to the keypoint's own.

Source: vl/sift.c (VLFeat 0.9.21), vl_sift_calc_keypoint_descriptor. Each bin's sum runs row by row in float32.
Only samples that can fall into a bin are looked at: each row's, between the sides of the rotated square, come first
into a list, and the list's shares are added up when it is full.

Conventions: direction fastest, then x, then y, both along the keypoint's own axes; places and values of keypoints as
`kernels.sift.cpu.detect` has them; gradients (levels, 2, h, w). Bins lie in an 8 x 8 grid: the inner 4 x 4 are the
descriptor's, the others take what falls beside it.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.compiling import COMPILE, INLINE, INNER
from kernels.sift import scalar

LIST = 256  # samples that are shared out at a time
GRID = 8  # spatial bins along a side, four of them to spare
NEXT_X, NEXT_Y = np.uint64(scalar.ANGLE_BINS), np.uint64(GRID * scalar.ANGLE_BINS)
LEAST, MOST = np.float32(-GRID // 2), np.float32(GRID // 2 - 2)
STRIDE_X, STRIDE_Y = np.float32(NEXT_X), np.float32(NEXT_Y)
MIDDLE = np.float32(GRID // 2 * (NEXT_X + NEXT_Y))
LAST_ANGLE, ONE = np.int32(scalar.ANGLE_BINS - 1), np.int32(1)
REACH = (scalar.SPATIAL_BINS + 1) / 2  # spatial bins from the centre to where no bin begins
SLACK = 1e-3  # pixels that the sides of the square may be off
NEVER_0 = 1e-12
EXP_TABLE = scalar.EXP_TABLE

_fast_exp = njit(**INLINE)(scalar.fast_exp)
_fast_sqrt = njit(**INLINE)(scalar.fast_sqrt)
_mod_2pi = njit(**INLINE)(scalar.mod_2pi)
_angle_position = njit(**INLINE)(scalar.angle_position)
_descriptor_radius = njit(**INNER)(scalar.descriptor_radius)


def descriptors(
    gradients: NDArray,
    places: NDArray,
    values: NDArray,
    owners: NDArray,
    angles: NDArray,
    index: int,
    settings: tuple[float, float, float],
    *,
    unit: float = 1.0,
    largest: float = math.inf,
) -> NDArray:
    """Descriptors (N, 128) float32 of length `unit` of keypoints (K, 3) of octave `index`, by owners and angles (N,).

    settings are norm_thresh, magnif and window_size; entries above `largest` become it. A keypoint that is rounded to
    the last row has none: zeros.
    """
    result = np.empty((len(owners), scalar.DESCRIPTOR_SIZE), np.float32)
    norm_thresh, magnif, window_size = settings
    room = LIST + gradients.shape[3]
    samples, cells = np.empty((9, room), np.float32), np.empty((2, room), np.uint32)
    numbers = (
        2.0**index,
        norm_thresh,
        magnif,
        float(np.float32(window_size)),
        np.float32(unit),
        np.float32(largest),
    )
    _describe(gradients, places, values, owners, angles, *numbers, samples, cells, result)
    return result


@njit(**INNER)
def _locate(
    magnitudes: NDArray,
    angles: NDArray,
    first: int,
    length: int,
    x: float,
    dy: float,
    sine: float,
    cosine: float,
    angle: float,
    bin_width: float,
    per_spread: float,
    count: int,
    samples: NDArray,
) -> None:
    """List samples of a row: their places along the keypoint's axes and among its directions, and their weights."""
    along_x, along_y, directions, weights = samples[0], samples[1], samples[2], samples[3]
    source, target = np.uint64(first), np.uint64(count)
    ahead, aside = sine * dy, cosine * dy
    for i in range(np.uint64(length)):  # runs in vector lanes
        dx = np.float64(np.float32(np.float64(np.int32(i)) + (first - x)))
        u = np.float32((cosine * dx + ahead) / bin_width)
        v = np.float32((aside - sine * dx) / bin_width)
        turn = _mod_2pi(np.float32(angles[source + i] - angle))
        along_x[target + i] = u
        along_y[target + i] = v
        directions[target + i] = _angle_position(turn)
        window = np.float32(_fast_exp(np.float64(u * u + v * v) * per_spread, EXP_TABLE))
        weights[target + i] = window * magnitudes[source + i]


@njit(**INNER)
def _share(count: int, samples: NDArray, cells: NDArray) -> None:
    """Find the first bins of listed samples, in two neighbouring directions, and their shares of four places."""
    along_x, along_y, directions, weights = samples[0], samples[1], samples[2], samples[3]
    parts_00, parts_01, parts_10, parts_11, turns = samples[4], samples[5], samples[6], samples[7], samples[8]
    bins, next_bins = cells[0], cells[1]
    for i in range(np.uint64(count)):  # runs in vector lanes
        u, v, direction, weight = along_x[i], along_y[i], directions[i], weights[i]
        bin_x, bin_y, bin_t = np.floor(u - scalar.HALF), np.floor(v - scalar.HALF), np.floor(direction)
        share_x, share_y = u - (bin_x + scalar.HALF), v - (bin_y + scalar.HALF)
        cell = min(max(bin_x, LEAST), MOST) * STRIDE_X + min(max(bin_y, LEAST), MOST) * STRIDE_Y + MIDDLE
        first = np.int32(bin_t)
        bins[i] = np.int32(cell) + (first & LAST_ANGLE)
        next_bins[i] = np.int32(cell) + ((first + ONE) & LAST_ANGLE)
        left, right = weight * abs(scalar.ONE - share_x), weight * abs(share_x)
        upper, lower = abs(scalar.ONE - share_y), abs(share_y)
        parts_00[i], parts_01[i] = left * upper, left * lower
        parts_10[i], parts_11[i] = right * upper, right * lower
        turns[i] = direction - bin_t


@njit(**INNER)
def _add(count: int, samples: NDArray, cells: NDArray, histogram: NDArray) -> None:
    """Add listed samples to their eight bins."""
    parts_00, parts_01, parts_10, parts_11, turns = samples[4], samples[5], samples[6], samples[7], samples[8]
    bins, next_bins = cells[0], cells[1]
    for i in range(np.uint64(count)):
        here, ahead = np.uint64(bins[i]), np.uint64(next_bins[i])
        near, far = abs(scalar.ONE - turns[i]), abs(turns[i])
        histogram[here] += parts_00[i] * near
        histogram[ahead] += parts_00[i] * far
        histogram[here + NEXT_Y] += parts_01[i] * near
        histogram[ahead + NEXT_Y] += parts_01[i] * far
        histogram[here + NEXT_X] += parts_10[i] * near
        histogram[ahead + NEXT_X] += parts_10[i] * far
        histogram[here + (NEXT_X + NEXT_Y)] += parts_11[i] * near
        histogram[ahead + (NEXT_X + NEXT_Y)] += parts_11[i] * far


@njit(**INNER)
def _gather(
    gradients: NDArray,
    level: int,
    x: float,
    y: float,
    bin_width: float,
    angle: float,
    per_spread: float,
    samples: NDArray,
    cells: NDArray,
    histogram: NDArray,
) -> None:
    """Histograms (8, 8, 8), flat, around (x, y), all in samples of the octave."""
    height, width = gradients.shape[2], gradients.shape[3]
    centre_x, centre_y = int(x + 0.5), int(y + 0.5)
    sine, cosine = math.sin(angle), math.cos(angle)
    radius = _descriptor_radius(bin_width)
    left, right = max(centre_x - radius, 1), min(centre_x + radius, width - 2)
    steep, flat = (
        math.copysign(max(abs(cosine), NEVER_0), cosine),
        math.copysign(max(abs(sine), NEVER_0), sine),
    )
    half_1, half_2 = REACH * bin_width / abs(steep), REACH * bin_width / abs(flat)
    for i in range(histogram.size):
        histogram[i] = scalar.ZERO
    count = np.int64(0)  # not a literal, for which all would be compiled once more
    for row in range(max(centre_y - radius, 1), min(centre_y + radius, height - 2) + 1):
        dy = np.float64(np.float32(row - y))
        middle_1, middle_2 = x - dy * sine / steep, x + dy * cosine / flat
        begin = max(middle_1 - half_1, middle_2 - half_2, left + 0.0) - SLACK
        end = min(middle_1 + half_1, middle_2 + half_2, right + 0.0) + SLACK
        first = math.ceil(begin)
        length = math.floor(end) + 1 - first
        if length < 1:
            continue
        length = min((length + 3) & -4, right + 1 - first)  # more, if there are, to fill vector lanes
        if count + length > LIST and count > 0:
            _share(count, samples, cells)
            _add(count, samples, cells, histogram)
            count = np.int64(0)
        _locate(
            gradients[level, 0, row],
            gradients[level, 1, row],
            first,
            length,
            x,
            dy,
            sine,
            cosine,
            angle,
            bin_width,
            per_spread,
            count,
            samples,
        )
        count += length
    _share(count, samples, cells)
    _add(count, samples, cells, histogram)


@njit(**INNER)
def _normalise(descriptor: NDArray) -> np.float32:
    """Scale a descriptor to unit length, in place; returns the length it had."""
    total = scalar.ZERO
    for i in range(descriptor.size):
        total += descriptor[i] * descriptor[i]
    length = _fast_sqrt(total) + scalar.EPSILON_F
    for i in range(descriptor.size):
        descriptor[i] /= length
    return length


@njit(**COMPILE)
def _describe(
    gradients: NDArray,
    places: NDArray,
    values: NDArray,
    owners: NDArray,
    angles: NDArray,
    spacing: float,
    norm_thresh: float,
    magnif: float,
    window_size: float,
    unit: np.float32,
    largest: np.float32,
    samples: NDArray,
    cells: NDArray,
    descriptors: NDArray,
) -> None:
    """Descriptors of keypoints; samples (9, n) and cells (2, n) are room for the list."""
    histogram = np.empty(GRID * GRID * scalar.ANGLE_BINS, np.float32)
    per_spread = 1 / (
        2.0 * window_size * window_size
    )  # exact where window_size is a power of two, as by default
    side = scalar.SPATIAL_BINS
    for n in range(owners.shape[0]):
        k, descriptor = owners[n], descriptors[n]
        x, y, sigma = values[k, 0] / spacing, values[k, 1] / spacing, values[k, 2] / spacing
        exists = int(y + 0.5) < gradients.shape[2] - 1  # differs from VLFeat: it leaves the memory as it was
        if exists:
            bin_width = magnif * sigma + scalar.EPSILON
            _gather(
                gradients, places[k, 2], x, y, bin_width, angles[n], per_spread, samples, cells, histogram
            )
            for i in range(scalar.DESCRIPTOR_SIZE):
                bin_y, rest = divmod(i, side * scalar.ANGLE_BINS)
                inner = (bin_y + side // 2) * GRID * scalar.ANGLE_BINS + side // 2 * scalar.ANGLE_BINS + rest
                descriptor[i] = histogram[inner]
            length = _normalise(descriptor)
            exists = norm_thresh == 0 or length >= norm_thresh
        for i in range(scalar.DESCRIPTOR_SIZE):
            descriptor[i] = min(descriptor[i], scalar.CLAMP_F) if exists else scalar.ZERO
        if exists:
            _normalise(descriptor)
            for i in range(scalar.DESCRIPTOR_SIZE):
                descriptor[i] = min(unit * descriptor[i], largest)
