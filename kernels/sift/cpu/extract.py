"""All stages of SIFT for one image, octave by octave.

Source: toolbox/sift/vl_sift.c (VLFeat 0.9.21): the order in which frames are found.
"""

import math

import numpy as np
from numpy.typing import NDArray

from kernels.sift import scalar
from kernels.sift.cpu import describe, detect, orient, scale_space
from kernels.sift.geometry import SiftParameters, octave_count, octave_length
from kernels.threads import bands, run

WORTH_THREADS = 1 << 16  # samples of an octave; a smaller one is done before all threads have begun
BAND = 64  # keypoints that are oriented and described at a time, where an octave is shared or too large for the cache
DESCRIPTOR_UNIT, LARGEST_ENTRY = 512.0, 255.0  # of a descriptor of bytes

Found = tuple[NDArray, NDArray]


class Rooms:
    """Memory for the levels and gradients of the first octave, float32; further octaves, and images, use it again.

    New memory is not free: the system has to fill it with zeros.
    """

    def __init__(self, height: int, width: int, parameters: SiftParameters):
        samples = octave_length(height, parameters.first_octave) * octave_length(
            width, parameters.first_octave
        )
        levels, gradients = (parameters.levels + 3) * samples, 2 * parameters.levels * samples
        together = np.empty(levels + gradients, np.float32)  # in one piece, which malloc is likelier to keep
        self.levels, self.gradients = together[:levels], together[levels:]


def extract(image: NDArray, parameters: SiftParameters, threads: int, rooms: Rooms) -> Found:
    """Frames (N, 4) float32 and descriptors (N, 128), uint8 or float32, of an image (H, W) float32."""
    found = [_nothing(parameters)]
    first, levels = parameters.first_octave, parameters.levels
    height, width = image.shape
    count = parameters.octaves or octave_count(height, width, first)
    lowest = scale_space.first_level(image, levels, first, threads=threads)
    for index in range(first, first + count):
        if min(lowest.shape) < 3:  # no sample off the border, here and further up
            break
        helpful = threads if lowest.size >= WORTH_THREADS else 1
        octave = scale_space.octave_levels(lowest, levels, threads=helpful, room=rooms.levels)
        gradients = scale_space.LazyGradients(octave, rooms.gradients)
        found += _of_octave(octave, gradients, index, parameters, helpful)
        lowest = scale_space.next_level(octave)
    frames, descriptors = zip(*found, strict=True)
    return np.concatenate(frames), np.concatenate(descriptors)


def _nothing(parameters: SiftParameters) -> Found:
    """No frames, no descriptors."""
    dtype = np.float32 if parameters.float_descriptors else np.uint8
    return np.empty((0, 4), np.float32), np.empty((0, scalar.DESCRIPTOR_SIZE), dtype)


def _of_octave(
    octave: NDArray,
    gradients: scale_space.LazyGradients,
    index: int,
    parameters: SiftParameters,
    threads: int,
) -> list[Found]:
    """Frames and descriptors of one octave, in parts: they follow one another."""
    extrema = detect.extrema(octave, parameters.peak_thresh, threads=threads)
    places, values = detect.refined(octave, extrema, index, parameters.peak_thresh, parameters.edge_thresh)
    together = threads == 1 and octave[0].size <= WORTH_THREADS
    parts = bands(len(places), max(len(places), 1) if together else BAND)
    found = [_nothing(parameters)] * len(parts)

    def part(n: int, first: int, last: int) -> None:
        found[n] = _of_keypoints(gradients, places[first:last], values[first:last], index, parameters)

    run(part, ((n, *between) for n, between in enumerate(parts)), threads)
    return found


def _of_keypoints(
    gradients: scale_space.LazyGradients,
    places: NDArray,
    values: NDArray,
    index: int,
    parameters: SiftParameters,
) -> Found:
    """Frames and descriptors of keypoints (K, 3), K 1 or more, by level."""
    levels, (_, rows, sigmas) = places[:, 2], values.T / 2.0**index
    reach, present = _reach(float(sigmas.max()), parameters.magnif), sorted(set(levels.tolist()))
    starts = np.searchsorted(levels, present)
    first, last = np.minimum.reduceat(rows, starts).astype(int), np.maximum.reduceat(rows, starts).astype(int)
    gradients.compute(*zip(present, (first - reach).tolist(), (last + 2 + reach).tolist(), strict=True))
    owners, angles = orient.orientations(gradients.polar, places, values, index)
    descriptors = describe.descriptors(
        gradients.polar,
        places,
        values,
        owners,
        angles,
        index,
        (parameters.norm_thresh, parameters.magnif, parameters.window_size),
        unit=DESCRIPTOR_UNIT,
        largest=math.inf if parameters.float_descriptors else LARGEST_ENTRY,
    )
    if not parameters.float_descriptors:
        descriptors = descriptors.astype(np.uint8)
    frames = np.empty((len(angles), 4), np.float32)
    frames[:, :3], frames[:, 3] = values[owners], angles
    return frames, descriptors


def _reach(sigma: float, magnif: float) -> int:
    """How many rows above and below the largest of some keypoints are looked at; sigma in samples of the octave."""
    to_orient = max(int(3.0 * scalar.ORIENTATION_WINDOW * sigma), 1)
    return max(to_orient, scalar.descriptor_radius(magnif * sigma + scalar.EPSILON))
