"""How each Caffe layer type is written in ONNX: `WRITERS`, one small function a type, one family of types a file.

Source: `caffe_port.layers` and the ONNX operator specification. Shapes are those for a batch of two; only axes from 1
on are used.
"""

from collections.abc import Mapping
from types import MappingProxyType

from export.caffe_layers import arrangement, pointwise, windows
from export.caffe_layers.layer import Layer, Writer

WRITERS: Mapping[str, Writer] = MappingProxyType(
    {**windows.WRITERS, **pointwise.WRITERS, **arrangement.WRITERS}
)

__all__ = ["WRITERS", "Layer", "Writer"]
