"""Features as grey pictures for people: maps side by side, vectors as bars."""

import math

import numpy as np


def portrait(features: np.ndarray) -> np.ndarray:
    """A grey picture, float, 0 and more, of the features of one picture: `tiles` of maps, `bars` of a vector."""
    return tiles(features) if features.ndim == 3 else bars(features)


def tiles(maps: np.ndarray) -> np.ndarray:
    """Maps (C, H, W) row by row in a near-square grid with lines between; the magnitude, so that 0 is black."""
    count, height, width = maps.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    padded = np.zeros((rows * columns, height + 1, width + 1), np.float32)
    padded[:count, :height, :width] = np.abs(maps)
    grid = padded.reshape(rows, columns, height + 1, width + 1).transpose(0, 2, 1, 3)
    return grid.reshape(rows * (height + 1), columns * (width + 1))  # (rows * (H + 1), columns * (W + 1))


def bars(vector: np.ndarray, size: tuple[int, int] = (256, 256)) -> np.ndarray:
    """A vector (C,) as a bar chart of ``size`` (height, width); of values that share a column the largest shows."""
    height, width = size
    columns = np.array_split(vector, min(width, len(vector)))
    shown = np.array([column[np.abs(column).argmax()] for column in columns], np.float32)
    shown = shown[np.arange(width) * len(shown) // width]  # (width,)
    low, high = min(0.0, float(shown.min())), max(0.0, float(shown.max()))
    values = np.linspace(high, low, height)[:, None]  # of each pixel row
    filled = (values >= np.minimum(shown, 0)) & (values <= np.maximum(shown, 0))
    return filled.astype(np.float32)
