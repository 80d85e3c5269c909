"""Read protobuf's wire format, bounded; no message definitions and no other library.

Source: https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Iterator
from typing import Any

MAX_ENTRIES = 20_000  # of a repeated field: nodes, tensors, inputs, attributes, settings

Field = tuple[int, int, Any]


class Refused(ValueError):
    """What is wrong with a file, without its name."""


def fields(data: memoryview) -> Iterator[Field]:
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
            raise Refused(f"not an ONNX model that runs here: wire type {wire} at byte {position}")
        if field == 0 or length > len(data) - position:
            raise Refused("not an ONNX model that runs here: a field reaches beyond its message")
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
    raise Refused("not an ONNX model that runs here: a number stops before its end")


def varints(data: memoryview) -> list[int]:
    values, position = [], 0
    if len(data) > 10 * MAX_ENTRIES:
        raise Refused("not an ONNX model that runs here: a list of more numbers than there are settings")
    while position < len(data):
        value, position = _varint(data, position)
        values.append(value)
    return values


def signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def message(wire: int, value: Any) -> memoryview:
    if wire != 2:
        raise Refused("not an ONNX model that runs here: a number where a message is needed")
    return value


def text(value: Any) -> str:
    try:
        return bytes(value).decode()
    except (UnicodeDecodeError, TypeError) as error:
        raise Refused("not an ONNX model that runs here: a name is not text") from error
