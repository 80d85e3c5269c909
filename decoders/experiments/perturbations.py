"""What is done to features before they are decoded (CVPR 2016, section 5.3 and Figures 8 to 10).

Features are (N, ...) float32, one row a picture; every row is perturbed by itself. Norms are Euclidean, of one row, and
summed in float64. The same functions in JavaScript, for the page of ``decoders demo --web``, are in
``export/web/perturbations.js``; what is random is therefore a hash of (seed, row, entry), which both compute alike.
"""

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]

_GOLDEN = 0x9E3779B1  # 2^32 over the golden ratio, odd: Knuth's multiplicative hash
_ROW = 0x85EBCA77
_WORD = 0xFFFFFFFF


def binarise(features: Features) -> Features:
    """Keep the signs and give all entries that are not zero one magnitude, so that each row keeps its norm.

    The magnitude is the norm over the root of the number of entries that are not zero; zeros stay zero.
    """
    rows = _rows(features)
    count = np.count_nonzero(rows, axis=1)
    magnitude = _norms(rows) / np.sqrt(np.maximum(count, 1))
    return _like(features, np.sign(rows) * magnitude[:, None])


def drop(features: Features, share: float, *, seed: int) -> Features:
    """Set a share of each row's entries to zero, drawn at random, and rescale the row to its norm.

    Parameters
    ----------
    share : 0..1 of all entries, zeros included; rounded half up to a whole number of them.
    seed : each seed and each row of a batch draw their own entries.

    Raises
    ------
    ValueError : if ``share`` is not in 0..1.
    """
    rows = _rows(features)
    draws = _draws(len(rows), rows.shape[1], seed)
    order = np.argsort(draws, axis=1, kind="stable")
    dropped = np.arange(rows.shape[1])[None] < _part(share, np.full(len(rows), rows.shape[1]))[:, None]
    return _dropped(features, order, dropped)


def drop_least(features: Features, share: float) -> Features:
    """Set a share of each row's non-zero entries to zero, those of least magnitude, and rescale the row to its norm.

    The paper does not say whether negative entries, which only FC8 has, count by magnitude; here they do. Of equal
    entries the first goes first.

    Parameters
    ----------
    share : 0..1 of the entries that are not zero; rounded half up to a whole number of them.

    Raises
    ------
    ValueError : if ``share`` is not in 0..1.
    """
    rows = _rows(features)
    order = np.argsort(np.abs(rows), axis=1, kind="stable")  # zeros first
    count = np.count_nonzero(rows, axis=1)
    dropped = np.arange(rows.shape[1])[None] < (rows.shape[1] - count + _part(share, count))[:, None]
    return _dropped(features, order, dropped)


def keep_largest(features: Features, k: int) -> Features:
    """Keep the ``k`` largest entries of each row, by value and not by magnitude, and set the others to zero.

    Nothing is rescaled. Of equal entries the first is kept first.

    Raises
    ------
    ValueError : if ``k`` is negative.
    """
    if k < 0:
        raise ValueError(f"k is {k}; it must be 0 or more")
    rows = _rows(features)
    order = np.argsort(-rows, axis=1, kind="stable")[:, k:]
    kept = rows.copy()
    np.put_along_axis(kept, order, 0, axis=1)
    return _like(features, kept)


def interpolate(first: Features, second: Features, share: float) -> Features:
    """Between two pictures' features, linearly: ``first`` at ``share`` 0 and ``second`` at 1.

    Raises
    ------
    ValueError : if the shapes differ.
    """
    if np.shape(first) != np.shape(second):
        raise ValueError(f"features of {np.shape(first)} and {np.shape(second)} cannot be interpolated")
    mixed = (1 - share) * np.asarray(first, np.float64) + share * np.asarray(second, np.float64)
    return mixed.astype(np.float32)


def _rows(features: Features) -> NDArray[np.float64]:
    values = np.asarray(features)
    if values.ndim < 2:
        raise ValueError(f"features have shape {values.shape}; (N, ...) with one row a picture is taken")
    return values.reshape(len(values), -1).astype(np.float64)  # (N, C * H * W)


def _like(features: Features, rows: NDArray[np.float64]) -> Features:
    return rows.astype(np.float32).reshape(np.shape(features))


def _norms(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(np.square(rows).sum(axis=1))


def _part(share: float, counts: NDArray[np.intp]) -> NDArray[np.intp]:
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}; it must be in 0..1")
    return np.floor(share * counts + 0.5).astype(np.intp)


def _dropped(features: Features, order: NDArray[np.intp], dropped: NDArray[np.bool_]) -> Features:
    """Zero the entries whose place in ``order`` is ``dropped``; rescale to the norm, where anything is left."""
    rows = _rows(features)
    kept = rows.copy()
    places = np.empty_like(dropped)
    np.put_along_axis(places, order, dropped, axis=1)
    kept[places] = 0
    left = _norms(kept)
    scale = np.divide(_norms(rows), left, out=np.zeros_like(left), where=left > 0)
    return _like(features, kept * scale[:, None])


def _draws(rows: int, entries: int, seed: int) -> NDArray[np.uint32]:
    """A 32-bit number for each entry: the finaliser of MurmurHash3, twice, over seed and row, then the entry."""
    row_seeds = _mixed(np.arange(rows, dtype=np.uint64) * _ROW + (seed & _WORD) * _GOLDEN)
    numbers = np.arange(1, entries + 1, dtype=np.uint64) * _GOLDEN
    return _mixed(numbers[None] ^ row_seeds[:, None].astype(np.uint64))


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """MurmurHash3's 32-bit finaliser (Appleby, `fmix32`) of the lower 32 bits."""
    words = (values & _WORD).astype(np.uint32)
    words = (words ^ words >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    words = (words ^ words >> np.uint32(13)) * np.uint32(0xC2B2AE35)
    return words ^ words >> np.uint32(16)
