"""Every layer type on random settings and shapes against the float64 reference, in float64."""

import numpy as np
import pytest
import torch

from caffe_port import reference as caffe_reference
from caffe_port.layers import LAYERS
from caffe_port.net import CaffeNet
from caffe_port.wiring import read_net
from tests.oracles.caffe_one_layer import ALL, one_layer_net, random_blobs
from tests.tolerances import close

ROUNDS = {"Convolution": 60, "Deconvolution": 60, "Pooling": 200, "Reshape": 100, "Scale": 60}
# Types whose constants Caffe holds in floats, so that float64 throughout is not what it computes.
SINGLE = {"Exp", "Log"}


def test_every_type_has_a_case_and_a_reference() -> None:
    computed = set(LAYERS) - {"Input", "DummyData", "Parameter"}
    assert computed == set(ALL) - {"Freiburg"} == set(caffe_reference.LAYERS)


@pytest.mark.parametrize("case", ALL)
def test_random_layers_match_the_reference(case: str) -> None:
    for round_ in range(ROUNDS.get(case, 40)):
        rng = np.random.default_rng([round_, *case.encode()])
        layer, bottoms = ALL[case](rng)
        kind = layer.pop("type", case)
        message = one_layer_net(kind, layer, bottoms)
        net = CaffeNet(read_net(message, "random net"))
        blobs = random_blobs(net, rng)
        inputs = {f"x{i}": bottom for i, bottom in enumerate(bottoms)}
        with np.errstate(all="ignore"):
            expected = caffe_reference.forward(message, blobs, inputs)
        found = net.blobs(**{name: torch.from_numpy(bottom) for name, bottom in inputs.items()})
        assert set(found) == set(expected)
        for name, blob in expected.items():
            assert found[name].shape == blob.shape, (round_, layer)
            subject = "layer, constants in float32" if kind in SINGLE else "layer"
            close(found[name].detach().numpy(), blob, subject, dtype="float64")
