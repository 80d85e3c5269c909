"""HOG on the GPU: three kernels over a batch, each output written by one thread, which sums in the CPU's order.

Source: as kernels/hog/cpu.py, whose bits these kernels give.
Conventions: images (N, H, W); features (N, 31, H', W'); energies (N, H', W'). Threads are numbered along x first, so
that neighbours read and write neighbours.

Roofline, per pixel of float32 images with cells of 8: at least 4 bytes are read and 31 * 4 / 64 = 1.9 written. The
kernels move 4 + 5 (polar), 5 + 1.2 (pool) and 3.2 (normalise) = 18 bytes for some 110 operations, 6 a byte, below the
10 to 20 a byte at which a GPU's arithmetic becomes the limit: memory is, at a third of the least possible traffic.
"""

import math
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from kernels import backend, launch
from kernels.hog import scalar

ORIENTATIONS = scalar.ORIENTATIONS
DIRECTED = 2 * ORIENTATIONS
THREADS = math.prod(launch.BLOCK)

_magnitude = launch.device(scalar.magnitude)
_direction = launch.device(scalar.direction)
_clamped = launch.device(scalar.clamped)
_block_factor = launch.device(scalar.block_factor)


@launch.kernel
def polar(images: Any, magnitudes: Any, directions: Any) -> None:
    """Gradients as magnitude and bin, one thread a pixel; the border pixels have none.

    Per pixel: 4 bytes read (the other three neighbours come from the cache), 5 written, about 45 operations.
    """
    count, height, width = images.shape
    x, y = cuda.grid(2)
    if 0 < y < height - 1 and 0 < x < width - 1:
        for n in range(cuda.blockIdx.z, count, cuda.gridDim.z):
            dx = np.float32(images[n, y, x + 1]) - np.float32(images[n, y, x - 1])
            dy = np.float32(images[n, y + 1, x]) - np.float32(images[n, y - 1, x])
            magnitudes[n, y, x] = _magnitude(dx, dy)
            directions[n, y, x] = np.uint8(_direction(dx, dy))


@launch.kernel
def pool(
    magnitudes: Any,
    directions: Any,
    starts_x: Any,
    weights_x: Any,
    starts_y: Any,
    weights_y: Any,
    features: Any,
    energies: Any,
) -> None:
    """Raw directed histograms into features[:, :18], their energies into energies; one thread a cell.

    Per pixel: 5 bytes read from memory and three times again from the cache, since four cells share it; 72 / 64 bytes
    written; about 4 * 12 operations. Each thread has its own column of shared memory, so that no two meet in a bank.
    """
    row = cuda.shared.array((DIRECTED, THREADS), np.float32)
    total = cuda.shared.array((DIRECTED, THREADS), np.float32)
    count, height, width = energies.shape
    x, y = cuda.grid(2)
    me = cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    if x >= width or y >= height:
        return
    for n in range(cuda.blockIdx.z, count, cuda.gridDim.z):
        for k in range(DIRECTED):
            total[k, me] = scalar.ZERO
        for part in range(2):  # above the cell's centre, then below
            for from_y in range(starts_y[y + part], starts_y[y + part + 1]):
                for k in range(DIRECTED):
                    row[k, me] = scalar.ZERO
                for side in range(2):  # left of the cell's centre, then right
                    for from_x in range(starts_x[x + side], starts_x[x + side + 1]):
                        k = directions[n, from_y, from_x]
                        row[k, me] += magnitudes[n, from_y, from_x] * weights_x[from_x, 1 - side]
                for k in range(DIRECTED):
                    total[k, me] += weights_y[from_y, 1 - part] * row[k, me]
        energy = scalar.ZERO
        for k in range(ORIENTATIONS):
            ahead, behind = total[k, me], total[k + ORIENTATIONS, me]
            features[n, k, y, x] = ahead
            features[n, k + ORIENTATIONS, y, x] = behind
            energy += (ahead + behind) * (ahead + behind)
        energies[n, y, x] = energy


@launch.kernel
def normalise(energies: Any, features: Any) -> None:
    """Turn the raw histograms in features[:, :18] into all 31 channels, in place; one thread a cell.

    Per cell of 64 pixels: 72 + 4 bytes read (the eight other energies come from the cache), 124 written; about 500
    operations.
    """
    count, height, width = energies.shape
    x, y = cuda.grid(2)
    if x >= width or y >= height:
        return
    above, below, left, right = max(y - 1, 0), min(y + 1, height - 1), max(x - 1, 0), min(x + 1, width - 1)
    for n in range(cuda.blockIdx.z, count, cuda.gridDim.z):
        near = energies[n]
        f1 = _block_factor(near[above, left], near[above, x], near[y, left], near[y, x])
        f2 = _block_factor(near[above, x], near[above, right], near[y, x], near[y, right])
        f3 = _block_factor(near[y, left], near[y, x], near[below, left], near[below, x])
        f4 = _block_factor(near[y, x], near[y, right], near[below, x], near[below, right])
        t1 = t2 = t3 = t4 = scalar.ZERO
        for k in range(ORIENTATIONS):
            a, b = features[n, k, y, x], features[n, k + ORIENTATIONS, y, x]
            a1, a2, a3, a4 = f1 * a, f2 * a, f3 * a, f4 * a
            b1, b2, b3, b4 = f1 * b, f2 * b, f3 * b, f4 * b
            c1, c2, c3, c4 = _clamped(a1 + b1), _clamped(a2 + b2), _clamped(a3 + b3), _clamped(a4 + b4)
            ahead = _clamped(a1) + _clamped(a2) + _clamped(a3) + _clamped(a4)
            behind = _clamped(b1) + _clamped(b2) + _clamped(b3) + _clamped(b4)
            features[n, k, y, x] = scalar.HALF * ahead
            features[n, k + ORIENTATIONS, y, x] = scalar.HALF * behind
            features[n, k + 2 * ORIENTATIONS, y, x] = scalar.HALF * (c1 + c2 + c3 + c4)
            t1 += scalar.TEXTURE * c1
            t2 += scalar.TEXTURE * c2
            t3 += scalar.TEXTURE * c3
            t4 += scalar.TEXTURE * c4
        textures = features[n, 3 * ORIENTATIONS :]
        textures[0, y, x], textures[1, y, x], textures[2, y, x], textures[3, y, x] = t1, t2, t3, t4


def compute(
    images: Any, columns: tuple[NDArray, NDArray], rows: tuple[NDArray, NDArray], features: Any
) -> Any:
    """Fill features (N, 31, H', W') from images (N, H, W) on the GPU, and return the cells' energies (N, H', W').

    columns and rows are the `strips` of the two axes.
    """
    gpu = backend.device()
    count, _, height, width = features.shape
    magnitudes, directions = gpu.empty(images.shape, np.float32), gpu.empty(images.shape, np.uint8)
    energies = gpu.empty((count, height, width), np.float32)
    tables = [gpu.put(table) for table in (*columns, *rows)]
    launch.launch_threads(polar, images.shape, images, magnitudes, directions)
    launch.launch_threads(pool, energies.shape, magnitudes, directions, *tables, features, energies)
    launch.launch_threads(normalise, energies.shape, energies, features)
    return energies
