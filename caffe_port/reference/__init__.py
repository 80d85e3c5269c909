"""One whole Caffe forward in plain float64 NumPy: slow, obvious and independent of the port.

`forward` takes a net as a dict of its V2 NetParameter (TEST phase, fields that are set) and knows Caffe's
rules from the modules beside it, which share nothing with `caffe_port.layers`. Memory is NumPy's: an
in-place layer writes into its bottom's array, and the tops of Split, Flatten and Reshape are views, so what
a forward leaves behind is what Caffe leaves behind.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from caffe_port.reference import arrangement, losses, pointwise, windows

LAYERS = {
    **windows.LAYERS,
    **pointwise.LAYERS,
    **arrangement.LAYERS,
    **losses.LAYERS,
}


def dummy_data(layer: Mapping[str, Any]) -> list[np.ndarray]:
    """Constant blobs only."""
    param, tops = layer["dummy_data_param"], len(layer["top"])
    shapes = [shape["dim"] for shape in param.get("shape", [])]
    if not shapes:
        sides = [param[side] for side in ("num", "channels", "height", "width")]
        shapes = [[side[0 if len(side) == 1 else i] for side in sides] for i in range(tops)]
    fillers = param.get("data_filler", [{}])
    return [
        np.full(
            shapes[0 if len(shapes) == 1 else i],
            fillers[0 if len(fillers) == 1 else i].get("value", 0.0),
            float,
        )
        for i in range(tops)
    ]


def forward(
    net: Mapping[str, Iterable[Mapping[str, Any]]],
    blobs: Mapping[str, Sequence[np.ndarray]],
    inputs: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Run a net once.

    Parameters
    ----------
    net : mapping
        V2 NetParameter: its `layer` list; blobs of the layers are not read.
    blobs : mapping of str to sequence of array
        Parameter blobs by layer name, in Caffe's order; shared ones under every layer.
    inputs : mapping of str to array
        Input blobs by name.

    Returns
    -------
    dict of str to array
        Every blob by name as the forward leaves it, float64.
    """
    values: dict[str, np.ndarray] = {}
    for layer in net["layer"]:
        kind, names = layer["type"], layer.get("top", [])
        if kind == "Input":
            tops = [np.array(inputs[name], np.float64) for name in names]
        elif kind == "DummyData":
            tops = dummy_data(layer)
        else:
            own = [np.asarray(blob, np.float64) for blob in blobs.get(layer["name"], [])]
            bottoms = [values[name] for name in layer.get("bottom", [])]
            tops = own if kind == "Parameter" else LAYERS[kind](layer, bottoms, own)
        for position, name in enumerate(names):
            bottom = layer.get("bottom", [])[position : position + 1]
            if bottom == [name] and values[name].shape == tops[position].shape:
                values[name][...] = tops[position]
            else:
                values[name] = tops[position]
    return values
