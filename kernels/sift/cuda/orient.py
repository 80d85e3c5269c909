"""The one to four directions of each keypoint of a batch, on the GPU.

Source: as kernels/sift/cpu/orient.py, whose bits this kernel gives.
Conventions: places and values as in `detect`; gradients as in `scale_space`.
"""

from typing import Any

import numpy as np
from numba import cuda

from kernels import backend, launch
from kernels.sift import scalar

BINS = scalar.ORIENTATION_BINS
TILE = 64  # samples that a block looks at together, one a thread; at least as many threads as bins
MOST = scalar.MOST_ORIENTATIONS

_fast_exp = launch.device(scalar.fast_exp)
_floor = launch.device(scalar.floor)
_smooth_histogram = launch.device(scalar.smooth_histogram)
_peaks = launch.device(scalar.peaks)


def orientations(gradients: Any, places: Any, values: Any, index: int) -> tuple[Any, Any]:
    """Directions of the keypoints of octave `index`.

    Returns
    -------
    angles : (K, 4) float64 array
    which : (F,) int64 array
        Flat indices of those that were found, increasing.
    """
    device, count = backend.device(), len(places)
    angles, found = device.empty((count, MOST), np.float64), device.empty((count, MOST), np.uint8)
    table = device.put(scalar.EXP_TABLE)
    launch.launch(
        orient, (count,), (TILE,), gradients, places, values, np.float64(2.0**index), table, angles, found
    )
    return angles, np.flatnonzero(found)


@launch.kernel
def orient(
    gradients: Any, places: Any, values: Any, spacing: float, table: Any, angles: Any, found: Any
) -> None:
    """One block a keypoint: its threads weigh a tile of samples together, then each bin's thread adds in their order.

    Per sample: 8 bytes read from memory, or from the cache where keypoints lie close; 60 operations, most in float64,
    and two comparisons for each of 36 bins. So arithmetic is the limit, not memory.
    """
    lower_bins = cuda.shared.array(TILE, np.int32)
    upper_bins = cuda.shared.array(TILE, np.int32)
    lower_parts = cuda.shared.array(TILE, np.float64)
    upper_parts = cuda.shared.array(TILE, np.float64)
    histogram = cuda.shared.array(BINS, np.float64)
    k, me = cuda.blockIdx.x, cuda.threadIdx.x
    level, n = places[k, 2], places[k, 3]
    height, width = gradients.shape[3], gradients.shape[4]
    x, y = np.float64(values[k, 0]) / spacing, np.float64(values[k, 1]) / spacing
    sigma_window = scalar.ORIENTATION_WINDOW * (np.float64(values[k, 2]) / spacing)
    centre_x, centre_y, radius = int(x + 0.5), int(y + 0.5), max(int(3.0 * sigma_window), 1)
    left, top = max(centre_x - radius, 0), max(centre_y - radius, 0)
    wide = min(centre_x + radius, width - 1) + 1 - left
    samples = (min(centre_y + radius, height - 1) + 1 - top) * wide
    total = 0.0
    for start in range(0, samples, TILE):
        i = start + me
        if i < samples:
            row, column = top + i // wide, left + i % wide
            dx, dy = column - x, row - y
            distance = dx * dx + dy * dy
            weight = 0.0
            if distance < radius * radius + 0.6:
                weight = _fast_exp(distance / (2 * sigma_window * sigma_window), table)
            magnitude = np.float64(gradients[n, level, 0, row, column])
            position = BINS * np.float64(gradients[n, level, 1, row, column]) / scalar.TWO_PI
            lower = _floor(position - 0.5)
            share = position - lower - 0.5
            lower_bins[me] = lower if lower >= 0 else BINS - 1
            upper_bins[me] = lower + 1 if lower < BINS - 1 else 0
            lower_parts[me] = (1 - share) * magnitude * weight
            upper_parts[me] = share * magnitude * weight
        cuda.syncthreads()
        if me < BINS:
            for j in range(min(TILE, samples - start)):
                if lower_bins[j] == me:
                    total += lower_parts[j]
                if upper_bins[j] == me:
                    total += upper_parts[j]
        cuda.syncthreads()
    if me < BINS:
        histogram[me] = total
    cuda.syncthreads()
    if me == 0:
        for _ in range(scalar.SMOOTHINGS):
            _smooth_histogram(histogram)
        count = _peaks(histogram, angles[k])
        for i in range(MOST):
            found[k, i] = 1 if i < count else 0
