"""All stages of SIFT for a batch on the GPU, octave by octave.

Source: toolbox/sift/vl_sift.c (VLFeat 0.9.21): the order in which frames are found.
The host waits for the GPU three times an octave, to learn how many extrema, keypoints and frames there are.
"""

from itertools import pairwise
from typing import Any

import numpy as np

from kernels import backend
from kernels.sift import scalar
from kernels.sift.cuda import describe, detect, orient, scale_space
from kernels.sift.geometry import SiftParameters, octave_count, octave_length


def extract(images: Any, parameters: SiftParameters) -> list[tuple[Any, Any]]:
    """Frames (F, 4) float32 and descriptors (F, 128), uint8 or float32, of each of images (N, H, W)."""
    count, height, width = images.shape
    first = parameters.first_octave
    octaves = parameters.octaves or octave_count(height, width, first)
    numbers, frames, descriptors = [], [], []
    octave = None
    for index in range(first, first + octaves):
        if min(octave_length(height, index), octave_length(width, index)) < 3:  # no sample off the border
            break
        octave = (
            scale_space.first_octave(images, parameters.levels, index)
            if octave is None
            else scale_space.next_octave(octave)
        )
        found = _of_octave(octave, index, parameters)
        numbers.append(backend.host(found[0]))
        frames.append(found[1])
        descriptors.append(found[2])
    if not numbers:
        return [_nothing(parameters)] * count
    by_image = np.concatenate(numbers)
    order = backend.device().put(np.argsort(by_image, kind="stable"))
    all_frames, all_descriptors = np.concatenate(frames)[order], np.concatenate(descriptors)[order]
    ends = np.searchsorted(np.sort(by_image), np.arange(count + 1))
    return [(all_frames[begin:end], all_descriptors[begin:end]) for begin, end in pairwise(ends)]


def _nothing(parameters: SiftParameters) -> tuple[Any, Any]:
    """No frames, no descriptors."""
    device = backend.device()
    dtype = np.float32 if parameters.float_descriptors else np.uint8
    return device.empty((0, 4), np.float32), device.empty((0, describe.SIZE), dtype)


def _of_octave(octave: Any, index: int, parameters: SiftParameters) -> tuple[Any, Any, Any]:
    """Numbers of the images (F,), frames and descriptors of one octave, by image."""
    extrema = detect.extrema(octave, parameters.peak_thresh)
    places, values = detect.refined(octave, extrema, index, parameters.peak_thresh, parameters.edge_thresh)
    if not len(places):
        return places[:, 3], *_nothing(parameters)
    gradients = scale_space.gradients(octave)
    angles, which = orient.orientations(gradients, places, values, index)
    found = describe.described(gradients, places, values, angles, which, index, parameters)
    return places[which // scalar.MOST_ORIENTATIONS, 3], *found
