"""Mahendran & Vedaldi (CVPR 2015): an image found by gradient descent, whose features are those given.

Source: aravindhm/deep-goggle @ cc667f0, `core/invert_nn.m`, `experiments/experiment_cnn.m` (their figure 6) and
`experiment_shallow.m`; the energy and its settings stand in `inversion_energy.py`. One start each: normal noise of
the expected norm, drawn from (seed, the image's place), so that the result does not depend on the batch.
"""

from dataclasses import dataclass

import numpy as np
import torch

from caffe_port.net import CaffeNet
from caffe_port.preprocess import Recipe, crop_mean, from_caffe
from decoders.baselines.inversion_energy import (
    SHALLOW,
    Encoder,
    MahendranSettings,
    Progress,
    descend,
    expected_norm,
)
from decoders.baselines.shallow_nets import shallow_net

GREY_OFFSET = 128  # of the shallow experiments

_WEIGHTS = ((6, 1.0), (12, 10.0), (20, 100.0))  # of total variation, up to this layer of CaffeNet's twenty
_DEPTH = 20
_UNCOUNTED = {"Input", "Dropout", "Split", "Flatten", "Reshape", "Softmax", "SoftmaxWithLoss", "Silence"}


@dataclass(frozen=True)
class Inversion:
    """What an inversion found.

    Attributes
    ----------
    images : (N, 3, H, W) float32, RGB, 0..255
        Clipped; grey ones have three equal channels.
    energies : (N, steps + 1, 3) float64
        The three `inversion_energy.TERMS` of E before each step and after the last one; E is their sum.
    """

    images: np.ndarray
    energies: np.ndarray


def invert(
    features: np.ndarray,
    encoder: Encoder,
    shape: tuple[int, int, int],
    settings: MahendranSettings,
    *,
    seed: int = 0,
    batch: int = 32,
    device: torch.device | str = "cpu",
    progress: Progress = iter,
) -> tuple[np.ndarray, np.ndarray]:
    """Invert features of any differentiable encoder.

    Parameters
    ----------
    features : (N, ...) float32
    encoder : function of (n, *shape) float32 tensors on `device`
    shape : channels, height and width of x
    settings : MahendranSettings
    seed : int
        Of the noise that is started from.
    batch : int
        Images at a time; it changes memory and speed, not the result.
    device : where to compute
    progress : function
        Wraps the steps of a batch, as tqdm does.

    Returns
    -------
    x : (N, *shape) float32, less the mean, in grey levels
    energies : (N, steps + 1, 3) float64; see `Inversion`

    Raises
    ------
    ValueError
        Features do not fit the encoder, are zero or not finite, or the descent leaves the finite numbers.
    """
    _check(features, encoder, shape, device)
    sigma = settings.sigma or expected_norm(shape)
    found, curves = [], []
    for first in range(0, len(features), batch):
        target = torch.from_numpy(np.array(features[first : first + batch], np.float32)).to(device)
        x = torch.stack([noise(shape, sigma, seed, first + i) for i in range(len(target))]).to(device)
        x, energies = descend(x, target, encoder, settings, progress=progress)
        found.append(x.cpu().numpy())
        curves.append(energies.double().cpu().numpy())
    images, energies_of_all = np.concatenate(found), np.concatenate(curves)
    if lost := np.flatnonzero(~np.isfinite(energies_of_all).all(axis=(1, 2))).tolist():
        raise ValueError(f"the energy of image {lost[0]} is not finite: smaller rates in schedule are needed")
    return images, energies_of_all


def noise(shape: tuple[int, ...], sigma: float, seed: int, place: int) -> torch.Tensor:
    """Normal noise of norm `sigma`, float32, drawn from (seed, place)."""
    drawn = np.random.default_rng([seed, place]).standard_normal(shape)
    return torch.from_numpy((drawn * (sigma / np.linalg.norm(drawn))).astype(np.float32))


def _check(
    features: np.ndarray, encoder: Encoder, shape: tuple[int, int, int], device: torch.device | str
) -> None:
    with torch.no_grad():
        wanted = tuple(encoder(torch.zeros((1, *shape), device=device)).shape[1:])
    if features.ndim < 2 or not len(features) or features.shape[1:] != wanted:
        raise ValueError(
            f"features have shape {features.shape}: (N, {', '.join(map(str, wanted))}), N 1 or more, is needed"
        )
    if not np.isfinite(features).all():
        raise ValueError("features hold NaN or infinity")
    if empty := np.flatnonzero(~features.reshape(len(features), -1).any(axis=1)).tolist():
        raise ValueError(f"features of image {empty[0]} are all zero; the energy is relative to their norm")


def tv_weight(net: CaffeNet, blob: str) -> float:
    """The source's weight of total variation for a blob: 1, 10 or 100 for the first 6, to the 12th, to the 20th.

    Layers are counted as the source counts CaffeNet's twenty: convolution, ReLU, pooling, normalisation and inner
    product each, dropout and softmax not. For other nets the position is scaled from their own count to twenty [ours].
    """
    total = sum(step.layer.type not in _UNCOUNTED for step in net.plan.steps)
    if blob not in net.plan.memory:
        raise ValueError(f"blob {blob!r} is not in the net; blobs are {', '.join(net.plan.memory)}")
    position = sum(step.layer.type not in _UNCOUNTED for step in net.plan.needed((blob,)))
    return next(weight for last, weight in _WEIGHTS if position * _DEPTH <= last * total)


def invert_net(
    features: np.ndarray,
    net: CaffeNet,
    blob: str,
    recipe: Recipe,
    *,
    size: tuple[int, int] | None = None,
    settings: MahendranSettings | None = None,
    seed: int = 0,
    batch: int = 32,
    progress: Progress = iter,
) -> Inversion:
    """Invert a blob of a net.

    Parameters
    ----------
    features : (N, ...) float32, the blob
    net : CaffeNet
        With weights, on the device to compute on; its first input is the image. The whole net, of which `tv_weight`
        counts the layers.
    blob : Caffe's name, such as "fc6"
    recipe : Recipe
        The net's mean, channel order and scale.
    size : (height, width), optional
        Of the images; default: that of the net's input.
    settings : MahendranSettings, optional
        Default: the source's, with the layer's `tv_weight`.
    seed, batch, progress : see `invert`

    Returns
    -------
    Inversion

    Raises
    ------
    ValueError
        See `invert`.
    """
    if settings is None:
        settings = MahendranSettings(tv_weight=tv_weight(net, blob))
    channels, *own_size = next(iter(net.inputs.values()))[1:]
    height, width = size or own_size
    device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
    x, energies = invert(
        features,
        lambda images: net.features(images * recipe.scale, blob),
        (channels, height, width),
        settings,
        seed=seed,
        batch=batch,
        device=device,
        progress=progress,
    )
    if recipe.order == "GREY":
        return Inversion(_as_rgb(x + crop_mean(recipe.mean, (height, width))), energies)
    return Inversion(_as_rgb(from_caffe(x, recipe.mean, order=recipe.order)), energies)


def invert_shallow(
    features: np.ndarray,
    name: str,
    size: tuple[int, int],
    *,
    settings: MahendranSettings = SHALLOW,
    seed: int = 0,
    batch: int = 32,
    device: torch.device | str = "cpu",
    progress: Progress = iter,
) -> Inversion:
    """Invert HOG ("HOG^-1") or dense SIFT.

    Parameters
    ----------
    features : (N, C, H', W') float32
        As `shallow_nets.shallow_features` computes them.
    name : {"hog", "hogb", "dsift"}
    size : (height, width) of the pictures
    settings, seed, batch, device, progress : see `invert`

    Returns
    -------
    Inversion
        Of grey images.
    """
    net = shallow_net(name, *size)
    x, energies = invert(
        features,
        net.extract,
        (1, *size),
        settings,
        seed=seed,
        batch=batch,
        device=device,
        progress=progress,
    )
    return Inversion(_as_rgb(x + GREY_OFFSET), energies)


def _as_rgb(images: np.ndarray) -> np.ndarray:
    return np.clip(np.broadcast_to(images, (len(images), 3, *images.shape[2:])), 0, 255).astype(np.float32)
