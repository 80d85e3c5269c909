"""The maths of one pixel and one entry of LBP: plain functions that the CPU and CUDA compilers share.

Source: vl/lbp.c (VLFeat 0.9.21), the uniform patterns, not transposed.
Conventions: x right, y down. Bit 0 of a pattern is the neighbour to the right (E), then clockwise on the screen: 1 SE,
2 S, 3 SW, 4 W, 5 NW, 6 N, 7 NE (the reference's prose says anti-clockwise; its code does this).

Numba's disk cache watches the file of the compiled function only: after an edit here, touch cpu.py.
"""

import math

import numpy as np
from numpy.typing import NDArray

CODES = 58
FLAT, MIXED = 56, 57  # all neighbours alike; more than one run of ones
ZERO = np.float32(0)
EPSILON = np.float32(1e-10)  # beside the norm of a cell


def code_table() -> NDArray[np.uint8]:
    """Code of every pattern, (256,): a run of 1..7 ones that starts at bit i has 7 i + its length - 1."""
    codes = np.full(256, MIXED, np.uint8)
    codes[0] = codes[255] = FLAT
    for start in range(8):
        for ones in range(1, 8):
            run = ((1 << ones) - 1) << start
            codes[(run | run >> 8) & 255] = 7 * start + ones - 1
    return codes


def pattern(above, row, below, x):  # type: ignore[no-untyped-def]
    """The eight comparisons of pixel x of a row with its neighbours, strictly greater, as the bits of an integer."""
    centre = row[x]
    return (
        (row[x + 1] > centre) * 1
        | (below[x + 1] > centre) * 2
        | (below[x] > centre) * 4
        | (below[x - 1] > centre) * 8
        | (row[x - 1] > centre) * 16
        | (above[x - 1] > centre) * 32
        | (above[x] > centre) * 64
        | (above[x + 1] > centre) * 128
    )


def norm(total: float) -> np.float32:
    """What the roots of a cell's entries are divided by; the total of the entries is 1 for the weight of a pixel."""
    return np.float32(math.sqrt(np.float32(total))) + EPSILON


def entry(share: float, norm_of_cell: np.float32) -> np.float32:
    """One finished entry: the root of a code's share in the cell, over the norm."""
    return np.float32(math.sqrt(np.float32(share))) / norm_of_cell
