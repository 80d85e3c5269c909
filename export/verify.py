"""Compare an exported file, on the ONNX Runtime at hand, with the torch module it came from."""

import collections
import hashlib
import math
from pathlib import Path
from typing import Any

import onnx
import torch

from decoders.model import Decoder
from export import session
from export.graphs import Graph

BATCHES = (1, 3)
SCALES = (1, 2)  # heights of the feature map, in its own height


def largest_difference(decoder: Decoder, graph: Graph, path: Path) -> float:
    """Run both on random features of several batch sizes and, where they are free, several heights.

    Returns
    -------
    Largest absolute difference of a pixel value, in grey levels of 0..255.

    Raises
    ------
    ValueError : if a shape differs.
    """
    running = session.load(path)
    worst = 0.0
    for batch in BATCHES:
        for scale in SCALES if graph.feature_multiple(decoder) else SCALES[:1]:
            features = graph.example(decoder, batch=batch, scale=scale, seed=batch * 10 + scale)
            with torch.inference_mode():
                expected = decoder.decode(features).numpy()
            found = running.pictures(features.numpy())
            if found.shape != expected.shape:
                raise ValueError(
                    f"{path}: output has shape {found.shape}, torch's {expected.shape}; not exported"
                )
            worst = max(worst, float(abs(found - expected).max()))
    return worst


def check(path: Path) -> dict[str, Any]:
    """What a file holds, and how far its answers on this machine are from those recorded when it was exported.

    Returns
    -------
    JSON values: ``file``, ``bytes``, ``sha256``, ``operators`` (name -> count), ``parameters``, ``largest_difference``
    (grey levels, between rounded pictures), ``allowed_difference``, ``passed`` and ``card``.

    Raises
    ------
    FileNotFoundError, ValueError : if it is not a file that `export.load` opens, or records no answers.
    """
    decoder = session.load(path)
    features, pictures = decoder.recorded()
    difference = int(abs(decoder(features).astype(int) - pictures).max())
    allowed = 1 + int(decoder.card["export"]["tolerance"])  # rounding can turn any difference into one level
    data = path.read_bytes()
    graph = onnx.load_model_from_string(data).graph
    return {
        "file": str(path),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "operators": dict(collections.Counter(node.op_type for node in graph.node)),
        "parameters": sum(math.prod(tensor.dims) for tensor in graph.initializer),
        "largest_difference": difference,
        "allowed_difference": allowed,
        "passed": difference <= allowed,
        "card": decoder.card,
    }
