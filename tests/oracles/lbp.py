"""LBP, slow and obvious: pixel by pixel in float64, each pixel scattered to its four cells.

Source: vl/lbp.c (VLFeat 0.9.21).
"""

import numpy as np
from numpy.typing import NDArray

# E, SE, S, SW, W, NW, N, NE as (down, right)
NEIGHBOURS = [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)]


def code(bits: list[bool]) -> int:
    """Code of a pattern: looks for a run of ones with a zero before it and only zeros after it."""
    ones = sum(bits)
    if ones in (0, 8):
        return 56
    starts = [i for i in range(8) if bits[i] and not bits[i - 1]]
    return 7 * starts[0] + ones - 1 if len(starts) == 1 else 57


def codes(gray: NDArray) -> NDArray:
    """(H, W) -> codes of the inner pixels (H - 2, W - 2)."""
    height, width = gray.shape
    centre = gray[1:-1, 1:-1]
    bits = [
        gray[1 + down : height - 1 + down, 1 + right : width - 1 + right] > centre
        for down, right in NEIGHBOURS
    ]
    return np.apply_along_axis(lambda pixel: code(list(pixel)), -1, np.stack(bits, axis=-1))


def lbp(gray: NDArray, cell_size: int) -> NDArray:
    """(H, W) -> (58, H // cell_size, W // cell_size) float64."""
    rows, columns = (length // cell_size for length in gray.shape)
    cells = np.zeros((58, rows + 2, columns + 2))  # one more all around takes what falls outside
    if min(gray.shape) >= 3:
        for (y, x), k in np.ndenumerate(codes(gray)):
            at_y, at_x = ((place + 1.5) / cell_size - 0.5 for place in (y, x))
            top, left = int(np.floor(at_y)), int(np.floor(at_x))
            for cy, share_y in ((top, 1 - at_y + top), (top + 1, at_y - top)):
                for cx, share_x in ((left, 1 - at_x + left), (left + 1, at_x - left)):
                    if cy <= rows and cx <= columns:
                        cells[k, cy + 1, cx + 1] += share_y * share_x
    cells = cells[:, 1:-1, 1:-1]
    return np.sqrt(cells) / (np.sqrt(cells.sum(axis=0)) + 1e-10)
