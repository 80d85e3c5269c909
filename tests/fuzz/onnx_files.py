"""Damaged ONNX files, seeded: opens each, asks for its recorded answers, and says what came of it.

Run as `python -m tests.fuzz.onnx_files --cases 2000`. A case passes if it ends in a one-line ValueError or TypeError,
or in an answer that is right or found to be wrong. Files are opened in a child process of limited memory, since ONNX
Runtime itself may die of one: such cases are listed apart, and the next child goes on after them.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx

from decoders.model import Decoder
from decoders.rows import DecoderSpec, conv, fc, reshape, upconv
from export.byte_graph import ranges_of
from export.card import ANSWERS_FIELD, CARD_FIELD, write_answers
from export.check import check
from export.graphs import GRAPHS, Subject
from export.model_file import MICROSOFT_OPERATORS, OPERATORS, sealed

ROOT = Path(__file__).parents[2]
MEMORY_BYTES = 6 * 2**30
SECONDS_A_CHILD = 300
SPEC = DecoderSpec(
    "fuzz",
    (1, 1, 6),
    (
        fc("fc1", "features", 16),
        reshape("reshape", "fc1", (2, 2), 4),
        conv("conv1", "reshape", 3, 1, (2, 2), 8),
        upconv("up1", "conv1", 5, (4, 4), 8),
        upconv("up2", "up1", 4, (8, 8), 3),
    ),
    "a test",
    multiple=0,
)
BYTES = (b"\x00", b"\xff", b"\x80", b"\xff" * 9 + b"\x01", b"\x7f", b"\x3a", b"\x0a", b"\x12")
NUMBERS = (0, 1, -1, 2, 3, 7, 255, 2**16, 2**31 - 1, 2**31, 2**62, -(2**63))


def whole_files() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """A small exported file, without its seal: its maps floats, and bytes."""
    decoder = Decoder(SPEC, seed=3).eval()
    features = np.random.default_rng(0).random((2, 6), dtype=np.float32)
    return (
        _whole_file(Subject(decoder, None), features),  # type: ignore[arg-type]
        _whole_file(Subject(decoder, None, ranges=ranges_of(decoder, [features])), features),  # type: ignore[arg-type]
    )


def _whole_file(subject: Subject, features: np.ndarray) -> onnx.ModelProto:
    decoder, model = subject.decoder, GRAPHS["decoder"].write(subject)
    images = np.rint(decoder.decode_numpy(features)).astype(np.uint8).transpose(0, 2, 3, 1)
    card = {"representation": "fuzz", "feature_shape": [6], "feature_multiple": 0}
    card["export"] = {"largest_difference": 0.001 if subject.ranges is None else 8}
    answers = write_answers({"features": features, "images": images})
    onnx.helper.set_model_props(model, {CARD_FIELD: json.dumps(card), ANSWERS_FIELD: answers})
    return model


def damaged(model: onnx.ModelProto, seed: int) -> bytes:
    """The file of case ``seed``: bytes changed, or the structure; most are sealed again afterwards."""
    rng = random.Random(seed)
    kind = rng.choice(("bytes", "sealed bytes", "sealed bytes", "structure", "structure"))
    if kind == "bytes":
        return change_bytes(sealed(model.SerializeToString()), rng)
    if kind == "sealed bytes":
        return sealed(change_bytes(model.SerializeToString(), rng))
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    for _ in range(rng.randint(1, 3)):
        change_structure(changed, rng)
    return sealed(changed.SerializeToString())


def change_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, overwrite, insert, drop or cut."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(changed))
        match rng.randrange(5):
            case 0:
                changed[place] ^= 1 << rng.randrange(8)
            case 1:
                changed[place : place + 1] = rng.choice(BYTES)
            case 2:
                changed[place:place] = rng.choice(BYTES)
            case 3:
                del changed[place : place + rng.randint(1, 9)]
            case _:
                if rng.random() < 0.2:
                    del changed[place:]
    return bytes(changed or b"\x00")


def change_structure(model: onnx.ModelProto, rng: random.Random) -> None:
    """One change that leaves valid protobuf: of an operator, a setting, a wire, a tensor or a shape."""
    graph = model.graph
    node = rng.choice(graph.node)
    tensor = rng.choice(graph.initializer)
    value = rng.choice([*graph.input, *graph.output])
    integers = [a for a in node.attribute if a.ints]
    names = [n for other in graph.node for n in (*other.input, *other.output)]
    match rng.randrange(9):
        case 0:
            node.op_type = rng.choice(sorted(OPERATORS | MICROSOFT_OPERATORS))
        case 1 if integers:
            attribute = rng.choice(integers)
            attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(NUMBERS)
        case 2 if node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice(names)
        case 3:
            node.output[0] = rng.choice(names)
        case 4 if tensor.dims:
            tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(NUMBERS) % 2**62
        case 5:
            tensor.data_type = rng.randrange(24)
        case 6:
            whole = onnx.numpy_helper.from_array(
                np.array(rng.choices(NUMBERS, k=rng.randint(0, 5)), np.int64)
            )
            whole.name = tensor.name
            tensor.CopyFrom(whole)
        case 7:
            value.type.tensor_type.elem_type = rng.randrange(24)
        case _:
            graph.node.remove(node)


def outcome(path: Path) -> str:
    """What comes of one file."""
    try:
        found = check(path)
    except (ValueError, TypeError) as error:
        return "refused" if "\n" not in str(error) and path.name in str(error) else f"unclear: {error}"
    return "right" if found["passed"] else "found wrong"


def run_child(first: int, cases: int) -> None:
    """Open the files of the cases from ``first`` on; one line of JSON each, flushed."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    models = whole_files()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        path = Path(folder) / "case.onnx"
        for seed in range(first, cases):
            path.write_bytes(damaged(models[seed % 2], seed))
            print(json.dumps({"case": seed, "outcome": outcome(path)}), flush=True)


def run(cases: int) -> dict[str, object]:
    """All cases: how many ended how, the unclear ones, and those of which a child died."""
    done, unclear, died, first = Counter[str](), [], [], 0
    while first < cases:
        child = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.onnx_files", "--child", str(first), "--cases", str(cases)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=SECONDS_A_CHILD,
            check=False,
        )
        lines = [json.loads(line) for line in child.stdout.splitlines() if line.startswith('{"case"')]
        done.update(line["outcome"].split(":")[0] for line in lines)
        unclear += [line for line in lines if line["outcome"].startswith("unclear")]
        first += len(lines)
        if child.returncode < 0:  # a signal: native code
            died.append({"case": first, "signal": -child.returncode})
            first += 1
        elif child.returncode:
            return {"case": first, "traceback": child.stderr[-3000:]}
    return {"cases": cases, "outcomes": dict(done), "unclear": unclear, "onnxruntime_died_of": died}


def main() -> None:
    """Run the cases and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--child", type=int)
    arguments = parser.parse_args()
    if arguments.child is not None:
        run_child(arguments.child, arguments.cases)
    else:
        print(json.dumps(run(arguments.cases), indent=1))


if __name__ == "__main__":
    main()
