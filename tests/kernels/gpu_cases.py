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

    def compute(self, array: Any) -> Any:
        """The result for the array, wherever a copy of it lives."""
        return getattr(kernels, self.function)(array, **self.settings)


def _batch(kind: str, height: int, width: int, form: str) -> NDArray:
    return np.stack([picture(kind, height, width, form, seed) for seed in range(2)])


def _colours(form: str) -> NDArray:
    return np.stack([picture("noise", 9, 11, form, seed) for seed in range(3)], axis=-1)


CASES = {
    "gray, uint8": Case("gray", _colours("uint8")),
    "gray, float": Case("gray", _colours("float 0..255")),
    "hog, noise": Case("hog", _batch("noise", 21, 27, "float 0..1")),
    "hog, ties": Case("hog", picture("boxes", 24, 29, "uint8", 1)),
    "hog, diagonals": Case("hog", picture("staircase", 20, 24, "float 0..255", 2), {"cell_size": 5}),
    "hog, one cell": Case("hog", picture("noise", 4, 7, "float 0..1", 3)),
    "hog, no gradient pixel": Case("hog", picture("noise", 2, 2, "float 0..1", 4), {"cell_size": 3}),
    "lbp, noise": Case("lbp", _batch("noise", 33, 38, "float 0..1")),
    "lbp, ties": Case("lbp", picture("staircase", 25, 37, "uint8", 1), {"cell_size": 8}),
    "lbp, odd cells": Case("lbp", picture("waves", 29, 23, "float 0..255", 2), {"cell_size": 5}),
    "lbp, cells of one": Case("lbp", picture("noise", 5, 6, "uint8", 3), {"cell_size": 1}),
    "lbp, flat": Case("lbp", picture("constant", 17, 16, "uint8", 4)),
}
