"""CNN-HOG and CNN-DSIFT, slowly and as literally as possible: filter banks and loops in float64.

Source: aravindhm/deep-goggle @ cc667f0, experiments/networks/hog_net.m and dsift_net.m. Never imports the project.
"""

import math

import numpy as np
from numpy.typing import NDArray


def derivatives(grey: NDArray, directions: int) -> NDArray:
    """(H, W) -> (D, H - 2, W - 2): correlation with cos t * dx + sin t * dy, each of half central differences."""
    height, width = grey.shape
    found = np.zeros((directions, height - 2, width - 2))
    for k in range(directions):
        t = 2 * math.pi / directions * k
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                dx = (grey[y, x + 1] - grey[y, x - 1]) / 2
                dy = (grey[y + 1, x] - grey[y - 1, x]) / 2
                found[k, y - 1, x - 1] = math.cos(t) * dx + math.sin(t) * dy
    return found


def bins(projections: NDArray, bilinear: bool) -> NDArray:
    """The gradient's norm times one-hot of the largest projection, or times max(0, 1 - D / 2 pi * arccosine)."""
    directions = len(projections)
    norm = np.sqrt((projections**2).sum(axis=0) / (directions / 2))
    if bilinear:
        cosines = np.clip(projections / np.maximum(norm, 1e-10), -1, 1)
        return norm * np.maximum(0, 1 - directions / (2 * math.pi) * np.arccos(cosines))
    best = projections.round(9).argmax(
        axis=0
    )  # directions that are equally near: the first, whatever the rounding
    return norm * (np.arange(directions)[:, None, None] == best)


def triangles(histograms: NDArray, size: int, pad: int) -> NDArray:
    """Correlation of each channel with a triangular filter of 2 * size, at every size-th place."""
    padded = np.pad(histograms, ((0, 0), (pad, pad), (pad, pad)))
    a = [1 - abs(i - (2 * size + 1) / 2) / size for i in range(1, 2 * size + 1)]
    kernel = np.outer(a, a)
    rows, columns = ((length - 2 * size) // size + 1 for length in padded.shape[1:])
    found = np.zeros((len(padded), rows, columns))
    for y in range(rows):
        for x in range(columns):
            window = padded[:, y * size : (y + 2) * size, x * size : (x + 2) * size]
            found[:, y, x] = (window * kernel).sum(axis=(1, 2))
    return found


def hog(grey: NDArray, bilinear: bool) -> NDArray:
    """(H, W) -> (27, H // 8, W // 8), block by block."""
    directed = triangles(bins(derivatives(np.pad(grey, 1), 18), bilinear), 8, 4)
    cells = np.concatenate([directed, directed[:9] + directed[9:]])
    found = np.zeros_like(cells)
    for y in range(cells.shape[1] - 1):
        for x in range(cells.shape[2] - 1):
            block = cells[:, y : y + 2, x : x + 2]
            norm = max(math.sqrt((block[18:] ** 2).sum()), 1e-6)
            found[:, y : y + 2, x : x + 2] += 0.5 * np.minimum(block / norm, 0.2)
    return found


def dsift(grey: NDArray) -> NDArray:
    """(H, W) -> (128, H', W'), block by block: rows, columns, orientations."""
    cells = triangles(bins(derivatives(grey, 8), True), 5, 0)
    rows, columns = ((length - 4) // 3 + 1 for length in cells.shape[1:])
    found = np.zeros((128, rows, columns))
    for y in range(rows):
        for x in range(columns):
            for i in range(4):
                for j in range(4):
                    weight = math.exp(-0.5 * ((i - 1.5) ** 2 + (j - 1.5) ** 2) / 1.5**2)
                    for o in range(8):
                        found[i * 32 + j * 8 + o, y, x] = weight * cells[o, 3 * y + i, 3 * x + j]
            found[:, y, x] = np.minimum(found[:, y, x] / math.sqrt(1e-6 + (found[:, y, x] ** 2).sum()), 0.2)
    return found
