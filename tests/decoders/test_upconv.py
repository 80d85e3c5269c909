"""The up-convolution against a literal loop and against torch's transposed convolution, in value and gradient."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from decoders.upconv import UPCONVS, FusedUpConvolution, UpConvolution, insert_zeros
from tests.tolerances import close


def upconvolve_by_loops(maps: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The paper's sentence in plain loops, float64: insert zeros, pad, slide the kernel."""
    channels, height, width = maps.shape
    kernel = weight.shape[-1]
    before, after = kernel // 2, (kernel - 1) // 2
    enlarged = np.zeros((channels, 2 * height + before + after, 2 * width + before + after))
    enlarged[:, before : before + 2 * height : 2, before : before + 2 * width : 2] = maps
    out = np.empty((len(weight), 2 * height, 2 * width))
    for o in range(len(weight)):
        for y in range(2 * height):
            for x in range(2 * width):
                out[o, y, x] = (enlarged[:, y : y + kernel, x : x + kernel] * weight[o]).sum() + bias[o]
    return out


def make(kind: str, kernel: int, seed: int = 0) -> UpConvolution:
    generator = torch.Generator().manual_seed(seed)
    layer = UPCONVS[kind](3, 4, kernel)
    torch.nn.init.normal_(layer.weight, generator=generator)
    torch.nn.init.normal_(layer.bias, generator=generator)
    return layer


def random_maps(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_zeros_surround_each_value_at_the_top_left() -> None:
    enlarged = insert_zeros(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
    expected = [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]
    assert enlarged[0, 0].tolist() == expected


@pytest.mark.parametrize("kind", list(UPCONVS))
@pytest.mark.parametrize("kernel", [2, 3, 4, 5, 6])
def test_equals_plain_loops(kind: str, kernel: int) -> None:
    layer, maps = make(kind, kernel), random_maps(2, 3, 4, 5)
    out = layer(maps).detach().numpy()
    for one, found in zip(maps.numpy(), out, strict=True):
        expected = upconvolve_by_loops(one, layer.weight.detach().numpy(), layer.bias.detach().numpy())
        close(found, expected, "upconv")


@pytest.mark.parametrize(("kernel", "padding", "output_padding"), [(5, 2, 1), (4, 1, 0)])
def test_literal_equals_the_transposed_convolution(kernel: int, padding: int, output_padding: int) -> None:
    layer, maps = make("literal", kernel), random_maps(2, 3, 7, 3)
    flipped = layer.weight.flip(2, 3).transpose(0, 1)
    expected = functional.conv_transpose2d(
        maps, flipped, layer.bias, stride=2, padding=padding, output_padding=output_padding
    )
    close(layer(maps).detach().numpy(), expected.detach().numpy(), "upconv")


@pytest.mark.parametrize("kernel", [4, 5])
def test_fused_has_the_literal_gradients(kernel: int) -> None:
    gradients = []
    for kind in ("literal", "fused"):
        layer, maps = make(kind, kernel), random_maps(2, 3, 6, 5).requires_grad_()
        (layer(maps) * random_maps(2, 4, 12, 10, seed=2)).sum().backward()
        gradients.append((maps.grad, layer.weight.grad, layer.bias.grad))
    for literal, fused in zip(*gradients, strict=True):
        close(fused.numpy(), literal.numpy(), "upconv gradient")


def test_both_forms_share_their_parameters() -> None:
    literal, fused = make("literal", 5, seed=3), make("fused", 5, seed=4)
    fused.load_state_dict(literal.state_dict())
    maps = random_maps(1, 3, 5, 5)
    close(fused(maps).detach().numpy(), literal(maps).detach().numpy(), "upconv")


def test_a_kernel_that_leaves_holes_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel is 1"):
        FusedUpConvolution(3, 3, 1)
