"""Small Caffe nets for tests, as files."""

import re
from pathlib import Path

from caffe_port import zoo
from caffe_port.convert import convert

GREY_NET = """
name: "GreyNet"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 20 dim: 28 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 6 kernel_size: 5 weight_filler { type: "xavier" } } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "ip1" type: "InnerProduct" bottom: "pool1" top: "ip1"
  inner_product_param { num_output: 9 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "cross" type: "Reshape" bottom: "ip2" top: "cross"
  reshape_param { shape { dim: 2 dim: -1 dim: 1 } } }
"""


def grey_net(folder: Path, *, seed: int = 0) -> Path:
    """A converted net of 20x28 grey pictures, with random weights."""
    (folder / "grey.prototxt").write_text(GREY_NET)
    path = folder / f"grey-{seed}.safetensors"
    convert(folder / "grey.prototxt", None, path, mean="100", scale=0.0078125, random_weights=seed)
    return path


def narrow_caffenet(folder: Path, path: Path, *, seed: int = 0) -> Path:
    """CaffeNet's layers with few channels, random weights and a mean of colours, converted to ``path``."""
    text = re.sub(
        r"num_output: (\d+)",
        lambda found: f"num_output: {2 * max(1, int(found[1]) // 64)}",
        zoo.NETS["caffenet"].deploy.read_text(encoding="utf-8"),
    )
    text = re.sub(
        r"(convolution|inner_product)_param \{", r"\1_param { weight_filler { type: 'xavier' }", text
    )
    (folder / "narrow.prototxt").write_text(text)
    convert(folder / "narrow.prototxt", None, path, mean="104,117,123", warp=(256, 256), random_weights=seed)
    return path
