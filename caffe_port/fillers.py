"""Caffe's fillers: what a parameter blob holds before any file is read.

Source: `include/caffe/filler.hpp` of Caffe 1.0; gaussian_xavier from the Freiburg fork (tgebru/transform).
The numbers of the random ones come from NumPy's generator, not from Caffe's.
"""

import math
from collections.abc import Callable

import numpy as np

from caffe_port.errors import ConversionError
from caffe_port.shapes import count, show
from caffe_port.spec import FillerSpec, Shape

Fill = Callable[[FillerSpec, Shape, np.random.Generator], np.ndarray]


def _fan(filler: FillerSpec, shape: Shape) -> float:
    """Inputs of a number of the blob, its outputs, or their mean."""
    total = count(shape)
    fan_in = total / shape[0] if shape else 1
    fan_out = total / shape[1] if len(shape) > 1 else total
    return {"FAN_IN": fan_in, "FAN_OUT": fan_out, "AVERAGE": (fan_in + fan_out) / 2}[filler.variance_norm]


def _normal(rng: np.random.Generator, shape: Shape, mean: float, std: float) -> np.ndarray:
    values = rng.standard_normal(shape, dtype=np.float32)
    values *= np.float32(std)
    values += np.float32(mean)
    return values


def _uniform(rng: np.random.Generator, shape: Shape, low: float, high: float) -> np.ndarray:
    values = rng.random(shape, dtype=np.float32)
    values *= np.float32(high - low)
    values += np.float32(low)
    return values


def _gaussian(filler: FillerSpec, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    values = _normal(rng, shape, filler.mean, filler.std)
    if filler.sparse >= 0 and shape:
        values *= rng.random(shape, dtype=np.float32) < filler.sparse / shape[0]
    return values


def _unit_ball(filler: FillerSpec, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    values = _uniform(rng, shape, 0, 1)
    rows = values.reshape(shape[0] if shape else 1, -1)
    return (rows / rows.sum(1, keepdims=True)).reshape(shape)


def _bilinear(filler: FillerSpec, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    if len(shape) != 4 or shape[2] != shape[3]:
        raise ConversionError(
            f"a filler 'bilinear' needs a blob of 4 axes with a square kernel; its shape is {show(shape)}"
        )
    factor = math.ceil(shape[3] / 2)
    centre = (shape[3] - 1) / (2 * factor)
    line = 1 - np.abs(np.arange(shape[3]) / factor - centre)
    return np.broadcast_to(np.outer(line, line), shape).astype(np.float32)


FILLERS: dict[str, Fill] = {
    "constant": lambda filler, shape, rng: np.full(shape, filler.value, np.float32),
    "uniform": lambda filler, shape, rng: _uniform(rng, shape, filler.min, filler.max),
    "gaussian": _gaussian,
    "positive_unitball": _unit_ball,
    "xavier": lambda filler, shape, rng: _uniform(
        rng, shape, *((s := math.sqrt(3 / _fan(filler, shape))) * -1, s)
    ),
    "msra": lambda filler, shape, rng: _normal(rng, shape, 0, math.sqrt(2 / _fan(filler, shape))),
    "bilinear": _bilinear,
    "gaussian_xavier": lambda filler, shape, rng: _normal(rng, shape, 0, math.sqrt(2 / _fan(filler, shape))),
}
CERTAIN = ("constant", "bilinear")  # the fillers that draw no random numbers


def check(filler: FillerSpec) -> None:
    """Refuse a filler that Caffe does not know."""
    if filler.type not in FILLERS:
        known = ", ".join(FILLERS)
        raise ConversionError(f"field 'filler.type' is {filler.type[:80]!r}; known fillers are {known}")
    if filler.sparse != -1 and (filler.type != "gaussian" or filler.sparse < -1):
        raise ConversionError(
            f"field 'filler.sparse' is {filler.sparse}; only 'gaussian' takes it, from 0 on"
        )


def fill(filler: FillerSpec, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Numbers for a blob.

    Parameters
    ----------
    filler : FillerSpec
        What to fill with; random fillers draw from `rng`.
    shape : tuple of int
        Shape of the blob.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray
        float32.

    Raises
    ------
    ConversionError
        The filler is unknown or does not suit the shape.
    """
    check(filler)
    return FILLERS[filler.type](filler, shape, rng)
