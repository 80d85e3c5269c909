"""How much faster decoding one picture is than finding it by gradient descent: the paper's "1200 times" (section 4.2).

Run as `python -m tests.benchmarks.bench_inversion`. CaffeNet and the paper's full-width decoder of a layer, both with
synthetic weights: times do not depend on them. The decoder is the exported one, in ONNX Runtime, in static int8,
the fastest on a CPU; torch's, which reorders its weights at every call, stands beside it. One picture at a time, on
the same threads, in one process; decoding and steps of Mahendran & Vedaldi's descent take turns, so that a busy machine
is busy for both. Their inversion takes 400 steps, all alike; a few are timed, and the whole is extrapolated: 400 times
the median step. Seconds; the ratio is of medians, and that of the fastest ones stands beside it.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's threads must not spin while others are timed

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import caffe_port
from caffe_port.zoo import FOLDER, NETS
from decoders.baselines.inversion_energy import MahendranSettings, descend, expected_norm
from decoders.baselines.mahendran import noise, tv_weight
from decoders.model import Decoder
from decoders.specs import DECODERS
from tests.benchmarks.bench_caffemodel import write_caffenet
from tests.benchmarks.bench_export import onnx_call

SIZE = (3, 227, 227)
STEPS = 2  # timed at a time


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def compare(net: caffe_port.net.CaffeNet, layer: str, rounds: int, threads: int) -> dict[str, object]:
    """Figures of one layer."""
    blob = NETS["caffenet"].blobs[layer.upper()]
    decoder = Decoder(DECODERS[layer]).eval()
    exported = onnx_call(decoder, "", "int8-static", threads)
    picture = torch.from_numpy(np.random.default_rng(0).uniform(-120, 120, (1, *SIZE)).astype(np.float32))
    with torch.no_grad():
        target = net.features(picture, blob)
    features = target.numpy()
    settings = MahendranSettings(schedule=((0.004, STEPS),), tv_weight=tv_weight(net, blob))
    start = noise(SIZE, expected_norm(SIZE), 0, 0)[None]

    def descended() -> object:
        return descend(start, target, lambda images: net.features(images, blob), settings)

    def forward() -> object:
        with torch.no_grad():
            return net.features(picture, blob)

    for work in (lambda: exported(features), lambda: decoder.decode_numpy(features), descended, forward):
        work()
    decodes, of_torch, steps = [], [], []
    for _ in range(rounds):
        decodes += [seconds(lambda: exported(features)) for _ in range(5)]
        of_torch += [seconds(lambda: decoder.decode_numpy(features)) for _ in range(3)]
        last = seconds(forward)  # `descend` evaluates the energy once more after its steps
        steps.append(max(0.0, seconds(descended) - last) / STEPS)
    total = len(MahendranSettings().rates)
    step, decode = statistics.median(steps), statistics.median(decodes)
    return {
        "layer": layer,
        "decode_seconds": decode,
        "decode_seconds_torch": statistics.median(of_torch),
        "step_seconds": step,
        "steps": total,
        "steps_timed": rounds * STEPS,
        "inversion_seconds_extrapolated": total * step,
        "ratio": round(total * step / decode),
        "ratio_of_fastest": round(total * min(steps) / min(decodes)),
        "ratio_torch": round(total * step / statistics.median(of_torch)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", nargs="+", default=["conv5", "fc6", "fc8"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, help="where to write the figures as JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    weights = Path(tempfile.gettempdir()) / "caffenet_full.caffemodel"
    if not weights.exists():
        write_caffenet(weights)
    net = caffe_port.load(FOLDER / "caffenet.prototxt", weights).requires_grad_(False)
    rows = []
    for layer in options.layers:
        rows.append(compare(net, layer, options.rounds, options.threads))
        print(json.dumps(rows[-1]), flush=True)
    machine = {"machine": platform.machine(), "threads": options.threads, "torch": torch.__version__}
    if options.output:
        figures = {"machine": machine | {"load": os.getloadavg()[0]}, "rows": rows}
        options.output.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
