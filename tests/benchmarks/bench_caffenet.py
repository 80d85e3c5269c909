"""How fast CaffeNet runs: ours beside OpenCV 4's importer, forward of 1 and 10 pictures, one and two threads.

Run as `python -m tests.benchmarks.bench_caffenet --opencv SCRATCH/bin/python`, where the scratch
environment has `opencv-python-headless<5` (OpenCV 5 reads no Caffe nets). Each measurement is a process of
its own with warm-up; the contenders take turns, so that a busy machine is busy for both. Milliseconds a
forward: the median of each process's forwards, and of those the median, the lowest and the highest; the
ratio is of medians.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from caffe_port.zoo import FOLDER
from tests.benchmarks.bench_caffemodel import ROOT, write_caffenet

SEED = 0
TIMES = """
import json, sys, time, numpy
deploy, weights, threads, batch, repeats = *sys.argv[1:3], *map(int, sys.argv[3:])
data = numpy.random.RandomState({seed}).standard_normal((batch, 3, 227, 227)).astype("f4") * 50
{setup}
for _ in range(3):
    result = forward()
times = []
for _ in range(repeats):
    begin = time.perf_counter()
    result = forward()
    times.append(time.perf_counter() - begin)
print(json.dumps({{"times": times, "fc8": result.ravel()[:1000].astype(float).tolist()}}))
"""
CONTENDERS = {
    "caffe_port": """
import torch, caffe_port
torch.set_num_threads(threads)
net, data = caffe_port.load(deploy, weights), torch.from_numpy(data)
@torch.inference_mode()
def forward():
    return net.features(data, "fc8").numpy()
""",
    "OpenCV": """
import cv2
cv2.setNumThreads(threads)
net = cv2.dnn.readNetFromCaffe(deploy, weights)
def forward():
    net.setInput(data)
    return net.forward("fc8")
""",
}


def measure(
    name: str, interpreter: str, weights: Path, threads: int, batch: int, repeats: int
) -> dict[str, list[float]]:
    """Times of one process, and fc8 of its first picture."""
    code = TIMES.format(seed=SEED, setup=CONTENDERS[name])
    numbers = [str(number) for number in (threads, batch, repeats)]
    command = [interpreter, "-c", code, str(FOLDER / "caffenet.prototxt"), str(weights), *numbers]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin at barriers starve each other on a busy machine
    }
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=ROOT)
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(runs: dict[str, list[dict[str, list[float]]]]) -> dict[str, object]:
    """Figures of the contenders in one setting."""
    medians = {name: [1e3 * statistics.median(run["times"]) for run in own] for name, own in runs.items()}
    rows: dict[str, object] = {
        name: {
            "median_ms": round(statistics.median(own), 1),
            "lowest_ms": round(1e3 * min(min(run["times"]) for run in runs[name]), 1),
            "highest_ms": round(max(own), 1),
        }
        for name, own in medians.items()
    }
    if len(runs) == 2:
        ours, theirs = (runs[name][0]["fc8"] for name in CONTENDERS)
        largest = max(abs(value) for value in theirs)
        rows["fc8_difference"] = max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) / largest
        first, second = (medians[name] for name in CONTENDERS)
        rows["times_as_fast"] = round(statistics.median(second) / statistics.median(first), 2)
        rows["times_as_fast_lowest"] = round(
            min(min(run["times"]) for run in runs["OpenCV"])
            / min(min(run["times"]) for run in runs["caffe_port"]),
            2,
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, default=Path(tempfile.gettempdir()) / "caffenet_full.caffemodel")
    parser.add_argument("--opencv", help="Python of an environment with OpenCV 4")
    parser.add_argument("--rounds", type=int, default=5, help="processes of each contender in each setting")
    parser.add_argument("-o", "--output", type=Path, help="where to write the figures as JSON")
    options = parser.parse_args()
    if not options.file.exists():
        write_caffenet(options.file)
    interpreters = {"caffe_port": sys.executable, "OpenCV": options.opencv}
    names = [name for name in CONTENDERS if interpreters[name]]
    settings = {}
    for threads in (1, 2):
        for batch, repeats in ((1, 40), (10, 8)):
            runs: dict[str, list[dict[str, list[float]]]] = {name: [] for name in names}
            for _ in range(options.rounds):
                for name in names:
                    runs[name].append(
                        measure(name, interpreters[name], options.file, threads, batch, repeats)
                    )
            key = f"{threads} threads, batch {batch}"
            settings[key] = compare(runs)
            print(key, json.dumps(settings[key]), flush=True)
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "load": os.getloadavg()[0]}
    if options.output:
        options.output.write_text(
            json.dumps({"rounds": options.rounds, **machine, **settings}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
