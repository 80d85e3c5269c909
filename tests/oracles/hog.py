"""HOG, slow and obvious: pixel by pixel in NumPy, each pixel scattered to its four cells.

Source: vl/hog.c (VLFeat 0.9.21). Decisions in float32 as there; sums in float64.
"""

import numpy as np
from numpy.typing import NDArray

ANGLES_RAD = np.arange(9) * np.pi / 9
COSINES, SINES = np.cos(ANGLES_RAD).astype(np.float32), np.sin(ANGLES_RAD).astype(np.float32)


def directions(dx: NDArray, dy: NDArray) -> NDArray:
    """Directed bin 0..17 of float32 gradients: the largest of nine absolute scores, the first if several are."""
    scores = dx[..., None] * COSINES + dy[..., None] * SINES
    best = np.abs(scores).argmax(axis=-1)
    negative = np.take_along_axis(scores, best[..., None], axis=-1)[..., 0] < 0
    return best + 9 * negative


def histograms(gray: NDArray, cell_size: int) -> NDArray:
    """(H, W) -> raw directed histograms (18, H', W') float64."""
    image = gray.astype(np.float32)
    height, width = image.shape
    rows, columns = ((length + cell_size // 2) // cell_size for length in image.shape)
    cells = np.zeros((18, rows + 2, columns + 2))  # one more all around takes what falls outside
    if min(height, width) < 3:
        return cells[:, 1:-1, 1:-1]
    dx = image[1:-1, 2:] - image[1:-1, :-2]
    dy = image[2:, 1:-1] - image[:-2, 1:-1]
    bins = directions(dx, dy)
    magnitudes = np.sqrt(dx * dx + dy * dy).astype(np.float64)
    y, x = np.mgrid[1 : height - 1, 1 : width - 1]
    at_y, at_x = ((place + 0.5) / cell_size - 0.5 for place in (y, x))
    top, left = np.floor(at_y).astype(int), np.floor(at_x).astype(int)
    for down in (0, 1):
        for right in (0, 1):
            share = (1 - np.abs(at_y - top - down)) * (1 - np.abs(at_x - left - right))
            np.add.at(cells, (bins, top + down + 1, left + right + 1), magnitudes * share)
    return cells[:, 1:-1, 1:-1]


def hog(gray: NDArray, cell_size: int = 8) -> NDArray:
    """(H, W) -> (31, H', W') float64."""
    directed = histograms(gray, cell_size)
    undirected = directed[:9] + directed[9:]
    entries = np.concatenate([directed, undirected])  # (27, H', W')
    energy = np.pad((undirected**2).sum(axis=0), 1, mode="edge")
    pooled, textures = np.zeros_like(entries), []
    for top in (0, 1):
        for left in (0, 1):
            block = energy[top : top + entries.shape[1] + 1, left : left + entries.shape[2] + 1]
            total = block[:-1, :-1] + block[:-1, 1:] + block[1:, :-1] + block[1:, 1:]
            clamped = np.minimum(entries / np.sqrt(total + 1e-4), 0.2)
            pooled += 0.5 * clamped
            textures.append(clamped[18:].sum(axis=0) / np.sqrt(18))
    return np.concatenate([pooled, np.stack(textures)])
