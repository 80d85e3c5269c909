"""A second opinion: OpenCV 4's own importer of Caffe nets (`cv2.dnn`, which OpenCV 5 no longer has).

OpenCV leaves Caffe's rules in places, so what it says never fails a net; it is shown beside the judges that
decide. Only the net's outputs are compared: OpenCV knows results by layer, and writes in place as it likes.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what OpenCV cannot do is said once, by the verdict
import cv2
import numpy as np
import torch

from caffe_port.binary import encode
from caffe_port.net import CaffeNet
from caffe_port.text import format_text
from caffe_port.verify import Verdict, compare


def caffemodel(net: CaffeNet) -> bytes:
    """The net's parameters as a caffemodel, V2."""
    layers = [
        {"name": name, "blobs": [_blob(blob.detach().numpy()) for blob in blobs]}
        for name, blobs in net.params.items()
    ]
    return b"".join(encode({"layer": layers}, "NetParameter"))


def _blob(array: np.ndarray) -> dict[str, Any]:
    return {"shape": {"dim": list(array.shape)}, "data": np.ascontiguousarray(array, "<f4").tobytes()}


def opencv_verdict(
    net: CaffeNet, found: Mapping[str, torch.Tensor], inputs: Mapping[str, np.ndarray], rtol: float
) -> Verdict | None:
    """Compare the net's outputs with OpenCV's; None where OpenCV has no importer of Caffe nets."""
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        return None
    judge = f"OpenCV {cv2.__version__}"
    last = {top: step.layer.name for step in net.plan.steps for top in step.layer.tops}
    text = format_text(dict(net.spec.message)).encode()
    try:
        expected = _forward(text, caffemodel(net), inputs, {blob: last[blob] for blob in net.outputs})
    except cv2.error as error:
        note = " ".join((error.err or str(error)).split())[:200]
        return Verdict(judge, False, rtol, (), tuple(found), f"cannot run the net: {note}")
    verdict = compare(net, found, expected, judge, rtol)
    return Verdict(judge, False, rtol, verdict.blobs, verdict.not_compared)


def _forward(
    prototxt: bytes, weights: bytes, inputs: Mapping[str, np.ndarray], layers: Mapping[str, str]
) -> dict[str, np.ndarray]:
    read: Any = getattr(cv2.dnn, "readNetFromCaffe")  # noqa: B009  # unknown to the types of OpenCV 5
    net = read(np.frombuffer(prototxt, np.uint8), np.frombuffer(weights, np.uint8))
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    for name, array in inputs.items():
        net.setInput(array, name)
    results: Sequence[np.ndarray] = net.forward(list(layers.values()))
    return dict(zip(layers, results, strict=True))
