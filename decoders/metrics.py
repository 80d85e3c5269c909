"""The paper's normalised reconstruction error (CVPR 2016, section 4, "Quantitative results").

error = mean_i ||x_i - f(Phi(x_i))||_2 / N, where N is the mean Euclidean distance, not squared, between two
different pictures of the test set. Scale and mean of the pixels cancel.
"""

import numpy as np

_BLOCK = 256
_COLUMNS = 2**15


def distances(images: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Euclidean distance between each picture and its reconstruction.

    Parameters
    ----------
    images, reconstructions : (N, ...), any real dtype, equal shapes.

    Returns
    -------
    (N,) float64.
    """
    if images.shape != reconstructions.shape:
        raise ValueError(
            f"pictures are {images.shape}, reconstructions {reconstructions.shape}; they must be equal"
        )
    difference = images.astype(np.float64) - reconstructions
    return np.sqrt(np.square(difference).reshape(len(images), -1).sum(axis=1))  # (N,)


def mean_pairwise_distance(images: np.ndarray) -> float:
    """Mean Euclidean distance over all pairs of different pictures.

    Parameters
    ----------
    images : (N, ...) with N at least 2, any real dtype. For integers the squared distances are exact, since every
        product and sum is an integer below 2^53.

    Returns
    -------
    The normaliser N of the paper. No more than 256 x 256 distances are held at a time.

    Raises
    ------
    ValueError : if there are fewer than two pictures.
    """
    count = len(images)
    if count < 2:
        raise ValueError(f"{count} picture(s): the normaliser is a mean over pairs and needs at least two")
    flat = images.reshape(count, -1)
    total = 0.0
    for start in range(0, count, _BLOCK):
        rows = flat[start : start + _BLOCK]
        for other in range(start, count, _BLOCK):
            squared = _squared_distances(rows, flat[other : other + _BLOCK])
            if other == start:  # each pair of the block stands twice, and the diagonal is zero
                np.fill_diagonal(squared, 0)
                total += np.sqrt(squared).sum() / 2
            else:
                total += np.sqrt(squared).sum()
    return float(total / (count * (count - 1) / 2))


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(len(a), len(b)) squared distances, by |a|^2 + |b|^2 - 2ab in float64, a band of pixels at a time."""
    squared = np.zeros((len(a), len(b)))
    for start in range(0, a.shape[1], _COLUMNS):
        band_a = a[:, start : start + _COLUMNS].astype(np.float64)
        band_b = b[:, start : start + _COLUMNS].astype(np.float64)
        squared += (
            np.square(band_a).sum(axis=1)[:, None] + np.square(band_b).sum(axis=1) - 2 * band_a @ band_b.T
        )
    return np.maximum(squared, 0)
