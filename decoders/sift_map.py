"""SIFT keypoints as the map that a decoder reads (CVPR 2016, section 4.2).

The picture is divided into cells of 4 x 4 pixels, ceil(W / 4) x ceil(H / 4) of them. A cell that holds a keypoint at
(x, y) of scale s and orientation a gets 133 numbers: 128 descriptor values, x mod 4, y mod 4, sin a, cos a, log s. Of
several keypoints in one cell one is drawn at random; all other cells are zero. Keypoints with several orientations
count as several. Positions are 0-based pixels, angles are radians with y down.

differs from the paper, which names no units: descriptors (0..255) are divided by 255, the offsets (0..4) and the
logarithm (about 0.6 to 4) by 4, so that every channel is near unit range.
"""

import numpy as np
from numpy.typing import NDArray

CELL = 4
DESCRIPTOR = 128
CHANNELS = DESCRIPTOR + 5


def sift_map_shape(height: int, width: int) -> tuple[int, int, int]:
    """Shape of the map of a picture: (133, ceil(H / 4), ceil(W / 4))."""
    return CHANNELS, -(-height // CELL), -(-width // CELL)


def sift_map(
    frames: NDArray, descriptors: NDArray, size: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Put keypoints into cells.

    Parameters
    ----------
    frames : (N, 4) float
        x, y, scale, orientation; 0 <= x < W and 0 <= y < H.
    descriptors : (N, 128) uint8
    size : (H, W) of the picture.
    rng : draws among keypoints of one cell, each with the same chance.

    Returns
    -------
    (133, ceil(H / 4), ceil(W / 4)) float32; for the units see the module.

    Raises
    ------
    ValueError : if a keypoint lies outside the picture.
    """
    features = np.zeros(sift_map_shape(*size), np.float32)
    x, y, scale, angle_rad = np.asarray(frames, np.float32).reshape(-1, 4).T
    if not np.all((x >= 0) & (x < size[1]) & (y >= 0) & (y < size[0])):
        raise ValueError(f"a keypoint lies outside the picture of {size[0]} x {size[1]}")
    column, row = (x // CELL).astype(np.intp), (y // CELL).astype(np.intp)
    order = rng.permutation(len(x))
    _, first = np.unique((row * features.shape[2] + column)[order], return_index=True)
    chosen = order[first]
    geometry = [
        (x % CELL) / CELL,
        (y % CELL) / CELL,
        np.sin(angle_rad),
        np.cos(angle_rad),
        np.log(scale) / CELL,
    ]
    values = np.concatenate([descriptors.T / np.float32(255), np.stack(geometry)])  # (133, N)
    features[:, row[chosen], column[chosen]] = values[:, chosen]
    return features
