"""Reads and writes protobuf's text format, the form of a prototxt.

Source: protobuf's own rules (`text_format.cc`, `tokenizer.cc`, 3.21), which Caffe 1.0 follows: adjacent
strings concatenate, `<>` and `{}` both delimit, `[..]` lists, hex and octal integers, `1.e-2f`, an optional
`,` or `;` after a field, enums by name or number, `#` comments. An unknown field or enum name refuses the
file, and so does a second value for a field that is not repeated. Messages are dicts as `schema.py`
describes them.
"""

import difflib
import os
import re
from pathlib import Path
from typing import Any, NoReturn

from caffe_port.errors import ConversionError
from caffe_port.schema import ENUM_NAMES, ENUMS, MESSAGES, Field, float32, string

MAX_BYTES = 4 * 2**20  # the largest published prototxt is about 1 MB
MAX_VALUES = 100_000  # a net of a thousand layers has about 30,000
_MAX_NUMBER = 400  # characters of one number

_SPACE = re.compile(r"(?:[ \t\n\r\v\f]++|\#[^\n]*+)*+")
_TOKEN = re.compile(
    _SPACE.pattern
    + r"""
    (?:(?P<string>"(?:[^"\\\n]|\\[^\n])*+"|'(?:[^'\\\n]|\\[^\n])*+')
    |(?P<float>(?:(?!0[0-9])[0-9]++\.[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?[fF]?
        |(?!0[0-9])[0-9]++(?:[eE][+-]?[0-9]++[fF]?|[fF]))
    |(?P<integer>0[xX][0-9a-fA-F]++|[0-9]++)
    |(?P<name>[A-Za-z_][A-Za-z_0-9]*+)
    |(?P<symbol>[^\x00-\x20"'\#\x7f-\U0010ffff]))
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))")
_SIMPLE = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, "'": 39, '"': 34, "?": 63}
_RANGES = {
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}
_BOOLS = {"true": True, "True": True, "t": True, "false": False, "False": False, "f": False}
_REQUIRED = {message: [n for n, f in fields.items() if f.required] for message, fields in MESSAGES.items()}
_LAYERS = ("LayerParameter", "V1LayerParameter", "V0LayerParameter")


def read_text(path: str | os.PathLike[str], message: str = "NetParameter") -> dict[str, Any]:
    """Read a prototxt file.

    Parameters
    ----------
    path : str or path-like
        The file, at most 4 MiB.
    message : str
        Name of the message that the file holds.

    Returns
    -------
    dict
        The fields that the file sets.

    Raises
    ------
    ConversionError
        The file breaks a rule of the format; the text names line, column, layer and field.
    OSError
        The file cannot be read.
    """
    with Path(path).open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ConversionError(
            f"{path}: a prototxt of more than {MAX_BYTES >> 20} MiB; is this a weights file?"
        )
    return parse_text(raw.decode("utf-8", "surrogateescape"), source=str(path), message=message)


def parse_text(text: str, *, source: str, message: str = "NetParameter") -> dict[str, Any]:
    """Parse a message in text form; `source` names it in errors. See `read_text`."""
    return _Parser(text.removeprefix("\ufeff"), source).parse(message)


def _nearest(name: str, known: list[str]) -> str:
    """The known names, or where there are many the ones most like `name`."""
    if len(known) <= 20:
        return ", ".join(known)
    return ", ".join(difflib.get_close_matches(name[:40], known, 3, 0.0)) + f" and {len(known) - 3} more"


class _Parser:
    """One pass over the text. `kind`, `token` and `start` are the token ahead; kind is "" at the end."""

    def __init__(self, text: str, source: str) -> None:
        self.text, self.source = text, source
        self.end = self.start = 0
        self.kind: str | None = ""
        self.token = ""
        self.values = 0
        self.open: list[tuple[str, dict[str, Any]]] = []
        self.advance()

    def parse(self, message: str) -> dict[str, Any]:
        return self.body(message, "")

    def fail(self, what: str, at: int | None = None) -> NoReturn:
        at = self.start if at is None else at
        line = self.text.count("\n", 0, at) + 1
        column = at - (self.text.rfind("\n", 0, at) + 1) + 1
        layer = next((m["name"] for kind, m in reversed(self.open) if kind in _LAYERS and "name" in m), None)
        where = f"{self.source}:{line}:{column}: " + (f"layer {layer!r}: " if layer is not None else "")
        raise ConversionError(where + what)

    def found(self) -> str:
        return "the end of the file" if self.kind == "" else repr(self.token[:40])

    def advance(self) -> None:
        match = _TOKEN.match(self.text, self.end)
        if match is None:
            self.finish()
            return
        self.kind, self.token = match.lastgroup, match[match.lastindex or 0]
        self.start, self.end = match.end() - len(self.token), match.end()

    def finish(self) -> None:
        """Take the end of the file as the token ahead, if nothing else is left."""
        space = _SPACE.match(self.text, self.end)
        self.start = space.end() if space else self.end
        self.kind = self.token = ""
        if self.start < len(self.text):
            char = self.text[self.start]
            if char in "\"'":
                self.fail("found a string that does not end on its line")
            self.fail(f"found the character {char!a}; a prototxt is plain ASCII (is this a weights file?)")

    def spend(self, count: int) -> None:
        self.values += count
        if self.values > MAX_VALUES:
            self.fail(f"more than {MAX_VALUES} values, the most that a prototxt may hold")

    def take(self, token: str) -> bool:
        if self.token == token and self.kind == "symbol":
            self.advance()
            return True
        return False

    def expect(self, token: str, after: str) -> None:
        if not self.take(token):
            self.fail(f"expected {token!r} {after}, found {self.found()}")

    def body(self, message: str, closer: str) -> dict[str, Any]:
        """Fields up to the closing delimiter ("" for the end of the file)."""
        fields, result = MESSAGES[message], dict[str, Any]()
        self.open.append((message, result))
        while self.kind != "" and self.token not in ("}", ">"):
            if self.kind != "name":
                self.fail(f"expected a field of {message}, found {self.found()}")
            name, at = self.token, self.start
            field = fields.get(name)
            if field is None:
                self.fail(f"{message} has no field {name!r}; it has {_nearest(name, list(fields))}", at)
            if not field.repeated and name in result:
                self.fail(f"field {name!r} of {message} is set twice and may be set once", at)
            self.advance()
            self.field(result, name, field)
            if not self.take(";"):
                self.take(",")
        if closer:
            self.expect(closer, f"to end {message}")
        elif self.kind != "":
            self.fail(f"expected a field of {message}, found {self.found()}")
        for name in _REQUIRED[message]:
            if name not in result:
                self.fail(f"{message} needs the field {name!r}")
        self.open.pop()
        return result

    def field(self, result: dict[str, Any], name: str, field: Field) -> None:
        inner = field.kind.removeprefix("message:") if field.kind.startswith("message:") else ""
        if not self.take(":") and not inner:
            self.fail(f"expected ':' after field {name!r}, found {self.found()}")
        if not field.repeated:
            result[name] = self.value(name, field, inner)
            return
        is_list = self.take("[")
        if is_list and self.take("]"):
            return  # an empty list sets nothing
        values = result.setdefault(name, [])
        values.append(self.value(name, field, inner))
        while is_list and not self.take("]"):
            self.expect(",", f"or ']' in the list of field {name!r}")
            values.append(self.value(name, field, inner))

    def value(self, name: str, field: Field, inner: str) -> Any:
        self.spend(1)
        if inner:
            opener = "<" if self.token == "<" else "{"
            self.expect(opener, f"to begin field {name!r}")
            return self.body(inner, ">" if opener == "<" else "}")
        kind = field.kind
        if kind in _RANGES:
            return self.integer(name, *_RANGES[kind])
        if kind in ("float", "double"):
            value = self.real(name)
            return float32(value) if kind == "float" else value
        if kind == "bool":
            return self.boolean(name)
        if kind.startswith("enum:"):
            return self.enum(name, kind.removeprefix("enum:"))
        raw = self.raw_string(name)
        return string(raw) if kind == "string" else raw

    def integer(self, name: str, low: int, high: int) -> int:
        at = self.start
        sign = -1 if low < 0 and self.take("-") else 1
        if self.kind != "integer":
            self.fail(f"field {name!r} needs an integer, found {self.found()}")
        token = self.token
        follows = self.text[self.end : self.end + 1]
        octal = token[0] == "0" and token.isdigit() and len(token) > 1
        if (
            len(token) > _MAX_NUMBER
            or follows in (".", "e", "E")
            or (octal and not set(token) <= set("01234567"))
        ):
            self.fail(f"field {name!r}: {(token + follows)[:40]!r} is not a number")
        value = sign * int(token, 8 if octal else 16 if token[1:2] in ("x", "X") else 10)
        if not low <= value <= high:
            self.fail(f"field {name!r}: {value} is out of range; allowed are {low} to {high}", at)
        self.advance()
        return value

    def real(self, name: str) -> float:
        sign = -1.0 if self.take("-") else 1.0
        token = self.token
        if self.kind == "name" and token.lower() in ("inf", "infinity", "nan"):
            value = float(token)
        elif self.kind == "float" and len(token) <= _MAX_NUMBER:
            value = float(token.rstrip("fF"))
        elif self.kind == "integer" and (token == "0" or token[0] != "0") and len(token) <= _MAX_NUMBER:
            value = float(int(token))
        else:
            self.fail(f"field {name!r} needs a decimal number, found {self.found()}")
        if self.kind != "name" and self.text[self.end : self.end + 1] in (".", "e", "E"):
            self.fail(f"field {name!r}: {token[:40]!r} is followed by {self.text[self.end]!r}")
        self.advance()
        return sign * value

    def boolean(self, name: str) -> bool:
        if self.kind == "integer":
            return bool(self.integer(name, 0, 1))
        if self.kind != "name" or self.token not in _BOOLS:
            self.fail(f"field {name!r} needs true or false, found {self.found()}")
        value = _BOOLS[self.token]
        self.advance()
        return value

    def enum(self, name: str, enum: str) -> str:
        at, found = self.start, self.found()
        if self.kind == "name":
            value = self.token if self.token in ENUMS[enum] else None
            self.advance()
        else:
            number = self.integer(name, *_RANGES["int32"])
            value, found = ENUM_NAMES[enum].get(number), repr(number)
        if value is None:
            allowed = ", ".join(f"{n} ({v})" for n, v in ENUMS[enum].items())
            self.fail(f"field {name!r} is {found}; allowed are {allowed}", at)
        return value

    def raw_string(self, name: str) -> bytes:
        if self.kind != "string":
            self.fail(f"field {name!r} needs a string in quotes, found {self.found()}")
        parts = []
        while self.kind == "string":
            self.spend(1 + len(self.token) // (2 if "\\" in self.token else 16))
            parts.append(self.unescape(self.token[1:-1]))
            self.advance()
        return b"".join(parts)

    def unescape(self, body: str) -> bytes:
        pieces, last = [], 0
        for match in _ESCAPE.finditer(body):
            octal, byte, short, long, char = match.groups()
            pieces.append(body[last : match.start()].encode("utf-8", "surrogateescape"))
            last = match.end()
            if char is not None and char not in _SIMPLE:
                self.fail(f"unknown escape {match.group()!r} in a string")
            code = int(short or long or "0", 16)
            if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                self.fail(f"escape {match.group()!r} is no character")
            if short or long:
                pieces.append(chr(code).encode())
            else:
                pieces.append(
                    bytes([int(octal, 8) & 255 if octal else int(byte, 16) if byte else _SIMPLE[char or ""]])
                )
        pieces.append(body[last:].encode("utf-8", "surrogateescape"))
        return b"".join(pieces)


def format_text(values: dict[str, Any], message: str = "NetParameter") -> str:
    """Write a message as text in its canonical form: fields by number, one a line, two spaces a level."""
    lines: list[str] = []
    _format(values, message, "", lines)
    return "".join(line + "\n" for line in lines)


def _format(values: dict[str, Any], message: str, indent: str, lines: list[str]) -> None:
    fields = MESSAGES[message]
    for name in sorted(values, key=lambda n: fields[n].number or 2**30):
        field = fields[name]
        for value in values[name] if field.repeated else [values[name]]:
            if field.kind.startswith("message:"):
                lines.append(f"{indent}{name} {{")
                _format(value, field.kind.removeprefix("message:"), indent + "  ", lines)
                lines.append(indent + "}")
            else:
                lines.append(f"{indent}{name}: {_scalar(value, field.kind)}")


def _scalar(value: Any, kind: str) -> str:
    if kind == "bool":
        return "true" if value else "false"
    if kind == "float":
        return next(t for d in (6, 7, 8, 9) if float32(float(t := f"{value:.{d}g}")) == value or d == 9)
    if kind == "double":
        return repr(float(value)).removesuffix(".0")
    if kind in ("string", "bytes"):
        return _quote(value.encode() if kind == "string" else value, kind == "string")
    return str(value)


def _quote(raw: bytes, is_text: bool) -> str:
    names = {code: "\\" + char for char, code in _SIMPLE.items() if char in 'nrt"\\'}
    text = raw.decode("utf-8" if is_text else "latin-1")
    plain = (lambda c: c.isprintable()) if is_text else (lambda c: " " <= c <= "~")
    return '"' + "".join(names.get(ord(c)) or (c if plain(c) else _octal(c, is_text)) for c in text) + '"'


def _octal(char: str, is_text: bool) -> str:
    return "".join(f"\\{byte:03o}" for byte in char.encode("utf-8" if is_text else "latin-1"))
