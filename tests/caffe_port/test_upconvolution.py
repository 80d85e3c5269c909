"""The Freiburg fork's deconvolution with an explicit size in today's form, and that of Caffe 1.0, side by
side.
"""

import numpy as np
import pytest
import torch

from caffe_port import ConversionError, reference
from caffe_port.net import CaffeNet
from caffe_port.plan import make_plan
from caffe_port.text import format_text, parse_text
from caffe_port.weights import fill_net
from caffe_port.wiring import read_net
from tests.tolerances import close

DECODER = """
layer {{ name: "features" type: "Input" top: "features"
  input_param {{ shape {{ dim: 2 dim: 6 dim: 3 dim: 4 }} }} }}
layer {{ name: "up" type: "Deconvolution" bottom: "features" top: "up" {} }}
layer {{ name: "leaky" type: "ReLU" bottom: "up" top: "up" relu_param {{ negative_slope: 0.3 }} }}
"""
FORK = (
    "deconvolution_param {{ output_channels: 4 output_height: {} output_width: {} kernel_size: 5 pad: 2 "
    'stride: 2 group: 2 weight_filler {{ type: "gaussian" }} bias_filler {{ type: "uniform" }} }}'
)
CAFFE = (
    "convolution_param { num_output: 4 kernel_size: 4 pad: 1 stride: 2 group: 2 "
    'weight_filler { type: "gaussian" } bias_filler { type: "uniform" } }'
)


def build(param: str) -> CaffeNet:
    net = CaffeNet(read_net(parse_text(DECODER.format(param), source="text"), "decoder"))
    fill_net(net, 0)
    return net.double()


@pytest.mark.parametrize(
    ("param", "size"),
    [(FORK.format(6, 8), (6, 8)), (FORK.format(5, 7), (5, 7)), (FORK.format(5, 8), (5, 8)), (CAFFE, (6, 8))],
)
def test_an_upconvolution_has_its_size_and_numbers(param: str, size: tuple[int, int]) -> None:
    net = build(param)
    data = np.random.default_rng(1).standard_normal((2, 6, 3, 4))
    found = net(torch.from_numpy(data))["up"].detach()
    assert found.shape == (2, 4, *size)
    blobs = {name: [blob.detach().numpy() for blob in own] for name, own in net.params.items()}
    kernel = 4 if param == CAFFE else 5
    assert [blob.shape for blob in blobs["up"]] == [(6, 2, kernel, kernel), (4,)]
    close(found, reference.forward(net.spec.message, blobs, {"features": data})["up"], "layer")
    again = read_net(parse_text(format_text(dict(net.spec.message)), source="text"), "decoder")
    assert again == net.spec


@pytest.mark.parametrize("size", [(4, 7), (7, 7), (5, 9)])
def test_a_size_that_the_bottom_does_not_give_is_refused(size: tuple[int, int]) -> None:
    spec = read_net(parse_text(DECODER.format(FORK.format(*size)), source="text"), "decoder")
    with pytest.raises(ConversionError, match=r"'up' \(Deconvolution\): field 'deconvolution_param.output_"):
        make_plan(spec)


def test_other_bottom_sizes_need_another_net() -> None:
    net = build(FORK.format(6, 8))
    with pytest.raises(ConversionError, match=r"field 'deconvolution_param.output_height' is 6"):
        net(torch.zeros(1, 6, 5, 4, dtype=torch.float64))
