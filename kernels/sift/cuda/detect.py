"""Extrema of the differences of Gaussians of a batch, and their refinement, on the GPU.

Source: as kernels/sift/cpu/detect.py, whose bits these kernels give, but for the power that makes a scale: CUDA's pow
may round the last bit of a float64 otherwise than the C library's.

Conventions: octaves as in `scale_space`. A place is x, y, s and the image's number. Places are numbered by image, s, y
and x, and compacted in this order by prefix sums: the reference's order, whatever the threads do.
"""

from typing import Any

import numpy as np
from numba import cuda

from kernels import backend, launch
from kernels.sift import scalar
from kernels.sift.geometry import first_sigma

MOST_STEPS = 5
POINT_BLOCK = 64  # threads, each with one extremum

_is_extremum = launch.device(scalar.is_extremum)
_gradient = launch.device(scalar.gradient)
_hessian = launch.device(scalar.hessian)
_solve_3 = launch.device(scalar.solve_3)
_step = launch.device(scalar.step)
_is_peak = launch.device(scalar.is_peak)
_is_corner = launch.device(scalar.is_corner)


def extrema(octave: Any, peak_thresh: float) -> Any:
    """Flat indices into (N, levels, h, w) of the extrema among 26 neighbours, (M,) int64, increasing."""
    count, levels, height, width = octave.shape
    marks = backend.device().empty((count, levels - 3, height, width), np.uint8)
    launch.launch_threads(mark, (count, height, width), octave, np.float64(0.8 * peak_thresh), marks)
    return np.flatnonzero(marks)


def refined(octave: Any, extrema: Any, index: int, peak_thresh: float, edge_thresh: float) -> tuple[Any, Any]:
    """Keypoints of octave `index`: the extrema, moved to where a parabola has its peak, if that is a good one.

    Returns
    -------
    places : (K, 4) int32 array
        x, y, s of the sample, and the number of the image.
    values : (K, 3) float32 array
        x, y and sigma in pixels of the image.
    """
    device, found = backend.device(), len(extrema)
    places, values = device.empty((found, 4), np.int32), device.empty((found, 3), np.float32)
    kept = device.empty((found,), np.uint8)
    settings = 2.0**index, first_sigma(octave.shape[1] - 3), peak_thresh, edge_thresh
    blocks = (-(-found // POINT_BLOCK),)
    numbers = (np.float64(number) for number in settings)
    launch.launch(refine, blocks, (POINT_BLOCK,), octave, extrema, *numbers, kept, places, values)
    which = np.flatnonzero(kept)
    return places[which], values[which]


@launch.device
def _difference(octave: Any, n: int, s: int, y: int, x: int) -> Any:
    """The difference at index s."""
    return octave[n, s + 1, y, x] - octave[n, s, y, x]


@launch.device
def _cube_of_differences(octave: Any, n: int, s: int, y: int, x: int, cube: Any) -> None:
    """The 3 x 3 x 3 differences around index s of differences, into cube (27,): x fastest, s slowest."""
    i = 0
    for level in range(s - 1, s + 2):
        for row in range(y - 1, y + 2):
            for column in range(x - 1, x + 2):
                cube[i] = octave[n, level + 1, row, column] - octave[n, level, row, column]
                i += 1


@launch.kernel
def mark(octave: Any, threshold: float, marks: Any) -> None:
    """1 for an extremum, 0 for any other sample; one thread a sample of all levels.

    Per sample of three levels: 24 bytes read from memory, 3 written; 3 * 5 differences from the cache and 40
    operations, and 54 more for the one sample in some thirty that its four neighbours do not rule out.
    """
    count, levels, height, width = marks.shape
    x, y = cuda.grid(2)
    if x >= width or y >= height:
        return
    cube = cuda.local.array(27, np.float32)
    inside = 0 < x < width - 1 and 0 < y < height - 1
    for n in range(cuda.blockIdx.z, count, cuda.gridDim.z):
        for s in range(levels):
            marked = False
            if inside:
                value = _difference(octave, n, s + 1, y, x)
                left, right = _difference(octave, n, s + 1, y, x - 1), _difference(octave, n, s + 1, y, x + 1)
                up, down = _difference(octave, n, s + 1, y - 1, x), _difference(octave, n, s + 1, y + 1, x)
                if value > max(max(left, right), max(up, down)) or value < min(
                    min(left, right), min(up, down)
                ):
                    _cube_of_differences(octave, n, s + 1, y, x, cube)
                    marked = _is_extremum(cube, threshold)
            marks[n, s, y, x] = 1 if marked else 0


@launch.kernel
def refine(
    octave: Any,
    extrema: Any,
    spacing: float,
    first_sigma: float,
    peak_thresh: float,
    edge_thresh: float,
    kept: Any,
    places: Any,
    values: Any,
) -> None:
    """Where each extremum ends at, and whether it is kept; one thread an extremum.

    Per extremum: 54 values read, from the cache but for the first time, and 29 bytes written, in up to five steps of
    300 operations, most in float64. There are few extrema, one in some hundred samples: the time is that of one thread.
    """
    k = cuda.grid(1)
    if k >= extrema.size:
        return
    levels, height, width = octave.shape[1] - 3, octave.shape[2], octave.shape[3]
    cube = cuda.local.array(27, np.float32)
    place = extrema[k]
    n, level = place // (levels * height * width), place // (height * width) % levels
    y, x = place // width % height, place % width
    step_x, step_y = 0, 0
    for _ in range(MOST_STEPS):
        x, y = x + step_x, y + step_y
        _cube_of_differences(octave, n, level + 1, y, x, cube)
        slope = _gradient(cube)
        xx, yy, ss, xy, xs, ys = _hessian(cube)
        shift = _solve_3(xx, xy, xs, yy, ys, ss, -slope[0], -slope[1], -slope[2])
        step_x, step_y = _step(shift[0], x, width), _step(shift[1], y, height)
        if step_x == 0 and step_y == 0:
            break
    fine, last = (x + shift[0], y + shift[1], level + shift[2]), (width - 1, height - 1, levels + 1)
    peak = _is_peak(cube[scalar.MIDDLE], slope, shift, fine, last, peak_thresh)
    kept[k] = 1 if peak and _is_corner(xx, yy, xy, edge_thresh) else 0
    places[k, 0], places[k, 1], places[k, 2], places[k, 3] = x, y, level, n
    values[k, 0], values[k, 1] = fine[0] * spacing, fine[1] * spacing
    values[k, 2] = first_sigma * 2.0 ** (fine[2] / levels) * spacing
