"""Literal against fused up-convolution: single layers (`bench_training.py` has whole steps).

Both compute the same; the literal one multiplies the inserted zeros too: 4 multiplications for 1.
Ratios of medians, the two forms in turn in one process.

    python tests/benchmarks/bench_upconv.py --threads 2
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from decoders.upconv import UPCONVS

RESULTS = Path(__file__).parent / "results" / "upconv.json"
# maps in, maps out, kernel, side of the input map: of the HOG decoder at full width, and Table 1's upconv2 and upconv5
LAYERS = {
    "hog upconvA1": (1024, 512, 4, 4),
    "hog upconvJ4": (128, 64, 4, 32),
    "hog upconvJ6": (32, 3, 4, 128),
    "fc8 upconv2": (256, 128, 5, 8),
    "fc8 upconv5": (32, 3, 5, 64),
}


def medians(functions: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """Median seconds of each function, called in turn after one call to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for repeat in range(repeats + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def layer_step(kind: str, maps_in: int, maps_out: int, kernel: int, side: int) -> Callable[[], None]:
    """Forward and backward of one up-convolution, batch 8."""
    layer = UPCONVS[kind](maps_in, maps_out, kernel)
    torch.nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    maps = torch.ones(8, maps_in, side, side, requires_grad=True)
    return lambda: layer(maps).sum().backward()


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for name, shape in LAYERS.items():
        rows.append({"what": name, **medians({k: layer_step(k, *shape) for k in UPCONVS}, arguments.repeats)})
    for row in rows:
        row["ratio"] = row["literal"] / row["fused"]
        print(
            f"{row['what']:34} literal {row['literal']:.4f} s  fused {row['fused']:.4f} s  ratio {row['ratio']:.2f}"
        )
    machine = {"machine": platform.machine(), "threads": arguments.threads, "torch": torch.__version__}
    RESULTS.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
