"""What HOGgles' dictionary is learned from: windows of HOG with the grey pixels below them, each at unit length.

Source: CSAILVision/ihog @ 137f0b7, `internal/learnpairdict.m`. A window of 5 x 5 cells lies over (5 + 2) * 8 pixels
a side: its cells are those of the patch without the outer ring.
# differs from ihog: it takes the windows of its pictures in order until it has enough; here they are drawn from all
# pictures, each window as likely as any other, and those at the lower and right border, which it leaves out, count.
"""

from collections.abc import Iterable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from decoders.baselines.ihog import ihog


def unit_length(rows: NDArray) -> NDArray:
    """Rows less their mean, divided by their length; rows of equal numbers become zero."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred**2).sum(axis=1, keepdims=True) + np.finfo(np.float64).eps)


def feature_windows(features: NDArray, cells: int) -> NDArray:
    """All windows of features (32, ny, nx) as a view: (ny - cells + 1, nx - cells + 1, 32, cells, cells)."""
    return sliding_window_view(features, (cells, cells), axis=(1, 2)).transpose(1, 2, 0, 3, 4)


class PairedWindows:
    """Pictures in memory, with all their windows to draw from.

    Parameters
    ----------
    pictures : iterable of (H, W, 3) uint8 arrays, RGB
        Those too small for one window are counted in `too_small`.
    cells, cell_size : int

    Raises
    ------
    ValueError
        No picture has a window.
    """

    def __init__(self, pictures: Iterable[NDArray], *, cells: int, cell_size: int) -> None:
        self.cells, self.cell_size = cells, cell_size
        self.side = (cells + 2) * cell_size
        self.too_small = 0
        self._greys: list[NDArray] = []
        self._features: list[NDArray] = []
        counts = []
        for picture in pictures:
            if min(picture.shape[:2]) < self.side:
                self.too_small += 1
                continue
            grey = picture.mean(axis=2).astype(np.float32)
            features = ihog(grey[None, None], cell_size=cell_size)[0]
            rows, columns = (length // cell_size - cells - 1 for length in grey.shape)
            self._greys.append(grey)
            self._features.append(features[:, : rows + cells - 1, : columns + cells - 1])
            counts.append(rows * columns)
        if not counts:
            raise ValueError(f"no picture of {self.side} x {self.side} or more to learn a dictionary from")
        self._ends = np.cumsum(counts)

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def pictures(self) -> int:
        """How many pictures the windows come from."""
        return len(self._greys)

    def rows(self, indices: NDArray) -> NDArray:
        """Windows by number: (n, side^2 + 32 cells^2) float64, grey pixels first, each part at unit length."""
        greys, features = [], []
        for index in indices:
            place = int(np.searchsorted(self._ends, index, side="right"))
            windows = feature_windows(self._features[place], self.cells)
            row, column = divmod(int(index) - (int(self._ends[place - 1]) if place else 0), windows.shape[1])
            top, left = row * self.cell_size, column * self.cell_size
            greys.append(self._greys[place][top : top + self.side, left : left + self.side].ravel())
            features.append(windows[row, column].ravel())
        return np.concatenate(
            [unit_length(np.array(greys, np.float64)), unit_length(np.array(features, np.float64))], axis=1
        )
