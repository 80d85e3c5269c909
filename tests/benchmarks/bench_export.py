"""How fast an exported decoder runs: Table 1's FC8 decoder and HOG's at full width, batch 1 and 16, on the CPU.

    python -m tests.benchmarks.bench_export --threads 2

All contenders compute the same pictures from the same random weights and take turns in one process; milliseconds a
picture, the minimum over the rounds (others on the machine only add). Literal means that zeros are inserted, by
reshaping and padding, and multiplied. The peak is that of float32 products of 1024 x 1024 matrices by ONNX Runtime
in the same rounds; a share of it counts the multiplications of the table without those by inserted zeros. OpenCV's
dnn gets the same fp32 file as ours. On a busy machine, `--threads 1 --clock cpu` counts the processor's time alone.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's threads must not spin while others are timed

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import torch

from decoders.model import Decoder
from decoders.rows import DecoderSpec
from decoders.specs import DECODERS
from export.byte_graph import ranges_of
from export.graphs import GRAPHS, Subject
from export.precision import PRECISIONS
from export.writer import GraphWriter

RESULTS = Path(__file__).parent / "results" / "export.json"
SUBJECTS = {"fc8": ("int8", "int8-static"), "hog": ("fp16", "int8-static")}  # decoders and reduced precisions
BATCHES = (1, 16)
PEAK_SIDE = 1024
PAUSE_S = 0.005  # between contenders, for threads to fall asleep

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}

Call = Callable[[np.ndarray], np.ndarray]


def products(spec: DecoderSpec) -> int:
    """Multiplications for one picture, without those by inserted zeros."""
    total = 0
    for row in spec.rows:
        height, width, maps = row.out
        if row.op == "fc":
            total += spec.maps_in(row) * maps
        elif row.op in ("conv", "upconv"):
            places = height * width // (4 if row.op == "upconv" else 1)
            total += places * row.kernel**2 * spec.maps_in(row) * maps
    return total


def session(model: bytes, threads: int) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU, whose threads sleep after a call: by default they spin for 30 ms."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def example(name: str, batch: int) -> np.ndarray:
    """Features of no picture."""
    height, width, channels = DECODERS[name].features
    shape = (batch, channels) if DECODERS[name].takes_vectors else (batch, channels, height, width)
    return np.random.default_rng(2).random(shape, dtype=np.float32) * np.float32(0.3)


def onnx_call(decoder: Decoder, form: str, precision: str, threads: int) -> Call:
    """The decoder as one of our graphs in ONNX Runtime."""
    ranges = None
    if PRECISIONS[precision].static:
        ranges = ranges_of(decoder, [example(decoder.spec.representation, 1)])
    subject = Subject(decoder, None, form, ranges)  # type: ignore[arg-type]
    model = PRECISIONS[precision].rewrite(GRAPHS["decoder"].write(subject))
    running = session(model.SerializeToString(), threads)
    return lambda features: running.run(["pictures"], {"features": features})[0]


def opencv_call(decoder: Decoder) -> Call:
    """OpenCV's dnn on our fp32 file."""
    model = GRAPHS["decoder"].write(Subject(decoder, None))  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "decoder.onnx"
        path.write_bytes(model.SerializeToString())
        net = cv2.dnn.readNetFromONNX(str(path))

    def call(features: np.ndarray) -> np.ndarray:
        net.setInput(features, "features")
        return net.forward("pictures")

    return call


def peak_call(threads: int) -> Call:
    """A product of two square matrices in ONNX Runtime; the argument is not used."""
    graph = GraphWriter("product")
    sides = [PEAK_SIDE, PEAK_SIDE]
    factor = np.random.default_rng(0).standard_normal(sides).astype(np.float32)
    left = graph.input("left", np.float32, sides)
    graph.output(graph.op("MatMul", [left, graph.weight(factor)]), "product", np.float32, sides)
    running = session(graph.model().SerializeToString(), threads)
    return lambda _: running.run(None, {"left": factor})[0]


def contenders(name: str, threads: int) -> dict[str, Call]:
    """Everything that is timed for one decoder."""
    spec = DECODERS[name]
    literal, decoder = (Decoder(spec, upconv=kind, seed=1).eval() for kind in ("literal", "fused"))
    return {
        "torch, literal": literal.decode_numpy,
        "torch, fused": decoder.decode_numpy,
        "onnx, literal": onnx_call(decoder, "literal", "fp32", threads),
        "onnx, transposed": onnx_call(decoder, "transposed", "fp32", threads),
        "onnx, phases": onnx_call(decoder, "phases", "fp32", threads),
        "ours": onnx_call(decoder, "", "fp32", threads),
        **{f"ours, {reduced}": onnx_call(decoder, "", reduced, threads) for reduced in SUBJECTS[name]},
        "OpenCV": opencv_call(decoder),
        "peak": peak_call(threads),
    }


def check(calls: dict[str, Call], features: np.ndarray) -> dict[str, str]:
    """Drop what does not run or computes something else; returns why."""
    expected, refused = calls["torch, fused"](features), {}
    for name in [name for name in calls if name != "peak"]:
        try:
            found = calls[name](features)
        except cv2.error as error:
            refused[name] = f"does not run: {error.err}"
        else:
            difference = float(np.abs(found - expected).max()) if found.shape == expected.shape else np.inf
            if difference > (0.01 if "int8" not in name and "fp16" not in name else np.inf):
                refused[name] = f"differs by {difference:.3g} grey levels"
    for name in refused:
        del calls[name]
    return refused


def minima(calls: dict[str, Call], features: np.ndarray, rounds: int, clock: str) -> dict[str, float]:
    """Least seconds of each call by a clock, taking turns."""
    now = CLOCKS[clock]
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            start = now()
            call(features)
            least[name] = min(least[name], now() - start)
            time.sleep(PAUSE_S)
    return least


def measure(name: str, batch: int, calls: dict[str, Call], rounds: int, clock: str) -> dict[str, object]:
    """One row of the results."""
    features = example(name, batch)
    refused = check(calls, features)
    least = minima(calls, features, rounds, clock)
    peak = PEAK_SIDE**3 / least.pop("peak")
    return {
        "decoder": name,
        "batch": batch,
        "ms_a_picture": {call: 1000 * seconds / batch for call, seconds in least.items()},
        "refused": refused,
        "peak_gflops": 2e-9 * peak,
        "share_of_peak": products(DECODERS[name]) * batch / least["ours"] / peak,
        "over_literal_onnx": least["onnx, literal"] / least["ours"],
        "over_literal_torch": least["torch, literal"] / least["ours"],
        "reduced_over_fp32": {one: least["ours"] / least[f"ours, {one}"] for one in SUBJECTS[name]},
    }


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine, with one thread"
    )
    parser.add_argument("--decoders", nargs="+", default=list(SUBJECTS), choices=list(SUBJECTS))
    parser.add_argument("--store", action="store_true", help="write results/export.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    rows = []
    for name in arguments.decoders:
        calls = contenders(name, arguments.threads)
        for batch in BATCHES:
            rounds = arguments.rounds if batch == 1 else max(3, arguments.rounds // 4)
            rows.append(measure(name, batch, dict(calls), rounds, arguments.clock))
            print(json.dumps(rows[-1], indent=1), flush=True)
    versions = {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__, "opencv": cv2.__version__}
    machine = {
        "cores": os.cpu_count(),
        "threads": arguments.threads,
        "clock": arguments.clock,
        "load": os.getloadavg()[0],
        **versions,
    }
    if arguments.store:
        RESULTS.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
