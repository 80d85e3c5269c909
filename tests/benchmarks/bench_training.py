"""Training: literal against fused up-convolution in whole steps, share of the machine's peak, the loader, processes.

Steps and the loader are measured in CPU seconds of one thread, which other programs on the machine disturb least: the
variants in turn in one process, the least of several. The peak is that of a product of two square matrices, in turn
with the steps; the share is that of the network, forward and backward, without the update of the weights, which costs
the same at any batch. One process against two is wall time of `decoders train fc6 --net caffenet-mini`, alone and by
torchrun, one thread a process, in turn; it needs a machine with nothing else to do, and the load is recorded.

    python tests/benchmarks/bench_training.py --images photos/
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_full_width import multiply_adds

from caffe_port.pictures import list_images
from decoders.data import Samples
from decoders.feature_cache import cached
from decoders.framing import Cover
from decoders.model import Decoder
from decoders.optimisation import Optimisation
from decoders.representations import KERNELS, representation
from decoders.specs import DECODERS
from decoders.upconv import UPCONVS

RESULTS = Path(__file__).parent / "results" / "training.json"
STEPS = {"hog": (1.0, 8), "fc8": (1.0, 64), "conv5": (1.0, 8)}  # width, batch
SIDE = 1024  # of the matrices whose product is the peak


def least(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Least CPU seconds of each function, called in turn after one call to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for repeat in range(repeats + 1):
        for name, function in functions.items():
            start = time.process_time()
            function()
            if repeat:
                seconds[name].append(time.process_time() - start)
    return {name: min(values) for name, values in seconds.items()}


def training_step(name: str, kind: str, width: float, batch: int) -> tuple[Callable[[], object], ...]:
    """Of a decoder, as training does them: forward and backward; these and the update."""
    spec = DECODERS[name].scaled(width)
    optimisation = Optimisation(Decoder(spec, upconv=kind), torch.device("cpu"), clip=0.5)
    features, target = torch.ones(batch, *spec.feature_shape), torch.zeros(batch, 3, *spec.image_size)

    def network() -> None:
        optimisation.gradient([(features, target)], batch)

    def step() -> None:
        network()
        optimisation.update(0.001)

    return network, step


def steps(repeats: int) -> list[dict[str, Any]]:
    """Each decoder's step, literal and fused, beside the peak."""
    matrix = torch.ones(SIDE, SIDE)
    rows = []
    for name, (width, batch) in STEPS.items():
        functions: dict[str, Callable[[], object]] = {"peak": lambda: matrix @ matrix}
        for kind in UPCONVS:
            functions[f"{kind} network"], functions[kind] = training_step(name, kind, width, batch)
        found = least(functions, repeats)
        spec = DECODERS[name].scaled(width)
        work = {kind: multiply_adds(spec, upconv=kind, backward=True) for kind in UPCONVS}
        reached = batch * work["fused"] / found["fused network"]
        rows.append(
            {
                "what": f"{name} training step, width {width}, batch {batch}",
                "literal_images_per_s": batch / found["literal"],
                "fused_images_per_s": batch / found["fused"],
                "ratio": found["literal"] / found["fused"],
                "ratio_of_the_network": found["literal network"] / found["fused network"],
                "ratio_of_multiplications": work["literal"] / work["fused"],
                "peak_gflops": 2e-9 * SIDE**3 / found["peak"],
                "share_of_peak": reached / (SIDE**3 / found["peak"]),
            }
        )
    return rows


def loading(images: str, repeats: int) -> list[dict[str, Any]]:
    """Pictures a second of one loader thread: decoding and cropping alone, each kernel, and kernels from a cache."""
    files = list_images([images])[:64]
    framing = Cover((256, 256))

    def load(extract: Callable[[np.ndarray], np.ndarray] | None) -> Callable[[], object]:
        samples = Samples(files, framing, extract=extract, seed=0, crops=1, cache_bytes=0)
        return lambda: samples.batch(range(16))

    with tempfile.TemporaryDirectory() as folder:
        functions = {"decoding and cropping": load(None)}
        for name in KERNELS:
            kernel = KERNELS[name]
            functions[name] = load(kernel.extract)
            functions[f"{name}, from the feature cache"] = load(cached(kernel, Path(folder), 2**30).extract)
        found = least(functions, repeats)
        size = sum(file.stat().st_size for file in Path(folder).rglob("*.safetensors"))
    rows = [{"what": what, "images_per_s_and_thread": 16 / spent} for what, spent in found.items()]
    return [*rows, {"what": "feature cache, all kernels", "kib_a_picture": size / 16 / 1024}]


def encoding(repeats: int) -> list[dict[str, Any]]:
    """Pictures a second of caffenet-mini up to fc6, on the training device."""
    fc6 = representation("fc6", "caffenet-mini")
    images = np.zeros((64, 3, *fc6.image_size), np.float32)
    found = least({"caffenet-mini up to fc6": lambda: fc6.extract(images)}, repeats)
    return [{"what": what, "images_per_s_and_thread": 64 / spent} for what, spent in found.items()]


def processes(images: str, repeats: int) -> dict[str, Any]:
    """Images a second of a run by one process and by two."""
    best: dict[int, float] = {1: 0.0, 2: 0.0}
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for _ in range(repeats):
        for count in best:
            with tempfile.TemporaryDirectory() as folder:
                words = [
                    "train",
                    "fc6",
                    "--net",
                    "caffenet-mini",
                    "--images",
                    images,
                    "--out",
                    f"{folder}/run",
                ]
                words += [
                    "--width",
                    "0.25",
                    "--steps",
                    "50",
                    "--workers",
                    "1",
                    "--val-images",
                    "2",
                    "--quiet",
                ]
                alone = [sys.executable, "-m", "decoders"]
                runner = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
                together = [*runner, f"--nproc-per-node={count}", "-m", "decoders"]
                command = (alone if count == 1 else together) + words
                subprocess.run(command, env=environment, check=True, capture_output=True)
                log = (Path(folder) / "run" / "log.jsonl").read_text().splitlines()
            best[count] = max(best[count], json.loads(log[0])["images_per_s"])
    return {
        "what": "fc6 of caffenet-mini, width 0.25",
        "one": best[1],
        "two": best[2],
        "ratio": best[2] / best[1],
    }


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", required=True, help="A hundred pictures or more.")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    load_before = os.getloadavg()[0]
    found = {
        "steps": steps(arguments.repeats),
        "loading": loading(arguments.images, arguments.repeats) + encoding(arguments.repeats),
        "processes": processes(arguments.images, 2),
    }
    print(json.dumps(found, indent=1))
    machine = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": 1,
        "torch": torch.__version__,
        "load_before": load_before,
        "load_after": os.getloadavg()[0],
    }
    RESULTS.write_text(json.dumps({"machine": machine, **found}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
