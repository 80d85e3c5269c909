"""Reads protobuf's binary form within bounds, fields of a mapped file or whole messages; and writes it.

Source: the protobuf wire format (varint, 64-bit, length-delimited and 32-bit fields; groups are refused).
As in protobuf, an unknown field, or a known one of another wire type, is passed over: forks reuse numbers.
Numbers of a repeated field may be packed or not. Every field costs one from a budget, so that no file can
ask for endless work.
"""

import mmap
import os
import struct
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from caffe_port.errors import ConversionError
from caffe_port.schema import BY_NUMBER, ENUM_NAMES, ENUMS, MESSAGES, string

MAX_VALUES = 200_000  # fields and numbers read one by one; a run of unpacked numbers counts as one
VARINT, WIDE, BYTES, NARROW = 0, 1, 2, 5
_WIDTHS = {WIDE: 8, NARROW: 4}
_WIRE_TYPES = {"float": NARROW, "double": WIDE, "string": BYTES, "bytes": BYTES}
_FORMATS = {"float": "<f", "double": "<d"}
_BITS = {"int32": 32, "uint32": 32, "int64": 64, "uint64": 64}
_DAMAGED = "the file is truncated, damaged or no caffemodel"
_RUN = 2**20  # records looked at together


class Buffer:
    """Bytes of one file, perhaps with its descriptor, and the budget that bounds the work done on them."""

    def __init__(self, data: Any, source: str, descriptor: int | None = None) -> None:
        self.view = memoryview(data)
        self.source = source
        self.descriptor = descriptor
        if descriptor is not None:
            weakref.finalize(self, os.close, descriptor)
        self.context = ""
        self.left = MAX_VALUES

    def fail(self, at: int, what: str) -> ConversionError:
        return ConversionError(f"{self.source}: {self.context}byte {at}: {what}")

    def varint(self, at: int, end: int) -> tuple[int, int]:
        """Value of the varint at `at` and the place after it."""
        value = shift = 0
        for place in range(at, min(end, at + 10)):
            byte = self.view[place]
            value |= (byte & 127) << shift
            if byte < 128:
                return value & 0xFFFFFFFFFFFFFFFF, place + 1
            shift += 7
        what = "a number of more than ten bytes" if end - at >= 10 else "a number that does not end"
        raise self.fail(at, f"{what}; {_DAMAGED}")

    def spend(self, at: int, count: int = 1) -> None:
        self.left -= count
        if self.left < 0:
            raise self.fail(at, f"more than {MAX_VALUES} values, the most that a net may have")

    def fields(self, at: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
        """Fields of the message at [at, end), as (number, wire type, value, begin, end of the payload).

        `value` is a varint's value. Records of one 32-bit or 64-bit field that follow each other come as
        one, with their count as `value`; the numbers lie at begin, begin + width + 1, ...
        """
        while at < end:
            self.spend(at)
            start = at
            tag, begin = self.varint(at, end)
            number, wire, value = tag >> 3, tag & 7, 0
            if not 0 < number < 2**29:
                raise self.fail(start, f"field number {number}; {_DAMAGED}")
            if wire == VARINT:
                value, at = self.varint(begin, end)
            elif wire == BYTES:
                length, begin = self.varint(begin, end)
                at = begin + length
            elif wire in _WIDTHS:
                at = begin + _WIDTHS[wire]
                value = 1
                if begin == start + 1 and at < end and self.view[at] == tag:
                    value += self.run(at, end, _WIDTHS[wire] + 1)
                    at += (value - 1) * (_WIDTHS[wire] + 1)
            else:
                raise self.fail(start, f"wire type {wire}; {_DAMAGED}")
            if at > end:
                raise self.fail(start, f"field {number} ends {at - end} bytes too late; {_DAMAGED}")
            yield number, wire, value, begin, at

    def run(self, at: int, end: int, stride: int) -> int:
        """How many whole records of `stride` bytes from `at` on begin with the byte at `at`."""
        total, step = 0, 64
        while count := min(step, (end - at) // stride):
            tags = np.frombuffer(self.view, np.uint8, count * stride, at)[::stride]
            other = np.flatnonzero(tags != self.view[at])
            if len(other):
                return total + int(other[0])
            total, at, step = total + count, at + count * stride, min(step * 4, _RUN)
            if at < end and self.view[at] != tags[0]:
                break
        return total

    def raw(self, begin: int, end: int) -> bytes:
        """A copy of [begin, end), which costs one from the budget for every sixteen bytes."""
        self.spend(begin, (end - begin) // 16)
        return bytes(self.view[begin:end])

    def text(self, begin: int, end: int) -> str:
        return string(self.raw(begin, end))


def map_file(path: str | os.PathLike[str]) -> Buffer:
    """Map a file for reading; an empty one gives an empty buffer."""
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        return Buffer(data, str(path), os.dup(file.fileno()))


def parse_message(data: Any, message: str, *, source: str = "message") -> dict[str, Any]:
    """Decode a message from bytes.

    Parameters
    ----------
    data : bytes-like
        The message in binary form.
    message : str
        Its name in `schema.MESSAGES`.
    source : str
        Names the data in errors.

    Returns
    -------
    dict
        The fields that are set.

    Raises
    ------
    ConversionError
        The data is truncated, malformed, or holds more than `MAX_VALUES` values.
    """
    buffer = Buffer(data, source)
    return decode(buffer, 0, len(buffer.view), message)


def decode(
    buffer: Buffer,
    begin: int,
    end: int,
    message: str,
    into: dict[str, Any] | None = None,
    skip: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Decode the message at [begin, end), leaving out fields named in `skip`, on top of `into`."""
    result = {} if into is None else into
    names, fields = BY_NUMBER[message], MESSAGES[message]
    for number, wire, value, start, stop in buffer.fields(begin, end):
        name = names.get(number)
        if name is None or name in skip:
            continue
        field = fields[name]
        values: list[Any] = []
        if field.kind.startswith("message:"):
            if wire == BYTES:
                old = None if field.repeated else result.get(name)
                values = [decode(buffer, start, stop, field.kind.removeprefix("message:"), old, skip)]
        elif wire == BYTES and field.kind in ("string", "bytes"):
            values = [(buffer.text if field.kind == "string" else buffer.raw)(start, stop)]
        elif wire == _WIRE_TYPES.get(field.kind, VARINT):
            values = _numbers(buffer, field.kind, value, start)
        elif wire == BYTES and field.repeated:
            values = _packed(buffer, field.kind, start, stop)
        if field.repeated and values:
            result.setdefault(name, []).extend(values)
        elif values:
            result[name] = values[-1]
    return result


def _numbers(buffer: Buffer, kind: str, value: int, start: int) -> list[Any]:
    """Numbers of one unpacked field: one varint, or a run of `value` fixed-width records."""
    if kind not in _FORMATS:
        number = integer(kind, value)
        return [] if number is None else [number]  # an unnamed enum value: protobuf sets it aside as unknown
    buffer.spend(start, value - 1)
    stride = struct.calcsize(_FORMATS[kind]) + 1
    places = range(start, start + value * stride, stride)
    return [struct.unpack_from(_FORMATS[kind], buffer.view, place)[0] for place in places]


def _packed(buffer: Buffer, kind: str, at: int, end: int) -> list[Any]:
    if kind in _FORMATS:
        count, rest = divmod(end - at, struct.calcsize(_FORMATS[kind]))
        if rest:
            raise buffer.fail(at, f"packed numbers of kind {kind} in {end - at} bytes")
        buffer.spend(at, count)
        return np.frombuffer(buffer.view, _FORMATS[kind], count, at).tolist()
    values = []
    while at < end:
        buffer.spend(at)
        value, at = buffer.varint(at, end)
        values.append(integer(kind, value))
    return [value for value in values if value is not None]


def integer(kind: str, value: int) -> Any:
    """A varint as bool, an integer kind, or the name of an enum's value (None for an unnamed one)."""
    if kind == "bool":
        return value != 0
    if kind.startswith("enum:"):
        return ENUM_NAMES[kind.removeprefix("enum:")].get(integer("int32", value))
    bits = _BITS[kind]
    value &= (1 << bits) - 1
    return value - (1 << bits) if kind[0] == "i" and value >> (bits - 1) else value


def encode(values: dict[str, Any], message: str) -> list[Any]:
    """Write a message in binary form, fields by number; a field may also be given as bytes, already encoded.

    Returns
    -------
    list of bytes-like
        Pieces that make up the message when joined; large ones are the caller's own, not copies.
    """
    pieces: list[Any] = []
    for name in sorted(values, key=lambda n: MESSAGES[message][n].number):
        field = MESSAGES[message][name]
        items = values[name] if field.repeated else [values[name]]
        if not field.number:
            raise ConversionError(f"{message}.{name} is a fork's field that has no place in a caffemodel")
        if field.packed:
            encoded = isinstance(items, bytes | memoryview)
            payload = items if encoded else b"".join(_scalar_bytes(item, field.kind) for item in items)
            pieces += [_tag(field.number, BYTES), _varint(len(payload)), payload]
            continue
        for item in items:
            if field.kind.startswith("message:") or field.kind in ("string", "bytes"):
                inner = _inner(item, field.kind)
                pieces += [_tag(field.number, BYTES), _varint(sum(map(len, inner))), *inner]
            else:
                wire = _WIRE_TYPES.get(field.kind, VARINT)
                pieces += [_tag(field.number, wire), _scalar_bytes(item, field.kind)]
    return pieces


def _inner(item: Any, kind: str) -> list[Any]:
    if isinstance(item, dict):
        return encode(item, kind.removeprefix("message:"))
    return [item.encode() if isinstance(item, str) else item]


def _tag(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF  # negative numbers are written as 64 bits, whatever their kind
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _scalar_bytes(value: Any, kind: str) -> bytes:
    if kind in _FORMATS:
        return struct.pack(_FORMATS[kind], value)
    return _varint(ENUMS[kind.removeprefix("enum:")][value] if kind.startswith("enum:") else int(value))
