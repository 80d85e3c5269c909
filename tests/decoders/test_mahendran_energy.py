"""The energy of Mahendran & Vedaldi against cases worked by hand, its gradient against differences, its steps."""

import numpy as np
import pytest
import torch

from decoders.baselines.inversion_energy import (
    SHALLOW,
    MahendranSettings,
    descend,
    energy,
    expected_norm,
    total_variation,
)

SETTINGS = MahendranSettings(schedule=((0.01, 1),), tv_weight=3.0, power_weight=0.5, sigma=2.0)


def doubled(x: torch.Tensor) -> torch.Tensor:
    """An encoder whose inversion can be worked by hand."""
    return 2 * x


def test_the_sources_numbers() -> None:
    settings = MahendranSettings()
    assert settings.rates == [0.004] * 100 + [0.0004] * 200 + [0.00004] * 100
    assert (settings.momentum, settings.power_weight, settings.power) == (0.9, 8e-10, 6)
    assert len(SHALLOW.rates) == 800
    assert SHALLOW.rates[-1] == pytest.approx(0.000004)
    assert SHALLOW.tv_weight == 1.0
    assert expected_norm((3, 227, 227)) == 27098.1157
    # A quarter of the numbers has half the norm.
    assert expected_norm((3, 454, 454)) == pytest.approx(2 * 27098.1157, rel=1e-12)


def test_total_variation_by_hand() -> None:
    """[[0, 3], [4, 9]]: differences to the right 3, 0; 5, 0 and downwards 4, 6; 0, 0."""
    x = torch.tensor([[[[0.0, 3.0], [4.0, 9.0]]]])
    assert total_variation(x).item() == 9 + 16 + 36 + 25
    # With exponent 4: the squared lengths 9 + 16, 0 + 36, 25 + 0 and 0, each squared.
    assert total_variation(x, 4.0).item() == 25**2 + 36**2 + 25**2
    two_channels = torch.cat([x, x], dim=1)
    assert total_variation(two_channels).item() == 2 * 86


def test_energy_by_hand() -> None:
    """x = [1, 2], phi = 2x, phi0 = [1, 0], s = 2: ((2 - 1)^2 + 4^2) / 1; 3/2 * 1 / 4; 0.5/2 * (1 + 64) / 4."""
    x = torch.tensor([[[[1.0, 2.0]]]])
    terms = energy(x, torch.tensor([[[[1.0, 0.0]]]]), doubled, SETTINGS)
    assert terms.tolist() == [[17.0, 0.375, 4.0625]]


def test_one_step_by_hand() -> None:
    """The velocity is -rate (gradient of the regularisers + s^2 / |phi0|^2 * gradient of |phi - phi0|^2).

    At x = [1, 2]: 3/2 TV gives 3/2 * [-2, 2] = [-3, 3]; 0.5/2 * 6 x^5 = [1.5, 48]; the features 4 * [1, 4] = [4, 16],
    times 2^2 / 1. Together [14.5, 115].
    """
    x = torch.tensor([[[[1.0, 2.0]]]])
    found, energies = descend(x, torch.tensor([[[[1.0, 0.0]]]]), doubled, SETTINGS)
    torch.testing.assert_close(found, torch.tensor([[[[1 - 0.145, 2 - 1.15]]]]))
    assert energies[0, 0].tolist() == [17.0, 0.375, 4.0625]
    assert energies.shape == (1, 2, 3)


def test_the_velocity_is_kept_and_starts_anew_with_another_rate() -> None:
    """phi = x, phi0 = 1, s = 1, no regularisers: the gradient is 2 (x - 1), and x starts at 0.

    Rate 0.25, twice: v = 0.5, x = 0.5; v = 0.5 * 0.5 + 0.25 = 0.5, x = 1. Rate 0.125: x stays, the gradient being 0
    and the velocity gone.
    """
    settings = MahendranSettings(
        schedule=((0.25, 2), (0.125, 1)), momentum=0.5, tv_weight=0.0, power_weight=0.0, sigma=1.0
    )
    x, energies = descend(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1), lambda x: x, settings)
    assert x.item() == 1.0
    assert energies[0, :, 0].tolist() == [1.0, 0.25, 0.0, 0.0]


def test_the_gradient_agrees_with_differences() -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 2, 3, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    weights = torch.randn(5, 24, dtype=torch.float64, generator=generator)
    target = torch.randn(2, 5, dtype=torch.float64, generator=generator)
    settings = MahendranSettings(tv_weight=2.0, tv_exponent=3.0, power_weight=0.1, sigma=1.5)
    assert torch.autograd.gradcheck(
        lambda x: energy(x, target, lambda x: torch.tanh(x.flatten(1) @ weights.T), settings), x
    )


def test_the_gradient_exists_where_neighbours_are_equal() -> None:
    x = torch.zeros(1, 1, 3, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(total_variation(x, 2.0).sum(), x)
    assert not gradient.any()


@pytest.mark.parametrize(
    "field",
    [
        {"schedule": ()},
        {"schedule": ((0.1, 0),)},
        {"schedule": ((float("nan"), 1),)},
        {"momentum": 1.0},
        {"tv_exponent": 1.0},
        {"power": 5},
        {"tv_weight": -1.0},
        {"power_weight": float("nan")},
        {"sigma": 0.0},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(field: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        MahendranSettings(**field)


def test_a_batch_is_its_images() -> None:
    """No image sees another: each has its own norm and energy."""
    generator = np.random.default_rng(0)
    x = torch.from_numpy(generator.standard_normal((3, 1, 4, 4)))
    target = torch.from_numpy(
        generator.standard_normal((3, 1, 4, 4)) * np.array([1, 2, 4]).reshape(3, 1, 1, 1)
    )
    settings = MahendranSettings(schedule=((0.01, 5), (0.001, 3)), sigma=4.0)
    together, energies = descend(x, target, lambda x: x.tanh() * x, settings)
    for i in range(3):
        alone, own = descend(x[i : i + 1], target[i : i + 1], lambda x: x.tanh() * x, settings)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(energies[i : i + 1], own, rtol=1e-12, atol=1e-12)
