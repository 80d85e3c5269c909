"""Non-negative sparse codes, and dictionaries learned for them.

Source: Mairal, Bach, Ponce & Sapiro, Online Learning for Matrix Factorization and Sparse Coding (JMLR 2010), with
batches as its section 3.4.3 has them. Codes are scikit-learn's.
"""

import numpy as np
from numpy.typing import NDArray

from decoders.extras import need

MAX_SWEEPS = 10_000  # of coordinate descent
_UNUSED = 1e-6  # an atom's squared codes, below which it is replaced
_BLOCK = 64  # atoms


def sparse_codes(rows: NDArray, atoms: NDArray, sparsity: float) -> NDArray[np.float64]:
    """Non-negative lasso of each row: min 1/2 |x - a D|^2 + sparsity * sum a; a thread a core.

    Parameters
    ----------
    rows : (n, d)
    atoms : (K, d)
        Of any length.
    sparsity : float

    Returns
    -------
    (n, K) float64
    """
    encode = need("sklearn.decomposition").sparse_encode
    parallel, limits = need("joblib").parallel_config, need("threadpoolctl").threadpool_limits
    rows, atoms = np.asarray(rows, np.float64), np.asarray(atoms, np.float64)
    gram, products = atoms @ atoms.T, atoms @ rows.T
    with parallel("threading", n_jobs=-1), limits(1):
        return encode(
            rows,
            atoms,
            gram=gram,
            cov=products,
            algorithm="lasso_cd",
            alpha=sparsity,
            positive=True,
            max_iter=MAX_SWEEPS,
        )


class OnlineDictionary:
    """A dictionary that learns from one batch after another.

    Parameters
    ----------
    atoms : (K, d)
        To start from; those longer than 1 are shortened.
    sparsity : float
    rng : numpy.random.Generator
        Draws the rows that replace atoms which no row uses.

    Attributes
    ----------
    atoms : (K, d) float64, each of at most unit length.
    """

    def __init__(self, atoms: NDArray, sparsity: float, rng: np.random.Generator) -> None:
        lengths = np.linalg.norm(atoms, axis=1, keepdims=True)
        self.atoms = np.asarray(atoms, np.float64) / np.maximum(lengths, 1)
        self._sparsity, self._rng = sparsity, rng
        count = len(atoms)
        self._squares = np.zeros((count, count))  # A: sums of products of codes
        self._wanted = np.zeros_like(self.atoms)  # B: sums of codes times rows
        self._batches = 0

    def learn(self, rows: NDArray) -> None:
        """Code a batch (n, d), then move each atom once to where it fits best all codes so far."""
        codes, size = sparse_codes(rows, self.atoms, self._sparsity), len(rows)
        self._batches += 1
        seen = self._batches * size if self._batches < size else size**2 + self._batches - size  # theta
        kept = (seen + 1 - size) / (seen + 1)  # beta: how much the past counts
        self._squares = kept * self._squares + codes.T @ codes
        self._wanted = kept * self._wanted + codes.T @ rows
        self._replace_unused(rows)
        for start in range(0, len(self.atoms), _BLOCK):
            self._move(slice(start, start + _BLOCK))

    def _replace_unused(self, rows: NDArray) -> None:
        for k in np.flatnonzero(self._squares.diagonal() < _UNUSED):
            row = rows[self._rng.integers(len(rows))]
            self.atoms[k] = row / max(np.linalg.norm(row), 1)
            self._squares[k] = self._squares[:, k] = 0
            self._wanted[k] = 0

    def _move(self, block: slice) -> None:
        """Move the atoms of a block, each after those before it: what they changed is all that is computed singly."""
        squares, atoms = self._squares[block], self.atoms[block]
        wanted, among = self._wanted[block] - squares @ self.atoms, squares[:, block]
        moved = np.zeros_like(atoms)
        for k in np.flatnonzero(among.diagonal() >= _UNUSED):
            atom = atoms[k] + (wanted[k] - among[k, :k] @ moved[:k]) / among[k, k]
            moved[k] = atom / max(np.linalg.norm(atom), 1) - atoms[k]
        atoms += moved
