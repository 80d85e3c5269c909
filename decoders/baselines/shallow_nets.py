"""HOG and dense SIFT as differentiable networks: CNN-HOG and CNN-DSIFT of Mahendran & Vedaldi (CVPR 2015).

Source: aravindhm/deep-goggle @ cc667f0, `experiments/networks/hog_net.m` and `dsift_net.m`.
Conventions: grey (N, 1, H, W), the range 255 * grey - 128 of the source's experiments, because zeros are padded;
x right, y down; angle 0 is a gradient pointing right, angles grow clockwise on the screen. HOG's channels are
VLFeat's first 27: 18 directed orientations, 9 undirected ones; there is no texture and no 1e-4 under the root.
A block of dense SIFT has 128 channels: 4 rows, 4 columns, 8 orientations, the orientation fastest.

Bins and weights of orientations are computed from the angle of the gradient; the source compares projections on all
directions, and takes arccosines of them, whose derivative is infinite where the two agree. The numbers are the same.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch.nn import functional

CLAMP = 0.2
HOG_CELL, HOG_DIRECTIONS = 8, 18
SIFT_BIN, SIFT_DIRECTIONS, SIFT_CELLS, SIFT_STRIDE = 5, 8, 4, 3
SIFT_WINDOW_SIGMA = 1.5  # of the window over a block, in spatial bins
SIFT_KAPPA = 1e-6  # under the root of a block's norm
LEAST_NORM = 1e-6  # of a block of HOG
LEAST_MAGNITUDE = 1e-10  # of a gradient


def gradients(grey: torch.Tensor, pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Half the central differences along x and y, (N, H, W) each, or one pixel less on each side without `pad`."""
    planes = functional.pad(grey[:, 0], (pad, pad, pad, pad))
    across = (planes[:, 1:-1, 2:] - planes[:, 1:-1, :-2]) / 2
    down = (planes[:, 2:, 1:-1] - planes[:, :-2, 1:-1]) / 2
    return across, down


def hard_bins(across: torch.Tensor, down: torch.Tensor, directions: int) -> torch.Tensor:
    """The gradient's magnitude in the channel of the nearest direction, zero in the others: (N, D, H, W).

    Of two directions that are equally near the first wins.
    """
    with torch.no_grad():
        nearest = torch.ceil(_turn(across, down, directions) - 0.5).long() % directions
    return _scatter(nearest[:, None], _magnitude(across, down)[:, None], directions)


def bilinear_bins(across: torch.Tensor, down: torch.Tensor, directions: int) -> torch.Tensor:
    """The gradient's magnitude, shared between the two nearest directions: (N, D, H, W)."""
    turn = _turn(across, down, directions)
    before = torch.floor(turn.detach())
    share = turn - before
    channels = torch.stack([before, before + 1], dim=1).long() % directions
    shares = torch.stack([1 - share, share], dim=1)
    return _scatter(channels, _magnitude(across, down)[:, None] * shares, directions)


def _turn(across: torch.Tensor, down: torch.Tensor, directions: int) -> torch.Tensor:
    """The gradient's angle in steps between two directions, 0 to D; of no gradient, 0."""
    is_flat = (across == 0) & (down == 0)
    angle_rad = torch.atan2(down, torch.where(is_flat, torch.ones_like(across), across))
    return torch.remainder(angle_rad * (directions / (2 * math.pi)), directions)


def _scatter(channels: torch.Tensor, values: torch.Tensor, directions: int) -> torch.Tensor:
    """Put values (N, K, H, W) into the named ones of D channels, zeros into the others."""
    batch, _, height, width = values.shape
    return values.new_zeros((batch, directions, height, width)).scatter(1, channels, values)


def _magnitude(across: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """Length of the gradient; where it is zero, so is its derivative."""
    return torch.sqrt((across.square() + down.square()).clamp(min=LEAST_MAGNITUDE**2))


def pool(histograms: torch.Tensor, cell_size: int, pad: int) -> torch.Tensor:
    """Weigh pixels into cells, (N, D, H, W) -> (N, D, H', W'), bilinearly: triangles twice a cell wide."""
    places = torch.arange(2 * cell_size, dtype=histograms.dtype, device=histograms.device)
    triangle = 1 - (places - (cell_size - 0.5)).abs() / cell_size
    weight = torch.outer(triangle, triangle).expand(histograms.shape[1], 1, -1, -1)
    return functional.conv2d(histograms, weight, stride=cell_size, padding=pad, groups=histograms.shape[1])


def cnn_hog(grey: torch.Tensor) -> torch.Tensor:
    """CNN-HOG, hard orientations: (N, 1, H, W) -> (N, 27, H // 8, W // 8), 0 to 0.4."""
    return _normalised_cells(pool(hard_bins(*gradients(grey, 1), HOG_DIRECTIONS), HOG_CELL, HOG_CELL // 2))


def cnn_hogb(grey: torch.Tensor) -> torch.Tensor:
    """CNN-HOG, bilinear orientations ("HOGb"): (N, 1, H, W) -> (N, 27, H // 8, W // 8), 0 to 0.4."""
    return _normalised_cells(
        pool(bilinear_bins(*gradients(grey, 1), HOG_DIRECTIONS), HOG_CELL, HOG_CELL // 2)
    )


def _normalised_cells(directed: torch.Tensor) -> torch.Tensor:
    """Each cell divided by the norms of the blocks of 2 x 2 cells that hold it, clamped, and half their sum.

    Blocks that reach beyond the grid do not exist, so that cells at the border are sums of fewer.
    """
    undirected = directed[:, : HOG_DIRECTIONS // 2] + directed[:, HOG_DIRECTIONS // 2 :]
    cells = torch.cat([directed, undirected], dim=1)
    energy = undirected.square().sum(dim=1, keepdim=True)
    blocks = energy[:, :, :-1, :-1] + energy[:, :, 1:, :-1] + energy[:, :, :-1, 1:] + energy[:, :, 1:, 1:]
    factor = functional.pad(
        blocks.clamp(min=LEAST_NORM**2).rsqrt(), (1, 1, 1, 1)
    )  # 0 where there is no block
    height, width = cells.shape[2:]
    shares = [
        (cells * factor[:, :, y : y + height, x : x + width]).clamp(max=CLAMP) for y in (0, 1) for x in (0, 1)
    ]
    return torch.stack(shares).sum(dim=0) / 2


def cnn_dsift(grey: torch.Tensor) -> torch.Tensor:
    """CNN-DSIFT, bins of 5 pixels, blocks every 3 bins: (N, 1, H, W) -> (N, 128, H', W'), 0 to 0.2."""
    cells = pool(bilinear_bins(*gradients(grey, 0), SIFT_DIRECTIONS), SIFT_BIN, 0)
    batch, _, rows, columns = cells.shape
    rows, columns = ((count - SIFT_CELLS) // SIFT_STRIDE + 1 for count in (rows, columns))
    blocks = functional.unfold(cells, SIFT_CELLS, stride=SIFT_STRIDE)
    blocks = blocks.reshape(batch, SIFT_DIRECTIONS, SIFT_CELLS**2, rows, columns).transpose(1, 2)
    offsets = torch.arange(SIFT_CELLS, dtype=grey.dtype, device=grey.device) - (SIFT_CELLS - 1) / 2
    window = torch.exp(-offsets.square() / (2 * SIFT_WINDOW_SIGMA**2))
    weighed = blocks * torch.outer(window, window).reshape(-1, 1, 1, 1)  # (16, 1, 1, 1)
    features = weighed.reshape(batch, SIFT_CELLS**2 * SIFT_DIRECTIONS, rows, columns)
    norm = torch.sqrt(SIFT_KAPPA + features.square().sum(dim=1, keepdim=True))
    return (features / norm).clamp(max=CLAMP)


@dataclass(frozen=True)
class ShallowNet:
    """A feature with the least side of its pictures, in pixels."""

    extract: Callable[[torch.Tensor], torch.Tensor]
    least_side: int


SHALLOW_NETS: Mapping[str, ShallowNet] = MappingProxyType(
    {
        "hog": ShallowNet(cnn_hog, 2 * HOG_CELL),
        "hogb": ShallowNet(cnn_hogb, 2 * HOG_CELL),
        "dsift": ShallowNet(cnn_dsift, 2 + (SIFT_CELLS + 1) * SIFT_BIN),
    }
)


def shallow_net(name: str, height: int, width: int) -> ShallowNet:
    """Look a feature up, for pictures of height x width pixels.

    Raises
    ------
    ValueError
        There is none of that name, or the pictures are too small for it.
    """
    if name not in SHALLOW_NETS:
        raise ValueError(f"shallow feature {name!r} is unknown; choose one of {', '.join(SHALLOW_NETS)}")
    net = SHALLOW_NETS[name]
    if min(height, width) < net.least_side:
        raise ValueError(
            f"pictures of {height} x {width} are too small for {name}: {net.least_side} is the least"
        )
    return net


def shallow_features(images: np.ndarray, name: str) -> np.ndarray:
    """Features of pictures by one of the networks.

    Parameters
    ----------
    images : (N, 3, H, W) float32, RGB, 0..255
    name : {"hog", "hogb", "dsift"}

    Returns
    -------
    (N, C, H', W') float32
        Of MATLAB's rgb2gray, not rounded, minus 128.
    """
    import kernels

    grey = kernels.gray(np.ascontiguousarray(images.transpose(0, 2, 3, 1), np.float32)) - np.float32(128)
    net = shallow_net(name, *grey.shape[1:])
    with torch.no_grad():
        return net.extract(torch.from_numpy(grey)[:, None]).numpy()
