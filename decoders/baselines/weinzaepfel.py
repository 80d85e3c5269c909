"""Weinzaepfel, Jegou & Perez (CVPR 2011): an image put together from patches whose descriptors are nearest.

Source: the paper, from memory; its text and code could not be consulted. For each keypoint, larger ones first: the
nearest descriptor of a database, its patch warped into the keypoint's frame, and pasted by Poisson blending: inside the
keypoint's disc the image takes the patch's differences, fitted to what is there already; where nothing is, its border
is free. What no disc covers is filled harmonically.

What the paper leaves open here or has otherwise:
- keypoints are VLFeat's SIFT (`kernels.sift`), discs rather than Harris-affine ellipses;
- the database, and so the picture, is in colour, which the descriptors of grey pictures do not know;
- larger scales first, equal ones in the order given; the order is the one least sure;
- a picture without keypoints is mid grey, 128.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from decoders.baselines.patch_database import DESCRIPTOR, PatchDatabase, nearest, patch_to_image
from decoders.baselines.poisson import solve

MID_GREY = 128.0

Progress = Callable[[Iterable[int]], Iterable[int]]


class Described(Protocol):
    """Keypoints of one image, such as `kernels.sift.Keypoints`: frames (N, 4), descriptors (N, 128) uint8."""

    @property
    def frames(self) -> NDArray: ...
    @property
    def descriptors(self) -> NDArray: ...


@dataclass(frozen=True)
class PatchworkInversion:
    """Pictures and where they came from.

    Attributes
    ----------
    images : (N, 3, H, W) float32, RGB, 0..255
        Clipped.
    matches : tuple of (n,) int64 arrays
        Row of the database for each keypoint of a picture.
    distances : tuple of (n,) float64 arrays
        Between the two descriptors.
    covered : (N,) float64
        Share of each picture that discs cover; the rest is filled.
    """

    images: NDArray[np.float32]
    matches: tuple[NDArray[np.int64], ...]
    distances: tuple[NDArray[np.float64], ...]
    covered: NDArray[np.float64]


def invert_sift(
    keypoints: Sequence[Described],
    size: tuple[int, int],
    database: PatchDatabase,
    *,
    progress: Progress = iter,
) -> PatchworkInversion:
    """Reconstruct pictures from their keypoints.

    Parameters
    ----------
    keypoints : sequence of keypoints, one entry a picture
    size : (height, width) of the pictures
    database : PatchDatabase
    progress : function
        Wraps the numbers of the pictures, as tqdm does.

    Returns
    -------
    PatchworkInversion

    Raises
    ------
    ValueError
        Keypoints have other shapes or are not finite, or SciPy is not installed.
    """
    images, matches, distances, covered = [], [], [], []
    for n in progress(range(len(keypoints))):
        frames, descriptors = (
            np.asarray(keypoints[n].frames, np.float64),
            np.asarray(keypoints[n].descriptors),
        )
        _check(n, frames, descriptors)
        index, distance = nearest(descriptors, database.descriptors)
        image, is_covered = assemble(frames, database.patches[index], size, database)
        images.append(np.clip(image, 0, 255).transpose(2, 0, 1))
        matches.append(index)
        distances.append(distance)
        covered.append(is_covered.mean())
    stacked = np.stack(images).astype(np.float32) if images else np.empty((0, 3, *size), np.float32)
    return PatchworkInversion(stacked, tuple(matches), tuple(distances), np.array(covered))


def assemble(
    frames: NDArray, patches: NDArray, size: tuple[int, int], database: PatchDatabase
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Paste patches into an empty image and fill the rest.

    Parameters
    ----------
    frames : (N, 4): x, y, scale, orientation
    patches : (N, side, side, 3) uint8, those for the frames
    size : (height, width)
    database : whose settings the patches have

    Returns
    -------
    image : (H, W, 3) float64
    is_covered : (H, W) bool
    """
    image = np.full((*size, 3), MID_GREY)
    is_covered = np.zeros(size, bool)
    for i in np.argsort(-frames[:, 2], kind="stable"):
        paste(image, is_covered, frames[i], patches[i], database)
    rest = ~is_covered
    if is_covered.any() and rest.any():
        image = solve(image, rest, is_covered, np.zeros_like(image))
    return image, is_covered


def paste(
    image: NDArray, is_covered: NDArray, frame: NDArray, patch: NDArray, database: PatchDatabase
) -> None:
    """Blend one patch into the disc of a frame, in place."""
    x, y, radius = frame[0], frame[1], database.settings.support * frame[2]
    height, width = is_covered.shape
    top, left = max(0, int(np.floor(y - radius)) - 1), max(0, int(np.floor(x - radius)) - 1)
    bottom, right = min(height, int(np.ceil(y + radius)) + 2), min(width, int(np.ceil(x + radius)) + 2)
    if top >= bottom or left >= right:
        return
    matrix = patch_to_image(frame - [left, top, 0, 0], database.settings)
    warped = cv2.warpAffine(
        patch.astype(np.float32),
        matrix,
        (right - left, bottom - top),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    rows, columns = np.ogrid[top:bottom, left:right]
    disc = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
    place = np.s_[top:bottom, left:right]
    image[place] = solve(image[place], disc, is_covered[place], warped)
    is_covered[place] |= disc


def _check(n: int, frames: NDArray, descriptors: NDArray) -> None:
    if frames.ndim != 2 or frames.shape[1] != 4 or descriptors.shape != (len(frames), DESCRIPTOR):
        raise ValueError(
            f"keypoints of image {n} have frames {frames.shape} and descriptors {descriptors.shape}; "
            f"(N, 4) and (N, {DESCRIPTOR}) are needed"
        )
    if descriptors.dtype != np.uint8:
        raise ValueError(f"descriptors of image {n} are {descriptors.dtype}; uint8 is needed")
    if not np.isfinite(frames).all() or (frames[:, 2] <= 0).any():
        raise ValueError(f"frames of image {n} must be finite, and their scales above 0")
