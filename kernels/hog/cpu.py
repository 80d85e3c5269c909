"""HOG on the CPU: Numba kernels over one contiguous image, float32 throughout.

Source: vl/hog.c (VLFeat 0.9.21), vl_hog_put_image and vl_hog_extract. The order of the sums is ours: the bilinear
shares are taken along x first, then along y, and each row of cells gathers its pixel rows from top to bottom.
No sum depends on how the rows of cells are split, so any number of threads gives the same bits.

Conventions: image (H, W); features (31, H', W'); energy (H', W'). Cells outside the grid, one on either side, take what
falls there, so a padded row of cells is (W' + 2, 18). The strip j of an axis reaches from the centre of cell j - 1
to the centre of cell j: all its pixels share these two cells (`kernels.hog.strips`).
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.compiling import COMPILE, INLINE, INNER
from kernels.hog import scalar

ORIENTATIONS = scalar.ORIENTATIONS
DIRECTED = 2 * ORIENTATIONS
ZERO = scalar.ZERO

_magnitude = njit(**INLINE)(scalar.magnitude)
_direction = njit(**INLINE)(scalar.direction)
_clamped = njit(**INLINE)(scalar.clamped)
_block_factor = njit(**INLINE)(scalar.block_factor)


@njit(**INNER)
def _polar_row(image: NDArray, y: int, magnitudes: NDArray, directions: NDArray) -> None:
    """Gradients of one image row, as magnitude and bin."""
    above, row, below = image[y - 1], image[y], image[y + 1]
    for x in range(1, row.size - 1):  # runs in vector lanes
        dx = np.float32(row[x + 1]) - np.float32(row[x - 1])
        dy = np.float32(below[x]) - np.float32(above[x])
        magnitudes[x] = _magnitude(dx, dy)
        directions[x] = np.int32(_direction(dx, dy))


@njit(**INNER)
def _pool_row(
    magnitudes: NDArray, directions: NDArray, starts: NDArray, weights: NDArray, cells: NDArray
) -> None:
    """Share one image row out among the cells along x; cells (W' + 2, 18) is overwritten."""
    cells[:] = ZERO
    for strip in range(starts.size - 1):
        left, right = cells[strip], cells[strip + 1]
        for x in range(np.uint64(starts[strip]), np.uint64(starts[strip + 1])):  # unsigned: no test for x < 0
            k = directions[x]
            left[k] += magnitudes[x] * weights[x, 0]
            right[k] += magnitudes[x] * weights[x, 1]


@njit(**INNER)
def _store_row(cells: NDArray, y: int, features: NDArray, energy: NDArray) -> None:
    """Put one finished, flat row of cells into features[:18, y], and the cells' energies into energy[y]."""
    totals = energy[y]
    totals[:] = ZERO
    for k in range(ORIENTATIONS):
        ahead, behind = features[k, y], features[k + ORIENTATIONS, y]
        for x in range(totals.size):
            ahead[x] = cells[(x + 1) * DIRECTED + k]
            behind[x] = cells[(x + 1) * DIRECTED + k + ORIENTATIONS]
            undirected = ahead[x] + behind[x]
            totals[x] += undirected * undirected


@njit(**COMPILE)
def histograms(
    image: NDArray,
    columns: tuple[NDArray, NDArray],
    rows: tuple[NDArray, NDArray],
    first: int,
    last: int,
    features: NDArray,
    energy: NDArray,
) -> None:
    """Raw directed histograms of the cell rows first..last-1 into features[:18], their energies into energy.

    columns and rows are the `strips` of the two axes. Strip y is the lower part of cell row y - 1 and the upper part
    of cell row y; the first one only serves cell row `first`, the last one only cell row last - 1.
    """
    starts_x, weights_x = columns
    starts_y, weights_y = rows
    magnitudes = np.empty(image.shape[1], np.float32)
    directions = np.empty(image.shape[1], np.uint32)
    row_cells = np.empty((energy.shape[1] + 2, DIRECTED), np.float32)
    row = row_cells.reshape(row_cells.size)
    done, begun = np.empty_like(row), np.zeros_like(row)
    for strip in range(first, last + 1):
        done, begun = begun, done
        begun[:] = ZERO
        for y in range(starts_y[strip], starts_y[strip + 1]):
            _polar_row(image, y, magnitudes, directions)
            _pool_row(magnitudes, directions, starts_x, weights_x, row_cells)
            for i in range(row.size):
                done[i] += weights_y[y, 0] * row[i]
                begun[i] += weights_y[y, 1] * row[i]
        if strip > first:
            _store_row(done, strip - 1, features, energy)


@njit(**INNER)
def _factor_row(energy: NDArray, block_y: int, factors: NDArray) -> None:
    """Factors of one row of 2 x 2 blocks; beyond the border the nearest cell counts again."""
    height, width = energy.shape
    upper, lower = energy[max(block_y - 1, 0)], energy[min(block_y, height - 1)]
    for x in range(width + 1):
        left, right = max(x - 1, 0), min(x, width - 1)
        factors[x] = _block_factor(upper[left], upper[right], lower[left], lower[right])


@njit(**INNER)
def _normalise_row(upper: NDArray, lower: NDArray, features: NDArray, y: int, k: int) -> None:
    """One orientation of one row of cells: both directions, the undirected entry, its share of the four textures."""
    ahead, behind, both = features[k, y], features[k + ORIENTATIONS, y], features[k + 2 * ORIENTATIONS, y]
    t1, t2, t3, t4 = features[27, y], features[28, y], features[29, y], features[30, y]
    for x in range(ahead.size):  # runs in vector lanes
        f1, f2, f3, f4 = upper[x], upper[x + 1], lower[x], lower[x + 1]
        a, b = ahead[x], behind[x]
        a1, a2, a3, a4 = f1 * a, f2 * a, f3 * a, f4 * a
        b1, b2, b3, b4 = f1 * b, f2 * b, f3 * b, f4 * b
        c1, c2, c3, c4 = _clamped(a1 + b1), _clamped(a2 + b2), _clamped(a3 + b3), _clamped(a4 + b4)
        ahead[x] = scalar.HALF * (_clamped(a1) + _clamped(a2) + _clamped(a3) + _clamped(a4))
        behind[x] = scalar.HALF * (_clamped(b1) + _clamped(b2) + _clamped(b3) + _clamped(b4))
        both[x] = scalar.HALF * (c1 + c2 + c3 + c4)
        t1[x] += scalar.TEXTURE * c1
        t2[x] += scalar.TEXTURE * c2
        t3[x] += scalar.TEXTURE * c3
        t4[x] += scalar.TEXTURE * c4


@njit(**COMPILE)
def normalise(energy: NDArray, first: int, last: int, features: NDArray) -> None:
    """Turn the raw histograms in features[:18] into all 31 channels, in place, for the cell rows first..last-1."""
    upper, lower = np.empty(energy.shape[1] + 1, np.float32), np.empty(energy.shape[1] + 1, np.float32)
    _factor_row(energy, first, lower)
    for y in range(first, last):
        upper, lower = lower, upper
        _factor_row(energy, y + 1, lower)
        for texture in range(3 * ORIENTATIONS, features.shape[0]):
            features[texture, y, :] = ZERO
        for k in range(ORIENTATIONS):
            _normalise_row(upper, lower, features, y, k)
