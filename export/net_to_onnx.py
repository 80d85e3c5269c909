"""Write a Caffe net up to a blob as one ONNX file that carries its card, recorded answers and a seal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from caffe_port.files import replacing
from caffe_port.net import CaffeNet
from caffe_port.shapes import show
from caffe_port.spec import Shape, listed
from caffe_port.versions import versions
from export.caffe_graph import write_net
from export.card import write_answers
from export.check import relative_difference
from export.session import load_net
from export.to_onnx import save
from export.writer import OPSET, GraphWriter

BATCHES = (1, 3)
TOLERANCE = 1e-5  # of the blob's largest magnitude: sums of float32 products in another order


def export_net(
    net: CaffeNet, blob: str, path: Path, *, size: tuple[int, int] | None = None, origin: Mapping[str, Any]
) -> dict[str, Any]:
    """Write a net as ``path``: its input as ``data`` (N, ...) float32 in, the blob by its own name out.

    Parameters
    ----------
    net : with its numbers and one input.
    blob : as Caffe names it.
    path : of the file; overwritten only by a whole and verified one.
    size : (height, width) of the input, if not the net's own; fixed in the file. The batch is free.
    origin : where the net came from, for the card: JSON values.

    Returns
    -------
    The card as it stands in the file.

    Raises
    ------
    ValueError, ConversionError : as `caffe_graph.write_net`; or the net has not one input, or the file's blob differs
        from torch's by more than 1e-5 of its largest magnitude.
    """
    name, shape = _only_input(net, size)
    graph = GraphWriter("net")
    value, found = write_net(
        graph, net, {name: (graph.input("data", np.float32, ["N", *shape]), shape)}, blob
    )
    graph.output(value, blob, np.float32, ["N", *found])
    model = graph.model()
    onnx.checker.check_model(model, full_check=True)
    card: dict[str, Any] = {
        "kind": "net",
        "representation": blob,
        "net": net.spec.name,
        "origin": dict(origin),
        "data_shape": list(shape),
        "feature_shape": list(found),
        "export": {"precision": "fp32", "opset": OPSET, "versions": versions()},
    }
    examples = [
        np.random.default_rng(batch).uniform(-120, 120, (batch, *shape)).astype(np.float32)
        for batch in BATCHES
    ]
    with replacing(path) as file:
        answers = write_answers({"data": examples[0], "blob": _blob(net, blob, examples[0])})
        save(model, card, answers, file, path)
        try:
            worst = max(_difference(Path(file.name), net, blob, data) for data in examples)
        except ValueError as error:
            raise ValueError(f"{path}: not written; {str(error).removeprefix(f'{file.name}: ')}") from error
        card["export"] |= {"largest_difference": worst, "tolerance": TOLERANCE}
        save(model, card, answers, file, path)
    return card


def _only_input(net: CaffeNet, size: tuple[int, int] | None) -> tuple[str, Shape]:
    if len(net.inputs) != 1:
        raise ValueError(
            f"{net.spec.source}: inputs are {listed(net.inputs)}; nets of one input are exported"
        )
    ((name, (_, *shape)),) = net.inputs.items()
    if size is not None:
        if len(shape) != 3:
            raise ValueError(f"{net.spec.source}: its input is {show(shape)}, which has no height and width")
        shape[1:] = size
    return name, tuple(shape)


def _blob(net: CaffeNet, blob: str, data: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return net.features(torch.from_numpy(data), blob).float().numpy()


def _difference(path: Path, net: CaffeNet, blob: str, data: np.ndarray) -> float:
    """Largest difference of the file's blob from torch's, of the blob's largest magnitude."""
    expected, found = _blob(net, blob, data), load_net(path, device="cpu")(data)
    if found.shape != expected.shape:
        raise ValueError(
            f"blob {blob!r} of data {data.shape} has shape {found.shape}, torch's {expected.shape}"
        )
    difference = relative_difference(found, expected)
    if not difference <= TOLERANCE:
        raise ValueError(
            f"blob {blob!r} of data {data.shape} differs from torch's by {difference:.3g} of its largest magnitude; "
            f"{TOLERANCE} is allowed"
        )
    return difference
