"""Input that every feature refuses, in the same words: image, settings, error, what its line says."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

GOOD = np.zeros((16, 16), np.float32)


def with_value(value: float, y: int, x: int) -> NDArray:
    """`GOOD` but for one pixel."""
    gray = GOOD.copy()
    gray[y, x] = value
    return gray


REFUSED: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (np.zeros((16, 16)), {}, TypeError, "float64.*float32 or uint8"),
    (np.zeros((16, 16), np.int32), {}, TypeError, "int32.*float32 or uint8"),
    (np.zeros((16, 16), ">f4"), {}, TypeError, ">f4.*float32 or uint8"),
    (np.zeros((16, 16), bool), {}, TypeError, "bool.*float32 or uint8"),
    ([["a"]], {}, TypeError, "float32 or uint8"),
    (GOOD[0], {}, ValueError, r"\(16,\).*\(H, W\) or \(N, H, W\)"),
    (GOOD[None, None], {}, ValueError, r"\(1, 1, 16, 16\).*\(H, W\) or \(N, H, W\)"),
    (np.zeros((48, 40, 3), np.uint8), {}, ValueError, r"\(48, 40, 3\).*colours.*kernels\.gray"),
    (np.zeros((48, 40, 4), np.float32), {}, ValueError, r"\(48, 40, 4\).*colours.*kernels\.gray"),
    (np.ma.masked_array(GOOD, mask=GOOD == 0), {}, ValueError, r"masked.*filled\(0\)"),
    (GOOD, {"threads": 0}, ValueError, "threads is 0.*1 or more"),
    (GOOD, {"threads": 1.5}, TypeError, "threads is 1.5.*whole number"),
    (with_value(np.nan, 5, 7), {}, ValueError, "NaN or infinity"),
    (with_value(np.nan, 0, 0), {}, ValueError, "NaN or infinity"),
    (with_value(np.inf, 15, 0), {}, ValueError, "NaN or infinity"),
    (with_value(-np.inf, 15, 15), {}, ValueError, "NaN or infinity"),
]
