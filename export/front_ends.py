"""From photographs to features inside a graph: one front end a representation.

Photographs are (N, H, W, 3) uint8, RGB.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from decoders.encoder import Encoder
from decoders.representations import Representation
from export.caffe_graph import write_net
from export.feature_graphs import write_hog, write_lbp
from export.picture_graph import write_grey, write_recipe, write_rounded_grey
from export.writer import GraphWriter

FrontEnd = Callable[[GraphWriter, str], str]


def _hog(graph: GraphWriter, photographs: str) -> str:
    return write_hog(graph, graph.op("Div", [write_grey(graph, photographs), graph.weight(255.0)]))


def _lbp(graph: GraphWriter, photographs: str) -> str:
    return write_lbp(graph, write_rounded_grey(graph, photographs))


def _write_blob(graph: GraphWriter, photographs: str, encoder: Encoder) -> str:
    """A net's own preprocessing of photographs of any size, then the net up to the blob."""
    (name,) = encoder.net.inputs
    size = encoder.recipe.crop or encoder.recipe.warp or encoder.net.inputs[name][2:]
    data = write_recipe(graph, photographs, encoder.recipe, (size[0], size[1]))
    value, shape = write_net(graph, encoder.net, {name: (data, (3, *size))}, encoder.blob)
    if shape[1:] == (1, 1):
        return graph.op("Reshape", [value, graph.weight([0, shape[0]])])
    return value


FRONT_ENDS: Mapping[str, FrontEnd] = MappingProxyType({"hog": _hog, "lbp": _lbp})


def write_features(graph: GraphWriter, photographs: str, representation: Representation) -> str:
    """Add what computes a representation.

    Raises
    ------
    ValueError : if there is no graph of that representation; the text lists those there are.
    """
    if representation.encoder is not None:
        return _write_blob(graph, photographs, representation.encoder)
    if representation.name not in FRONT_ENDS:
        raise ValueError(
            f"{representation.name} has no graph of standard operators, so no pipeline; there are ones for "
            f"{', '.join(FRONT_ENDS)} and for blobs of Caffe nets. Export the decoder alone"
        )
    return FRONT_ENDS[representation.name](graph, photographs)
