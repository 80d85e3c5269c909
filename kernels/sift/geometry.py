"""The settings, and the octaves, levels and Gaussians that follow: what is known before a pixel is touched.

Source: vl/sift.c (VLFeat 0.9.21), vl_sift_new, vl_sift_process_first_octave and _vl_sift_smooth.
Conventions: octave o is sampled every 2**o pixels; level s of an octave is smoothed to SIGMA_0 * 2**(s / levels) of its
own samples, s = -1 ... levels + 1.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kernels.images import real_number, whole_number

IMAGE_SIGMA = 0.5  # the smoothing that an image is taken to have had
MOST_SAMPLES = 1 << 31  # of all levels of the first octave together
REAL_RANGES = {
    "peak_thresh": (0.0, math.inf),
    "edge_thresh": (1.0, 1e9),
    "norm_thresh": (-math.inf, math.inf),
    "magnif": (1e-3, 1e3),
    "window_size": (1e-3, 1e3),
}


@dataclass(frozen=True)
class SiftParameters:
    """Settings of SIFT, by VLFeat's names and with its defaults.

    Attributes
    ----------
    octaves : int, optional
        Octaves to search. Default: as many as the image has room for.
    levels : int
        Levels of an octave, 1 or more.
    first_octave : int
        -1 doubles the image first, 1 halves it.
    peak_thresh : float
        Least height of an extremum of the differences of Gaussians, in grey levels.
    edge_thresh : float
        Largest ratio of its two curvatures, 1 or more.
    norm_thresh : float
        Descriptors that are shorter before they are scaled to one length become zeros.
    magnif : float
        Width of a spatial bin, in scales of the keypoint.
    window_size : float
        Sigma of a descriptor's Gaussian window, in spatial bins.
    float_descriptors : bool
        Whether descriptors are float32: 512 times the unit descriptor, neither cut nor limited.
    """

    octaves: int | None = None
    levels: int = 3
    first_octave: int = 0
    peak_thresh: float = 0.0
    edge_thresh: float = 10.0
    norm_thresh: float = -math.inf
    magnif: float = 3.0
    window_size: float = 2.0
    float_descriptors: bool = False

    def __post_init__(self) -> None:
        whole = {"levels": 1, "first_octave": -4} | ({} if self.octaves is None else {"octaves": 1})
        for field, least in whole.items():
            object.__setattr__(self, field, whole_number(field, getattr(self, field), least))
        for field, between in REAL_RANGES.items():
            object.__setattr__(self, field, real_number(field, getattr(self, field), *between))
        if not isinstance(self.float_descriptors, bool):
            raise TypeError(f"float_descriptors is {self.float_descriptors!r}: it must be True or False")


def check_size(height: int, width: int, parameters: SiftParameters) -> None:
    """Refuse an image without a pixel, or of which the first octave has no sample or too many."""
    first, levels = parameters.first_octave, parameters.levels
    sides = octave_length(height, first), octave_length(width, first)
    if not all(sides):
        least = octave_length(1, -first) if first > 0 else 1
        raise ValueError(
            f"image of {height} x {width} pixels: first_octave {first} needs at least {least} x {least}"
        )
    if math.prod(sides) * (levels + 3) > MOST_SAMPLES:
        raise ValueError(
            f"image of {height} x {width} pixels: {levels} levels from first_octave {first} on are too large; allowed"
            f" are {MOST_SAMPLES // (levels + 3)} samples a level"
        )


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
