"""A Caffe net up to any blob as an ONNX graph: layer by layer, each by its row in `WRITERS`.

Source: `caffe_port.layers`, whose numbers the graph gives in the TEST phase for finite inputs. The batch is free; the
other sizes are fixed when the graph is written. Memories are followed as `caffe_port.net` does, so that a blob is what
one whole forward leaves.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from caffe_port.errors import ConversionError
from caffe_port.net import CaffeNet
from caffe_port.plan import Step, infer
from caffe_port.shapes import show
from caffe_port.spec import Shape, listed, quote
from caffe_port.wiring import naming
from export.caffe_layers import WRITERS, Layer
from export.writer import GraphWriter

_BATCHES = (2, 3)  # two batches of different size tell which axis is the batch


_Shapes = tuple[Shape, Shape]


@dataclasses.dataclass(frozen=True)
class _Blob:
    """A value in the graph and the shapes it has for the two batches."""

    value: str
    shapes: _Shapes


def write_net(
    graph: GraphWriter, net: CaffeNet, inputs: Mapping[str, tuple[str, Shape]], blob: str
) -> tuple[str, Shape]:
    """Add a net to a graph.

    Parameters
    ----------
    net : with its numbers.
    inputs : for each input blob that is needed, the value in the graph and its shape without the batch.
    blob : as Caffe names it.

    Returns
    -------
    The blob's value and its shape without the batch.

    Raises
    ------
    ValueError, ConversionError : see `write_blobs`.
    """
    return write_blobs(graph, net, inputs, (blob,))[0]


def write_blobs(
    graph: GraphWriter, net: CaffeNet, inputs: Mapping[str, tuple[str, Shape]], blobs: Sequence[str]
) -> list[tuple[str, Shape]]:
    """Add a net to a graph and give several of its blobs; see `write_net`.

    Raises
    ------
    ValueError : if the net has no such blob.
    ConversionError : if a layer has no writer (all such layers are listed), mixes the pictures of a batch, or does not
        fit the inputs' shapes.
    """
    for blob in blobs:
        if blob not in net.plan.memory:
            raise ValueError(
                f"{net.spec.source}: blob {quote(blob)} is not in the net; blobs are {listed(net.plan.memory)}"
            )
    steps = net.plan.needed(tuple(blobs))
    _refuse_unknown(net, steps)
    memory: dict[int, _Blob] = {}
    shapes: dict[str, _Shapes] = {}

    def read(name: str, place: int) -> _Blob:
        return _viewed(graph, memory[place], shapes[name])

    for step in steps:
        layer = step.layer
        with naming(net.spec.source, layer):
            if layer.type == "Input":
                tops = [_Blob(inputs[name][0], _for_batches(inputs[name][1])) for name in layer.tops]
                shapes.update((name, top.shapes) for name, top in zip(layer.tops, tops, strict=True))
            else:
                found = _top_shapes(step, [shapes[name] for name in layer.bottoms])
                shapes.update(zip(layer.tops, found, strict=True))
                if step.is_alias:
                    continue
                bottoms = [read(*pair) for pair in zip(layer.bottoms, step.reads, strict=True)]
                tops = _written(graph, net, step, bottoms, found)
        memory.update(zip(step.writes, tops, strict=True))
    last = []
    for blob in blobs:
        maker = next(step.layer for step in reversed(steps) if blob in step.layer.tops)
        with naming(net.spec.source, maker):
            last.append(read(blob, net.plan.memory[blob]))
    return [(found.value, found.shapes[0][1:]) for found in last]


def _for_batches(shape: Shape) -> _Shapes:
    return (_BATCHES[0], *shape), (_BATCHES[1], *shape)


def _viewed(graph: GraphWriter, blob: _Blob, shapes: _Shapes) -> _Blob:
    """The same memory as a blob of another shape."""
    if blob.shapes == shapes:
        return blob
    _check_batch(shapes)
    return _Blob(graph.op("Reshape", [blob.value, graph.weight([0, *shapes[0][1:]])]), shapes)


def _check_batch(shapes: _Shapes) -> None:
    """Refuse a blob that does not have the pictures of a batch along its first axis."""
    first, second = shapes
    if (first[:1], second[:1]) != ((2,), (3,)) or first[1:] != second[1:]:
        raise ConversionError(
            f"a blob of shape {show(first)} and {show(second)} for two and three pictures; only blobs that keep the "
            "batch on the first axis are exported"
        )


def _refuse_unknown(net: CaffeNet, steps: tuple[Step, ...]) -> None:
    unknown = [str(step.layer) for step in steps if step.layer.type not in {*WRITERS, "Input"}]
    if unknown:
        raise ConversionError(
            f"{net.spec.source}: {', '.join(unknown[:10])}: no ONNX writer; types that have one are "
            f"{', '.join(WRITERS)}"
        )


def _top_shapes(step: Step, bottoms: list[_Shapes]) -> list[_Shapes]:
    first, second = (infer(step.layer, step.row, [pair[i] for pair in bottoms])[0] for i in (0, 1))
    return list(zip(first, second, strict=True))


def _written(
    graph: GraphWriter, net: CaffeNet, step: Step, bottoms: list[_Blob], shapes: list[_Shapes]
) -> list[_Blob]:
    """The tops of a layer that computes."""
    for pair in shapes:
        _check_batch(pair)
    layer = Layer(
        step.layer.params,
        tuple(blob.value for blob in bottoms),
        tuple(blob.shapes[0] for blob in bottoms),
        tuple(first for first, _ in shapes),
        tuple(np.asarray(net.blob_tensor(place).detach().float()) for place in step.blobs),
        step.layer.name,
    )
    values = WRITERS[step.layer.type](graph, layer)
    return [_Blob(value, pair) for value, pair in zip(values, shapes, strict=True)]
