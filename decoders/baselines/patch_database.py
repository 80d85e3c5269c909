"""A database of local descriptors, each with the patch of picture that it describes.

For Weinzaepfel, Jegou & Perez (CVPR 2011). Their regions are Harris-affine ellipses; ours are the discs of SIFT
keypoints (`kernels.sift`), whose radius is half the side of the descriptor: two bins of three scales each, 6 scales.

A patch is the keypoint's own view: `side` x `side` pixels, its centre at the keypoint, its x axis along the
orientation, the disc touching its borders. Conventions of frames: x, y from 0 at the centre of the first pixel, y down;
orientation in radians, clockwise on the screen. Patches are RGB.
"""

import hashlib
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from decoders.baselines.archives import (
    digest_picture,
    read_archive,
    rival_versions,
    settings_on,
    write_archive,
)

KIND = "database of patches"
DESCRIPTOR = 128
MAX_PATCHES = 2**21
_BLOCK = 2048


@dataclass(frozen=True)
class DatabaseSettings:
    """Settings of the patches.

    Attributes
    ----------
    side : int
        Of a stored patch, in pixels, 4 to 512.
    support : float
        Radius of a keypoint's disc, in scales.
    patches : int
        At most this many are kept, drawn from all.
    """

    side: int = 64
    support: float = 6.0
    patches: int = 200_000

    def __post_init__(self) -> None:
        if type(self.side) is not int or not 4 <= self.side <= 512:
            raise ValueError(f"side is {self.side}: a whole number of 4 to 512 is needed")
        if not 0 < self.support <= 100:
            raise ValueError(f"support is {self.support}: a number above 0, at most 100, is needed")
        if type(self.patches) is not int or not 1 <= self.patches <= MAX_PATCHES:
            raise ValueError(f"patches is {self.patches}: a whole number of 1 to {MAX_PATCHES} is needed")


@dataclass(frozen=True)
class PatchDatabase:
    """Descriptors and patches, row by row.

    Attributes
    ----------
    descriptors : (M, 128) uint8
    patches : (M, side, side, 3) uint8, RGB
    settings : DatabaseSettings
    card : dict
        Seed, data, versions; ready for JSON.
    """

    descriptors: NDArray[np.uint8]
    patches: NDArray[np.uint8]
    settings: DatabaseSettings
    card: dict[str, Any] = field(default_factory=dict)


def patch_to_image(frame: NDArray, settings: DatabaseSettings) -> NDArray[np.float64]:
    """The affine map (2, 3) from a patch's pixels (u, v) to the image's (x, y), for one frame."""
    x, y, scale, orientation_rad = (float(value) for value in frame)
    zoom = 2 * settings.support * scale / settings.side
    cosine, sine = zoom * math.cos(orientation_rad), zoom * math.sin(orientation_rad)
    centre = (settings.side - 1) / 2
    return np.array(
        [
            [cosine, -sine, x - centre * (cosine - sine)],
            [sine, cosine, y - centre * (sine + cosine)],
        ]
    )


def cut_patches(picture: NDArray, frames: NDArray, settings: DatabaseSettings) -> NDArray[np.uint8]:
    """Patches (N, side, side, 3) of a picture (H, W, 3) uint8; large ones from a smaller copy, against aliasing."""
    pyramid = [picture]
    patches = np.empty((len(frames), settings.side, settings.side, 3), np.uint8)
    for patch, frame in zip(patches, frames, strict=True):
        matrix = patch_to_image(frame, settings)
        level = max(0, math.floor(math.log2(2 * settings.support * float(frame[2]) / settings.side)))
        while len(pyramid) <= level:
            pyramid.append(cv2.pyrDown(pyramid[-1]))
        patch[:] = cv2.warpAffine(
            pyramid[level],
            matrix / 2**level,
            (settings.side, settings.side),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    return patches


def _inside(frames: NDArray, shape: tuple[int, ...], support: float) -> NDArray:
    """Which discs lie inside the picture."""
    height, width = shape[:2]
    x, y, radius = frames[:, 0], frames[:, 1], support * frames[:, 2]
    return (x >= radius) & (y >= radius) & (x <= width - 1 - radius) & (y <= height - 1 - radius)


def build_database(
    pictures: Iterable[NDArray], *, settings: DatabaseSettings = DatabaseSettings(), seed: int = 0
) -> PatchDatabase:
    """Collect the patches of pictures.

    Parameters
    ----------
    pictures : iterable of (H, W, 3) uint8 arrays, RGB
        Wrap it with tqdm for a progress bar.
    settings : DatabaseSettings
    seed : int
        Of the draw, where there are more patches than are kept.

    Returns
    -------
    PatchDatabase
        In the order of the pictures. Discs that reach beyond their picture are left out.

    Raises
    ------
    ValueError
        No picture has a keypoint whose disc lies inside.
    """
    import kernels
    from kernels.sift import sift

    rng = np.random.default_rng(seed)
    digest = hashlib.sha256()
    kept: list[tuple[float, NDArray, NDArray]] = []  # with the lot that each drew
    count = seen = 0
    for picture in pictures:
        digest_picture(digest, picture)
        count += 1
        keypoints: Any = sift(kernels.gray(picture))  # of one picture
        chosen = _inside(keypoints.frames, picture.shape, settings.support)
        lots = rng.random(int(chosen.sum()))
        seen += len(lots)
        kept += zip(
            lots.tolist(),
            keypoints.descriptors[chosen],
            cut_patches(picture, keypoints.frames[chosen], settings),
            strict=True,
        )
        if len(kept) > 2 * settings.patches:
            kept = _lowest(kept, settings.patches)
    kept = _lowest(kept, settings.patches)
    if not kept:
        raise ValueError(
            f"{count} pictures have no keypoint whose disc lies inside; more or larger ones are needed"
        )
    card = {
        "settings": asdict(settings),
        "seed": seed,
        "pictures": count,
        "patches_seen": seen,
        "data_sha256": digest.hexdigest(),
        "versions": rival_versions(),
    }
    return PatchDatabase(
        np.stack([descriptor for _, descriptor, _ in kept]),
        np.stack([patch for _, _, patch in kept]),
        settings,
        card,
    )


def _lowest(kept: list[tuple[float, NDArray, NDArray]], count: int) -> list[tuple[float, NDArray, NDArray]]:
    """Those with the lowest lots, in their order."""
    if len(kept) <= count:
        return kept
    lots = np.array([lot for lot, _, _ in kept])
    return [kept[i] for i in np.sort(np.argpartition(lots, count - 1)[:count])]


def nearest(descriptors: NDArray, database: NDArray) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest descriptor of a database for each of some, exactly.

    Parameters
    ----------
    descriptors : (N, 128) uint8
    database : (M, 128) uint8

    Returns
    -------
    index : (N,) int64
        Of several at the same distance, the first.
    distance : (N,) float64
        Euclidean.

    Notes
    -----
    Products of bytes and their sums of 128 stay below 2^24, so that the matrix product is exact in float32.
    """
    best = np.full(len(descriptors), np.inf)
    index = np.zeros(len(descriptors), np.int64)
    queries = descriptors.astype(np.float32)
    lengths = np.square(queries, dtype=np.float64).sum(axis=1)
    for first in range(0, len(database), _BLOCK):
        block = database[first : first + _BLOCK].astype(np.float32)
        products = (queries @ block.T).astype(np.float64)
        squared = lengths[:, None] + np.square(block, dtype=np.float64).sum(axis=1) - 2 * products
        found = squared.argmin(axis=1)
        lowest = squared[np.arange(len(queries)), found]
        is_nearer = lowest < best
        best[is_nearer] = lowest[is_nearer]
        index[is_nearer] = first + found[is_nearer]
    return index, np.sqrt(best)


def write_database(path: str | os.PathLike[str], database: PatchDatabase) -> None:
    """Write a database; the file is replaced whole or not at all. OSError if it cannot be written."""
    arrays = {"descriptors": database.descriptors, "patches": database.patches}
    write_archive(path, KIND, arrays, database.card | {"settings": asdict(database.settings)})


def read_database(path: str | os.PathLike[str]) -> PatchDatabase:
    """Read a database that `write_database` wrote; at most 4 GiB.

    Raises
    ------
    ValueError
        The file is damaged or none; the text names it and the part.
    OSError
        The file cannot be read.
    """
    arrays, card = read_archive(path, KIND, {"descriptors": ("uint8", 2), "patches": ("uint8", 4)})
    settings = settings_on(card, DatabaseSettings, path)
    count = len(arrays["descriptors"])
    wanted = {"descriptors": (count, DESCRIPTOR), "patches": (count, settings.side, settings.side, 3)}
    for name, shape in wanted.items():
        if arrays[name].shape != shape or not count:
            raise ValueError(
                f"{path}: array {name!r} has shape {arrays[name].shape}; {shape}, not empty, is needed"
            )
    return PatchDatabase(arrays["descriptors"], arrays["patches"], settings, card)
