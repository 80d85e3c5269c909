"""How fast HOG, LBP and SIFT of `kernels` are, beside VLFeat's and, for SIFT, OpenCV's and scikit-image's.

    python -m tests.benchmarks.bench_kernels [--rounds 9] [--sizes 256 512 1024 2048] [--output FILE | -]

writes results/kernels.json. The programs take turns, a block of calls each, after a warm-up; medians and quartiles are
given. One thread against another program is measured in processor time, which other processes disturb less; threads
against each other in wall-clock time. The pictures are 1/f noise from seed 0: spectrum and smoothness of natural
pictures. OpenCV's and scikit-image's SIFT are other programs: other thresholds, other numbers of frames, so their times
are for orientation. Needs libvlfeat-dev and a C compiler; OpenCV and scikit-image are measured if there.
"""

import argparse
import importlib.util
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

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

import kernels
from kernels.sift.geometry import base_taps, level_taps, octave_count
from tests.oracles import vlfeat, vlfeat_sift

ROOT = Path(__file__).parent.parent.parent
RESULT = Path(__file__).parent / "results" / "kernels.json"
SIZES = (256, 512, 1024, 2048)
BATCHES = {
    "hog": [(64, 256, 256), (16, 512, 512), (1, 1024, 1024)],
    "lbp": [(64, 256, 256), (16, 512, 512), (1, 1024, 1024)],
    "sift": [(8, 256, 256), (4, 512, 512), (1, 1024, 1024), (1, 2048, 2048)],
}
BLOCK_SECONDS = 0.05
LONGEST_S = 15.0  # that one program is measured at one size
SLOW_PEER_PIXELS = 512 * 512  # scikit-image's SIFT takes a minute beyond

WARM_UP = """
import time
start = time.perf_counter(), time.process_time()
import kernels
kernels.warmup(quiet=True)
print(time.perf_counter() - start[0], time.process_time() - start[1])
"""

Calls = dict[str, Callable[[], Any]]


def natural(height: int, width: int) -> NDArray:
    """1/f noise, (H, W) float64, 0..255."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = np.inf
    picture = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(height, width))) / frequency, (height, width))
    return np.clip(127.5 + 50 * picture / picture.std(), 0, 255)


def interleaved(candidates: Calls, rounds: int, clock: Callable[[], float]) -> dict[str, NDArray]:
    """Seconds a call, for each candidate and round; they take turns block by block, slow ones in fewer rounds."""
    calls, least = {}, float(rounds)
    for name, function in candidates.items():
        function()  # compiles, or loads what was compiled
        start = clock()
        function()
        seconds_a_call = max(clock() - start, 1e-9)
        calls[name] = max(1, round(BLOCK_SECONDS / seconds_a_call))
        least = min(least, LONGEST_S / seconds_a_call)
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(max(3, int(least))):
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


def arithmetic_peak() -> float:
    """Operations a second of one thread in a product of float32 matrices; BLAS fuses multiplication and addition."""
    a = np.ones((1024, 1024), np.float32)
    seconds = interleaved({"product": lambda: a @ a}, 7, time.thread_time)["product"]
    return 2 * 1024**3 / float(np.min(seconds))


def smoothing_operations(height: int, width: int) -> float:
    """Multiplications and additions of SIFT's Gaussian filters, which no order of the work can save."""
    octaves = octave_count(height, width, 0)
    taps = sum(filter_.size for filter_ in level_taps(3))
    first = base_taps(3, 0)
    whole = (first.size if first is not None else 0) + taps * sum(4.0**-o for o in range(octaves))
    return 2 * 2 * whole * height * width


def sift_peers(gray: NDArray) -> Calls:
    """SIFT of other programs, on one thread."""
    cv2.setNumThreads(1)
    levels = gray.astype(np.uint8)
    detector = cv2.SIFT_create()
    peers: Calls = {"opencv": lambda: detector.detectAndCompute(levels, None)}
    if importlib.util.find_spec("skimage") and gray.size <= SLOW_PEER_PIXELS:
        from skimage.feature import SIFT

        peers["scikit-image"] = lambda: SIFT(upsampling=1).detect_and_extract(levels)
    return peers


def programs(library: Any, driver: vlfeat_sift.VLFeatSift, gray: NDArray) -> dict[str, Calls]:
    """What to call for each feature: VLFeat's, ours with one thread, and others."""
    hog, lbp = vlfeat.VLFeatHog(library), vlfeat.VLFeatLbp(library)
    return {
        "hog": {"vlfeat": lambda: hog.features(gray), "kernels": lambda: kernels.hog(gray, threads=1)},
        "lbp": {"vlfeat": lambda: lbp.features(gray, 16), "kernels": lambda: kernels.lbp(gray, threads=1)},
        "sift": {
            "vlfeat": lambda: driver.extract(gray),
            "kernels": lambda: kernels.sift(gray, threads=1),
            **sift_peers(gray),
        },
    }


def one_thread(
    library: Any, driver: vlfeat_sift.VLFeatSift, sizes: list[int], rounds: int, machine: dict[str, float]
) -> list[dict[str, Any]]:
    """One row a size and feature: all programs, their ratios to ours, time a pixel, shares of what the machine can."""
    rows = []
    for size in sizes:
        gray = natural(size, size).astype(np.float32)
        for feature, calls in programs(library, driver, gray).items():
            seconds = interleaved(calls, rounds, time.thread_time)
            ours = float(np.median(seconds["kernels"]))
            others = {name: float(np.median(values)) for name, values in seconds.items() if name != "kernels"}
            row = {
                "feature": feature,
                "size": size,
                **{name: spread(values) for name, values in seconds.items()},
                "times_faster_than": {name: round(value / ours, 2) for name, value in others.items()},
                "ns_per_pixel": round(ours / gray.size * 1e9, 3),
            }
            rows.append(row | shares(feature, gray, ours, machine))
            print(json.dumps(row["times_faster_than"]), feature, size, row["ns_per_pixel"], file=sys.stderr)
    return rows


def shares(feature: str, gray: NDArray, seconds: float, machine: dict[str, float]) -> dict[str, Any]:
    """How near to the machine's limits: bytes that must be moved; for SIFT also operations of the smoothing alone."""
    if feature == "sift":
        found = kernels.sift(gray)
        assert isinstance(found, kernels.Keypoints)
        moved = gray.nbytes + 2 * 6 * gray.nbytes * 4 / 3 + found.frames.nbytes + found.descriptors.nbytes
        rate = smoothing_operations(*gray.shape) / seconds
        extra = {"frames": len(found.frames), "smoothing_share_of_peak": round(rate / machine["peak"], 4)}
    else:
        moved, extra = gray.nbytes + getattr(kernels, feature)(gray).nbytes, {}
    return extra | {"share_of_copy_bandwidth": round(moved / seconds / machine["bandwidth"], 4)}


def two_threads(rounds: int) -> list[dict[str, Any]]:
    """One row a batch: one thread, two threads, their ratio, in wall-clock time."""
    rows = []
    for feature, batches in BATCHES.items():
        for count, height, width in batches:
            images = np.stack([natural(height, width).astype(np.float32)] * count)
            call = getattr(kernels, feature)
            candidates = {
                str(threads): lambda images=images, call=call, threads=threads: call(images, threads=threads)
                for threads in (1, 2)
            }
            found = interleaved(candidates, rounds, time.perf_counter)
            rows.append(
                {
                    "feature": feature,
                    "batch": [count, height, width],
                    "one_thread": spread(found["1"]),
                    "two_threads": spread(found["2"]),
                    "times_faster": round(float(np.median(found["1"]) / np.median(found["2"])), 2),
                    "times_faster_at_best": round(float(np.min(found["1"]) / np.min(found["2"])), 2),
                }
            )
            print(feature, rows[-1]["batch"], rows[-1]["times_faster"], file=sys.stderr)
    return rows


def first_calls() -> dict[str, float]:
    """Seconds from start to all kernels ready in a fresh process: nothing compiled yet, and from the disk cache."""
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": folder}
        for when in ("compiling", "from_cache"):
            command = [sys.executable, "-c", WARM_UP]
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
            )
            wall, processor_time = (round(float(value), 2) for value in done.stdout.split())
            result |= {f"{when}_s": wall, f"{when}_processor_s": processor_time}
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
    parser.add_argument("--rounds", type=int, default=9, help="blocks of calls a candidate (default: 9)")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="sides of the pictures")
    parser.add_argument("--output", default=str(RESULT), help="file to write, - for standard output")
    arguments = parser.parse_args()
    library = vlfeat.load()
    if library is None:
        raise SystemExit(
            "libvl is not installed (Debian and Ubuntu: libvlfeat1), and VLFEAT_LIBRARY names no file"
        )
    with tempfile.TemporaryDirectory() as folder:
        driver, fault = vlfeat_sift.compiled(Path(folder))
    if driver is None:
        raise SystemExit(fault)
    machine = {"bandwidth": copy_bandwidth(), "peak": arithmetic_peak()}
    report = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_average_at_start": os.getloadavg()[0],
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "opencv": cv2.__version__,
        "vlfeat": library.vl_get_version_string().decode(),
        "rounds": arguments.rounds,
        "copy_gigabytes_per_second": round(machine["bandwidth"] / 1e9, 2),
        "matrix_product_gigaflops": round(machine["peak"] / 1e9, 1),
        "one_thread_processor_time": one_thread(library, driver, arguments.sizes, arguments.rounds, machine),
        "threads_wall_clock": two_threads(arguments.rounds),
        "first_calls": first_calls(),
        "load_average_at_end": os.getloadavg()[0],
    }
    text = json.dumps(report, indent=1) + "\n"
    if arguments.output == "-":
        sys.stdout.write(text)
    else:
        Path(arguments.output).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
