"""Extrema of the differences of Gaussians, and their refinement to fractions of a pixel.

Source: vl/sift.c (VLFeat 0.9.21), vl_sift_detect. The differences are not kept: rows of them pass by in a ring of three,
and the few values around an extremum are taken again, which gives the same float32.

Conventions: an octave is (levels + 3, h, w) float32, level s = -1 at index 0; difference s is level s + 1 minus level s.
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
MOST_STEPS = 5

_solve_3 = njit(**COMPILE)(scalar.solve_3)
_step = njit(**COMPILE)(scalar.step)
_is_corner = njit(**COMPILE)(scalar.is_corner)


def differences(octave: NDArray) -> NDArray:
    """Differences of Gaussians (levels + 2, h, w), s = -1 at index 0."""
    return octave[1:] - octave[:-1]


@njit(**COMPILE)
def _difference_row(octave: NDArray, y: int, ring: NDArray) -> None:
    """Row y of all differences into its place in the ring (levels + 2, 3, w)."""
    for s in range(ring.shape[0]):
        lower, upper, row = octave[s, y], octave[s + 1, y], ring[s, y % 3]
        for x in range(row.size):
            row[x] = upper[x] - lower[x]


@njit(**COMPILE)
def _extremes_of_columns(rows: NDArray, high: NDArray, low: NDArray) -> None:
    """The largest and the smallest of each column of three rows."""
    a, b, c = rows[0], rows[1], rows[2]
    for x in range(high.size):
        high[x] = max(max(a[x], b[x]), c[x])
        low[x] = min(min(a[x], b[x]), c[x])


@njit(**COMPILE)
def _mark(row: NDArray, high: NDArray, low: NDArray, s: int, marks: NDArray) -> None:
    """Mark the pixels of a row that no neighbour exceeds, or that exceed none."""
    a, b, c = high[s - 1], high[s], high[s + 1]
    d, e, f = low[s - 1], low[s], low[s + 1]
    above, below = np.empty_like(a), np.empty_like(a)
    for x in range(row.size):
        above[x] = max(max(a[x], b[x]), c[x])
        below[x] = min(min(d[x], e[x]), f[x])
    for x in range(1, row.size - 1):
        largest = max(max(above[x - 1], above[x]), above[x + 1])
        smallest = min(min(below[x - 1], below[x]), below[x + 1])
        marks[x] = (row[x] >= largest) | (row[x] <= smallest)


@njit(**COMPILE)
def _is_strict(ring: NDArray, s: int, y: int, x: int, threshold: float) -> bool:
    """Whether a difference is larger than its 26 neighbours, or smaller, and not within the threshold."""
    value = ring[s, y % 3, x]
    larger, smaller = value >= threshold, value <= -threshold
    for i in range(27):
        if i != 13:
            neighbour = ring[s - 1 + i // 9, (y + i // 3 % 3 - 1) % 3, x - 1 + i % 3]
            larger &= value > neighbour
            smaller &= value < neighbour
            if not (larger | smaller):
                return False
    return True


@njit(**COMPILE)
def extrema(octave: NDArray, peak_thresh: float, first: int, last: int) -> NDArray:
    """Extrema of the differences in the rows first..last-1, border rows left out: (M, 3) int32 of x, y, s.

    The order is by rows; the reference's is by level, then row.
    """
    _, height, width = octave.shape
    found, count = np.empty((64, 3), np.int32), 0
    first, last = max(first, 1), min(last, height - 1)
    if first >= last or width < 3:
        return found[:0]
    differences = octave.shape[0] - 1
    ring = np.empty((differences, 3, width), np.float32)
    high, low = np.empty((differences, width), np.float32), np.empty((differences, width), np.float32)
    marks = np.zeros((width + 7) // 8 * 8, np.bool_)
    words = marks.view(np.uint64)
    threshold = 0.8 * peak_thresh
    _difference_row(octave, first - 1, ring)
    _difference_row(octave, first, ring)
    for y in range(first, last):
        _difference_row(octave, y + 1, ring)
        for s in range(differences):
            _extremes_of_columns(ring[s], high[s], low[s])
        for s in range(1, differences - 1):
            _mark(ring[s, y % 3], high, low, s, marks)
            for word in range(words.size):
                if words[word] == 0:
                    continue
                for x in range(8 * word, 8 * word + 8):
                    if marks[x] and _is_strict(ring, s, y, x, threshold):
                        if count == len(found):
                            found = np.concatenate((found, found))
                        found[count, 0], found[count, 1], found[count, 2] = x, y, s - 1
                        count += 1
    return found[:count]


@njit(**COMPILE)
def _at(octave: NDArray, s: int, y: int, x: int) -> np.float32:
    """The difference at index s."""
    return octave[s + 1, y, x] - octave[s, y, x]


@njit(**COMPILE)
def _gradient(octave: NDArray, s: int, y: int, x: int) -> tuple[float, float, float]:
    """First derivatives of the differences along x, y and s."""
    dx = 0.5 * (_at(octave, s, y, x + 1) - _at(octave, s, y, x - 1))
    dy = 0.5 * (_at(octave, s, y + 1, x) - _at(octave, s, y - 1, x))
    ds = 0.5 * (_at(octave, s + 1, y, x) - _at(octave, s - 1, y, x))
    return dx, dy, ds


@njit(**COMPILE)
def _mixed(a: np.float32, b: np.float32, c: np.float32, d: np.float32) -> float:
    """A mixed second derivative, from the four corners."""
    return 0.25 * (a + b - c - d)


@njit(**COMPILE)
def _hessian(octave: NDArray, s: int, y: int, x: int) -> tuple[float, float, float, float, float, float]:
    """Second derivatives of the differences: xx, yy, ss, xy, xs, ys."""
    twice = 2.0 * _at(octave, s, y, x)
    left, right = _at(octave, s, y, x - 1), _at(octave, s, y, x + 1)
    up, down = _at(octave, s, y - 1, x), _at(octave, s, y + 1, x)
    finer, coarser = _at(octave, s - 1, y, x), _at(octave, s + 1, y, x)
    dxy = _mixed(
        _at(octave, s, y + 1, x + 1),
        _at(octave, s, y - 1, x - 1),
        _at(octave, s, y + 1, x - 1),
        _at(octave, s, y - 1, x + 1),
    )
    dxs = _mixed(
        _at(octave, s + 1, y, x + 1),
        _at(octave, s - 1, y, x - 1),
        _at(octave, s + 1, y, x - 1),
        _at(octave, s - 1, y, x + 1),
    )
    dys = _mixed(
        _at(octave, s + 1, y + 1, x),
        _at(octave, s - 1, y - 1, x),
        _at(octave, s + 1, y - 1, x),
        _at(octave, s - 1, y + 1, x),
    )
    return (right + left) - twice, (down + up) - twice, (coarser + finer) - twice, dxy, dxs, dys


@njit(**COMPILE)
def refine(
    octave: NDArray,
    extrema: NDArray,
    index: int,
    first_sigma: float,
    peak_thresh: float,
    edge_thresh: float,
    places: NDArray,
    values: NDArray,
) -> int:
    """Refine the extrema (M, 3) of octave `index` and keep the good ones; returns how many.

    places (M, 3) int32 receives x, y, s of the samples they end at; values (M, 3) float32 x, y and scale in pixels of
    the image.
    """
    _, height, width = octave.shape
    levels = octave.shape[0] - 3
    spacing = 2.0**index
    kept = 0
    for x, y, level in extrema:
        s = level + 1
        for _ in range(MOST_STEPS):
            dx, dy, ds = _gradient(octave, s, y, x)
            dxx, dyy, dss, dxy, dxs, dys = _hessian(octave, s, y, x)
            bx, by, bs = _solve_3(dxx, dxy, dxs, dyy, dys, dss, -dx, -dy, -ds)
            value = _at(octave, s, y, x) + 0.5 * (dx * bx + dy * by + ds * bs)
            fine_x, fine_y, fine_s = x + bx, y + by, level + bs
            step_x, step_y = _step(bx, x, width), _step(by, y, height)
            if step_x == 0 and step_y == 0:
                break
            x, y = x + step_x, y + step_y
        inside = 0 <= fine_x <= width - 1 and 0 <= fine_y <= height - 1 and -1 <= fine_s <= levels + 1
        near = abs(bx) < 1.5 and abs(by) < 1.5 and abs(bs) < 1.5
        if inside and near and abs(value) > peak_thresh and _is_corner(dxx, dyy, dxy, edge_thresh):
            places[kept, 0], places[kept, 1], places[kept, 2] = x, y, level
            values[kept, 0], values[kept, 1] = fine_x * spacing, fine_y * spacing
            values[kept, 2] = first_sigma * 2.0 ** (fine_s / levels) * spacing
            kept += 1
    return kept
