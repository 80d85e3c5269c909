"""Histograms of oriented gradients, UoCTTI variant, as VLFeat 0.9.21 computes them (vl/hog.c).

Conventions: image x right, y down; angle 0 is a gradient pointing right, angles grow clockwise on the screen.
Channels of a cell, in VLFeat's order: 0-17 directed orientations (20 degrees a step), 18-26 undirected ones,
27-30 texture energy for the blocks upper left, upper right, lower left, lower right.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernels.backend import empty, holding, host, on_gpu
from kernels.hog.glyphs import hog_glyphs
from kernels.images import check_room, grey_batch, whole_number
from kernels.threads import run, shares, thread_count

__all__ = ["HOG_FLIP", "HogParameters", "hog", "hog_glyphs", "hog_shape"]

# hog(image[:, ::-1]) is hog(image)[HOG_FLIP][:, :, ::-1] up to rounding, where the width is a whole number of cells.
HOG_FLIP = np.array([*range(9, 0, -1), 0, *range(17, 9, -1), 18, *range(26, 18, -1), 28, 27, 30, 29])
HOG_FLIP.setflags(write=False)

Strips = tuple[NDArray, NDArray]
LEAST_BAND = 16  # rows of cells that are worth a thread


@dataclass(frozen=True)
class HogParameters:
    """Settings of HOG with VLFeat's defaults.

    Attributes
    ----------
    cell_size : int
        Side of a cell in pixels, 2 or more.
    orientations : int
        Undirected orientations; always 9, which is what gives 31 channels.
    """

    cell_size: int = 8
    orientations: int = field(default=9, init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cell_size", whole_number("cell_size", self.cell_size, 2))

    @property
    def channels(self) -> int:
        """Directed, undirected and texture entries of one cell."""
        return 3 * self.orientations + 4

    def cells(self, length: int) -> int:
        """Cells along a side of `length` pixels: the last one is at least half inside the image."""
        return (length + self.cell_size // 2) // self.cell_size


def hog_shape(height: int, width: int, cell_size: int = 8) -> tuple[int, int, int]:
    """Shape of `hog` for one image of height x width pixels.

    Returns
    -------
    tuple of int
        (31, H', W') with H' = (height + cell_size // 2) // cell_size and W' likewise.

    Raises
    ------
    ValueError
        If the image has no room for one cell, or `cell_size` is below 2.
    TypeError
        If `cell_size` is not a whole number.
    """
    parameters = HogParameters(cell_size)
    check_room(height, width, cell_size - cell_size // 2, cell_size)
    return parameters.channels, parameters.cells(height), parameters.cells(width)


def hog(gray: ArrayLike, *, cell_size: int = 8, threads: int | None = None) -> Any:
    """HOG features of one grey image or of a batch.

    Parameters
    ----------
    gray : (H, W) or (N, H, W) array, float32 or uint8
        NumPy, or on a GPU. Grey values as they are; nothing is rescaled, and uint8 v counts as float32 v. The
        features hardly change with contrast, but the reference's 1e-4 under the norm makes them fade for images of
        almost no contrast.
    cell_size : int
        Side of a cell in pixels, 2 or more.
    threads : int, optional
        Threads of the CPU to use. Default: as many as the work is worth, at most NUMBA_NUM_THREADS (the cores, if
        not set).
        The result is the same bit for bit whatever the number.

    Returns
    -------
    (31, H', W') or (N, 31, H', W') float32 array
        0 to 0.4 (directed and undirected) and 0 to 0.43 (texture); see the module's header for the channel order and
        `hog_shape` for H' and W'. A NumPy array, or a CuPy array where `gray` lives on a GPU.

    Raises
    ------
    TypeError
        If `gray` is neither float32 nor uint8, or `cell_size` or `threads` is not a whole number.
    ValueError
        If `gray` has another rank, no room for one cell, or values that are NaN, infinite, or so large that
        float32 overflows; if `cell_size` is below 2 or `threads` below 1.

    Notes
    -----
    Equal to VLFeat 0.9.21's vl_hog (variant UoCTTI, 9 orientations, no bilinear orientation assignment) to 1e-6.
    The first call compiles for some seconds and keeps the result on disk.
    """
    images, is_batch = grey_batch(gray)
    _, height, width = images.shape
    shape = hog_shape(height, width, cell_size)
    parameters, threads = HogParameters(cell_size), thread_count(threads, images.size)
    columns, rows = strips(width, parameters), strips(height, parameters)
    features = empty((len(images), *shape), np.float32, beside=images)
    with holding(images):
        if on_gpu(images):
            from kernels.hog import cuda  # late: nothing of CUDA before a GPU array comes in

            energies = cuda.compute(images, columns, rows, features)
        else:
            energies = _compute(images, columns, rows, features, threads)
        _check_finite(images, energies)
    return features if is_batch else features[0]


def _compute(images: NDArray, columns: Strips, rows: Strips, features: NDArray, threads: int) -> NDArray:
    """Fill features (N, 31, H', W') from images (N, H, W) on the CPU, and return the cells' energies (N, H', W')."""
    from kernels.hog import cpu  # late: Numba costs a good part of a second

    height = features.shape[2]
    energies = np.empty((len(images), *features.shape[2:]), np.float32)
    pixels = images.astype(np.float32, copy=False)  # one type, so that it compiles once

    def histograms(n: int, first: int, last: int) -> None:
        cpu.histograms(pixels[n], columns, rows, first, last, features[n], energies[n])

    def normalise(n: int, first: int, last: int) -> None:
        cpu.normalise(energies[n], first, last, features[n])

    def whole(n: int) -> None:
        histograms(n, 0, height)
        normalise(n, 0, height)

    if len(images) >= threads:
        run(whole, ((n,) for n in range(len(images))), threads)
    else:
        parts = shares(height, LEAST_BAND, threads)
        bands = [(n, *part) for n in range(len(images)) for part in parts]
        run(histograms, bands, threads)
        run(normalise, bands, threads)
    return energies


def _check_finite(images: Any, energies: Any) -> None:
    """Refuse NaN, infinity and overflow: each pixel reaches some cell's energy, but for the corners of the image."""
    if images.dtype != np.float32:
        return
    _, height, width = images.shape
    unread = images if min(height, width) < 4 else images[:, :: height - 1, :: width - 1]
    finite = np.isfinite(unread).all(axis=(1, 2)) & np.isfinite(energies).all(axis=(1, 2))
    for n in np.flatnonzero(~host(finite)):
        fault = (
            "values too large to be squared in float32" if np.isfinite(images[n]).all() else "NaN or infinity"
        )
        raise ValueError(f"gray: image {n} holds {fault}; allowed are finite values, up to about 1e15")


@lru_cache(maxsize=64)
def strips(length: int, parameters: HogParameters) -> Strips:
    """Where the pixels of one axis fall between the cell centres.

    Returns
    -------
    starts : (cells + 2,) int64 array
        Strip j holds the pixels starts[j] to starts[j + 1] - 1: those from the centre of cell j - 1 up to
        the centre of cell j. The outermost pixels have no gradient and are left out.
    weights : (length, 2) float32 array
        Each pixel's share for cell j - 1 and for cell j.
    """
    position = ((np.arange(length) + 0.5) / parameters.cell_size - 0.5).astype(np.float32)
    cell = np.floor(position)
    weights = np.stack([1 - (position - cell), position - cell], axis=1)
    strip_cells = np.arange(-1, parameters.cells(length) + 1)
    starts = 1 + np.searchsorted(cell[1 : max(length - 1, 1)], strip_cells)
    return starts, weights
