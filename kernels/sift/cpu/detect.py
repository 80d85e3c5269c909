"""Extrema of the differences of Gaussians, and their refinement to fractions of a pixel.

Source: vl/sift.c (VLFeat 0.9.21), vl_sift_detect. The differences are not kept: rows of them pass by in a ring of
three, and the few values around an extremum are computed again, which gives the same float32.

Conventions: an octave is (levels + 3, h, w) float32, level s = -1 at index 0; difference s is level s + 1 minus level
s. A place is x, y, s of a sample of the octave; a value is x, y and sigma in pixels of the image.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.compiling import COMPILE, INLINE, INNER
from kernels.sift import scalar
from kernels.sift.geometry import first_sigma
from kernels.threads import bands, run

BAND = 64  # rows that one of several threads searches at a time
MOST_STEPS = 5
WORD = 8  # bytes

_is_extremum = njit(**INLINE)(scalar.is_extremum)
_gradient = njit(**INLINE)(scalar.gradient)
_hessian = njit(**INLINE)(scalar.hessian)
_solve_3 = njit(**INNER)(scalar.solve_3)
_step = njit(**INNER)(scalar.step)
_is_peak = njit(**INNER)(scalar.is_peak)
_is_corner = njit(**INNER)(scalar.is_corner)


def differences(octave: NDArray) -> NDArray:
    """Differences of Gaussians (levels + 2, h, w), s = -1 at index 0."""
    return octave[1:] - octave[:-1]


def extrema(octave: NDArray, peak_thresh: float = 0.0, *, threads: int = 1) -> NDArray:
    """Places of the extrema among 26 neighbours, (M, 3) int32, by s, then y, then x; not on the octave's border."""
    _, height, width = octave.shape
    size = BAND if threads > 1 else height
    rows = bands(max(height - 2, 0), size)
    found: list[NDArray] = [np.empty((0, 3), np.int32)] * len(rows)

    def band(first: int, last: int) -> None:
        found[first // size] = _extrema_of_rows(octave, peak_thresh, first + 1, last + 1)

    if width > 2:
        run(band, rows, threads)
    places = found[0] if len(found) == 1 else np.concatenate([np.empty((0, 3), np.int32), *found])
    return places[np.argsort(places[:, 2], kind="stable")]


def _extrema_of_rows(octave: NDArray, peak_thresh: float, first: int, last: int) -> NDArray:
    """Places of the extrema in the rows first..last-1, by y, then s, then x."""
    levels, _, width = octave.shape
    rows = np.empty((3 * (levels - 1) + 2, width), np.float32)
    marks = np.zeros(-(-width // WORD) * WORD, np.uint8)
    found = np.empty((64 + (last - first) * width // 64, 3), np.int32)
    while True:
        count = _search(octave, 0.8 * peak_thresh, first, last, rows, marks, marks.view(np.uint64), found)
        if count <= len(found):
            return found[:count]
        found = np.empty((count, 3), np.int32)


def refined(
    octave: NDArray, extrema: NDArray, index: int, peak_thresh: float = 0.0, edge_thresh: float = 10.0
) -> tuple[NDArray, NDArray]:
    """Keypoints of octave `index`: the extrema (M, 3), moved to where a parabola has its peak, if that is a good one.

    Returns
    -------
    places : (K, 3) int32 array
    values : (K, 3) float32 array
    """
    places, values = np.empty_like(extrema), np.empty(extrema.shape, np.float32)
    sigma = first_sigma(len(octave) - 3)
    kept = _refine(octave, extrema, 2.0**index, sigma, peak_thresh, edge_thresh, places, values)
    return places[:kept], values[:kept]


@njit(**INNER)
def _subtract(upper: NDArray, lower: NDArray, row: NDArray) -> None:
    for x in range(row.size):
        row[x] = upper[x] - lower[x]


@njit(**INNER)
def _extremes(rows: NDArray, first: int, high: NDArray, low: NDArray) -> None:
    """The largest and the smallest of each column of nine rows."""
    a, b, c = rows[first], rows[first + 1], rows[first + 2]
    d, e, f = rows[first + 3], rows[first + 4], rows[first + 5]
    g, h, i = rows[first + 6], rows[first + 7], rows[first + 8]
    for x in range(high.size):  # runs in vector lanes
        high[x] = max(max(max(a[x], b[x]), max(c[x], d[x])), max(max(e[x], f[x]), max(g[x], max(h[x], i[x]))))
        low[x] = min(min(min(a[x], b[x]), min(c[x], d[x])), min(min(e[x], f[x]), min(g[x], min(h[x], i[x]))))


@njit(**INNER)
def _mark(row: NDArray, high: NDArray, low: NDArray, marks: NDArray) -> None:
    """Mark the pixels that no neighbour exceeds, and those that exceed none."""
    for x in range(1, row.size - 1):  # runs in vector lanes
        highest = max(max(high[x - 1], high[x]), high[x + 1])
        lowest = min(min(low[x - 1], low[x]), low[x + 1])
        marks[x] = (row[x] >= highest) | (row[x] <= lowest)


@njit(**INNER)
def _cube_of_differences(octave: NDArray, s: int, y: int, x: int, cube: NDArray) -> None:
    """The 3 x 3 x 3 differences around index s of differences, into cube (27,): x fastest, s slowest."""
    i = 0
    for level in range(s - 1, s + 2):
        for row in range(y - 1, y + 2):
            for column in range(x - 1, x + 2):
                cube[i] = octave[level + 1, row, column] - octave[level, row, column]
                i += 1


@njit(**COMPILE)
def _search(
    octave: NDArray,
    threshold: float,
    first: int,
    last: int,
    rows: NDArray,
    marks: NDArray,
    words: NDArray,
    found: NDArray,
) -> int:
    """Places of the extrema in the rows first..last-1 into found; returns how many, also where found is too small.

    rows is room for three rows of each difference, and two more; marks (as bytes and as words of eight) holds zeros.
    """
    differences, count = octave.shape[0] - 1, 0
    cube = np.empty(27, np.float32)
    high, low = rows[3 * differences], rows[3 * differences + 1]
    for y in range(first - 1, last + 1):
        for s in range(differences):
            _subtract(octave[s + 1, y], octave[s, y], rows[3 * s + y % 3])
        if y <= first:
            continue
        middle = y - 1
        for s in range(1, differences - 1):
            _extremes(rows, 3 * s - 3, high, low)
            _mark(rows[3 * s + middle % 3], high, low, marks)
            for word in range(words.size):
                if words[word] == 0:
                    continue
                for x in range(WORD * word, WORD * word + WORD):
                    if marks[x] == 0:
                        continue
                    _cube_of_differences(octave, s, middle, x, cube)
                    if _is_extremum(cube, threshold):
                        if count < found.shape[0]:
                            found[count, 0], found[count, 1], found[count, 2] = x, middle, s - 1
                        count += 1
    return count


@njit(**COMPILE)
def _refine(
    octave: NDArray,
    extrema: NDArray,
    spacing: float,
    first_sigma: float,
    peak_thresh: float,
    edge_thresh: float,
    places: NDArray,
    values: NDArray,
) -> int:
    """Refine the extrema (M, 3), write the good ones to the front of places and values, return how many they are."""
    levels, height, width = octave.shape[0] - 3, octave.shape[1], octave.shape[2]
    last = width - 1, height - 1, levels + 1
    cube = np.empty(27, np.float32)
    kept = 0
    for k in range(extrema.shape[0]):
        x, y, level = np.int64(extrema[k, 0]), np.int64(extrema[k, 1]), np.int64(extrema[k, 2])
        step_x, step_y = np.int64(0), np.int64(0)
        for _ in range(MOST_STEPS):
            x, y = x + step_x, y + step_y
            _cube_of_differences(octave, level + 1, y, x, cube)
            slope = _gradient(cube)
            xx, yy, ss, xy, xs, ys = _hessian(cube)
            shift = _solve_3(xx, xy, xs, yy, ys, ss, -slope[0], -slope[1], -slope[2])
            step_x, step_y = _step(shift[0], x, width), _step(shift[1], y, height)
            if step_x == 0 and step_y == 0:
                break
        fine = x + shift[0], y + shift[1], level + shift[2]
        peak = _is_peak(cube[scalar.MIDDLE], slope, shift, fine, last, peak_thresh)
        if peak and _is_corner(xx, yy, xy, edge_thresh):
            places[kept, 0], places[kept, 1], places[kept, 2] = x, y, level
            values[kept, 0], values[kept, 1] = fine[0] * spacing, fine[1] * spacing
            values[kept, 2] = first_sigma * 2.0 ** (fine[2] / levels) * spacing
            kept += 1
    return kept
