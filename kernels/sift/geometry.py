"""Octaves, levels and their Gaussians: what the scale space looks like before a pixel is touched.

Source: vl/sift.c (VLFeat 0.9.21), vl_sift_new, vl_sift_process_first_octave and _vl_sift_smooth.
Conventions: octave o is sampled every 2**o pixels; level s of an octave is smoothed to SIGMA_0 * 2**(s / levels) of its
own samples, s = -1 ... levels + 1.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

IMAGE_SIGMA = 0.5  # the smoothing that an image is taken to have had


def octave_count(height: int, width: int, first_octave: int) -> int:
    """How many octaves an image has room for; the last one is at least 8 samples high and wide where it can be."""
    return max(min(height, width).bit_length() - 1 - first_octave - 3, 1)


def octave_length(length: int, octave: int) -> int:
    """Samples of an octave along a side of `length` pixels."""
    return length >> octave if octave >= 0 else length << -octave


def first_sigma(levels: int) -> float:
    """Smoothing of level 0, in samples of its octave."""
    return 1.6 * math.pow(2.0, 1.0 / levels)


@lru_cache(maxsize=64)
def base_taps(levels: int, first_octave: int) -> NDArray[np.float32] | None:
    """The Gaussian that makes level -1 of the first octave from the resampled image; None if it is smooth enough."""
    factor = math.pow(2.0, 1.0 / levels)
    wanted, given = first_sigma(levels) * math.pow(factor, -1), IMAGE_SIGMA * math.pow(2.0, -first_octave)
    return gaussian(math.sqrt(wanted * wanted - given * given)) if wanted > given else None


@lru_cache(maxsize=64)
def level_taps(levels: int) -> tuple[NDArray[np.float32], ...]:
    """The Gaussians that make the levels 0 ... levels + 1, each from the one before."""
    factor = math.pow(2.0, 1.0 / levels)
    smallest = first_sigma(levels) * math.sqrt(1.0 - 1.0 / (factor * factor))
    return tuple(gaussian(smallest * math.pow(factor, s)) for s in range(levels + 2))


def gaussian(sigma: float) -> NDArray[np.float32]:
    """A Gaussian that sums to 1, cut at the next whole pixel from 4 sigma on: (2 * ceil(4 sigma) + 1,) float32."""
    radius = max(math.ceil(4.0 * sigma), 1)
    distances = np.arange(-radius, radius + 1).astype(np.float32) / np.float32(sigma)
    taps = np.array([math.exp(-0.5 * float(d * d)) for d in distances], np.float32)
    total = np.float32(0)
    for tap in taps:  # in the reference's order, rounded each time
        total += tap
    taps /= total
    taps.setflags(write=False)
    return taps
