"""SIFT keypoints and descriptors as VLFeat 0.9.21 computes them (vl/sift.c), by default as its MATLAB command does.

Conventions: x right, y down, the centre of the first pixel is (0, 0); a scale is a sigma in pixels; angle 0 points
right and angles grow clockwise on the screen. A descriptor's direction varies fastest, then its x, then its y. Grey
values are meant to be 0..255: `peak_thresh` and `norm_thresh` are in these units. `kernels.sift.matlab` converts to
MATLAB's conventions; the stages are in `kernels.sift.cpu`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernels.backend import holding, on_gpu
from kernels.images import check_range, grey_batch
from kernels.sift.geometry import SiftParameters, check_size
from kernels.threads import run, thread_count

__all__ = ["Keypoints", "SiftParameters", "sift"]

LARGEST = 1e15  # of a grey value: the squares of sums of a descriptor stay finite


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


def sift(
    gray: ArrayLike, *, parameters: SiftParameters | None = None, threads: int | None = None
) -> "Keypoints | list[Keypoints]":
    """SIFT keypoints of one grey image, or of each of a batch.

    Parameters
    ----------
    gray : (H, W) or (N, H, W) array, float32 or uint8
        NumPy, or on a GPU. Grey values, 0 to 255 as a rule; nothing is rescaled, and uint8 v counts as float32 v.
    parameters : SiftParameters, optional
        Default: those of VLFeat's MATLAB command.
    threads : int, optional
        Threads of the CPU to use. Default: as many as the work is worth, at most NUMBA_NUM_THREADS (the cores, if
        not set).
        The result is the same bit for bit whatever the number.

    Returns
    -------
    Keypoints, or list of Keypoints for a batch
        Frames (N, 4) float32 and descriptors (N, 128) uint8, or float32 if `parameters` say so; N may be 0.
        NumPy arrays, or CuPy arrays where `gray` lives on a GPU.

    Raises
    ------
    TypeError
        If `gray` is neither float32 nor uint8, or `threads` is not a whole number.
    ValueError
        If `gray` has another rank, no pixel, too many, or values that are NaN, infinite or beyond 1e15; if the first
        octave has no sample; if `threads` is below 1.

    Notes
    -----
    Equal to VLFeat 0.9.21's vl_sift_* (libvl on x86-64), frames and descriptors bit for bit, save where VLFeat reads
    memory it has not written: a keypoint rounded to the last row of its octave has a descriptor of zeros here, and
    below `first_octave` -1 VLFeat mixes up height and width. The first call compiles for some seconds and keeps the
    result on disk.
    """
    settings = SiftParameters() if parameters is None else parameters
    if not isinstance(settings, SiftParameters):
        raise TypeError(f"parameters is {settings!r}: it must be SiftParameters")
    shape = np.shape(gray)
    if len(shape) in (2, 3):  # before any of it is copied
        check_size(shape[-2], shape[-1], settings)
    images, is_batch = grey_batch(gray)
    workers = thread_count(threads, images.size)
    if on_gpu(images):
        from kernels.sift.cuda.extract import extract  # late: nothing of CUDA before a GPU array comes in

        with holding(images):
            check_range(images, LARGEST)
            found = [Keypoints(*keypoints) for keypoints in extract(images, settings)]
    else:
        found = _of_batch(images, settings, workers)
    return found if is_batch else found[0]


def _of_batch(images: NDArray, parameters: SiftParameters, threads: int) -> list[Keypoints]:
    """Keypoints of each of images (N, H, W) on the CPU: threads share images or, if there are few, an image's rows."""
    from kernels.sift.cpu.extract import Rooms, extract  # late: Numba costs a good part of a second

    found: list[Keypoints] = [None] * len(images)  # type: ignore[list-item]
    _, height, width = images.shape
    spare: list[Rooms] = []  # one for each thread, in the end

    def one(n: int, threads: int) -> None:
        pixels = images[n].astype(np.float32, copy=False)
        check_range(pixels[None], LARGEST, first=n)
        rooms = spare.pop() if spare else Rooms(height, width, parameters)
        found[n] = Keypoints(*extract(pixels, parameters, threads, rooms))
        spare.append(rooms)

    inside = 1 if len(images) >= threads else threads
    run(one, ((n, inside) for n in range(len(images))), threads if inside == 1 else 1)
    return found
