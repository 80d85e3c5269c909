"""HOG on the CPU: Numba kernels over one contiguous image, float32 throughout.

Source: vl/hog.c (VLFeat 0.9.21), vl_hog_put_image and vl_hog_extract. The order of work is ours:
the image is cut along the cell centres into blocks, so that all pixels of a block share the same four cells.
Each block sums its pixels alone, each cell then gathers its part of the four blocks around it. No sum depends
on how the rows are split, so any number of threads gives the same bits.

Conventions: image (H, W); features (31, H', W'); blocks (W' + 1, 18, 4), the last axis being the block's
upper left, upper right, lower left and lower right cell. Block j reaches from the centre of cell j - 1 to that of j.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.hog import scalar

DIRECTED = 2 * scalar.ORIENTATIONS
COMPILE = {"nogil": True, "cache": True, "error_model": "numpy"}

_magnitude = njit(inline="always")(scalar.magnitude)
_direction = njit(inline="always")(scalar.direction)
_clamped = njit(inline="always")(scalar.clamped)
_block_factor = njit(inline="always")(scalar.block_factor)


@njit(**COMPILE)
def _polar_row(
    above: NDArray, row: NDArray, below: NDArray, magnitudes: NDArray, directions: NDArray
) -> None:
    """Gradient of one image row as magnitude and bin; this loop runs in vector lanes."""
    for x in range(1, row.size - 1):
        dx = np.float32(row[x + 1]) - np.float32(row[x - 1])
        dy = np.float32(below[x]) - np.float32(above[x])
        magnitudes[x] = _magnitude(dx, dy)
        directions[x] = np.int32(_direction(dx, dy))


@njit(**COMPILE)
def _add_row(
    magnitudes: NDArray,
    directions: NDArray,
    weights_x: NDArray,
    upper: np.float32,
    lower: np.float32,
    starts: NDArray,
    blocks: NDArray,
) -> None:
    """Add one image row to its row of blocks."""
    for block in range(starts.size - 1):
        histogram = blocks[block]
        for x in range(starts[block], starts[block + 1]):
            left, right = magnitudes[x] * weights_x[x, 0], magnitudes[x] * weights_x[x, 1]
            cells = histogram[directions[x]]
            cells[0] += left * upper
            cells[1] += right * upper
            cells[2] += left * lower
            cells[3] += right * lower


@njit(**COMPILE)
def _fill_blocks(
    image: NDArray,
    block_y: int,
    x_table: tuple[NDArray, NDArray],
    y_table: tuple[NDArray, NDArray],
    magnitudes: NDArray,
    directions: NDArray,
    blocks: NDArray,
) -> None:
    """Sum all pixels of one row of blocks."""
    starts_x, weights_x = x_table
    starts_y, weights_y = y_table
    blocks[:] = 0
    for y in range(starts_y[block_y], starts_y[block_y + 1]):
        _polar_row(image[y - 1], image[y], image[y + 1], magnitudes, directions)
        _add_row(magnitudes, directions, weights_x, weights_y[y, 0], weights_y[y, 1], starts_x, blocks)


@njit(**COMPILE)
def _gather_cells(above: NDArray, below: NDArray, y: int, features: NDArray, energy: NDArray) -> None:
    """One row of cells from the blocks above and below it: raw histograms and their energies."""
    for x in range(energy.shape[1]):
        for k in range(DIRECTED):
            features[k, y, x] = above[x, k, 3] + above[x + 1, k, 2] + below[x, k, 1] + below[x + 1, k, 0]
        total = np.float32(0)
        for k in range(scalar.ORIENTATIONS):
            undirected = features[k, y, x] + features[k + scalar.ORIENTATIONS, y, x]
            total += undirected * undirected
        energy[y, x] = total


@njit(**COMPILE)
def histograms(
    image: NDArray,
    x_table: tuple[NDArray, NDArray],
    y_table: tuple[NDArray, NDArray],
    first: int,
    last: int,
    features: NDArray,
    energy: NDArray,
) -> None:
    """Raw directed histograms of the cell rows first..last-1 into features[:18], energies into energy."""
    above = np.empty((energy.shape[1] + 1, DIRECTED, 4), np.float32)
    below = np.empty_like(above)
    magnitudes = np.empty(image.shape[1], np.float32)
    directions = np.empty(image.shape[1], np.int32)
    _fill_blocks(image, first, x_table, y_table, magnitudes, directions, above)
    for y in range(first, last):
        _fill_blocks(image, y + 1, x_table, y_table, magnitudes, directions, below)
        _gather_cells(above, below, y, features, energy)
        above, below = below, above


@njit(**COMPILE)
def _factor_row(energy: NDArray, block_y: int, factors: NDArray) -> None:
    """Factors of one row of 2 x 2 blocks; beyond the border the nearest cell counts again."""
    height, width = energy.shape
    upper, lower = energy[max(block_y - 1, 0)], energy[min(block_y, height - 1)]
    for x in range(width + 1):
        left, right = max(x - 1, 0), min(x, width - 1)
        factors[x] = _block_factor(upper[left], upper[right], lower[left], lower[right])


@njit(**COMPILE)
def normalise(energy: NDArray, first: int, last: int, features: NDArray) -> None:
    """Turn raw histograms in features[:18] into all 31 channels, in place, for the cell rows first..last-1."""
    n = scalar.ORIENTATIONS
    width = energy.shape[1]
    upper, lower = np.empty(width + 1, np.float32), np.empty(width + 1, np.float32)
    _factor_row(energy, first, upper)
    for y in range(first, last):
        _factor_row(energy, y + 1, lower)
        features[3 * n :, y] = 0
        for k in range(n):
            _normalise_row(
                upper,
                lower,
                features[k, y],
                features[k + n, y],
                features[k + 2 * n, y],
                features[3 * n, y],
                features[3 * n + 1, y],
                features[3 * n + 2, y],
                features[3 * n + 3, y],
            )
        features[3 * n :, y] *= scalar.TEXTURE
        upper, lower = lower, upper


@njit(**COMPILE)
def _normalise_row(
    upper: NDArray,
    lower: NDArray,
    ahead: NDArray,
    behind: NDArray,
    both: NDArray,
    texture_1: NDArray,
    texture_2: NDArray,
    texture_3: NDArray,
    texture_4: NDArray,
) -> None:
    """One orientation of one row of cells: two directed entries and the undirected one, and its share of texture."""
    for x in range(ahead.size):
        f1, f2, f3, f4 = upper[x], upper[x + 1], lower[x], lower[x + 1]
        a1, a2, a3, a4 = f1 * ahead[x], f2 * ahead[x], f3 * ahead[x], f4 * ahead[x]
        b1, b2, b3, b4 = f1 * behind[x], f2 * behind[x], f3 * behind[x], f4 * behind[x]
        c1, c2, c3, c4 = _clamped(a1 + b1), _clamped(a2 + b2), _clamped(a3 + b3), _clamped(a4 + b4)
        ahead[x] = scalar.HALF * (_clamped(a1) + _clamped(a2) + _clamped(a3) + _clamped(a4))
        behind[x] = scalar.HALF * (_clamped(b1) + _clamped(b2) + _clamped(b3) + _clamped(b4))
        both[x] = scalar.HALF * (c1 + c2 + c3 + c4)
        texture_1[x] += c1
        texture_2[x] += c2
        texture_3[x] += c3
        texture_4[x] += c4
