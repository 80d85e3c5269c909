"""Synthetic pictures and the files they lie in."""

from pathlib import Path

import cv2
import numpy as np


def draw(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A (height, width, 3) uint8 RGB picture: discs on a gradient."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, width)[None, :, None] * rng.uniform(0, 255, 3)
    picture = np.broadcast_to(ramp, (height, width, 3)).astype(np.uint8).copy()
    for _ in range(4):
        centre = tuple(int(v) for v in rng.integers(0, (width, height)))
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        cv2.circle(picture, centre, int(rng.integers(5, 20)), colour, -1, cv2.LINE_AA)
    return picture


def encode(picture: np.ndarray, suffix: str) -> bytes:
    """The bytes of an image file; `picture` is RGB, grey, or of any kind that OpenCV writes."""
    is_rgb = picture.ndim == 3 and picture.shape[2] == 3
    written, data = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if is_rgb else picture)
    assert written
    return data.tobytes()


def fill(folder: Path, count: int, *, suffix: str = ".png", first: int = 0) -> Path:
    """Write pictures `first`, `first + 1` ... into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first, first + count):
        (folder / f"picture-{seed:03d}{suffix}").write_bytes(encode(draw(seed), suffix))
    return folder
