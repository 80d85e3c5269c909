"""Write an ONNX graph operator by operator: values are names, weights are stored where they are used.

Source: the ONNX operator specification, https://onnx.ai/onnx/operators/ (domain "", version `OPSET`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

OPSET = 20
IR_VERSION = 10
MICROSOFT = "com.microsoft"  # ONNX Runtime's own domain
END = np.iinfo(np.int64).max  # where a Slice goes to the end
_SMALL = 64  # numbers
Size = int | str  # of an axis: fixed, or a name where it is free


class GraphWriter:
    """A growing ONNX graph.

    Parameters
    ----------
    name : of the graph.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._names: dict[str, str] = {}
        self._domains = {"": OPSET}

    def input(self, name: str, dtype: type[np.generic], shape: Sequence[Size]) -> str:
        """Declare an input of the graph."""
        self._inputs.append(_value(name, dtype, shape))
        return name

    def output(self, value: str, name: str, dtype: type[np.generic], shape: Sequence[Size]) -> None:
        """Make ``value`` an output of the graph, called ``name``."""
        made = any(value in node.output for node in self._nodes)
        if made and value not in self._names:
            self._names[value] = name
        else:
            self._names[self.op("Identity", [value])] = name
        self._outputs.append(_value(name, dtype, shape))

    def weight(self, values: np.ndarray | Sequence[float] | float, name: str = "") -> str:
        """Store an array; a few nameless numbers are stored once however often they are used.

        Parameters
        ----------
        values : as they shall be stored; Python floats become float32, ints int64.
        name : of the array, for readers of the graph.
        """
        array = np.asarray(values)
        if not isinstance(values, np.ndarray) and array.dtype == np.float64:
            array = array.astype(np.float32)
        if name or array.size > _SMALL:
            return self._store(array, self._unique(name or "weight"))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = self._store(array, self._unique("constant"))
        return self._known[key]

    def op(
        self,
        kind: str,
        inputs: Sequence[str],
        attributes: Mapping[str, Any] | None = None,
        *,
        domain: str = "",
    ) -> str:
        """Add an operator with one output; return the output's name. "" leaves an optional input out."""
        return self.ops(kind, inputs, 1, attributes, domain=domain)[0]

    def ops(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: int,
        attributes: Mapping[str, Any] | None = None,
        *,
        domain: str = "",
    ) -> list[str]:
        """Add an operator with several outputs; return their names."""
        names = [f"{kind}_{len(self._nodes)}" + (f"_{i}" if i else "") for i in range(outputs)]
        node = onnx.helper.make_node(kind, list(inputs), names, name=names[0], domain=domain)
        node.attribute.extend(
            onnx.helper.make_attribute(key, value) for key, value in (attributes or {}).items()
        )
        self._nodes.append(node)
        self._domains.setdefault(domain, 1)
        return names

    def model(self) -> onnx.ModelProto:
        """The whole graph as a model: every operator and weight in it is used by some output."""
        for node in self._nodes:
            node.input[:] = [self._names.get(name, name) for name in node.input]
            node.output[:] = [self._names.get(name, name) for name in node.output]
        self._names.clear()
        nodes = _needed(self._nodes, {value.name for value in self._outputs})
        read = {name for node in nodes for name in node.input}
        weights = [tensor for name, tensor in self._weights.items() if name in read]
        graph = onnx.helper.make_graph(nodes, self._name, self._inputs, self._outputs, weights)
        opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in self._domains.items()]
        return onnx.helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="caffe-port"
        )

    def _store(self, array: np.ndarray, name: str) -> str:
        self._weights[name] = onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def _unique(self, name: str) -> str:
        count, unique = 2, name
        while unique in self._weights:
            unique, count = f"{name}_{count}", count + 1
        return unique


def channels_first(graph: GraphWriter, value: str) -> str:
    """(N, H, W, C) -> (N, C, H, W)."""
    return graph.op("Transpose", [value], {"perm": [0, 3, 1, 2]})


def channels_last(graph: GraphWriter, value: str) -> str:
    """(N, C, H, W) -> (N, H, W, C)."""
    return graph.op("Transpose", [value], {"perm": [0, 2, 3, 1]})


def _value(name: str, dtype: type[np.generic], shape: Sequence[Size]) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(
        name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(shape)
    )


def _needed(nodes: Sequence[onnx.NodeProto], wanted: set[str]) -> list[onnx.NodeProto]:
    """The nodes that ``wanted`` depends on, in their order."""
    chosen = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            chosen.append(node)
            wanted = wanted.union(node.input)
    return chosen[::-1]
