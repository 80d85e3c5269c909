"""SIFT keypoints and descriptors as VLFeat 0.9.21 computes them (vl/sift.c), with the defaults of its MATLAB command.

Conventions: x right, y down, the centre of the first pixel is (0, 0); a scale is a sigma in pixels; angle 0 points right
and angles grow clockwise on the screen. A descriptor's direction varies fastest, then its x, then its y. Grey values are
meant to be 0..255: `peak_thresh` and `norm_thresh` are in these units. See `kernels.sift.matlab` for MATLAB's conventions.
"""

import math
from dataclasses import dataclass
from operator import index
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernels.sift.geometry import first_sigma, octave_count, octave_length
from kernels.threads import run, thread_count

__all__ = ["Keypoints", "SiftParameters", "sift"]


class Keypoints(NamedTuple):
    """What `sift` finds in one image, in VLFeat's order: octaves, then levels, rows and columns, then angles.

    Attributes
    ----------
    frames : (N, 4) float32 array
        x and y in pixels, from 0; scale, the keypoint's sigma in pixels; orientation, 0 to 2 pi. A keypoint with
        several orientations has as many frames.
    descriptors : (N, 128) uint8 array
        512 times the unit descriptor, cut to whole numbers and to 255; or float32, as it is, if so asked.
    """

    frames: NDArray[np.float32]
    descriptors: NDArray


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


def sift(
    gray: ArrayLike, *, parameters: SiftParameters = SiftParameters(), threads: int | None = None
) -> Keypoints:
    """SIFT."""
    from kernels.sift.cpu import describe, detect, orient, scale_space
    from kernels.sift.scalar import EXP_TABLE as table

    image = np.require(gray, np.float32, ["C", "A"])
    p = parameters
    count = octave_count(*image.shape, p.first_octave) if p.octaves is None else p.octaves
    lowest = scale_space.first_level(image, p.levels, p.first_octave)
    frames, descriptors = [np.empty((0, 4), np.float32)], [np.empty((0, 128), np.float32)]
    for o in range(p.first_octave, p.first_octave + count):
        if 0 in lowest.shape:
            break
        octave = scale_space.octave_levels(lowest, p.levels)
        found = detect.extrema(octave, p.peak_thresh, 0, octave.shape[1])
        found = found[np.argsort(found[:, 2], kind="stable")]
        places, values = np.empty_like(found), np.empty(found.shape, np.float32)
        kept = detect.refine(
            octave, found, o, first_sigma(p.levels), p.peak_thresh, p.edge_thresh, places, values
        )
        if kept:
            places, values = places[:kept], values[:kept]
            gradients = scale_space.gradients(octave)
            angles, counts = np.empty((kept, 4)), np.empty(kept, np.int32)
            orient.orientations(gradients, places, values, o, table, angles, counts)
            angles = angles[np.arange(4) < counts[:, None]]
            places, values = np.repeat(places, counts, axis=0), np.repeat(values, counts, axis=0)
            features = np.empty((len(angles), 128), np.float32)
            settings = p.norm_thresh, p.magnif, p.window_size
            describe.describe(gradients, places, values, angles, o, settings, table, features)
            frames.append(np.column_stack([values, angles.astype(np.float32)]))
            descriptors.append(features)
        lowest = scale_space.next_level(octave)
    features = np.float32(512) * np.concatenate(descriptors)
    if not p.float_descriptors:
        features = np.minimum(features, np.float32(255)).astype(np.uint8)
    return Keypoints(np.concatenate(frames), features)
