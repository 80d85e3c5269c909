"""All stages of SIFT for one image, octave by octave.

Source: toolbox/sift/vl_sift.c (VLFeat 0.9.21): the order in which frames are found.
"""

import numpy as np
from numpy.typing import NDArray

from kernels.sift.cpu import describe, detect, orient, scale_space
from kernels.sift.geometry import SiftParameters, octave_count

WORTH_THREADS = 1 << 16  # samples of an octave; a smaller one is done before all threads have begun


def extract(image: NDArray, parameters: SiftParameters, threads: int) -> tuple[NDArray, NDArray]:
    """Frames (N, 4) float32 and descriptors (N, 128) float32 of unit length, of an image (H, W) float32."""
    frames, features = [np.empty((0, 4), np.float32)], [np.empty((0, 128), np.float32)]
    first, levels = parameters.first_octave, parameters.levels
    height, width = image.shape
    count = parameters.octaves or octave_count(height, width, first)
    lowest = scale_space.first_level(image, levels, first, threads=threads)
    for index in range(first, first + count):
        if min(lowest.shape) < 3:  # no sample off the border, here and further up
            break
        helpful = threads if lowest.size >= WORTH_THREADS else 1
        octave = scale_space.octave_levels(lowest, levels, threads=helpful)
        found = _of_octave(octave, index, parameters, helpful)
        frames.append(found[0])
        features.append(found[1])
        lowest = scale_space.next_level(octave)
    return np.concatenate(frames), np.concatenate(features)


def _of_octave(
    octave: NDArray, index: int, parameters: SiftParameters, threads: int
) -> tuple[NDArray, NDArray]:
    """Frames and descriptors of one octave."""
    extrema = detect.extrema(octave, parameters.peak_thresh, threads=threads)
    places, values = detect.refined(octave, extrema, index, parameters.peak_thresh, parameters.edge_thresh)
    if not len(places):
        return np.empty((0, 4), np.float32), np.empty((0, 128), np.float32)
    gradients = scale_space.gradients(octave, threads=threads)
    angles, counts = orient.orientations(gradients, places, values, index, threads=threads)
    angles = angles[np.arange(angles.shape[1]) < counts[:, None]]  # (N,)
    places, values = np.repeat(places, counts, axis=0), np.repeat(values, counts, axis=0)
    settings = parameters.norm_thresh, parameters.magnif, parameters.window_size
    features = describe.descriptors(gradients, places, values, angles, index, settings, threads=threads)
    return np.column_stack([values, angles.astype(np.float32)]), features
