"""A net of one random layer, and random numbers for its parameters."""

from typing import Any

import numpy as np

from caffe_port.net import CaffeNet
from caffe_port.weights import give
from tests.oracles.caffe_cases import CASES
from tests.oracles.caffe_cases_more import CASES_MORE

ALL = {**CASES, **CASES_MORE}


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
