"""Torch modules as ONNX files, and those files run. To "export" here is to write ONNX."""
