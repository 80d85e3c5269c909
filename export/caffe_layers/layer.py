"""What a writer of a Caffe layer is given, and what it returns."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from caffe_port.spec import Shape
from export.writer import GraphWriter


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer to be written: its spec, its bottoms' values and shapes, its tops' shapes, its blobs, its name."""

    params: Any
    bottoms: tuple[str, ...]
    bottom_shapes: tuple[Shape, ...]
    top_shapes: tuple[Shape, ...]
    blobs: tuple[np.ndarray, ...]
    name: str

    def stored(self, graph: GraphWriter, position: int) -> str:
        """A parameter blob as a weight of the graph, as Caffe holds it."""
        return graph.weight(self.blobs[position], f"{self.name}/{position}")


Writer = Callable[[GraphWriter, Layer], list[str]]
