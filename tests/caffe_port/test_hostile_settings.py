"""Settings as a stranger may write them, with every number at its limits: refused in one line, or run."""

import math
import time

import numpy as np
import pytest
import torch

from caffe_port import ConversionError
from caffe_port.net import CaffeNet
from caffe_port.text import parse_text
from caffe_port.weights import fill_net
from caffe_port.wiring import read_net

DATA = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 2 dim: 4 dim: 6 dim: 6 } } }\n'
SIZES = [str(n) for n in (0, 1, 2, 3, 7, 100, 65536, 1000000, 2**31 - 1, 2**32 - 1)]
SIGNED = [str(n) for n in (-(2**31), -5, -4, -2, -1, 0, 1, 2, 3, 4, 5, 2**31 - 1)]
WINDOW = {"kernel_size": SIZES, "stride": SIZES, "pad": SIZES, "dilation": SIZES, "axis": SIGNED}
SETTINGS: dict[str, tuple[str, dict[str, list[str]]]] = {
    "Convolution": ("convolution_param", {"num_output": SIZES, "group": SIZES, **WINDOW}),
    "Deconvolution": ("convolution_param", {"num_output": SIZES, "group": SIZES, **WINDOW}),
    "Im2col": ("convolution_param", WINDOW),
    "Pooling": (
        "pooling_param",
        {
            "kernel_size": SIZES,
            "stride": SIZES,
            "pad": SIZES,
            "pool": ["MAX", "AVE", "STOCHASTIC"],
            "global_pooling": ["true", "false"],
        },
    ),
    "SPP": ("spp_param", {"pyramid_height": SIZES}),
    "LRN": ("lrn_param", {"local_size": SIZES, "norm_region": ["WITHIN_CHANNEL", "ACROSS_CHANNELS"]}),
    "InnerProduct": ("inner_product_param", {"num_output": SIZES, "axis": SIGNED}),
    "Embed": ("embed_param", {"num_output": SIZES, "input_dim": SIZES}),
    "Tile": ("tile_param", {"tiles": SIGNED, "axis": SIGNED}),
    "Slice": ("slice_param", {"axis": SIGNED, "slice_point": SIZES}),
    "Concat": ("concat_param", {"axis": SIGNED}),
    "Flatten": ("flatten_param", {"axis": SIGNED, "end_axis": SIGNED}),
    "Reshape": ("reshape_param", {"axis": SIGNED, "num_axes": SIGNED}),
    "Crop": ("crop_param", {"axis": SIGNED, "offset": SIZES}),
    "ArgMax": ("argmax_param", {"axis": SIGNED, "top_k": SIZES}),
    "Reduction": ("reduction_param", {"axis": SIGNED}),
    "Scale": ("scale_param", {"axis": SIGNED, "num_axes": SIGNED}),
    "Softmax": ("softmax_param", {"axis": SIGNED}),
    "DummyData": ("dummy_data_param", {"num": SIZES, "channels": SIZES, "height": SIZES, "width": SIZES}),
    "LSTM": ("recurrent_param", {"num_output": SIZES}),
    "Permute": ("permute_param", {"order": SIZES}),
    "ShuffleChannel": ("shuffle_channel_param", {"group": SIZES}),
    "Interp": ("interp_param", {"height": SIGNED, "width": SIGNED, "zoom_factor": SIGNED, "pad_beg": SIGNED}),
    "Upsample": ("upsample_param", {"scale": SIZES, "upsample_h": SIZES, "upsample_w": SIZES}),
}
BOTTOMS = {"DummyData": 0, "Crop": 2, "LSTM": 2}
SMALL = 300_000  # numbers of a net that is run


@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_at_their_limits_are_refused_or_run(kind: str) -> None:
    message, fields = SETTINGS[kind]
    rng = np.random.default_rng([*kind.encode()])
    refusals, run = [], 0
    for _ in range(120):
        chosen = [f"{name}: {rng.choice(values)}" for name, values in fields.items() if rng.random() < 0.7]
        wires = 'bottom: "d" ' * BOTTOMS.get(kind, 1) + 'top: "y" ' + 'top: "z" ' * (kind == "Slice")
        text = f'{DATA}layer {{ name: "it" type: "{kind}" {wires} {message} {{ {" ".join(chosen)} }} }}'
        begin = time.process_time()
        try:
            net = CaffeNet(read_net(parse_text(text, source="text"), "net"))
            sizes = [shape for step in net.plan.steps for shape in step.top_shapes]
            sizes += [place.spec.shape for place in net.places()]
            if sum(map(math.prod, sizes)) < SMALL:
                fill_net(net, 0)
                net(torch.ones(2, 4, 6, 6))
                run += 1
        except ConversionError as error:
            refusals.append(str(error))
        assert time.process_time() - begin < 2, text
    assert refusals
    assert all(text.startswith("net: layer 'it'") and "\n" not in text for text in refusals)
    assert run or kind in ("LSTM", "Deconvolution")
