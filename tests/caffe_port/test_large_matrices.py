"""InnerProduct with a matrix so large that a CPU multiplies it in blocks of rows."""

import numpy as np
import pytest
import torch

from caffe_port.layers.inner_product import _MAX_ROWS, _MIN_WEIGHT
from caffe_port.net import CaffeNet
from caffe_port.wiring import read_net
from tests.oracles.caffe_one_layer import one_layer_net
from tests.tolerances import blob_close

INNER = 3000


def large_net(outer: int, batch: int, *, bias: bool) -> CaffeNet:
    parameters = {"num_output": outer, "bias_term": bias}
    bottom = np.empty((batch, 3, INNER // 3), np.float32)
    layer = {"inner_product_param": parameters}
    net = CaffeNet(read_net(one_layer_net("InnerProduct", layer, [bottom]), "large"))
    random = np.random.default_rng(outer)
    for place in net.places():
        name = place.key
        net._parameters[name] = torch.nn.Parameter(
            torch.from_numpy(random.standard_normal(place.spec.shape, np.float32))
        )
    return net


@pytest.mark.parametrize(("outer", "bias"), [(720, True), (1000, False), (709, True)])  # 16 blocks, 10, one
def test_products_and_gradients_are_those_of_the_matrix(outer: int, bias: bool) -> None:
    assert outer * INNER >= _MIN_WEIGHT
    net = large_net(outer, 4, bias=bias)
    weight, *biases = [blob.detach().double() for blob in net.params["it"]]
    for batch in (1, 3, _MAX_ROWS + 1):
        x = torch.from_numpy(np.random.default_rng(batch).standard_normal((batch, 3, INNER // 3), np.float32))
        x.requires_grad_()
        y = net(x)["y"]
        rows = x.detach().double().flatten(1)
        blob_close(y.detach(), rows @ weight.t() + sum(biases), "caffe blob")
        upstream = torch.from_numpy(np.random.default_rng(0).standard_normal((batch, outer), np.float32))
        gradients = torch.autograd.grad(y, [x, *net.parameters()], upstream)
        expected = [upstream.double() @ weight, upstream.double().t() @ rows, upstream.double().sum(0)]
        for found, wanted in zip(gradients, expected, strict=False):
            blob_close(found.reshape(wanted.shape), wanted, "caffe blob")


def test_pictures_in_other_company_give_the_same() -> None:
    net = large_net(1000, 4, bias=True)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 3, INNER // 3), np.float32))
    with torch.inference_mode():
        together = net(x)["y"]
        alone = torch.cat([net(row[None])["y"] for row in x])
    blob_close(together, alone, "caffe blob")
