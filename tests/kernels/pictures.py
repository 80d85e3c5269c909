"""Synthetic grey pictures that try what natural ones seldom do: ties, flat areas, one orientation, no structure."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Picture = Callable[[int, int, np.random.Generator], NDArray]  # height, width -> (H, W) float64, 0..255


def noise(height: int, width: int, rng: np.random.Generator) -> NDArray:
    """Every orientation and magnitude."""
    return rng.uniform(0, 255, (height, width))


def waves(height: int, width: int, rng: np.random.Generator) -> NDArray:
    """Smooth, with slowly turning gradients."""
    y, x = np.mgrid[:height, :width]
    total = np.zeros((height, width))
    for _ in range(6):
        frequency_x, frequency_y, phase = rng.normal(0, 0.15), rng.normal(0, 0.15), rng.uniform(0, 2 * np.pi)
        total += np.sin(frequency_x * x + frequency_y * y + phase)
    return 127.5 + total * (127.5 / 6)


def boxes(height: int, width: int, rng: np.random.Generator) -> NDArray:
    """Flat areas and gradients along the axes: bins 4 and 5 tie on every horizontal edge."""
    picture = np.full((height, width), 40.0)
    for _ in range(8):
        top, left = rng.integers(0, height), rng.integers(0, width)
        bottom, right = rng.integers(top, height), rng.integers(left, width)
        picture[top : bottom + 1, left : right + 1] = rng.integers(0, 256)
    return picture


def staircase(height: int, width: int, rng: np.random.Generator) -> NDArray:
    """Few grey levels, so few distinct gradients, among them many with |dx| = |dy|."""
    return np.floor(rng.uniform(0, 3, (height, width))) * 100


def slope(height: int, width: int, rng: np.random.Generator) -> NDArray:
    """One gradient everywhere."""
    y, x = np.mgrid[:height, :width]
    return (x * 0.25 + y * 0.5) % 256


def blobs(height: int, width: int, rng: np.random.Generator) -> NDArray:
    """Soft round spots of many sizes on a slope: what a detector of blobs looks for."""
    y, x = np.mgrid[:height, :width]
    total = 100 + 0.1 * x + 0.05 * y
    for _ in range(min(max(8, height * width // 200), 150)):
        row, column, size = rng.uniform(0, height), rng.uniform(0, width), 2 ** rng.uniform(0.3, 3)
        total += rng.normal(0, 60) * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * size**2))
    return np.clip(total, 0, 255)


def constant(height: int, width: int, rng: np.random.Generator) -> NDArray:
    """No gradient at all."""
    return np.full((height, width), float(rng.integers(1, 256)))


PICTURES: dict[str, Picture] = {
    picture.__name__: picture for picture in (noise, waves, boxes, staircase, slope, blobs, constant)
}

# How a picture of 0..255 becomes an argument: whole grey levels, the same as float32, and 0..1.
FORMS: dict[str, Callable[[NDArray], NDArray]] = {
    "uint8": lambda picture: np.round(picture).astype(np.uint8),
    "float 0..255": lambda picture: picture.astype(np.float32),
    "float 0..1": lambda picture: (picture / 255).astype(np.float32),
}


def picture(kind: str, height: int, width: int, form: str, seed: int) -> NDArray:
    """One picture, the same for the same arguments."""
    return FORMS[form](PICTURES[kind](height, width, np.random.default_rng(seed)))
