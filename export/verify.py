"""Compare an exported file, on the ONNX Runtime at hand, with the torch module it came from."""

from pathlib import Path

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
