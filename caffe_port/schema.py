"""Caffe's messages by name, ready for the readers and writers: `MESSAGES`, `ENUMS` and `default`.

The rows are in `messages.py`. In memory a message is a plain dict that holds the fields that are set:
repeated fields are lists, messages dicts, enum values their names, bytes `bytes`, everything else int,
float, bool or str. A `float` is held rounded to 32 bits, as Caffe holds it. Strings are UTF-8, or Latin-1
where they are not.
"""

import struct
from dataclasses import dataclass
from typing import Any

from caffe_port.messages import ENUM_ROWS, FORK_ROWS, FREIBURG_LAYER, FREIBURG_TYPES, MESSAGE_ROWS

_SCALARS = {"float", "double", "int32", "uint32", "int64", "uint64", "bool", "string", "bytes"}


@dataclass(frozen=True)
class Field:
    """One field of a message.

    `kind` is a scalar's name, `enum:X` or `message:Y`; `default` is None where the definition sets none;
    `number` is 0 where the field is known in text only.
    """

    number: int
    kind: str
    repeated: bool = False
    default: Any = None
    packed: bool = False
    required: bool = False


def float32(value: float) -> float:
    """Round to the nearest 32-bit float, overflowing to infinity as a C cast does."""
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def string(raw: bytes) -> str:
    """Text of a string field: UTF-8, or Latin-1 for the rare file that is not."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _enum(rows: str) -> dict[str, int]:
    return {name: int(number) for name, number in (row.split() for row in rows.split(","))}


def _default(kind: str, text: str) -> Any:
    if kind == "bool":
        return text == "true"
    if kind in ("float", "double"):
        return float32(float(text)) if kind == "float" else float(text)
    return text if kind == "string" or kind.startswith("enum:") else int(text)


def _fields(rows: str) -> dict[str, Field]:
    fields = {}
    for row in rows.split(","):
        name, number, kind, *rest = row.split()
        mark = kind[-1] if kind[-1] in "*+!" else ""
        kind = kind.removesuffix(mark)
        if kind not in _SCALARS:
            kind = f"enum:{kind}" if kind in ENUMS else f"message:{kind}"
        value = _default(kind, rest[0].removeprefix("=")) if rest else None
        fields[name] = Field(int(number), kind, mark in ("*", "+"), value, mark == "+", mark == "!")
    return fields


def _messages() -> dict[str, dict[str, Field]]:
    messages = {name: _fields(rows) for name, rows in MESSAGE_ROWS.items()}
    for tables in FORK_ROWS.values():
        for name, rows in tables.items():
            messages.setdefault(name, {}).update(_fields(rows))
    other = _fields(FREIBURG_LAYER)
    taken = {field.number for field in other.values()}
    kept = {n: f for n, f in messages["V1LayerParameter"].items() if f.number not in taken}
    messages["FreiburgLayerParameter"] = {**kept, **other}
    messages["FreiburgLayerParameter"]["type"] = Field(5, "enum:FreiburgLayerType")
    return messages


ENUMS: dict[str, dict[str, int]] = {name: _enum(rows) for name, rows in ENUM_ROWS.items()}
ENUMS["FreiburgLayerType"] = {
    **{n: v for n, v in ENUMS["LayerType"].items() if v not in _enum(FREIBURG_TYPES).values()},
    **_enum(FREIBURG_TYPES),
}
ENUMS["LayerType"]["RESHAPE"] = 47
MESSAGES: dict[str, dict[str, Field]] = _messages()
ENUM_NAMES: dict[str, dict[int, str]] = {e: {v: n for n, v in rows.items()} for e, rows in ENUMS.items()}
BY_NUMBER: dict[str, dict[int, str]] = {
    message: {field.number: name for name, field in fields.items() if field.number}
    for message, fields in MESSAGES.items()
}

_ZERO: dict[str, Any] = {"bool": False, "float": 0.0, "double": 0.0, "string": "", "bytes": b""}


def default(message: str, field: str) -> Any:
    """Value that Caffe reads from a field that is not set.

    Repeated fields give [], messages {}, enums without a default their first value, other kinds their zero.
    """
    row = MESSAGES[message][field]
    if row.repeated:
        return []
    if row.default is not None:
        return row.default
    if row.kind.startswith("message:"):
        return {}
    if row.kind.startswith("enum:"):
        return next(iter(ENUMS[row.kind.removeprefix("enum:")]))
    return _ZERO.get(row.kind, 0)
