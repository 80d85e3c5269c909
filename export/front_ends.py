"""From photographs to features inside a graph: one front end a representation.

Photographs are (N, H, W, 3) uint8, RGB.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from caffe_port.net import CaffeNet
from caffe_port.preprocess import Recipe
from decoders.representations import Representation
from export.caffe_graph import write_blobs
from export.feature_graphs import write_hog, write_lbp
from export.picture_graph import write_grey, write_recipe, write_rounded_grey
from export.writer import GraphWriter

FrontEnd = Callable[[GraphWriter, str], str]


def _hog(graph: GraphWriter, photographs: str) -> str:
    return write_hog(graph, graph.op("Div", [write_grey(graph, photographs), graph.weight(255.0)]))


def _lbp(graph: GraphWriter, photographs: str) -> str:
    return write_lbp(graph, write_rounded_grey(graph, photographs))


def write_net_features(
    graph: GraphWriter, photographs: str, net: CaffeNet, recipe: Recipe, blobs: Sequence[str]
) -> list[str]:
    """A net's own preprocessing of photographs of any size, then the net up to the blobs, in their order."""
    (name,) = net.inputs
    size = recipe.crop or recipe.warp or net.inputs[name][2:]
    data = write_recipe(graph, photographs, recipe, (size[0], size[1]))
    return [
        graph.op("Reshape", [value, graph.weight([0, shape[0]])]) if shape[1:] == (1, 1) else value
        for value, shape in write_blobs(graph, net, {name: (data, (3, *size))}, blobs)
    ]


FRONT_ENDS: Mapping[str, FrontEnd] = MappingProxyType({"hog": _hog, "lbp": _lbp})


def write_features(graph: GraphWriter, photographs: str, representation: Representation) -> str:
    """Add what computes a representation.

    Raises
    ------
    ValueError : if there is no graph of that representation; the text lists those there are.
    """
    if representation.encoder is not None:
        encoder = representation.encoder
        return write_net_features(graph, photographs, encoder.net, encoder.recipe, (encoder.blob,))[0]
    if representation.name not in FRONT_ENDS:
        raise ValueError(
            f"{representation.name} has no graph of standard operators, so no pipeline; there are ones for "
            f"{', '.join(FRONT_ENDS)} and for blobs of Caffe nets. Export the decoder alone"
        )
    return FRONT_ENDS[representation.name](graph, photographs)
