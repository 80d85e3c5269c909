"""Damaged prototxts and caffemodels, seeded: reads each and says what came of it, as one JSON object.

Run as `python -m tests.fuzz.mutations --cases 20000`. A case passes if it ends in a ConversionError, or in
what Google's protobuf reads from the same bytes. Anything else ends the run with a traceback that names the
case.
"""

import argparse
import json
import random
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError

from caffe_port.binary import Buffer, encode
from caffe_port.errors import ConversionError
from caffe_port.text import format_text, parse_text
from caffe_port.upgrade import upgrade_net
from caffe_port.wire import CaffeModel, index
from tests.oracles.protobuf_reader import as_dict, message_class

GOLDEN = Path(__file__).parents[1] / "golden" / "caffe"
V0 = """input: "x" input_dim: [1, 2, 5, 5]
layers { layer { name: "p" type: "padding" pad: 1 } bottom: "x" top: "p" }
layers { layer { name: "c" type: "conv" num_output: 2 kernelsize: 3 } bottom: "p" top: "c" }"""
SPARE = [
    b"\x00",
    b"\xff",
    b"\x80",
    b"\xff" * 9 + b"\x01",
    b"\x80" * 12,
    b"\x2d",
    b"\x41",
    b"\xa2\x06",
    b"\x12",
    b"\x3a",
]
WORDS = [
    "{",
    "}",
    "<",
    ">",
    "[",
    "]",
    ":",
    ",",
    '"',
    "'",
    "\\",
    "-",
    "#",
    "\n",
    "1e999",
    "0x",
    "09",
    "layer",
    "\x00",
    "é",
]


def text_seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted(GOLDEN.glob("*/net.prototxt"))] + [V0.encode()]


def binary_seeds() -> list[bytes]:
    """Golden files, and small nets of every format, where most bytes are structure."""
    rng = np.random.default_rng(0)
    blob = {"shape": {"dim": [2, 3]}, "data": rng.normal(size=6).tolist()}
    old = {"num": 1, "channels": 1, "height": 2, "width": 3, "double_data": rng.normal(size=6).tolist()}
    v2 = {"name": "c", "type": "Convolution", "bottom": ["x"], "top": ["c"], "blobs": [blob, old]}
    v1 = {"name": "c", "type": "CONVOLUTION", "blobs": [old], "blobs_lr": [1.0, 2.0]}
    v0 = {"layer": {"name": "c", "type": "conv", "blobs": [old], "num_output": 2}}
    fork = {"name": "c", "type": "MVN", "blobs": [old]}
    nets = [
        {"name": "n", "layer": [v2, v2]},
        {"layers": [v1, v1]},
        {"layers": [v0, v0]},
        {"layers": [fork, v1]},
    ]
    small = [b"".join(encode(net, "NetParameter")) for net in nets]
    unpacked = small[0].replace(encode_packed(blob), encode_unpacked(blob))
    golden = [GOLDEN / name / "net.caffemodel" for name in ("textformat_quirks", "v1_small")]
    return small * 4 + [unpacked] * 4 + [path.read_bytes() for path in golden]


def encode_packed(blob: dict) -> bytes:
    return b"".join(encode({"data": blob["data"]}, "BlobProto"))


def encode_unpacked(blob: dict) -> bytes:
    """As many bytes as `encode_packed` gives, so that lengths around stay right: spare fields fill up."""
    length = len(encode_packed(blob))
    records = b"".join(b"\x2d" + np.float32(number).tobytes() for number in blob["data"])[
        : (length - 2) // 5 * 5
    ]
    return records + b"\x08\x01" * ((length - len(records)) // 2) + b"\x80" * ((length - len(records)) % 2)


def mutate(data: bytes, rng: random.Random, spare: list[bytes]) -> bytes:
    """One to four edits: cut off, flip, insert, delete, repeat, swap."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, length = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 4, 16, 200))
        piece = data[at : at + length]
        edit = rng.choice((0, 1, 1, 1, 1, 1, 2, 3, 4, 5))
        if edit == 0:
            data = data[:at]
        elif edit == 1 and piece:
            other_byte = piece[0] ^ 1 << rng.randrange(8) if rng.random() < 0.8 else rng.randrange(256)
            data = data[:at] + bytes([other_byte]) + data[at + 1 :]
        elif edit == 2:
            data = data[:at] + rng.choice(spare) + data[at:]
        elif edit == 3:
            data = data[:at] + data[at + length :]
        elif edit == 4:
            data = data[:at] + piece * rng.choice((2, 3, 50)) + data[at + length :]
        else:
            other = rng.randrange(len(data) + 1)
            data = data[:at] + data[other : other + length] + data[at + length :]
    return data


def read_text_case(data: bytes) -> str:
    net = parse_text(data.decode("utf-8", "surrogateescape"), source="case")
    written = format_text(net)
    if format_text(parse_text(written, source="again")) != written:
        raise AssertionError("what is written reads back as another net")
    upgrade_net(net, "case")
    return "read"


def read_binary_case(data: bytes) -> str:
    model = index(Buffer(data, "case"))
    try:
        theirs = message_class("NetParameter").FromString(data)
    except DecodeError:
        theirs = None  # ours passes over parameters that it was not asked for
    arrays = [[blob.array() for blob in layer.blobs if blob] for layer in model.layers]
    if theirs is not None and model.format in ("V1", "V2"):
        compare(model, arrays, theirs)
    upgrade_net(model.message, "case")
    return "read" if theirs is not None else "read, unlike Google's"


def compare(model: CaffeModel, arrays: list[list[np.ndarray]], theirs: object) -> None:
    layers = list(theirs.layer or theirs.layers)  # type: ignore[attr-defined]
    kept = [list(layer.blobs) for layer in layers]
    for layer in layers:
        layer.ClearField("blobs")
    if [layer.name for layer in model.layers] != [as_dict(layer).get("name", "") for layer in layers]:
        raise AssertionError("other layers than Google's")
    for found, blobs in zip(arrays, kept, strict=True):
        for array, blob in zip(found, blobs, strict=True):
            np.testing.assert_array_equal(array.ravel(), blob.double_data or blob.data)
    is_fork = any(layer.type == "Deconvolution" for layer in model.layers)
    if not is_fork and format_text(model.net) != format_text(as_dict(theirs)):
        raise AssertionError("another net than Google's")


def run(cases: int, first: int = 0) -> dict:
    """Read `cases` damaged files, half of them text."""
    kinds = {
        "text": (text_seeds(), [word.encode() for word in WORDS], read_text_case),
        "binary": (binary_seeds(), SPARE, read_binary_case),
    }
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for number in range(first, first + cases):
        kind = ("text", "binary")[number % 2]
        seeds, spare, read = kinds[kind]
        rng = random.Random(number)
        data = mutate(rng.choice(seeds), rng, spare)
        begin = time.process_time()
        try:
            outcome = read(data)
        except ConversionError as error:
            if "\n" in str(error):
                raise AssertionError(f"case {number}: an error of several lines") from error
            outcome = "refused"
        except Exception as error:
            error.add_note(f"case {number} ({kind}): {data[:200]!r}")
            raise
        slowest = max(slowest, time.process_time() - begin)
        outcomes[f"{kind} {outcome}"] += 1
    return {"cases": cases, "slowest_s": round(slowest, 3), **dict(sorted(outcomes.items()))}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(json.dumps(run(options.cases, options.first)))
