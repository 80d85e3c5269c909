"""LBP on the CPU: Numba kernels over one contiguous image.

Source: vl/lbp.c (VLFeat 0.9.21), vl_lbp_process. Differs from VLFeat: it adds up float32 weights; here a weight is a
whole number of (2 cell sizes)**-2 held in float64, so sums are exact, and any number of threads gives the same bits.

Strip j of an axis reaches from the centre of cell j - 1 to the centre of cell j: all its pixels share these two cells.
A pixel's share of cell j, in units of 1 / (2 cell sizes), is its `offset` 2 x + 1 + C - 2 C j, and grows by 2 a pixel.
Within a tile of a strip that is at most 16 x 16, four sums over the pixels of one code determine the shares of all
four cells: their number, the sum of x, the sum of y and the sum of x y, with x and y counted from the tile's corner.
They fit into one 64-bit word side by side, so a pixel costs one addition.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.compiling import COMPILE, INLINE, INNER
from kernels.lbp import scalar

CODES = scalar.CODES
CODE_TABLE = scalar.code_table()
TILE = 16  # side of the largest tile
FIELD = 12  # bits: sums of at most 16 * 16 * 15; the last field, of x y, has the rest of the word
MASK = np.uint64((1 << FIELD) - 1)
SHIFT_X, SHIFT_Y, SHIFT_XY = np.uint64(FIELD), np.uint64(2 * FIELD), np.uint64(3 * FIELD)
ONE_X, ONE_Y = np.uint64(1 << FIELD), np.uint64(1 << 2 * FIELD)

_pattern = njit(**INLINE)(scalar.pattern)
_norm = njit(**INLINE)(scalar.norm)
_entry = njit(**INLINE)(scalar.entry)


@njit(**INNER)
def _pattern_row(image: NDArray, y: int, wide: NDArray, patterns: NDArray) -> None:
    """Patterns of one image row, the border pixels left out. `wide` is room for them, as wide as a pixel."""
    above, row, below = image[y - 1], image[y], image[y + 1]
    for x in range(1, row.size - 1):  # runs in vector lanes
        wide[x] = _pattern(above, row, below, x)
    for x in range(1, row.size - 1):
        patterns[x] = wide[x]


@njit(**INNER)
def _is_finite(row: NDArray) -> bool:
    """Whether an image row holds neither NaN nor infinity, either of which differs from itself by NaN."""
    wrong = np.uint32(0)
    for x in range(row.size):  # runs in vector lanes
        wrong |= np.uint32(row[x] - row[x] != scalar.ZERO)
    return wrong == 0


@njit(**INNER)
def _sum_tile(patterns: NDArray, first: int, last: int, table: NDArray, sums: NDArray) -> None:
    """The four packed sums of each code over the columns first..last-1 of a tile; sums (58,) is overwritten."""
    sums[:] = 0
    for y in range(patterns.shape[0]):
        row = patterns[y]
        weight = np.uint64(1) + np.uint64(y) * ONE_Y
        step = weight * ONE_X
        for x in range(np.uint64(first), np.uint64(last)):  # unsigned: no test for x < 0
            sums[table[row[x]]] += weight
            weight += step


@njit(**INNER)
def _share_tile(
    sums: NDArray, offset_x: float, offset_y: float, side: float, upper: NDArray, lower: NDArray
) -> None:
    """Share a tile's sums among the cells left and right in the cell rows above and below; each (2, 58)."""
    upper_left, upper_right, lower_left, lower_right = upper[0], upper[1], lower[0], lower[1]
    for k in range(CODES):  # runs in vector lanes
        packed = sums[k]
        count = np.float64(np.int32(packed & MASK))
        sum_x = np.float64(np.int32((packed >> SHIFT_X) & MASK))
        sum_y = np.float64(np.int32((packed >> SHIFT_Y) & MASK))
        sum_xy = np.float64(np.int32(packed >> SHIFT_XY))
        right = offset_x * count + 2.0 * sum_x
        down = offset_y * count + 2.0 * sum_y
        both = offset_y * right + 2.0 * (offset_x * sum_y + 2.0 * sum_xy)
        lower_right[k] += both
        lower_left[k] += side * down - both
        upper_right[k] += side * right - both
        upper_left[k] += side * (side * count - right - down) + both


@njit(**INNER)
def _store_row(shares: NDArray, y: int, unit: float, features: NDArray) -> None:
    """Put one row of cells (W', 58), finished but for the unit of the shares, into features[:, y]."""
    for x in range(shares.shape[0]):
        cell = shares[x]
        norm = _norm(cell.sum() * unit)
        for k in range(CODES):  # runs in vector lanes
            cell[k] = _entry(cell[k] * unit, norm)
    for k in range(CODES):
        row = features[k, y]
        for x in range(row.size):
            row[x] = shares[x, k]


@njit(**COMPILE)
def cells(
    image: NDArray,
    columns: NDArray,
    rows: NDArray,
    cell_size: int,
    first: int,
    last: int,
    wide: NDArray,
    features: NDArray,
) -> bool:
    """Features of the cell rows first..last-1 into features (58, H', W'); false if a pixel was not finite.

    columns and rows are the `strips` of the two axes. Strip y is the lower part of cell row y - 1 and the upper part
    of cell row y; the first one only serves cell row `first`, the last one only cell row last - 1.
    The first and the last band look at the border rows too, which lie in no strip.
    wide (W,) is room for patterns as wide as a pixel: compared in vector lanes of that width, packed afterwards.
    """
    table = CODE_TABLE
    side = np.float64(2 * cell_size)
    patterns = np.empty((TILE, image.shape[1]), np.uint8)
    sums = np.empty(CODES, np.uint64)
    done = np.zeros((features.shape[2] + 2, CODES))
    begun = np.zeros_like(done)
    finite = first > 0 or _is_finite(image[0])
    for strip_y in range(first, last + 1):
        done, begun = begun, done
        begun[:] = 0
        for top in range(rows[strip_y], rows[strip_y + 1], TILE):
            height = min(TILE, rows[strip_y + 1] - top)
            for y in range(height):
                finite &= _is_finite(image[top + y])
                _pattern_row(image, top + y, wide, patterns[y])
            offset_y = np.float64(2 * top + 1 + cell_size - 2 * cell_size * strip_y)
            for strip_x in range(columns.size - 1):
                for left in range(columns[strip_x], columns[strip_x + 1], TILE):
                    right = min(left + TILE, columns[strip_x + 1])
                    _sum_tile(patterns[:height], left, right, table, sums)
                    offset_x = np.float64(2 * left + 1 + cell_size - 2 * cell_size * strip_x)
                    upper, lower = done[strip_x : strip_x + 2], begun[strip_x : strip_x + 2]
                    _share_tile(sums, offset_x, offset_y, side, upper, lower)
        if strip_y > first:
            _store_row(done[1:-1], strip_y - 1, 1.0 / (side * side), features)
    if last == features.shape[1]:
        for y in range(rows[-1], image.shape[0]):
            finite &= _is_finite(image[y])
    return finite
