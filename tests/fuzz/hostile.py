"""Files made to cost memory or time: reads each in this process and says what it cost, as one JSON object.

Run as `python -m tests.fuzz.hostile`. Memory is the peak of the resident set above what it was before the
file.
"""

import json
import struct
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from caffe_port.binary import encode
from caffe_port.errors import ConversionError
from caffe_port.text import MAX_BYTES, read_text
from caffe_port.wire import open_caffemodel

SIZE = 8 * 2**20


def field(number: int, payload: bytes) -> bytes:
    return b"".join(encode({"blobs": [payload]}, "BlobProtoVector")).replace(
        b"\x0a", bytes([number << 3 | 2]), 1
    )


def layer(payload: bytes) -> bytes:
    return b"".join(encode({"layer": [payload]}, "NetParameter"))


def times(piece: str, around: str = "@") -> bytes:
    return around.replace("@", piece * ((MAX_BYTES - len(around)) // len(piece))).encode()


TEXT = {
    "empty layers": times("layer{}"),
    "list of empty layers": b"layer:[" + b"{}," * ((MAX_BYTES - 10) // 3) + b"{}]",
    "open braces": times("layer{"),
    "one comment": times("#"),
    "one number": times("1", "input_dim:@"),
    "one float": b"layer{loss_weight:." + b"1" * (MAX_BYTES - 20) + b"}",
    "one string": times("a", 'name:"@"'),
    "one string with a wide character": ("name:'" + "a" * (MAX_BYTES - 20) + "\U0001f600'").encode(),
    "many strings": times("''", "name:@"),
    "escapes": times("\\n", 'name:"@"'),
    "string without end": times("a", 'name:"@'),
    "list of numbers": times("1,", "input_dim:[@1]"),
    "minus signs": times("-", "input_dim:@"),
    "unknown long name": times("a"),
}
FLOAT, DOUBLE = b"\x2d" + struct.pack("<f", 1), b"\x41" + struct.pack("<d", 1)
BINARY = {
    "empty layers": layer(b"") * (SIZE // 3),
    "empty blobs": layer(b"\x3a\x00" * (SIZE // 2)),
    "unknown numbers": b"\xf8\x7f\x01" * (SIZE // 3),
    "alternating fixed fields": b"\x7d\x00\x00\x00\x00\x75\x00\x00\x00\x00" * (SIZE // 10),
    "unpacked floats": layer(field(7, FLOAT * (SIZE // 5))),
    "unpacked doubles": layer(field(7, DOUBLE * (SIZE // 9))),
    "floats and doubles in turn": layer(field(7, (FLOAT + DOUBLE) * (SIZE // 14))),
    "axes": layer(field(7, field(7, field(1, b"\x01" * SIZE)))),
    "one name": layer(field(1, b"a" * SIZE)),
    "names": layer(field(1, b"\xf0\x9f\x98\x80" + b"a" * 4000)) * (SIZE // 4010),
    "long name and many blobs": layer(field(1, b"a" * 60_000) + b"\x3a\x00" * 49_000),
    "bottoms": layer(field(3, b"ab") * (SIZE // 4)),
    "empty parameters": layer(b"\xd2\x06\x02\x3a\x00" * (SIZE // 5)),
    "packed weights of the loss": layer(field(5, b"\x00" * SIZE)),
}


def peak() -> int:
    """Peak of the resident set in bytes."""
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def cost(read: Callable[[], object]) -> dict[str, float | int | str]:
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before, begin = peak(), time.process_time()
    try:
        read()
        outcome = "read"
    except ConversionError as error:
        outcome = str(error)[-60:]
    return {"seconds": round(time.process_time() - begin, 3), "bytes": peak() - before, "outcome": outcome}


def read_binary(path: Path) -> None:
    model = open_caffemodel(path)
    for found in model.layers:
        for blob in found.blobs:
            if blob is not None and len(blob.shape):
                blob.array()
    len(model.net)


def main() -> None:
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hostile"
        for kind, files in (("text", TEXT), ("binary", BINARY)):
            for name, data in files.items():
                path.write_bytes(data)
                read = read_text if kind == "text" else read_binary
                results[f"{kind}: {name}"] = {"size": len(data), **cost(partial(read, path))}
                path.unlink()
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
