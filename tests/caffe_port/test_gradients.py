"""Gradients of every layer that has one, against finite differences in float64; compiled nets too."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from caffe_port.net import CaffeNet
from caffe_port.wiring import read_net
from tests.oracles.caffe_one_layer import ALL, one_layer_net, random_blobs

# Whole numbers out, or bottoms that are whole numbers: no gradient to speak of.
WITHOUT = {"ArgMax", "Accuracy", "Threshold", "Embed", "Silence", "LSTMUnit"}
# Bottoms after the first that choose (labels, selectors, masks) rather than contribute.
CHOOSERS = {
    "Filter",
    "BatchReindex",
    "SoftmaxWithLoss",
    "InfogainLoss",
    "SigmoidCrossEntropyLoss",
    "HingeLoss",
    "MultinomialLogisticLoss",
    "LSTM",
    "RNN",
    "Crop",
    "Interp",
    "Upsample",
}


def smooth(values: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """The numbers without ties and not at a kink."""
    away = values + rng.uniform(0.02, 0.1, values.shape) * rng.choice([-1, 1], values.shape)
    return torch.from_numpy(np.where(np.abs(away) < 0.02, 0.05, away))


@pytest.mark.parametrize("case", sorted(set(ALL) - WITHOUT))
def test_gradients_are_those_of_finite_differences(case: str) -> None:
    for round_ in range(3):
        rng = np.random.default_rng([7, round_, *case.encode()])
        layer, bottoms = ALL[case](rng)
        kind = layer.pop("type", case)
        net = CaffeNet(read_net(one_layer_net(kind, layer, bottoms), "random net"))
        random_blobs(net, rng)
        net.requires_grad_(False)
        free = 1 if case in CHOOSERS else len(bottoms)
        if case == "ContrastiveLoss":
            free = 2
        given = [
            smooth(bottom, rng) if i < free else torch.from_numpy(bottom) for i, bottom in enumerate(bottoms)
        ]
        if case in ("Log", "MultinomialLogisticLoss", "Power"):
            given[0] = given[0].abs() + 0.1
        names = [name for name in net.outputs if not name.startswith("mask")]

        def forward(
            *some: torch.Tensor, net: CaffeNet = net, rest: list = given[free:], names: list = names
        ) -> tuple:
            everything = [*some, *rest]
            found = net.blobs(**{f"x{i}": value for i, value in enumerate(everything)})
            return tuple(found[name] for name in names if found[name].requires_grad)

        inputs = tuple(value.requires_grad_(True) for value in given[:free])
        if forward(*inputs):  # a constant (Power with scale 0) has none
            assert torch.autograd.gradcheck(forward, inputs, fast_mode=True, atol=1e-4, rtol=1e-3), layer


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_a_compiled_net_computes_the_same(mode: Callable[[], torch.no_grad]) -> None:
    layer, bottoms = ALL["Pooling"](np.random.default_rng(4))
    net = CaffeNet(read_net(one_layer_net("Pooling", layer, bottoms), "net"))
    data = torch.from_numpy(bottoms[0]).float()
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    with mode():
        assert torch.equal(compiled(data)["y"], net(data)["y"])
