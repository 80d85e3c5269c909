"""Random features that resemble real ones (CVPR 2016, section 5.5 and Figure 11).

Two models, both of independent dimensions: a histogram of each dimension, and one shifted Gaussian, cut off at zero,
for all. The paper leaves the number of bins open; here zeros have a bin of their own, so that samples are as sparse as
real features.
"""

import dataclasses
from statistics import NormalDist

import numpy as np

MOST = 4096  # pictures that histograms are made of


@dataclasses.dataclass(frozen=True)
class Histograms:
    """Of each of D dimensions.

    Attributes
    ----------
    counts : (D, 1 + bins) float64; zeros first, then equal bins from ``low`` to ``high``.
    low, high : (D,) float64, the range of what is not zero.
    """

    counts: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @staticmethod
    def of(features: np.ndarray, bins: int) -> "Histograms":
        """From (N, D) float, at least one row; at most the first 4096 rows count."""
        rows = features[:MOST].astype(np.float64)
        is_zero = rows == 0
        low = np.where(is_zero, np.inf, rows).min(axis=0)
        high = np.where(is_zero, -np.inf, rows).max(axis=0)
        low, high = np.where(np.isfinite(low), low, 0), np.where(np.isfinite(high), high, 0)
        width = np.where(high > low, high - low, 1)
        place = np.minimum((bins * ((rows - low) / width)).astype(np.int64), bins - 1)
        place = np.where(is_zero, 0, place + 1)  # (N, D)
        counts = np.zeros((rows.shape[1], bins + 1))
        np.add.at(counts, (np.arange(rows.shape[1])[None], place), 1)
        return Histograms(counts, low, high)

    def sample(self, count: int, seed: int) -> np.ndarray:
        """(count, D) float32: each dimension by itself, a bin by its count and a value uniformly in it."""
        rng = np.random.default_rng(seed)
        dimensions, bins = self.counts.shape[0], self.counts.shape[1] - 1
        summed = self.counts.cumsum(axis=1)
        drawn = rng.random((count, dimensions)) * summed[:, -1]
        place = (drawn[..., None] >= summed).sum(axis=2)  # (count, D), 0 for zero
        value = self.low + (self.high - self.low) * (place - 1 + rng.random((count, dimensions))) / bins
        return np.where(place == 0, 0, value).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class ShiftedGaussian:
    """max(0, mean + deviation * z) where ``truncated``, else mean + deviation * z; z standard normal."""

    mean: float
    deviation: float
    truncated: bool

    @staticmethod
    def of(features: np.ndarray) -> "ShiftedGaussian":
        """Fitted to all numbers of ``features``.

        Without negative ones, the share of positive numbers and their mean are met: with p that share, t = Phi^-1(p)
        and m their mean, deviation = m / (t + pdf(t) / p) and mean = t * deviation, since the mean of a normal variable
        above zero is mean + deviation * pdf(t) / p. With negative ones nothing is cut off, and mean and deviation are
        those of the numbers.
        """
        values = features.astype(np.float64).ravel()
        positive = values[values > 0]
        share = len(positive) / len(values)
        if (values < 0).any() or share in (0.0, 1.0):
            return ShiftedGaussian(float(values.mean()), float(values.std()), truncated=False)
        normal = NormalDist()
        t = normal.inv_cdf(share)
        deviation = float(positive.mean()) / (t + normal.pdf(t) / share)
        return ShiftedGaussian(t * deviation, deviation, truncated=True)

    def sample(self, shape: tuple[int, ...], seed: int) -> np.ndarray:
        """Independent draws, float32."""
        drawn = self.mean + self.deviation * np.random.default_rng(seed).standard_normal(shape)
        return (np.maximum(drawn, 0) if self.truncated else drawn).astype(np.float32)
