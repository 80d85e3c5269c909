"""How fast kernels.hog is, beside VLFeat's own HOG.

    python -m tests.benchmarks.bench_hog [--rounds 15] [--output FILE | -]

writes results/hog.json. Both programs take turns, a block of calls each, after a warm-up; medians and quartiles are
given. One thread against VLFeat is measured in processor time, which other processes disturb less; threads against
each other in wall-clock time. The pictures are 1/f noise from seed 0: spectrum and smoothness of natural pictures.
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

import numba
import numpy as np
from numpy.typing import NDArray

import kernels
from tests.oracles import vlfeat

ROOT = Path(__file__).parent.parent.parent
RESULT = Path(__file__).parent / "results" / "hog.json"
SIZES = [(256, 256), (512, 512), (1024, 1024), (480, 640)]
BATCHES = [(64, 256, 256), (16, 512, 512), (1, 1024, 1024)]
BLOCK_SECONDS = 0.05

FIRST_CALL = """
import time
start = time.perf_counter()
import numpy, kernels
kernels.hog(numpy.ones((64, 64), numpy.{dtype}))
print(time.perf_counter() - start)
"""


def natural(height: int, width: int) -> NDArray:
    """1/f noise, (H, W) float64, 0..255."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = np.inf
    picture = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(height, width))) / frequency, (height, width))
    return np.clip(127.5 + 50 * picture / picture.std(), 0, 255)


def interleaved(
    candidates: dict[str, Callable[[], Any]], rounds: int, clock: Callable[[], float]
) -> dict[str, NDArray]:
    """Seconds a call, (rounds,) for each candidate; they take turns block by block."""
    calls = {}
    for name, function in candidates.items():
        function()  # compiles, or loads what was compiled
        start = clock()
        function()
        calls[name] = max(1, round(BLOCK_SECONDS / max(clock() - start, 1e-9)))
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, function in candidates.items():
            start = clock()
            for _ in range(calls[name]):
                function()
            seconds[name].append((clock() - start) / calls[name])
    return {name: np.array(values) for name, values in seconds.items()}


def spread(seconds: NDArray) -> dict[str, float]:
    """Median and quartiles in milliseconds."""
    low, median, high = np.percentile(seconds * 1e3, [25, 50, 75])
    return {"median_ms": round(median, 4), "quartiles_ms": [round(low, 4), round(high, 4)]}


def copy_bandwidth() -> float:
    """Bytes a second that one thread reads and writes when it copies 128 MB."""
    source = np.zeros(1 << 25, np.float32)
    target = np.ones_like(source)
    seconds = interleaved({"copy": lambda: np.copyto(target, source)}, 7, time.thread_time)["copy"]
    return 2 * source.nbytes / float(np.median(seconds))


def one_thread(reference: vlfeat.VLFeatHog, rounds: int, bandwidth: float) -> list[dict[str, Any]]:
    """One row a size and dtype: both programs, their ratio, time a pixel, bytes moved."""
    rows = []
    for height, width in SIZES:
        for dtype in (np.float32, np.uint8):
            gray = natural(height, width).astype(dtype)
            as_float = gray.astype(np.float32)
            candidates = {
                "vlfeat": lambda image=as_float: reference.features(image),
                "kernels": lambda image=gray: kernels.hog(image, threads=1),
            }
            found = interleaved(candidates, rounds, time.thread_time)
            median = float(np.median(found["kernels"]))
            moved = gray.nbytes + kernels.hog(gray).nbytes
            rows.append(
                {
                    "size": [height, width],
                    "dtype": gray.dtype.name,
                    **{name: spread(seconds) for name, seconds in found.items()},
                    "times_faster": round(float(np.median(found["vlfeat"])) / median, 2),
                    "ns_per_pixel": round(median / gray.size * 1e9, 3),
                    "share_of_copy_bandwidth": round(moved / median / bandwidth, 4),
                }
            )
    return rows


def two_threads(rounds: int) -> list[dict[str, Any]]:
    """One row a batch: one thread, two threads, their ratio, in wall-clock time."""
    rows = []
    for count, height, width in BATCHES:
        images = np.stack([natural(height, width).astype(np.float32)] * count)
        candidates = {
            str(threads): lambda images=images, threads=threads: kernels.hog(images, threads=threads)
            for threads in (1, 2)
        }
        found = interleaved(candidates, rounds, time.perf_counter)
        rows.append(
            {
                "batch": [count, height, width],
                "one_thread": spread(found["1"]),
                "two_threads": spread(found["2"]),
                "times_faster": round(float(np.median(found["1"]) / np.median(found["2"])), 2),
            }
        )
    return rows


def first_call() -> dict[str, float]:
    """Seconds from start to the first features in a fresh process: nothing compiled yet, and from the disk cache."""
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": folder}
        for when in ("compiling", "from_cache"):
            for dtype in ("float32", "uint8"):
                command = [sys.executable, "-c", FIRST_CALL.format(dtype=dtype)]
                done = subprocess.run(
                    command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
                )
                result[f"{when}_{dtype}_s"] = round(float(done.stdout), 2)
    return result


def processor() -> str:
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="blocks of calls a candidate (default: 15)")
    parser.add_argument("--output", default=str(RESULT), help="file to write, - for standard output")
    arguments = parser.parse_args()
    library = vlfeat.load()
    if library is None:
        raise SystemExit(
            "libvl is not installed (Debian and Ubuntu: libvlfeat1), and VLFEAT_LIBRARY names no file"
        )
    bandwidth = copy_bandwidth()
    report = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "vlfeat": library.vl_get_version_string().decode(),
        "rounds": arguments.rounds,
        "copy_gigabytes_per_second": round(bandwidth / 1e9, 2),
        "one_thread_processor_time": one_thread(vlfeat.VLFeatHog(library), arguments.rounds, bandwidth),
        "threads_wall_clock": two_threads(arguments.rounds),
        "first_call": first_call(),
    }
    text = json.dumps(report, indent=1) + "\n"
    if arguments.output == "-":
        sys.stdout.write(text)
    else:
        Path(arguments.output).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
