"""Synthetic pictures and the files they lie in: smooth blobs and edges, so that features are not noise."""

from pathlib import Path

import cv2
import numpy as np


def draw(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    """A (height, width, 3) uint8 picture of coloured discs on a gradient."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, width)[None, :, None] * rng.uniform(0, 255, 3)
    picture = np.broadcast_to(ramp, (height, width, 3)).astype(np.uint8).copy()
    for _ in range(6):
        centre = tuple(int(v) for v in rng.integers(0, (width, height)))
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        cv2.circle(picture, centre, int(rng.integers(8, 40)), colour, -1, cv2.LINE_AA)
    return picture


def encode(picture: np.ndarray, suffix: str) -> bytes:
    """The bytes of an image file; ``picture`` is RGB, grey, or of any kind OpenCV writes."""
    stored = (
        cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 and picture.shape[2] == 3 else picture
    )
    written, data = cv2.imencode(suffix, stored)
    assert written
    return data.tobytes()


def fill(folder: Path, count: int, *, suffix: str = ".png", first: int = 0) -> Path:
    """Write ``count`` pictures into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first, first + count):
        (folder / f"picture-{seed:03d}{suffix}").write_bytes(encode(draw(seed), suffix))
    return folder
