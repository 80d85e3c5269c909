"""Torch modules and Caffe nets as ONNX files, and those files run. To "export" here is to write ONNX.

Running needs NumPy and ONNX Runtime only; torch is imported by `export.to_onnx`, never by `load`.
"""

from export.session import OnnxDecoder, OnnxNet, load, load_net

__all__ = ["OnnxDecoder", "OnnxNet", "load", "load_net"]
