"""Decoders in the form of the Freiburg group's release: V1 prototxts, weights under the fork's numbers.

The tables are Dosovitskiy & Brox (CVPR 2016), Table 1 for FC6 and the supplementary's for CONV5 and CONV1,
with 3 x 3 convolutions; leaky slope 0.3 as in the release, none after the last layer. Values are checked
against the paper's own wording of an up-convolution, zero-insertion and then a convolution, in float64.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import caffe_port
from caffe_port.binary import encode
from caffe_port.inspection import inspect
from caffe_port.schema import MESSAGES
from caffe_port.text import read_text
from caffe_port.wire import open_caffemodel
from tests.tolerances import blob_close

SLOPE = float(np.float32(0.3))
# name -> input shape, fully connected widths, map that they become, 3 x 3 convolutions, up-convolutions
DECODERS = {
    "fc6": ((4096,), (4096, 4096, 4096), (256, 4, 4), (), (256, 128, 64, 32, 3)),
    "conv5": ((256, 6, 6), (), None, (256, 256, 256), (256, 128, 64, 32, 3)),
    "conv1": ((96, 27, 27), (), None, (256, 256, 256), (64, 32, 3)),
}
SIZES = {"fc6": (3, 128, 128), "conv5": (3, 192, 192), "conv1": (3, 216, 216)}


def layer(name: str, kind: str, bottom: str, params: str) -> str:
    return f'layers {{ name: "{name}" type: {kind} bottom: "{bottom}" top: "{name}" {params} }}\n'


def leaky(name: str) -> str:
    relu = f'name: "relu_{name}" type: RELU bottom: "{name}" top: "{name}"'
    return f"layers {{ {relu} relu_param {{ negative_slope: 0.3 }} }}\n"


def deploy(name: str, narrow: int = 1) -> str:
    """The prototxt, with channels divided by `narrow` (but for the picture's three)."""
    shape, dense, reshaped, plain, up = DECODERS[name]
    shape = (shape[0] // narrow, *shape[1:])
    dims = [1, *shape, *(1,) * (3 - len(shape))]
    text = f'name: "invert_alexnet_{name}"\ninput: "features"\n' + "".join(
        f"input_dim: {dim}\n" for dim in dims
    )
    last, size = "features", shape[-1]
    for position, width in enumerate(dense, 1):
        product = f"blobs_lr: 0 inner_product_param {{ num_output: {width // narrow} }}"
        text += layer(f"Dfc{position}", "INNER_PRODUCT", last, product) + leaky(f"Dfc{position}")
        last = f"Dfc{position}"
    if reshaped is not None:
        size = reshaped[1]
        sizes = f"channels: {reshaped[0] // narrow} height: {size} width: {size}"
        text += layer("reshape", "RESHAPE", last, f"reshape_param {{ {sizes} }}")
        last = "reshape"
    for position, width in enumerate(plain, 6):
        convolution = (
            f"blobs_lr: 0 convolution_param {{ num_output: {width // narrow} kernel_size: 3 pad: 1 }}"
        )
        text += layer(f"Rconv{position}", "CONVOLUTION", last, convolution) + leaky(f"Rconv{position}")
        last = f"Rconv{position}"
    for position, width in zip(reversed(range(len(up))), up, strict=True):
        size, channels = 2 * size, width // narrow if position else width
        sizes = f"output_channels: {channels} output_height: {size} output_width: {size}"
        text += layer(
            f"deconv{position}",
            "DECONVOLUTION",
            last,
            f"blobs_lr: 0 deconvolution_param {{ {sizes} kernel_size: 5 pad: 2 stride: 2 }}",
        )
        text += leaky(f"deconv{position}") if position else ""
        last = f"deconv{position}"
    return text


def weights(net: dict, path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Random weights for a narrow net, written as the fork's V1 with legacy shapes."""
    rng, layers, made = np.random.default_rng(0), [], {}
    channels, count = net["input_dim"][1], int(np.prod(net["input_dim"][1:]))
    for one in net["layers"]:
        kind = one["type"]
        if kind == "INNER_PRODUCT":
            shape = (1, 1, one["inner_product_param"]["num_output"], count)
            channels = count = shape[2]
        elif kind == "CONVOLUTION":
            shape = (one["convolution_param"]["num_output"], channels, 3, 3)
            channels = shape[0]
        elif kind == "DECONVOLUTION":
            shape = (channels, one["deconvolution_param"]["output_channels"], 5, 5)
            channels = shape[1]
        else:
            channels = one.get("reshape_param", {"channels": channels})["channels"]
            layers.append({key: value for key, value in one.items() if key != "blobs"})
            continue
        arrays = rng.normal(0, 0.3, shape).astype("f4"), rng.normal(0, 1, (1, 1, 1, channels)).astype("f4")
        sides = ("num", "channels", "height", "width")
        blobs = [{**dict(zip(sides, a.shape, strict=True)), "data": a.ravel().tolist()} for a in arrays]
        layers.append({**one, "blobs": blobs})
        made[one["name"]] = arrays
    encoded = [b"".join(encode(one, "FreiburgLayerParameter")) for one in layers]
    path.write_bytes(b"".join(encode({"name": net["name"], "layers": encoded}, "NetParameter")))
    return made


def reference(net: dict, arrays: dict[str, tuple[np.ndarray, np.ndarray]], x: np.ndarray) -> torch.Tensor:
    value = torch.from_numpy(x).double()
    for one in net["layers"]:
        if one["name"] in arrays:
            weight, bias = (torch.from_numpy(array).double() for array in arrays[one["name"]])
            bias = bias.flatten()
        if one["type"] == "INNER_PRODUCT":
            value = value.flatten(1) @ weight[0, 0].T + bias
        elif one["type"] == "CONVOLUTION":
            value = F.conv2d(value, weight, bias, padding=1)
        elif one["type"] == "DECONVOLUTION":
            apart = torch.zeros(*value.shape[:2], 2 * value.shape[2], 2 * value.shape[3], dtype=torch.float64)
            apart[:, :, ::2, ::2] = value
            value = F.conv2d(apart, weight.transpose(0, 1).flip(2, 3), bias, padding=2)
        elif one["type"] == "RESHAPE":
            sizes = one["reshape_param"]
            value = value.reshape(len(value), sizes["channels"], sizes["height"], sizes["width"])
        else:
            value = torch.where(value > 0, value, SLOPE * value)
    return value


@pytest.mark.parametrize("name", DECODERS)
def test_sizes_are_the_papers(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"invert_alexnet_{name}_deploy.prototxt"
    path.write_text(deploy(name))
    found = inspect(path)
    assert found["format"] == "V1"
    assert found["outputs"] == ["deconv0"]
    assert tuple(found["layers"][-1]["tops"]["deconv0"]) == (1, *SIZES[name])


@pytest.mark.parametrize("name", DECODERS)
def test_values_are_those_of_zero_insertion_and_convolution(tmp_path: Path, name: str) -> None:
    path = tmp_path / "deploy.prototxt"
    path.write_text(deploy(name, narrow=32))
    net = read_text(path)
    arrays = weights(net, tmp_path / "net.caffemodel")
    x = np.random.default_rng(1).normal(0, 1, (2, *net["input_dim"][1:])).astype("f4")
    decoder = caffe_port.load(path, tmp_path / "net.caffemodel")
    with torch.no_grad():
        got = decoder(x)["deconv0"]
    wanted = reference(net, arrays, x)
    assert tuple(got.shape) == (2, *SIZES[name])
    blob_close(got, wanted, "freiburg decoder")


def test_the_files_own_net_is_read_under_the_forks_numbers(tmp_path: Path) -> None:
    (tmp_path / "deploy.prototxt").write_text(deploy("fc6", narrow=32))
    net = read_text(tmp_path / "deploy.prototxt")
    weights(net, tmp_path / "net.caffemodel")
    found = open_caffemodel(tmp_path / "net.caffemodel").net
    assert found["layers"] == net["layers"]
    numbers = {
        name: MESSAGES["FreiburgLayerParameter"][name].number
        for name in ("relu_param", "deconvolution_param")
    }
    assert numbers == {"relu_param": 39, "deconvolution_param": 27}
