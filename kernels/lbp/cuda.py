"""LBP on the GPU: one kernel for the codes of the pixels, one for the cells.

Source: as kernels/lbp/cpu.py. Sums are whole numbers: exact in any order, so the bits are the CPU's.
Conventions: images (N, H, W); codes (N, H, W) uint8; features (N, 58, H', W').

Roofline, per pixel of float32 images with cells of 16: at least 4 bytes are read and 58 * 4 / 256 = 0.9 written. The
kernels move 4 + 1 and 1 + 0.9 = 7 bytes for some 100 operations, 14 a byte: arithmetic and memory about balance.
"""

from typing import Any

import numpy as np
from numba import cuda

from kernels import backend, launch
from kernels.lbp import scalar

CODES = scalar.CODES
CODE_TABLE = scalar.code_table()
NO_CODE = 255  # of border pixels, which lack neighbours
CELL_BLOCK = 64  # threads for one cell; at least one for each code

_pattern = launch.device(scalar.pattern)
_norm = launch.device(scalar.norm)
_entry = launch.device(scalar.entry)


@launch.kernel
def encode(images: Any, codes: Any) -> None:
    """Code of each pixel, one thread a pixel.

    Per pixel: 4 bytes read (the other eight neighbours come from the cache), 1 written, about 45 operations.
    """
    table = cuda.const.array_like(CODE_TABLE)
    count, height, width = images.shape
    x, y = cuda.grid(2)
    if x >= width or y >= height:
        return
    inside = 0 < y < height - 1 and 0 < x < width - 1
    for n in range(cuda.blockIdx.z, count, cuda.gridDim.z):
        if inside:
            codes[n, y, x] = table[_pattern(images[n, y - 1], images[n, y], images[n, y + 1], x)]
        else:
            codes[n, y, x] = NO_CODE


@launch.kernel
def cells(codes: Any, cell_size: int, chunk: int, features: Any) -> None:
    """Features of one cell, one block a cell; `chunk` pixels at a time, whose shares cannot overflow 32 bits.

    The threads take the pixels in turns and add whole numbers in shared memory, in whatever order: the sum is the same.
    Per pixel: 1 byte read from memory and three times again from the cache, since four cells share it; 232 / 256 bytes
    written; about 4 * 14 operations.
    """
    counts = cuda.shared.array(CODES, np.uint32)
    shares = cuda.shared.array(CODES, np.float64)
    count, height, width = codes.shape
    y, x, me = cuda.blockIdx.y, cuda.blockIdx.x, cuda.threadIdx.x
    side = 2 * cell_size
    unit = 1.0 / (np.float64(side) * side)
    top, left = max(cell_size * (y - 1) + cell_size // 2, 0), max(cell_size * (x - 1) + cell_size // 2, 0)
    wide = min(cell_size * (x + 1) + cell_size // 2, width) - left
    pixels = (min(cell_size * (y + 1) + cell_size // 2, height) - top) * wide
    for n in range(cuda.blockIdx.z, count, cuda.gridDim.z):
        if me < CODES:
            counts[me], shares[me] = 0, 0.0
        cuda.syncthreads()
        for start in range(0, pixels, chunk):
            for i in range(start + me, min(start + chunk, pixels), cuda.blockDim.x):
                from_y, from_x = top + i // wide, left + i % wide
                code = codes[n, from_y, from_x]
                if code != NO_CODE:
                    down = 2 * from_y + 1 + cell_size - side * y
                    right = 2 * from_x + 1 + cell_size - side * x
                    share = min(down, 2 * side - down) * min(right, 2 * side - right)
                    cuda.atomic.add(counts, code, np.uint32(share))
            cuda.syncthreads()
            if me < CODES:
                shares[me] += counts[me]
                counts[me] = 0
            cuda.syncthreads()
        if me < CODES:
            total = 0.0
            for k in range(CODES):
                total += shares[k]
            features[n, me, y, x] = _entry(shares[me] * unit, _norm(total * unit))
        cuda.syncthreads()


def compute(images: Any, cell_size: int, features: Any) -> None:
    """Fill features (N, 58, H', W') from images (N, H, W) on the GPU."""
    count, _, rows, columns = features.shape
    codes = backend.device().empty(images.shape, np.uint8)
    launch.launch_threads(encode, images.shape, images, codes)
    chunk = max((1 << 32) // (4 * cell_size**2) - 1, 1)
    launch.launch_blocks(cells, (count, rows, columns), CELL_BLOCK, codes, cell_size, chunk, features)
