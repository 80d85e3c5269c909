"""Poisson blending and harmonic filling (Perez, Gangnet & Blake, SIGGRAPH 2003), exact on the grid of pixels.

The image f on an open set is the one whose differences between neighbours are nearest to those of a guide g:

    min sum (f_p - f_q - (g_p - g_q))^2    over neighbours p, q: one open, the other open or known

with f given where it is known. Where the open set touches pixels that are neither, nothing holds it (a free border).
Four neighbours; the borders of the image are free too. Colours are solved one by one with one factorisation.
"""

import numpy as np
from numpy.typing import NDArray

from decoders.extras import need


def solve(values: NDArray, is_open: NDArray, is_known: NDArray, guide: NDArray) -> NDArray[np.float64]:
    """Fill the open pixels.

    Parameters
    ----------
    values : (H, W, C), real
        Read where pixels are known and not open.
    is_open, is_known : (H, W) bool
        An open pixel is solved for even if it was known.
    guide : (H, W, C), real
        Its differences are those wanted; read at open pixels and their known neighbours. Zeros give the harmonic
        image.

    Returns
    -------
    (H, W, C) float64
        `values`, and the solution at the open pixels. A connected part of them that touches no known pixel has no
        level of its own, and becomes the guide itself.

    Raises
    ------
    ValueError
        SciPy is not installed.
    """
    sparse, linalg = need("scipy.sparse"), need("scipy.sparse.linalg")
    filled = np.array(values, np.float64)
    anchored = _anchored(is_open, is_known & ~is_open)
    filled[is_open & ~anchored] = guide[is_open & ~anchored]
    count = int(anchored.sum())
    if not count:
        return filled
    number = np.full(is_open.shape, -1)
    number[anchored] = np.arange(count)
    held = anchored | (is_known & ~is_open)
    diagonal, right = np.zeros(count), np.zeros((count, filled.shape[2]))
    rows, columns = [], []
    for p, q in _neighbours(anchored, held):
        step = np.asarray(guide[p], np.float64) - guide[q]
        row, column = number[p], number[q]  # each row at most once
        is_inner = column >= 0
        diagonal[row] += 1
        right[row] += step + np.where(is_inner[:, None], 0.0, filled[q])
        rows.append(row[is_inner])
        columns.append(column[is_inner])
    row, column = np.concatenate(rows), np.concatenate(columns)
    laplacian = sparse.csc_array((-np.ones(len(row)), (row, column)), shape=(count, count))
    laplacian = (laplacian + sparse.diags_array(diagonal)).tocsc()
    factors = linalg.splu(laplacian, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    filled[anchored] = factors.solve(right)
    return filled


def _anchored(is_open: NDArray, is_fixed: NDArray) -> NDArray:
    """Open pixels that are connected, through open ones, with a fixed pixel."""
    label = need("scipy.ndimage").label
    parts, _ = label(is_open)
    touching = [parts[p] for p, _ in _neighbours(is_open, is_fixed)]
    return is_open & np.isin(parts, np.unique(np.concatenate(touching)))


def _neighbours(
    first: NDArray, second: NDArray
) -> list[tuple[tuple[NDArray, NDArray], tuple[NDArray, NDArray]]]:
    """Pairs of neighbours, the one in `first` and the other in `second`, as places, for each of four directions."""
    pairs = []
    for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        y, x = np.nonzero(first)
        y_other, x_other = y + down, x + right
        is_inside = (y_other >= 0) & (y_other < first.shape[0]) & (x_other >= 0) & (x_other < first.shape[1])
        y, x, y_other, x_other = (places[is_inside] for places in (y, x, y_other, x_other))
        is_pair = second[y_other, x_other]
        pairs.append(((y[is_pair], x[is_pair]), (y_other[is_pair], x_other[is_pair])))
    return pairs
