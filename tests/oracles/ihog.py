"""HOG and its inversion as ihog computes them, slowly and as literally as possible; never imports the project.

Source: CSAILVision/ihog @ 137f0b7, internal/features.cc and invertHOG.m. Here arrays are channels first.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

UU = [1.0000, 0.9397, 0.7660, 0.500, 0.1736, -0.1736, -0.5000, -0.7660, -0.9397]
VV = [0.0000, 0.3420, 0.6428, 0.8660, 0.9848, 0.9848, 0.8660, 0.6428, 0.3420]


def features(image: NDArray, size: int) -> NDArray:
    """(3, H, W), 0..1 -> (32, rows - 2, columns - 2)."""
    _, height, width = image.shape
    rows, columns = int(height / size + 0.5), int(width / size + 0.5)
    hist = np.zeros((18, rows, columns))
    for y in range(1, rows * size - 1):
        for x in range(1, columns * size - 1):
            direction, magnitude = _gradient(image, min(y, height - 2), min(x, width - 2))
            xp, yp = (x + 0.5) / size - 0.5, (y + 0.5) / size - 0.5
            ix, iy = math.floor(xp), math.floor(yp)
            for i, j, share in (
                (iy, ix, (1 - yp + iy) * (1 - xp + ix)),
                (iy, ix + 1, (1 - yp + iy) * (xp - ix)),
                (iy + 1, ix, (yp - iy) * (1 - xp + ix)),
                (iy + 1, ix + 1, (yp - iy) * (xp - ix)),
            ):
                if 0 <= i < rows and 0 <= j < columns:
                    hist[direction, i, j] += share * magnitude
    return _normalise(hist)


def _gradient(image: NDArray, y: int, x: int) -> tuple[int, float]:
    v = -1.0
    dx = dy = 0.0
    for channel in image:
        dy_, dx_ = channel[y + 1, x] - channel[y - 1, x], channel[y, x + 1] - channel[y, x - 1]
        if dx_ * dx_ + dy_ * dy_ > v:
            v, dx, dy = dx_ * dx_ + dy_ * dy_, dx_, dy_
    best_dot, best_o = 0.0, 0
    for o in range(9):
        dot = UU[o] * dx + VV[o] * dy
        if dot > best_dot:
            best_dot, best_o = dot, o
        elif -dot > best_dot:
            best_dot, best_o = -dot, o + 9
    return best_o, math.sqrt(v)


def _normalise(hist: NDArray) -> NDArray:
    _, rows, columns = hist.shape
    norm = ((hist[:9] + hist[9:]) ** 2).sum(axis=0)
    feat = np.zeros((32, rows - 2, columns - 2))
    for y in range(rows - 2):
        for x in range(columns - 2):
            n = [
                1 / math.sqrt(norm[i : i + 2, j : j + 2].sum() + 0.0001)
                for i, j in ((y + 1, x + 1), (y, x + 1), (y + 1, x), (y, x))
            ]
            for o in range(18):
                h = [min(hist[o, y + 1, x + 1] * factor, 0.2) for factor in n]
                feat[o, y, x] = 0.5 * sum(h)
                feat[27:31, y, x] += h
            for o in range(9):
                total = hist[o, y + 1, x + 1] + hist[o + 9, y + 1, x + 1]
                feat[18 + o, y, x] = 0.5 * sum(min(total * factor, 0.2) for factor in n)
    feat[27:31] *= 0.2357
    return feat


def lasso(x: NDArray, atoms: NDArray, sparsity: float) -> NDArray:
    """min 1/2 |x - a D|^2 + sparsity sum a, a >= 0, as a least-squares problem of half the size's square root."""
    lower = np.linalg.cholesky(atoms @ atoms.T)
    return nnls(lower.T, np.linalg.solve(lower, atoms @ x - sparsity))[0]


def invert(feat: NDArray, patches: NDArray, windows: NDArray, sparsity: float) -> NDArray:
    """(32, ny, nx) -> picture in 0..1; patches (K, side, side), windows (K, 32, cells, cells), cells of 8 pixels."""
    par, sbin = 5, 8
    cells, side = windows.shape[2], patches.shape[1]
    feat = np.pad(feat, ((0, 0), (par, par), (par, par)))
    ny, nx = feat.shape[1:]
    at = np.arange(side) - (side - 1) / 2
    fil = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 9.0**2))
    fil /= fil.sum()
    im, weights = np.zeros(((ny + 2) * sbin, (nx + 2) * sbin)), np.zeros(((ny + 2) * sbin, (nx + 2) * sbin))
    for i in range(ny - cells + 1):
        for j in range(nx - cells + 1):
            hog = feat[:, i : i + cells, j : j + cells].ravel()
            hog = hog - hog.mean()
            hog = hog / math.sqrt((hog**2).sum() + np.finfo(float).eps)
            code = lasso(hog, windows.reshape(len(windows), -1), sparsity)
            patch = np.tensordot(code, patches, 1) * fil
            im[i * sbin : i * sbin + side, j * sbin : j * sbin + side] += patch
            weights[i * sbin : i * sbin + side, j * sbin : j * sbin + side] += 1
    im = im / weights
    im = (im - im.min()) / (im - im.min()).max()
    first, last = par * sbin, im.shape[0] - par * sbin - 1  # counted from one, both included
    first_x, last_x = par * sbin, im.shape[1] - par * sbin - 1
    return im[first - 1 : last, first_x - 1 : last_x]
