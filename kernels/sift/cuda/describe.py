"""The descriptors of a batch's keypoints, on the GPU.

Source: as kernels/sift/cpu/describe.py, whose bits this kernel gives, but for sine and cosine: CUDA's may round the
last bit of a float64 otherwise than the C library's.

Conventions: direction fastest, then x, then y, both along the keypoint's own axes; places and values as in `detect`;
gradients as in `scale_space`.
"""

import math
from typing import Any

import numpy as np
from numba import cuda

from kernels import backend, launch
from kernels.sift import scalar
from kernels.sift.geometry import SiftParameters

SIZE = scalar.DESCRIPTOR_SIZE  # bins, and threads, and samples that a block looks at together
SIDE, TURNS = scalar.SPATIAL_BINS, scalar.ANGLE_BINS
UNIT, LARGEST = np.float32(512), np.float32(255)

_fast_exp = launch.device(scalar.fast_exp)
_fast_sqrt = launch.device(scalar.fast_sqrt)
_floor = launch.device(scalar.floor)
_mod_2pi = launch.device(scalar.mod_2pi)
_angle_position = launch.device(scalar.angle_position)
_descriptor_radius = launch.device(scalar.descriptor_radius)


def described(
    gradients: Any, places: Any, values: Any, angles: Any, which: Any, index: int, parameters: SiftParameters
) -> tuple[Any, Any]:
    """Frames (F, 4) float32 and descriptors (F, 128), uint8 or float32, of keypoints and angles of octave `index`."""
    device, count = backend.device(), len(which)
    frames = device.empty((count, 4), np.float32)
    descriptors = device.empty((count, SIZE), np.float32 if parameters.float_descriptors else np.uint8)
    settings = (
        2.0**index,
        parameters.norm_thresh,
        parameters.magnif,
        float(np.float32(parameters.window_size)),
    )
    numbers = (np.float64(number) for number in settings)
    arguments = gradients, places, values, angles, which, *numbers, device.put(scalar.EXP_TABLE)
    launch.launch(describe, (count,), (SIZE,), *arguments, parameters.float_descriptors, frames, descriptors)
    return frames, descriptors


@launch.device
def _weigh(
    dx: float,
    dy: float,
    magnitude: float,
    turn: float,
    sine: float,
    cosine: float,
    bin_width: float,
    spread: float,
    table: Any,
    me: int,
    cells: Any,
    shares: Any,
) -> None:
    """Put a sample, so far from the keypoint and so much turned, into entry `me` of a tile.

    cells (3, 128) has its first bins along x, y and the directions; shares (4, 128) its places in them, and its weight.
    """
    along_x = np.float32((cosine * dx + sine * dy) / bin_width)
    along_y = np.float32((-sine * dx + cosine * dy) / bin_width)
    bin_x, bin_y = _floor(along_x - scalar.HALF), _floor(along_y - scalar.HALF)
    cells[0, me], cells[1, me] = bin_x + SIDE // 2, bin_y + SIDE // 2
    shares[0, me] = along_x - (np.float32(bin_x) + scalar.HALF)
    shares[1, me] = along_y - (np.float32(bin_y) + scalar.HALF)
    direction = _angle_position(_mod_2pi(np.float32(turn)))
    cells[2, me] = _floor(direction)
    shares[2, me] = direction - np.float32(cells[2, me])
    window = _fast_exp(np.float64(along_x * along_x + along_y * along_y) / spread, table)
    shares[3, me] = np.float32(window) * magnitude


@launch.device
def _added(mine: Any, me: int, cells: Any, shares: Any, count: int) -> Any:
    """This thread's bin, and what the first `count` samples of a tile add to it, in their order."""
    my_y, my_x, my_turn = me // (SIDE * TURNS), me // TURNS % SIDE, me % TURNS
    for j in range(count):
        right, lower = my_x - cells[0, j], my_y - cells[1, j]
        further = (my_turn - cells[2, j]) & (TURNS - 1)
        if 0 <= right <= 1 and 0 <= lower <= 1 and further <= 1:
            part = shares[3, j] * abs(np.float32(1 - right) - shares[0, j])
            part = part * abs(np.float32(1 - lower) - shares[1, j])
            mine += part * abs(np.float32(1 - further) - shares[2, j])
    return mine


@launch.device
def _normalised(mine: Any, me: int, descriptor: Any) -> Any:
    """This thread's entry, and the length of the descriptor (128,) that all threads put theirs into."""
    cuda.syncthreads()
    descriptor[me] = mine
    cuda.syncthreads()
    total = scalar.ZERO
    for i in range(SIZE):
        total += descriptor[i] * descriptor[i]
    length = _fast_sqrt(total) + scalar.EPSILON_F
    return mine / length, length


@launch.kernel
def describe(
    gradients: Any,
    places: Any,
    values: Any,
    angles: Any,
    which: Any,
    spacing: float,
    norm_thresh: float,
    magnif: float,
    window_size: float,
    table: Any,
    as_float: bool,
    frames: Any,
    descriptors: Any,
) -> None:
    """One block a frame: its threads weigh a tile of samples together, then each bin's thread adds in their order.

    Per sample: 8 bytes read from memory, or from the cache where keypoints lie close; 90 operations, 30 in float64, and
    some eight for each of 128 bins. So arithmetic is the limit, not memory.
    """
    cells = cuda.shared.array((3, SIZE), np.int32)
    shares = cuda.shared.array((4, SIZE), np.float32)
    descriptor = cuda.shared.array(SIZE, np.float32)
    me = cuda.threadIdx.x
    frame = which[cuda.blockIdx.x]
    k = frame // scalar.MOST_ORIENTATIONS
    level, n, angle = places[k, 2], places[k, 3], angles[k, frame % scalar.MOST_ORIENTATIONS]
    height, width = gradients.shape[3], gradients.shape[4]
    x, y = np.float64(values[k, 0]) / spacing, np.float64(values[k, 1]) / spacing
    sine, cosine = math.sin(angle), math.cos(angle)
    bin_width = magnif * (np.float64(values[k, 2]) / spacing) + scalar.EPSILON
    centre_x, centre_y, radius = int(x + 0.5), int(y + 0.5), _descriptor_radius(bin_width)
    spread = 2.0 * window_size * window_size
    left, top = max(centre_x - radius, 1), max(centre_y - radius, 1)
    wide = max(min(centre_x + radius, width - 2) + 1 - left, 0)
    samples = (min(centre_y + radius, height - 2) + 1 - top) * wide
    if centre_y >= height - 1:  # the reference leaves memory as it was
        samples = 0
    mine = scalar.ZERO
    for start in range(0, samples, SIZE):
        i = start + me
        if i < samples:
            row, column = top + i // wide, left + i % wide
            dx, dy = np.float64(np.float32(column - x)), np.float64(np.float32(row - y))
            magnitude = gradients[n, level, 0, row, column]
            turn = np.float64(gradients[n, level, 1, row, column]) - angle
            _weigh(dx, dy, magnitude, turn, sine, cosine, bin_width, spread, table, me, cells, shares)
        cuda.syncthreads()
        mine = _added(mine, me, cells, shares, min(SIZE, samples - start))
        cuda.syncthreads()
    mine, length = _normalised(mine, me, descriptor)
    if np.float64(mine) > scalar.CLAMP:
        mine = scalar.CLAMP_F
    mine, _ = _normalised(mine, me, descriptor)
    if norm_thresh != 0 and np.float64(length) < norm_thresh:
        mine = scalar.ZERO
    mine = UNIT * mine
    descriptors[cuda.blockIdx.x, me] = mine if as_float else min(mine, LARGEST)
    if me < 3:
        frames[cuda.blockIdx.x, me] = values[k, me]
    if me == 3:
        frames[cuda.blockIdx.x, me] = angle
