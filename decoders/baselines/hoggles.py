"""HOGgles (Vondrick et al., ICCV 2013): HOG inverted with a pair of dictionaries that share their codes.

Source: CSAILVision/ihog @ 137f0b7, `invertHOG.m`. Each window of 5 x 5 cells, at unit length, is coded by a lasso,
min 1/2 |x - D a|^2 + 0.02 sum a with a >= 0, over the HOG half D of the dictionary; the grey half times the same code
is its patch of 56 x 56 pixels. Patches are weighed with a Gaussian, added where they lie and divided by how many lie
there; the whole is stretched to 0..255. Grey.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decoders.baselines.ihog import CHANNELS
from decoders.baselines.paired_dictionary import PairedDictionary, Progress
from decoders.baselines.paired_windows import feature_windows, unit_length
from decoders.baselines.sparse_coding import sparse_codes

BORDER = 5  # cells of zeros around the features
PATCH_SIGMA = 9.0  # of the Gaussian over a patch, in pixels


@dataclass(frozen=True)
class HogglesInversion:
    """Pictures and how their windows were coded.

    Attributes
    ----------
    images : (N, 3, H, W) float32, 0..255
        Three equal channels; H = (rows + 2) * cell_size.
    objectives : (N,) float64
        Mean over a picture's windows of 1/2 |x - D a|^2 + sparsity * sum a.
    atoms_used : (N,) float64
        Mean count of atoms in a window.
    """

    images: NDArray[np.float32]
    objectives: NDArray[np.float64]
    atoms_used: NDArray[np.float64]


def invert_hog(
    features: NDArray, dictionary: PairedDictionary, *, progress: Progress = iter
) -> HogglesInversion:
    """Invert features.

    Parameters
    ----------
    features : (N, 32, ny, nx) float32
        As `ihog.ihog` computes them, with the dictionary's cell size.
    dictionary : PairedDictionary
    progress : function
        Wraps the numbers of the pictures, as tqdm does.

    Returns
    -------
    HogglesInversion

    Raises
    ------
    ValueError
        Features have another shape or are not finite, or scikit-learn is not installed.
    """
    if features.ndim != 4 or features.shape[1] != CHANNELS or not features.size:
        raise ValueError(f"features have shape {features.shape}: (N, {CHANNELS}, ny, nx) is needed")
    if not np.isfinite(features).all():
        raise ValueError("features hold NaN or infinity")
    settings = dictionary.settings
    atoms = dictionary.features.reshape(len(dictionary.features), -1)
    greys, objectives, used = [], [], []
    for n in progress(range(len(features))):
        padded = np.pad(features[n], ((0, 0), (BORDER, BORDER), (BORDER, BORDER)))
        windows = feature_windows(padded, settings.cells)
        rows = unit_length(windows.reshape(-1, atoms.shape[1]).astype(np.float64))
        codes = sparse_codes(rows, atoms, settings.sparsity)
        patches = (codes @ dictionary.patches.reshape(len(atoms), -1)).reshape(
            *windows.shape[:2], settings.side, settings.side
        )
        greys.append(_assemble(patches, settings.cell_size))
        misfits = np.square(rows - codes @ atoms).sum(axis=1) / 2
        objectives.append((misfits + settings.sparsity * codes.sum(axis=1)).mean())
        used.append((codes > 0).sum(axis=1).mean())
    images = np.stack(greys)[:, None].repeat(3, axis=1)  # (N, 3, H, W)
    return HogglesInversion(images.astype(np.float32), np.array(objectives), np.array(used))


def _assemble(patches: NDArray, cell_size: int) -> NDArray:
    """Add patches (ny, nx, side, side) up, cell by cell, stretch to 0..255 and cut the border off: (H, W)."""
    rows, columns, side, _ = patches.shape
    offsets = np.arange(side) - (side - 1) / 2
    gaussian = np.exp(-(offsets**2) / (2 * PATCH_SIGMA**2))
    window = np.outer(gaussian, gaussian)
    window /= window.sum()
    total = np.zeros(((rows - 1) * cell_size + side, (columns - 1) * cell_size + side))
    count = np.zeros_like(total)
    for row in range(rows):
        for column in range(columns):
            place = np.s_[
                row * cell_size : row * cell_size + side, column * cell_size : column * cell_size + side
            ]
            total[place] += patches[row, column] * window
            count[place] += 1
    mean = total / count
    spread = mean.max() - mean.min()
    stretched = (mean - mean.min()) * (255 / spread if spread else 0.0)
    # As in ihog, which counts from one and cuts at 5 * cell_size: the picture lies one pixel to the lower right.
    start = BORDER * cell_size - 1
    return stretched[start : start + total.shape[0] - 2 * BORDER * cell_size, start:][
        :, : total.shape[1] - 2 * BORDER * cell_size
    ]
