"""Confidence intervals by the bootstrap over pictures (Efron 1979), percentile method."""

import numpy as np

SAMPLES = 2000
LEVEL = 0.95
_BLOCK = 2**22  # drawn numbers held at a time


def mean_interval(
    values: np.ndarray, *, seed: int, samples: int = SAMPLES, level: float = LEVEL
) -> tuple[float, float]:
    """Interval of the mean over pictures drawn again with replacement.

    Parameters
    ----------
    values : (N,), one number a picture, such as its error.
    seed : of the draws.
    samples : how many means are drawn.
    level : share of them between the two bounds.

    Returns
    -------
    low, high : the percentiles (1 - level) / 2 and (1 + level) / 2 of the means.

    Raises
    ------
    ValueError : if there are no values, or ``level`` is not in 0..1.
    """
    if not len(values) or not 0 < level < 1:
        raise ValueError(
            f"{len(values)} values and level {level}; one value or more, and a level in 0..1, are needed"
        )
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // len(values))
    means = [
        values[rng.integers(len(values), size=(min(step, samples - first), len(values)))].mean(axis=1)
        for first in range(0, samples, step)
    ]
    low, high = np.percentile(np.concatenate(means), [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)
