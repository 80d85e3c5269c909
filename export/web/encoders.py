"""Encoders for the page: from photographs to features, one graph for all layers of a net that have a decoder.

They take ``photographs`` (N, H, W, 3) uint8 RGB and give each representation's features, (N, ...) float32, by its name.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx

from caffe_port.shapes import show
from decoders.images import to_batch
from decoders.nets import find_net
from decoders.representations import Representation
from export.check import relative_difference
from export.front_ends import FRONT_ENDS, write_features, write_net_features
from export.providers import open_session
from export.writer import GraphWriter, Size

TOLERANCE = 1e-4  # of the features' largest magnitude


def encoder_name(representation: Representation) -> str:
    """Representations of one name share an encoder: the net's, or the representation's own.

    Raises
    ------
    ValueError : if it cannot be computed in a graph; the text names it.
    """
    if representation.net is not None:
        return Path(representation.net.name).stem
    if representation.name not in FRONT_ENDS:
        raise ValueError(
            f"{representation.name} is not computed by a graph of standard operators; graphs compute "
            f"{', '.join(FRONT_ENDS)} and blobs of Caffe nets"
        )
    return representation.name


def write_encoder(representations: Sequence[Representation], pictures: Sequence[np.ndarray]) -> bytes:
    """The encoder of representations that share one, as an ONNX model, after comparing it with torch or the kernel.

    Parameters
    ----------
    representations : of one `encoder_name`.
    pictures : (H, W, 3) uint8 RGB of any size, which the two are compared on.

    Raises
    ------
    ValueError : if the features differ by more than 1e-4 of their largest magnitude.
    """
    graph = GraphWriter("encoder")
    photographs = graph.input("photographs", np.uint8, ["N", "height", "width", 3])
    for one, value in zip(representations, _features(graph, photographs, representations), strict=True):
        sides: list[Size] = ["N", *one.shape]
        if one.encoder is None:
            sides[2:] = [f"{one.name}_height", f"{one.name}_width"]
        graph.output(value, one.name, np.float32, sides)
    model = graph.model()
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString()
    _compare(data, representations, pictures)
    return data


def _features(graph: GraphWriter, photographs: str, representations: Sequence[Representation]) -> list[str]:
    first = representations[0]
    if first.encoder is None or first.net is None:
        return [write_features(graph, photographs, first)]
    net, _ = find_net(first.net.name)
    blobs = [one.net.blob for one in representations if one.net is not None]
    return write_net_features(graph, photographs, net.net, first.encoder.recipe, blobs)


def _compare(data: bytes, representations: Sequence[Representation], pictures: Sequence[np.ndarray]) -> None:
    session, _ = open_session(Path("encoder"), data, "cpu", strict_device=True, threads=1, operators=())
    for picture in pictures:
        framed = representations[0].framing.centre(picture)
        given = picture if representations[0].encoder is not None else framed
        found = session.run([one.name for one in representations], {"photographs": given[None]})
        for one, features in zip(representations, found, strict=True):
            difference = relative_difference(features, one.extract(to_batch([framed])))
            if not difference <= TOLERANCE:
                raise ValueError(
                    f"{one.name} of a picture of {show(picture.shape)} differs in the graph by {difference:.3g} of "
                    f"its largest magnitude; {TOLERANCE} is allowed"
                )
