"""SIFT in the conventions of VLFeat's MATLAB command, which files in the wild follow.

Source: toolbox/sift/vl_sift.c (VLFeat 0.9.21). MATLAB keeps columns together, so the command works on the transposed
image, and turns back what it finds: a frame is x + 1, y + 1, scale, and an angle in (-3/2 pi, 1/2 pi] that, like ours,
points right at 0 and grows clockwise on the screen; a descriptor is ordered like ours. Frames come in the order in
which the transposed image has them. Arrays have one column a frame.
"""

import math
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernels.sift import Keypoints, SiftParameters, sift


def to_matlab(keypoints: Keypoints) -> tuple[NDArray[np.float32], NDArray]:
    """Keypoints of `kernels.sift` as MATLAB's arrays, in the order they are in.

    Parameters
    ----------
    keypoints : Keypoints
        Of one image.

    Returns
    -------
    frames : (4, N) float32 array
        x and y from 1, scale in pixels, angle in (-3/2 pi, 1/2 pi].
    descriptors : (128, N) array
        The same values.
    """
    frames = keypoints.frames + np.array([1, 1, 0, 0], np.float32)
    past = frames[:, 3] > math.pi / 2
    frames[past, 3] -= np.float32(2 * math.pi)
    return frames.T, keypoints.descriptors.T


def from_matlab(frames: ArrayLike, descriptors: ArrayLike) -> Keypoints:
    """MATLAB's arrays as `kernels.sift` gives them: (N, 4) float32 from 0, angles in [0, 2 pi); (N, 128).

    Raises
    ------
    ValueError
        If `frames` is not (4, N), or `descriptors` not (128, N) with the same N.
    """
    columns, features = np.asarray(frames, np.float64), np.asarray(descriptors)
    if columns.ndim != 2 or len(columns) != 4:
        raise ValueError(f"frames have shape {columns.shape}: they must be (4, N), one column a frame")
    if features.shape != (128, columns.shape[1]):
        raise ValueError(f"descriptors have shape {features.shape}: they must be (128, {columns.shape[1]})")
    rows = columns.T - np.array([1.0, 1.0, 0.0, 0.0])
    rows[:, 3] = np.mod(rows[:, 3], 2 * math.pi)
    return Keypoints(rows.astype(np.float32), np.ascontiguousarray(features.T))


def vl_sift(
    gray: ArrayLike, *, parameters: SiftParameters | None = None, threads: int | None = None
) -> tuple[NDArray[np.float32], NDArray]:
    """What `[frames, descriptors] = vl_sift(single(gray))` gives in MATLAB, in its order; angles as float32.

    Parameters
    ----------
    gray : (H, W) array, float32 or uint8
        As for `kernels.sift`, and so are `parameters`, `threads` and what is raised.

    Returns
    -------
    frames : (4, N) float32 array
        As `to_matlab` gives them.
    descriptors : (128, N) array, uint8 or float32
    """
    image = np.asarray(gray)
    if image.ndim != 2:
        raise ValueError(f"gray has shape {image.shape}: it must be (H, W)")
    found = cast(Keypoints, sift(image.T, parameters=parameters, threads=threads))
    x, y, scale, angle = found.frames.T
    frames = np.stack([y + 1, x + 1, scale, np.float32(math.pi / 2) - angle])
    return frames.astype(np.float32), transposed_descriptors(found.descriptors).T


def transposed_descriptors(descriptors: NDArray) -> NDArray:
    """Descriptors (N, 128) of an image as those of the transposed image: y and the sense of rotation turn round."""
    bins = descriptors.reshape((-1, 4, 4, 8))  # y, x, direction
    turned = np.take(bins[:, ::-1], -np.arange(8) % 8, axis=3)
    return turned.reshape((-1, 128))
