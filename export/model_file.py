"""Look into an ONNX file before anything runs it: bounded, and without onnx.

Source: the protobuf wire format, and onnx.proto3 of ONNX 1.19 (ModelProto, GraphProto, NodeProto, TensorProto).
A file of ours ends in its seal: one more `metadata_props` entry, `caffe_port.sha256`, with the SHA-256 of all bytes
before it, so that any changed byte is noticed. The seal proves that a file is whole, not who made it.

Everything that could make ONNX Runtime read elsewhere or take memory without end is refused: data outside the file,
functions, graphs in graphs, operators that no graph of ours has, tensors whose bytes are not their shape's, sizes
beyond reason.
"""

import dataclasses
import hashlib
import math
from collections import Counter

import numpy as np

from export.wire import MAX_ENTRIES, Refused, fields, message, signed, text, varints

SEAL_FIELD = "caffe_port.sha256"
MAX_FILE_BYTES = 2**31 - 1  # protobuf's own limit for one message
MAX_TEXT_BYTES = 2**26  # of the metadata: the card and the recorded answers
MAX_AXES = 8
MAX_SETTING = 2**16  # an attribute or a stored shape, pad or index
_TO_THE_END = (2**63 - 1, -(2**63 - 1), -(2**63))

# Every operator that the writers in this package use, and those of files that torch's exporter wrote for them.
# fmt: off
OPERATORS = frozenset({
    "Abs", "Add", "And", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant", "Conv",
    "ConvTranspose", "DepthToSpace", "Div", "Elu", "Equal", "Exp", "Floor", "Gather", "Gemm", "Greater",
    "GreaterOrEqual", "Identity", "LRN", "LeakyRelu", "Less", "Log", "MatMul", "Max", "MaxPool", "Min",
    "Mul", "Not", "OneHot", "Or", "PRelu", "Pad", "Pow", "QuantizeLinear", "Range", "Reciprocal", "ReduceMean",
    "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Round", "Shape", "Sigmoid", "Slice", "Softmax", "Softplus",
    "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Tile", "Transpose", "Unsqueeze", "Where", "Xor",
})
# fmt: on
# Those of ONNX Runtime's own domain, com.microsoft, and which of them only its CPU provider has.
CPU_OPERATORS = frozenset({"QGemm", "QLinearConcat", "QLinearConv", "QLinearLeakyRelu"})
MICROSOFT_OPERATORS = CPU_OPERATORS | {"MatMulNBits"}

_ITEM_BYTES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8}  # TensorProto.DataType
_TYPED_DATA = (4, 5, 7, 10, 11)  # fields float_data, int32_data, int64_data, double_data, uint64_data
_INT64 = 7


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """What a file says of itself.

    Attributes
    ----------
    metadata : its texts by key, without the seal.
    sealed : whether it ends in a seal; the seal is then right.
    operators : name -> count.
    parameters : numbers in its tensors.
    inputs, outputs : names.
    """

    metadata: dict[str, str]
    sealed: bool
    operators: dict[str, int]
    parameters: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def sealed(model: bytes) -> bytes:
    """A serialised model with its seal."""
    return model + _seal(hashlib.sha256(model).hexdigest())


def _seal(digest: str) -> bytes:
    """The seal as protobuf writes it: field 14 of ModelProto, an entry of key (1) and value (2)."""
    key, value = SEAL_FIELD.encode(), digest.encode()
    entry = b"\x0a" + bytes([len(key)]) + key + b"\x12" + bytes([len(value)]) + value
    return b"\x72" + bytes([len(entry)]) + entry


_SEAL_BYTES = len(_seal("0" * 64))


def read_model_file(data: bytes, source: str) -> ModelFile:
    """Check a serialised model and say what it holds.

    Parameters
    ----------
    data : the whole file.
    source : its name, for errors.

    Raises
    ------
    ValueError : if it is no ONNX model, its seal is broken, or it holds what is refused; see the module.
    """
    try:
        view = memoryview(data)
        return _read(view, _has_seal(view))
    except Refused as error:
        raise ValueError(f"{source}: {error}") from error


def _has_seal(data: memoryview) -> bool:
    body, end = data[:-_SEAL_BYTES], bytes(data[-_SEAL_BYTES:])
    if SEAL_FIELD.encode() not in end:
        return False
    if end != _seal(hashlib.sha256(body).hexdigest()):
        raise Refused("damaged: its bytes are not those that were sealed (SHA-256); take another copy")
    return True


def _read(data: memoryview, has_seal: bool) -> ModelFile:
    metadata: dict[str, str] = {}
    graphs, texts = [], 0
    for field, wire, value in fields(data):
        if field == 7:
            graphs.append(message(wire, value))
        elif field == 14:
            entry = {f: text(v) for f, w, v in fields(message(wire, value)) if f in (1, 2)}
            metadata[entry.get(1, "")] = entry.get(2, "")
            texts += len(value)
        elif field in (20, 25):
            raise Refused("it holds functions or training graphs; files of decoders export hold none")
    if len(graphs) != 1 or texts > MAX_TEXT_BYTES:
        raise Refused(
            f"not an ONNX model that runs here: {len(graphs)} graphs and {texts} bytes of metadata; "
            f"one graph and at most {MAX_TEXT_BYTES} bytes are read"
        )
    return _read_graph(graphs[0], metadata, has_seal)


def _read_graph(graph: memoryview, metadata: dict[str, str], has_seal: bool) -> ModelFile:
    operators: Counter[str] = Counter()
    names: dict[int, list[str]] = {11: [], 12: []}
    parameters = 0
    for count, (field, wire, value) in enumerate(fields(graph)):
        if count > MAX_ENTRIES:
            raise Refused(f"the graph has more than {MAX_ENTRIES} entries")
        if field == 1:
            operators[_read_node(message(wire, value))] += 1
        elif field == 5:
            parameters += _read_tensor(message(wire, value))
        elif field in names:
            names[field].append(_read_value(message(wire, value)))
        elif field == 15:
            raise Refused("it holds sparse tensors; files of decoders export hold none")
    return ModelFile(metadata, has_seal, dict(operators), parameters, tuple(names[11]), tuple(names[12]))


def _read_node(node: memoryview) -> str:
    """Check one operator; return its name."""
    kind = domain = ""
    for field, wire, value in fields(node):
        if field == 4:
            kind = text(message(wire, value))
        elif field == 7:
            domain = text(message(wire, value))
        elif field == 5:
            _read_attribute(message(wire, value))
        elif field in (1, 2, 3):  # names, which ONNX Runtime quotes in its errors
            text(message(wire, value))
    allowed = {"": OPERATORS, "ai.onnx": OPERATORS, "com.microsoft": MICROSOFT_OPERATORS}.get(
        domain, frozenset()
    )
    if kind not in allowed:
        name = f"{domain[:40]}.{kind[:40]}" if domain else kind[:40]
        raise Refused(f"operator {name!r} is none that decoders export writes; the file is not ours")
    return kind


def _read_attribute(attribute: memoryview) -> None:
    for count, (field, wire, value) in enumerate(fields(attribute)):
        if field in (6, 11, 15, 22, 23) or count > MAX_ENTRIES:
            raise Refused("an operator holds a graph of its own; files of decoders export hold none")
        if field in (5, 10):
            _read_tensor(message(wire, value))
        if field in (1, 4, 9):  # its name and texts
            text(message(wire, value))
        numbers = [value] if wire == 0 else varints(value) if field == 8 else []
        if field in (3, 8) and any(abs(signed(number)) > MAX_SETTING for number in numbers):
            raise Refused(f"a setting of an operator is beyond {MAX_SETTING}")


def _read_tensor(tensor: memoryview) -> int:
    """Check one tensor; return how many numbers it holds."""
    dims: list[int] = []
    kind, name = 0, ""
    raw: memoryview | None = None
    typed: dict[int, memoryview] = {}
    for field, wire, value in fields(tensor):
        if field == 1:
            dims += [value] if wire == 0 else varints(value)
        elif field == 2:
            kind = value
        elif field == 8:
            name = text(message(wire, value))[:80]
        elif field == 9:
            raw = message(wire, value)
        elif field in _TYPED_DATA and wire == 2:
            typed[field] = value
        elif field == 13 or (field == 14 and value == 1):
            raise Refused(f"tensor {name!r} lies outside the file; only whole files are read")
        elif field in (3, 6) or field in _TYPED_DATA:
            raise Refused(f"tensor {name!r} is stored in a way that decoders export does not use")
    if len(dims) > MAX_AXES or kind not in _ITEM_BYTES:
        raise Refused(f"tensor {name!r} has {len(dims)} axes and data type {kind}")
    count = math.prod(dims)
    if raw is None:
        held = sum(len(value) for value in typed.values())
        if count > held:
            raise Refused(f"tensor {name!r} claims {count} numbers and holds {held} bytes")
    elif count * _ITEM_BYTES[kind] != len(raw):
        raise Refused(f"tensor {name!r} claims {count} numbers and holds {len(raw)} bytes")
    if kind == _INT64 and raw is not None:
        _check_settings(np.frombuffer(raw, "<i8"), name)
    elif kind == _INT64 and 7 in typed:
        _check_settings(np.array([signed(number) for number in varints(typed[7])], np.int64), name)
    return count


def _check_settings(values: np.ndarray, name: str) -> None:
    """Whole numbers are shapes, pads and indices: small, or "to the end"."""
    plain = values[~np.isin(values, _TO_THE_END)]
    if plain.size and max(int(plain.max()), -int(plain.min())) > MAX_SETTING:
        raise Refused(f"tensor {name!r} holds a size or index beyond {MAX_SETTING}")


def _read_value(value_info: memoryview) -> str:
    """Check one input or output; return its name."""
    name = ""
    for field, wire, value in fields(value_info):
        if field == 1:
            name = text(message(wire, value))
        elif field == 2:
            _check_type(message(wire, value), name)
    return name


def _check_type(kind: memoryview, name: str) -> None:
    """Refuse what is no tensor, and shapes beyond reason."""
    for field, wire, tensor in fields(kind):
        if field != 1:
            raise Refused(f"value {name[:80]!r} is no tensor")
        shapes = [message(w, shape) for f, w, shape in fields(message(wire, tensor)) if f == 2]
        sizes = [_size(message(w, dim)) for shape in shapes for f, w, dim in fields(shape) if f == 1]
        if len(sizes) > MAX_AXES or any(not 0 <= size <= MAX_SETTING for size in sizes):
            raise Refused(f"value {name[:80]!r} has the shape {sizes}")


def _size(dim: memoryview) -> int:
    """One axis of a shape: its size, or 0 where it has a name."""
    size = 0
    for field, wire, value in fields(dim):
        if field == 2:
            text(message(wire, value))
        elif field == 1:
            size = signed(value) if wire == 0 else -1
    return size
