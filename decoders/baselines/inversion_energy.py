"""The energy that Mahendran & Vedaldi (CVPR 2015) descend, and the descent.

Source: aravindhm/deep-goggle @ cc667f0, `core/invert_nn.m`. The variable x is an image less the mean, in grey
levels, and s its expected norm:

    E(x) = |phi(x) - phi0|^2 / |phi0|^2 + [ tv_weight / 2 * TV(x) + power_weight / 2 * sum x^6 ] / s^2
    TV(x) = sum (dx^2 + dy^2)^(tv_exponent / 2)        forward differences, zero at the last column and row
    velocity <- momentum * velocity - rate * s^2 * dE/dx;  x <- x + velocity

The velocity starts anew whenever the rate changes. Images of a batch are independent.

s is 27098.1157 for the source's 227 x 227 x 3 (`experiments/x0_sigma.mat`). For another count of numbers it is
scaled so that the root mean square of x, 68.9 grey levels, stays, and with it the balance of the three terms.
# differs from deep-goggle: it keeps the one value for grey pictures of all sizes.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

X0_SIGMA = 27098.1157
X0_COUNT = 227 * 227 * 3
TERMS = ("features", "total variation", "power")

Encoder = Callable[[torch.Tensor], torch.Tensor]
Progress = Callable[[Iterable[float]], Iterable[float]]


@dataclass(frozen=True)
class MahendranSettings:
    """Settings of one inversion, with the values of the source's experiments on CaffeNet.

    Attributes
    ----------
    schedule : tuple of (rate, steps)
    momentum : float
    tv_weight : float
        1, 10 or 100 in the source, by layer; see `tv_weight`.
    tv_exponent : float
        2 or more: below, the gradient does not exist where neighbours are equal.
    power_weight : float
    power : int
        Even.
    sigma : float or None
        s; None for 27098.1157 scaled to the size.
    """

    schedule: tuple[tuple[float, int], ...] = ((0.004, 100), (0.0004, 200), (0.00004, 100))
    momentum: float = 0.9
    tv_weight: float = 1.0
    tv_exponent: float = 2.0
    power_weight: float = 8e-10
    power: int = 6
    sigma: float | None = None

    def __post_init__(self) -> None:
        if not self.schedule or any(not rate > 0 or steps < 1 for rate, steps in self.schedule):
            raise ValueError(f"schedule is {self.schedule}: rates above 0 and 1 step or more are needed")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum is {self.momentum}: 0 or more and less than 1 is needed")
        if not self.tv_exponent >= 2:
            raise ValueError(f"tv_exponent is {self.tv_exponent}: 2 or more is needed")
        if self.power < 2 or self.power % 2:
            raise ValueError(f"power is {self.power}: an even number is needed")
        if not self.tv_weight >= 0 or not self.power_weight >= 0:
            raise ValueError("tv_weight and power_weight must be 0 or more")
        if self.sigma is not None and not self.sigma > 0:
            raise ValueError(f"sigma is {self.sigma}: it must be above 0")

    @property
    def rates(self) -> list[float]:
        """The rate of every step."""
        return [rate for rate, steps in self.schedule for _ in range(steps)]


SHALLOW = MahendranSettings(schedule=((0.004, 200), (0.0004, 200), (0.00004, 200), (0.000004, 200)))


def expected_norm(shape: tuple[int, ...]) -> float:
    """s for an image of this shape, channels first."""
    return X0_SIGMA * math.sqrt(math.prod(shape) / X0_COUNT)


def total_variation(x: torch.Tensor, exponent: float = 2.0) -> torch.Tensor:
    """TV of each image, (N, C, H, W) -> (N,), all channels added up."""
    across = torch.diff(x, dim=3, append=x[..., -1:])
    down = torch.diff(x, dim=2, append=x[:, :, -1:])
    return (across.square() + down.square()).pow(exponent / 2).sum(dim=(1, 2, 3))


def energy(
    x: torch.Tensor, features: torch.Tensor, encoder: Encoder, settings: MahendranSettings
) -> torch.Tensor:
    """The three terms of E for each image.

    Parameters
    ----------
    x : (N, C, H, W), less the mean, in grey levels
    features : (N, ...), as `encoder` gives them
    encoder : function of x
    settings : MahendranSettings

    Returns
    -------
    (N, 3), in the order of `TERMS`
    """
    squared_sigma = (settings.sigma or expected_norm(tuple(x.shape[1:]))) ** 2
    difference = (encoder(x) - features).flatten(1).square().sum(dim=1)
    fit = difference / features.flatten(1).square().sum(dim=1)
    variation = settings.tv_weight / 2 * total_variation(x, settings.tv_exponent) / squared_sigma
    power = settings.power_weight / 2 * x.pow(settings.power).sum(dim=(1, 2, 3)) / squared_sigma
    return torch.stack([fit, variation, power], dim=1)


def descend(
    x: torch.Tensor,
    features: torch.Tensor,
    encoder: Encoder,
    settings: MahendranSettings,
    *,
    progress: Progress = iter,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Follow the gradient from x through the whole schedule.

    Returns
    -------
    x : (N, C, H, W)
    energies : (N, steps + 1, 3)
    """
    squared_sigma = (settings.sigma or expected_norm(tuple(x.shape[1:]))) ** 2
    velocity = torch.zeros_like(x)
    previous = None
    energies = []
    for rate in progress(settings.rates):
        x = x.detach().requires_grad_()
        terms = energy(x, features, encoder, settings)
        (gradient,) = torch.autograd.grad(terms.sum(), x)
        energies.append(terms.detach())
        kept = velocity * settings.momentum if rate == previous else torch.zeros_like(velocity)
        velocity = kept - rate * squared_sigma * gradient
        x = x + velocity
        previous = rate
    with torch.no_grad():
        energies.append(energy(x, features, encoder, settings))
    return x.detach(), torch.stack(energies, dim=1)
