"""Local binary patterns, the uniform ones, as VLFeat 0.9.21 computes them (vl/lbp.c).

Conventions: image x right, y down. A pattern tells which of a pixel's eight neighbours are brighter: bit 0 the one to
the right, then clockwise on the screen. Channels of a cell: 7 i + j - 1 for one run of j ones that starts at bit i,
56 for all zeros or all ones, 57 for everything else.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernels.backend import empty, holding, on_gpu
from kernels.images import check_finite, check_room, grey_batch, whole_number
from kernels.threads import run, shares, thread_count

__all__ = ["LBP_FLIP", "LbpParameters", "lbp", "lbp_shape"]

CHANNELS = 58
LEAST_BAND = 4  # rows of cells that are worth a thread

# lbp(image[:, ::-1]) is lbp(image)[LBP_FLIP][:, :, ::-1], where the width is a whole number of cells.
LBP_FLIP = np.array([*(7 * ((5 - i - j) % 8) + j - 1 for i in range(8) for j in range(1, 8)), 56, 57])
LBP_FLIP.setflags(write=False)


@dataclass(frozen=True)
class LbpParameters:
    """Settings of LBP; VLFeat has no default for the cell size, the paper has 16.

    Attributes
    ----------
    cell_size : int
        Side of a cell in pixels, 1 or more.
    """

    cell_size: int = 16

    def __post_init__(self) -> None:
        object.__setattr__(self, "cell_size", whole_number("cell_size", self.cell_size, 1))


def lbp_shape(height: int, width: int, cell_size: int = 16) -> tuple[int, int, int]:
    """Shape of `lbp` for one image of height x width pixels.

    Returns
    -------
    tuple of int
        (58, height // cell_size, width // cell_size).

    Raises
    ------
    ValueError
        If the image has no room for one cell, or `cell_size` is below 1.
    TypeError
        If `cell_size` is not a whole number.
    """
    side = LbpParameters(cell_size).cell_size
    check_room(height, width, side, side)
    return CHANNELS, height // side, width // side


def lbp(gray: ArrayLike, *, cell_size: int = 16, threads: int | None = None) -> Any:
    """LBP features of one grey image or of a batch.

    Parameters
    ----------
    gray : (H, W) or (N, H, W) array, float32 or uint8
        NumPy, or on a GPU. Grey values as they are: only which of two pixels is brighter counts.
    cell_size : int
        Side of a cell in pixels, 1 or more.
    threads : int, optional
        Threads of the CPU to use. Default: as many as the work is worth, at most NUMBA_NUM_THREADS (the cores, if
        not set).
        The result is the same bit for bit whatever the number.

    Returns
    -------
    (58, H // cell_size, W // cell_size) or (N, 58, H // cell_size, W // cell_size) float32 array
        0 to 1: square roots of a histogram whose sum is 1; all 0 for a cell without a pixel that has eight neighbours.
        See the module's header for the channel order. A NumPy array, or a CuPy array where `gray` lives on a GPU.

    Raises
    ------
    TypeError
        If `gray` is neither float32 nor uint8, or `cell_size` or `threads` is not a whole number.
    ValueError
        If `gray` has another rank, no room for one cell, or values that are NaN or infinite; if `cell_size` or
        `threads` is below 1.

    Notes
    -----
    Equal to VLFeat 0.9.21's vl_lbp_process (uniform patterns, not transposed) to 5e-6, and on images of more than 200
    cells along a side to 2.5e-8 a cell: VLFeat rounds places and sums, these are exact up to cells of 6,888 pixels. The
    first call compiles for some seconds and keeps the result on disk.
    """
    images, is_batch = grey_batch(gray)
    _, height, width = images.shape
    shape = lbp_shape(height, width, cell_size)
    parameters, threads = LbpParameters(cell_size), thread_count(threads, images.size)
    features = empty((len(images), *shape), np.float32, beside=images)
    if on_gpu(images):
        from kernels.lbp import cuda  # late: nothing of CUDA before a GPU array comes in

        with holding(images):
            check_finite(images)
            cuda.compute(images, parameters.cell_size, features)
    else:
        _compute(images, parameters, features, threads)
    return features if is_batch else features[0]


def _compute(images: NDArray, parameters: LbpParameters, features: NDArray, threads: int) -> None:
    """Fill features (N, 58, H', W') from images (N, H, W) on the CPU."""
    from kernels.lbp import cpu  # late: Numba costs a good part of a second

    _, height, width = images.shape
    columns, rows = strips(width, parameters), strips(height, parameters)

    def band(n: int, first: int, last: int) -> None:
        wide = np.empty(width, f"u{images.itemsize}")
        finite = cpu.cells(images[n], columns, rows, parameters.cell_size, first, last, wide, features[n])
        if not finite:
            check_finite(images[n : n + 1], first=n)

    height = features.shape[2]
    bands = [(0, height)] if len(images) >= threads else shares(height, LEAST_BAND, threads)
    run(band, ((n, *rows) for n in range(len(images)) for rows in bands), threads)


@lru_cache(maxsize=64)
def strips(length: int, parameters: LbpParameters) -> NDArray[np.int64]:
    """Where the pixels of one axis fall between the cell centres.

    Returns
    -------
    (cells + 2,) int64 array
        Strip j holds the pixels starts[j] to starts[j + 1] - 1: those from the centre of cell j - 1 up to the centre
        of cell j. The outermost pixels lack neighbours and are left out, and so are those beyond the last cell's reach.
    """
    side = parameters.cell_size
    centres = (
        np.arange(-1, length // side + 1) * side + side // 2
    )  # the first pixel not before a cell's centre
    return np.clip(centres, 1, max(length - 1, 1))
