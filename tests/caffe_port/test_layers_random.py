"""Every layer type on random settings and shapes against the float64 reference, in float64."""

from typing import Any

import numpy as np
import pytest
import torch

from caffe_port import reference as caffe_reference
from caffe_port.layers import LAYERS
from caffe_port.net import CaffeNet
from caffe_port.weights import give
from caffe_port.wiring import read_net
from tests.oracles.caffe_cases import CASES
from tests.oracles.caffe_cases_more import CASES_MORE
from tests.tolerances import close

ALL = {**CASES, **CASES_MORE}
ROUNDS = {"Convolution": 60, "Deconvolution": 60, "Pooling": 200, "Reshape": 100, "Scale": 60}
# Types whose constants Caffe holds in floats, so that float64 throughout is not what it computes.
SINGLE = {"Exp", "Log"}


def one_layer_net(kind: str, layer: dict[str, Any], bottoms: list[np.ndarray]) -> dict[str, Any]:
    """A net of inputs and one layer."""
    names = [f"x{i}" for i in range(len(bottoms))]
    inputs = [
        {
            "name": name,
            "type": "Input",
            "top": [name],
            "input_param": {"shape": [{"dim": list(bottom.shape)}]},
        }
        for name, bottom in zip(names, bottoms, strict=True)
    ]
    tops = layer.get("top", [f"y{i}" for i in range(len(bottoms))] if "onvolution" in kind else ["y"])
    return {"layer": [*inputs, {"name": "it", "type": kind, **layer, "bottom": names, "top": tops}]}


def random_blobs(net: CaffeNet, rng: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """Fill a net with random parameters; variances and counts positive."""
    for place in net.places():
        values = rng.standard_normal(place.spec.shape).astype(np.float32)
        give(net, place, values if place.spec.trainable else np.abs(values) + 0.5)
    net.double()
    return {name: [blob.detach().numpy() for blob in blobs] for name, blobs in net.params.items()}


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
