"""Calls that must give the same on a GPU, in the simulator of one, and on the CPU: tiny, for the simulator is slow."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import kernels
from tests.kernels.pictures import picture


@dataclass(frozen=True)
class Case:
    """kernels.<function>(array, **settings)."""

    function: str
    array: NDArray
    settings: dict[str, Any] = field(default_factory=dict)

    def compute(self, array: Any) -> dict[str, Any]:
        """The resulting arrays by name, for the array, wherever a copy of it lives."""
        result = getattr(kernels, self.function)(array, **self.settings)
        if self.function != "sift":
            return {"result": result}
        return {
            f"{field} of {n}": getattr(keypoints, field)
            for n, keypoints in enumerate(result)
            for field in ("frames", "descriptors")
        }


def _batch(kind: str, height: int, width: int, form: str) -> NDArray:
    return np.stack([picture(kind, height, width, form, seed) for seed in range(2)])


def _colours(form: str) -> NDArray:
    return np.stack([picture("noise", 9, 11, form, seed) for seed in range(3)], axis=-1)


def _blobs(height: int, width: int, count: int, seed: int, largest: float = 3) -> NDArray:
    """Two images (2, H, W) float32 of bright and dark blobs of a few pixels, many of which are keypoints."""
    y, x = np.mgrid[:height, :width]
    rng = np.random.default_rng(seed)
    images = np.full((2, height, width), 127.0)
    for image in images:
        for k in range(count):
            at_y, at_x, sigma = (
                rng.uniform(3, height - 4),
                rng.uniform(3, width - 4),
                rng.uniform(1.5, largest),
            )
            squared = (y - at_y) ** 2 + (x - at_x) ** 2 / rng.uniform(0.5, 1)
            image += (-1) ** k * rng.uniform(20, 60) * np.exp(-squared / (2 * sigma**2))
    return images.astype(np.float32)


CASES = {
    "gray, uint8": Case("gray", _colours("uint8")),
    "gray, float": Case("gray", _colours("float 0..255")),
    "hog, noise": Case("hog", _batch("noise", 21, 27, "float 0..1")),
    "hog, ties": Case("hog", picture("boxes", 24, 29, "uint8", 1)),
    "hog, diagonals": Case("hog", picture("staircase", 20, 24, "float 0..255", 2), {"cell_size": 5}),
    "hog, one cell": Case("hog", picture("noise", 4, 7, "float 0..1", 3)),
    "hog, no gradient pixel": Case("hog", picture("noise", 2, 2, "float 0..1", 4), {"cell_size": 3}),
    "lbp, noise": Case("lbp", _batch("noise", 17, 21, "float 0..1"), {"cell_size": 8}),
    "lbp, ties": Case("lbp", picture("staircase", 18, 33, "uint8", 1)),
    "lbp, odd cells": Case("lbp", picture("waves", 16, 13, "float 0..255", 2), {"cell_size": 5}),
    "lbp, cells of one": Case("lbp", picture("noise", 3, 4, "uint8", 3), {"cell_size": 1}),
    "lbp, flat": Case("lbp", picture("constant", 17, 16, "uint8", 4)),
    "sift, blobs": Case("sift", _blobs(16, 18, 4, 64)[1:]),
    "sift, doubled": Case(
        "sift",
        np.round(_blobs(8, 9, 2, 5)).clip(0, 255).astype(np.uint8),
        {"parameters": kernels.SiftParameters(first_octave=-1, magnif=0.8, float_descriptors=True)},
    ),
    "sift, halved": Case(
        "sift",
        _blobs(29, 33, 6, 52, 5)[1:],
        {"parameters": kernels.SiftParameters(octaves=1, levels=2, first_octave=1, peak_thresh=0.1)},
    ),
    "sift, two octaves": Case(
        "sift",
        _blobs(19, 22, 5, 124, 6)[:1],
        {"parameters": kernels.SiftParameters(octaves=2, levels=2, edge_thresh=20, window_size=1.7)},
    ),
    "sift, flat": Case("sift", picture("constant", 8, 9, "uint8", 5)[None]),
}
