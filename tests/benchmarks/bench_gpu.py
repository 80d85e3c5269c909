"""How fast the kernels are on a GPU, and how far from what its memory could do.

    python -m tests.benchmarks.bench_gpu [--rounds 20] [--output FILE | -]

writes results/gpu.json. Each row is one function on one batch that lies on the GPU already, measured with the GPU's own
clock after a warm-up: median and quartiles. The share of bandwidth is that of the least traffic, the images once in and
the features once out, at the speed of a copy on the same GPU. The pictures are 1/f noise from seed 0.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import kernels
from tests.benchmarks.bench_kernels import natural, spread

RESULT = Path(__file__).parent / "results" / "gpu.json"
FUNCTIONS = ("hog", "lbp", "sift")
BATCHES = [(1, 256), (64, 256), (1, 1024), (16, 1024), (1, 2048)]


def batch(count: int, side: int) -> NDArray:
    """Grey pictures (count, side, side) float32, 0..255; all alike, which no kernel can use."""
    return np.stack([natural(side, side).astype(np.float32)] * count)


def seconds(cupy: Any, function: Any, rounds: int) -> NDArray:
    """Time of each of so many calls on the current stream, by the GPU's clock."""
    function()
    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    times = []
    for _ in range(rounds):
        begin.record()
        function()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(begin, end) / 1e3)
    return np.array(times)


def bandwidth(cupy: Any, rounds: int) -> float:
    """Bytes a second, read and written, of a copy of 1 GB."""
    source = cupy.zeros(1 << 28, np.float32)
    target = cupy.empty_like(source)
    times = seconds(cupy, lambda: cupy.copyto(target, source), rounds)
    return 2 * source.nbytes / float(np.median(times))


def measure(cupy: Any, name: str, images: NDArray, *, rounds: int) -> dict[str, Any]:
    """One function on one batch."""
    on_gpu, function = cupy.asarray(images), getattr(kernels, name)
    result = function(on_gpu)
    arrays = [array for keypoints in result for array in keypoints] if name == "sift" else [result]
    times = seconds(cupy, lambda: function(on_gpu), rounds)
    median = float(np.median(times))
    moved = images.nbytes + sum(array.nbytes for array in arrays)
    return {
        "function": name,
        "batch": list(images.shape),
        **spread(times),
        "ns_per_pixel": round(median / images.size * 1e9, 5),
        "share_of_bandwidth": moved / median / bandwidth(cupy, 3),
    }


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20, help="calls of each (default: 20)")
    parser.add_argument("--output", default=str(RESULT), help="file to write, - for standard output")
    arguments = parser.parse_args()
    import cupy

    device = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    report = {
        "gpu": device["name"].decode(),
        "cupy": cupy.__version__,
        "copy_gigabytes_per_second": round(bandwidth(cupy, arguments.rounds) / 1e9, 1),
        "rows": [
            measure(cupy, name, batch(*size), rounds=arguments.rounds)
            for size in BATCHES
            for name in FUNCTIONS
        ],
    }
    text = json.dumps(report, indent=1) + "\n"
    if arguments.output == "-":
        sys.stdout.write(text)
    else:
        Path(arguments.output).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
