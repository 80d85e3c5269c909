"""HOG as HOGgles computes it: 32 channels, without the outer ring of cells.

Source: CSAILVision/ihog @ 137f0b7, `internal/features.cc` (the code of Felzenszwalb's detector).
Conventions: x right, y down; channels 0-17 directed orientations (0 points right, clockwise on the screen), 18-26
undirected ones, 27-30 texture, 31 always zero ("truncation").

What differs from VLFeat's vl_hog: the strongest of the colour channels decides at each pixel; texture sums run over the
18 directed orientations rather than the 9 undirected ones, and their blocks are ordered lower right, upper right, lower
left, upper left; directions and 1 / sqrt(18) have four digits; the grid has round(length / cell size) cells, beyond the
image its last row and column but one count again, and features of the outermost cells are left out.
"""

import numpy as np
from numpy.typing import NDArray

CHANNELS = 32
ORIENTATIONS = 9
COSINES = np.array([1.0, 0.9397, 0.7660, 0.5, 0.1736, -0.1736, -0.5, -0.7660, -0.9397])
SINES = np.array([0.0, 0.3420, 0.6428, 0.8660, 0.9848, 0.9848, 0.8660, 0.6428, 0.3420])
EPSILON = 1e-4  # under the root of a block's norm, for pixels of 0..1
CLAMP = 0.2
TEXTURE = 0.2357


def ihog(images: NDArray, *, cell_size: int = 8) -> NDArray[np.float32]:
    """Features of pictures.

    Parameters
    ----------
    images : (N, C, H, W), any real dtype, 0..255
        RGB, or one grey channel.
    cell_size : int

    Returns
    -------
    (N, 32, round(H / cell_size) - 2, round(W / cell_size) - 2) float32
        0 to 0.4 (orientations) and 0 to 0.85 (texture).

    Raises
    ------
    ValueError
        Pictures have another rank, or less than three cells a side.
    """
    if images.ndim != 4:
        raise ValueError(f"images have shape {images.shape}: (N, C, H, W) is needed")
    if min(_cells(length, cell_size) for length in images.shape[2:]) < 3:
        raise ValueError(
            f"pictures of {images.shape[2]} x {images.shape[3]} have less than three cells of {cell_size} a side"
        )
    return np.stack([_features(_histograms(image, cell_size)) for image in images])


def _cells(length: int, cell_size: int) -> int:
    return (2 * length + cell_size) // (2 * cell_size)  # the nearest, halves up


def _histograms(image: NDArray, cell_size: int) -> NDArray:
    """(C, H, W), 0..255 -> (18, rows, columns): magnitudes by direction, pooled bilinearly into cells."""
    pixels = np.asarray(image, np.float64) / 255
    rows, columns = (_cells(length, cell_size) for length in pixels.shape[1:])
    y, weights_y = _axis(rows, cell_size, pixels.shape[1])
    x, weights_x = _axis(columns, cell_size, pixels.shape[2])
    down = (pixels[:, y + 1] - pixels[:, y - 1])[:, :, x]
    across = (pixels[:, :, x + 1] - pixels[:, :, x - 1])[:, y]
    squared = across**2 + down**2
    strongest = squared.argmax(axis=0)[None]
    down, across, squared = (
        np.take_along_axis(planes, strongest, axis=0)[0] for planes in (down, across, squared)
    )
    scores = COSINES[:, None, None] * across + SINES[:, None, None] * down
    best = np.abs(scores).argmax(axis=0)
    is_opposite = np.take_along_axis(scores, best[None], axis=0)[0] < 0
    direction = best + ORIENTATIONS * is_opposite
    magnitude = np.sqrt(squared)
    return np.stack(
        [weights_y @ (magnitude * (direction == k)) @ weights_x.T for k in range(2 * ORIENTATIONS)]
    )


def _axis(cells: int, cell_size: int, length: int) -> tuple[NDArray, NDArray]:
    """Where the pixels 1, 2, ... of an axis are read, and their shares (cells, pixels) for the cells."""
    pixel = np.arange(1, cells * cell_size - 1)
    position = (pixel + 0.5) / cell_size - 0.5
    shares = np.maximum(0, 1 - np.abs(position - np.arange(cells)[:, None]))
    return np.minimum(pixel, length - 2), shares


def _features(histograms: NDArray) -> NDArray[np.float32]:
    """Normalise each inner cell by its four blocks: (18, rows, columns) -> (32, rows - 2, columns - 2)."""
    undirected = histograms[:ORIENTATIONS] + histograms[ORIENTATIONS:]
    energy = (undirected**2).sum(axis=0)
    blocks = energy[:-1, :-1] + energy[1:, :-1] + energy[:-1, 1:] + energy[1:, 1:]
    factors = 1 / np.sqrt(blocks + EPSILON)  # of the block whose upper left cell this is
    four = np.stack([factors[1:, 1:], factors[:-1, 1:], factors[1:, :-1], factors[:-1, :-1]])
    inner = np.concatenate([histograms, undirected])[:, 1:-1, 1:-1]
    clamped = np.minimum(inner[:, None] * four, CLAMP)  # (27, 4, rows - 2, columns - 2)
    features = np.zeros((CHANNELS, *inner.shape[1:]), np.float32)
    features[: len(inner)] = clamped.sum(axis=1) / 2
    features[len(inner) : -1] = TEXTURE * clamped[: 2 * ORIENTATIONS].sum(axis=0)
    return features
