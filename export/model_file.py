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
from collections.abc import Iterator
from typing import Any

import numpy as np

SEAL_FIELD = "caffe_port.sha256"
MAX_FILE_BYTES = 2**31 - 1  # protobuf's own limit for one message
MAX_ENTRIES = 20_000  # nodes, tensors, inputs, attributes of a node
MAX_TEXT_BYTES = 2**26  # of the metadata: the card and the recorded answers
MAX_AXES = 8
MAX_SETTING = 2**16  # an attribute or a stored shape, pad or index
_TO_THE_END = (2**63 - 1, -(2**63 - 1))

# Every operator that the writers in this package use, and those of the files that torch's exporter wrote for them.
OPERATORS = frozenset(
    """
    Abs Add And AveragePool BatchNormalization Cast Clip Concat Constant Conv ConvTranspose DepthToSpace
    DequantizeLinear Div Elu Equal Exp Flatten Floor Gather Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual
    HardSigmoid Identity LRN LeakyRelu Less LessOrEqual Log MatMul Max MaxPool Min Mul Neg Not OneHot Or PRelu Pad Pow Range
    Reciprocal ReduceL2 ReduceMean ReduceSum ReduceSumSquare Relu Reshape Resize Round Shape Sigmoid Slice Softmax
    Softplus Split Sqrt Squeeze Sub Sum Tanh Tile Transpose Unsqueeze Where Xor
    """.split()
)
MICROSOFT_OPERATORS = frozenset({"MatMulNBits"})  # ONNX Runtime's own domain, com.microsoft

_ITEM_BYTES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8}  # TensorProto.DataType
_TYPED_DATA = (4, 5, 7, 10, 11)  # fields float_data, int32_data, int64_data, double_data, uint64_data
_INT64 = 7

Field = tuple[int, int, Any]


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """What a file says of itself.

    Attributes
    ----------
    metadata : its texts by key.
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
        return _read(memoryview(data), _has_seal(data))
    except _Refused as error:
        raise ValueError(f"{source}: {error}") from error


class _Refused(ValueError):
    """What is wrong with a file, without its name."""


def _has_seal(data: bytes) -> bool:
    body, end = data[:-_SEAL_BYTES], data[-_SEAL_BYTES:]
    start = _seal("")[4:-2]  # what every seal has: its key
    if start not in end:
        return False
    if end != _seal(hashlib.sha256(body).hexdigest()):
        raise _Refused("damaged: its bytes are not those that were sealed (SHA-256); take another copy")
    return True


def _read(data: memoryview, has_seal: bool) -> ModelFile:
    metadata: dict[str, str] = {}
    graphs, texts = [], 0
    for field, wire, value in _fields(data):
        if field == 7:
            graphs.append(_message(wire, value))
        elif field == 14:
            entry = {f: _text(v) for f, w, v in _fields(_message(wire, value)) if f in (1, 2)}
            metadata[entry.get(1, "")] = entry.get(2, "")
            texts += len(value)
        elif field in (20, 25):
            raise _Refused("it holds functions or training graphs; files of decoders export hold none")
    if len(graphs) != 1 or texts > MAX_TEXT_BYTES:
        raise _Refused(
            f"not an ONNX model that runs here: {len(graphs)} graphs and {texts} bytes of metadata; "
            f"one graph and at most {MAX_TEXT_BYTES} bytes are read"
        )
    return _read_graph(graphs[0], metadata, has_seal)


def _read_graph(graph: memoryview, metadata: dict[str, str], has_seal: bool) -> ModelFile:
    operators: Counter[str] = Counter()
    names: dict[int, list[str]] = {11: [], 12: []}
    parameters = 0
    for count, (field, wire, value) in enumerate(_fields(graph)):
        if count > MAX_ENTRIES:
            raise _Refused(f"the graph has more than {MAX_ENTRIES} entries")
        if field == 1:
            operators[_read_node(_message(wire, value))] += 1
        elif field == 5:
            parameters += _read_tensor(_message(wire, value))
        elif field in names:
            names[field].append(_read_value(_message(wire, value)))
        elif field == 15:
            raise _Refused("it holds sparse tensors; files of decoders export hold none")
    return ModelFile(
        metadata, has_seal, dict(operators), parameters, tuple(names[11]), tuple(names[12])
    )


def _read_node(node: memoryview) -> str:
    """Check one operator; return its name."""
    kind = domain = ""
    for field, wire, value in _fields(node):
        if field == 4:
            kind = _text(_message(wire, value))
        elif field == 7:
            domain = _text(_message(wire, value))
        elif field == 5:
            _read_attribute(_message(wire, value))
    allowed = {"": OPERATORS, "ai.onnx": OPERATORS, "com.microsoft": MICROSOFT_OPERATORS}.get(domain, frozenset())
    if kind not in allowed:
        name = f"{domain[:40]}.{kind[:40]}" if domain else kind[:40]
        raise _Refused(f"operator {name!r} is none that decoders export writes; the file is not ours")
    return kind


def _read_attribute(attribute: memoryview) -> None:
    for count, (field, wire, value) in enumerate(_fields(attribute)):
        if field in (6, 11, 15, 22, 23) or count > MAX_ENTRIES:
            raise _Refused("an operator holds a graph of its own; files of decoders export hold none")
        if field in (5, 10):
            _read_tensor(_message(wire, value))
        numbers = [value] if wire == 0 else _varints(value) if field == 8 else []
        if field in (3, 8) and any(abs(_signed(number)) > MAX_SETTING for number in numbers):
            raise _Refused(f"a setting of an operator is beyond {MAX_SETTING}")


def _read_tensor(tensor: memoryview) -> int:
    """Check one tensor; return how many numbers it holds."""
    dims: list[int] = []
    kind, name = 0, ""
    raw: memoryview | None = None
    typed: dict[int, memoryview] = {}
    for field, wire, value in _fields(tensor):
        if field == 1:
            dims += [value] if wire == 0 else _varints(value)
        elif field == 2:
            kind = value
        elif field == 8:
            name = _text(_message(wire, value))[:80]
        elif field == 9:
            raw = _message(wire, value)
        elif field in _TYPED_DATA and wire == 2:
            typed[field] = value
        elif field == 13 or (field == 14 and value == 1):
            raise _Refused(f"tensor {name!r} lies outside the file; only whole files are read")
        elif field in (3, 6) or field in _TYPED_DATA:
            raise _Refused(f"tensor {name!r} is stored in a way that decoders export does not use")
    if len(dims) > MAX_AXES or kind not in _ITEM_BYTES:
        raise _Refused(f"tensor {name!r} has {len(dims)} axes and data type {kind}")
    count = math.prod(dims)
    if raw is None:
        held = sum(len(value) for value in typed.values())
        if count > held:
            raise _Refused(f"tensor {name!r} claims {count} numbers and holds {held} bytes")
    elif count * _ITEM_BYTES[kind] != len(raw):
        raise _Refused(f"tensor {name!r} claims {count} numbers and holds {len(raw)} bytes")
    if kind == _INT64 and raw is not None:
        _check_settings(np.frombuffer(raw, "<i8"), name)
    elif kind == _INT64 and 7 in typed:
        _check_settings(np.array([_signed(number) for number in _varints(typed[7])], np.int64), name)
    return count


def _check_settings(values: np.ndarray, name: str) -> None:
    """Whole numbers are shapes, pads and indices: small, or "to the end"."""
    plain = values[~np.isin(values, _TO_THE_END)]
    if plain.size and max(int(plain.max()), -int(plain.min())) > MAX_SETTING:
        raise _Refused(f"tensor {name!r} holds a size or index beyond {MAX_SETTING}")


def _read_value(value_info: memoryview) -> str:
    """Check one input or output; return its name."""
    name = ""
    for field, wire, value in _fields(value_info):
        if field == 1:
            name = _text(_message(wire, value))
        elif field == 2:
            _check_type(_message(wire, value), name)
    return name


def _check_type(kind: memoryview, name: str) -> None:
    for field, wire, tensor in _fields(kind):
        if field != 1:
            raise _Refused(f"value {name[:80]!r} is no tensor")
        for inner, inner_wire, shape in _fields(_message(wire, tensor)):
            if inner != 2:
                continue
            dims = [_message(w, dim) for f, w, dim in _fields(_message(inner_wire, shape)) if f == 1]
            sizes = [size for dim in dims for f, w, size in _fields(dim) if f == 1 and w == 0]
            if len(dims) > MAX_AXES or any(not 0 <= _signed(size) <= MAX_SETTING for size in sizes):
                raise _Refused(f"value {name[:80]!r} has the shape {[_signed(size) for size in sizes]}")


def _fields(data: memoryview) -> Iterator[Field]:
    """The fields of a message: number, wire type, and the number or the bytes."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        field, wire = tag >> 3, tag & 7
        if wire == 0:
            value, position = _varint(data, position)
            yield field, wire, value
            continue
        if wire == 2:
            length, position = _varint(data, position)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise _Refused(f"not an ONNX model that runs here: wire type {wire} at byte {position}")
        if field == 0 or length > len(data) - position:
            raise _Refused("not an ONNX model that runs here: a field reaches beyond its message")
        yield field, wire, data[position : position + length]
        position += length


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    for position in range(position, min(position + 10, len(data))):  # noqa: B020
        byte = data[position]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position + 1
        shift += 7
    raise _Refused("not an ONNX model that runs here: a number stops before its end")


def _varints(data: memoryview) -> list[int]:
    values, position = [], 0
    if len(data) > 10 * MAX_ENTRIES:
        raise _Refused("not an ONNX model that runs here: a list of more numbers than there are settings")
    while position < len(data):
        value, position = _varint(data, position)
        values.append(value)
    return values


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _message(wire: int, value: Any) -> memoryview:
    if wire != 2:
        raise _Refused("not an ONNX model that runs here: a number where a message is needed")
    return value


def _text(value: Any) -> str:
    try:
        return bytes(value).decode()
    except (UnicodeDecodeError, TypeError) as error:
        raise _Refused("not an ONNX model that runs here: a name is not text") from error
