"""Compare an exported file, on the ONNX Runtime at hand, with the torch module it came from."""

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from decoders.baselines.archives import digest_picture
from decoders.evaluation import enlarge
from decoders.images import to_batch
from decoders.metrics import distances, mean_pairwise_distance
from export import session
from export.card import OUTPUTS
from export.graphs import Graph, Subject
from export.model_file import read_model_file

BATCHES = (1, 3)


def compare(path: Path, graph: Graph, subject: Subject, tolerance: float | None) -> dict[str, Any]:
    """Run both on random inputs of several batches and, where they are free, several sizes.

    Parameters
    ----------
    tolerance : largest difference of a pixel allowed, in grey levels of 0..255; None allows any.

    Returns
    -------
    ``largest_difference`` of a pixel in grey levels, and ``compared``: the shapes of the inputs.

    Raises
    ------
    ValueError : if names, shapes or values differ; the text says which, and for which input.
    """
    model = read_model_file(path.read_bytes(), str(path))
    if (model.inputs, model.outputs) != ((graph.takes,), OUTPUTS):
        raise ValueError(
            f"its inputs are {', '.join(model.inputs)} and its outputs {', '.join(model.outputs)}; they should be "
            f"{graph.takes}, and {', '.join(OUTPUTS)}"
        )
    running = session.load(path, device="cpu")
    worst, compared = 0.0, []
    for batch in BATCHES:
        for inputs in graph.examples(subject, batch, batch):
            difference = _difference(running, graph, subject, inputs)
            if tolerance is not None and not difference <= tolerance:
                raise ValueError(
                    f"its pictures of {graph.takes} {inputs.shape} differ from torch's by {difference:.3g} grey "
                    f"levels; {tolerance} are allowed"
                )
            worst = max(worst, difference)
            compared.append(list(inputs.shape))
    return {"largest_difference": worst, "compared": compared}


def _difference(running: session.OnnxDecoder, graph: Graph, subject: Subject, inputs: np.ndarray) -> float:
    """Largest difference of a pixel from torch; the bytes must be the pictures, rounded."""
    expected = graph.reference(subject, inputs)
    pictures, images = running.pictures(inputs), running(inputs)
    if pictures.shape != expected.shape:
        raise ValueError(
            f"its pictures of {graph.takes} {inputs.shape} have the shape {pictures.shape}, torch's {expected.shape}"
        )
    if not np.array_equal(images, np.rint(pictures).astype(np.uint8).transpose(0, 2, 3, 1)):
        raise ValueError(f"its images of {graph.takes} {inputs.shape} are not its pictures, rounded")
    return float(np.abs(pictures - expected).max())


def reconstruction_cost(
    path: Path, graph: Graph, subject: Subject, stored: Subject, photographs: Sequence[np.ndarray]
) -> dict[str, Any]:
    """Normalised reconstruction error of a file and of torch on the same photographs, (H, W, 3) uint8 RGB.

    Parameters
    ----------
    subject : what torch computes.
    stored : the same with the representation that the file is used with: an autoencoder's encoder is stored rounded.

    Returns
    -------
    ``pictures``, ``pictures_sha256`` of their shapes and pixels, ``error``, ``torch_error`` and ``extra_error``, which
    is (error - torch_error) / torch_error.

    Raises
    ------
    ValueError : if there are fewer than two photographs, or all are equal.
    """
    running = session.load(path, device="cpu")
    originals = np.stack([subject.representation.framing.centre(photograph) for photograph in photographs])
    normaliser = mean_pairwise_distance(originals)
    if normaliser == 0:
        raise ValueError("all calibration pictures are equal; give different ones")
    error, torch_error = (
        _error(
            np.concatenate([decode(batch) for batch in graph.inputs(own, photographs)]), originals, normaliser
        )
        for own, decode in (
            (stored, running.pictures),
            (subject, functools.partial(graph.reference, subject)),
        )
    )
    digest = hashlib.sha256()
    for photograph in photographs:
        digest_picture(digest, photograph)
    return {
        "pictures": len(originals),
        "pictures_sha256": digest.hexdigest(),
        "error": error,
        "torch_error": torch_error,
        "extra_error": error / torch_error - 1,
    }


def _error(pictures: np.ndarray, originals: np.ndarray, normaliser: float) -> float:
    enlarged = enlarge(pictures, *originals.shape[1:3])
    return float(distances(to_batch(originals), enlarged).mean() / normaliser)
