"""How fast a 244 MB caffemodel opens: ours beside Google's protobuf and OpenCV 4, in one run.

Run as `python -m tests.benchmarks.bench_caffemodel --opencv SCRATCH/bin/python`, where the scratch
environment has `opencv-python-headless<5` (OpenCV 5 reads no Caffe nets). Each reading is a process of its
own, the readers take turns, the file is in the page cache; seconds and peak memory above the imports' are
medians.
"""

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from caffe_port.binary import encode
from caffe_port.files import replacing
from caffe_port.zoo import FOLDER

ROOT = Path(__file__).parents[2]
SHAPES = {
    "conv1": (96, 3, 11, 11),
    "conv2": (256, 48, 5, 5),
    "conv3": (384, 256, 3, 3),
    "conv4": (384, 192, 3, 3),
    "conv5": (256, 192, 3, 3),
    "fc6": (4096, 9216),
    "fc7": (4096, 4096),
    "fc8": (1000, 4096),
}
CONV1_SHA256 = "3f38252a0edfee607ffcd296bb83bcb0f465ebea3fef5196989c9e9305190f71"  # of Caffe's own file

MEASURE = """
import json, sys, time
from pathlib import Path
deploy, weights = sys.argv[1:]
{setup}
Path("/proc/self/clear_refs").write_text("5")
peak = lambda: int(next(r for r in open("/proc/self/status") if r.startswith("VmHWM")).split()[1]) * 1024
before, begin = peak(), time.perf_counter()
{read}
print(json.dumps({{"seconds": time.perf_counter() - begin, "bytes": peak() - before}}))
"""
READERS: dict[str, tuple[str, str]] = {
    "caffe_port, index": ("from caffe_port.wire import open_caffemodel", "model = open_caffemodel(weights)"),
    "caffe_port, arrays": (
        "from caffe_port.wire import open_caffemodel",
        "arrays = [b.array() for layer in open_caffemodel(weights).layers for b in layer.blobs]",
    ),
    "caffe_port, net": ("import caffe_port, caffe_port.weights", "net = caffe_port.load(deploy, weights)"),
    "protobuf, message": (
        "from tests.oracles.protobuf_reader import message_class; message = message_class('NetParameter')()",
        "message.ParseFromString(Path(weights).read_bytes())",
    ),
    "protobuf, arrays": (
        "import numpy; from tests.oracles.protobuf_reader import message_class; "
        "message = message_class('NetParameter')()",
        "message.ParseFromString(Path(weights).read_bytes()); "
        "arrays = [numpy.array(b.data, 'f4') for layer in message.layer for b in layer.blobs]",
    ),
    "OpenCV, net": ("import cv2", "net = cv2.dnn.readNetFromCaffe(deploy, weights)"),
}


def write_caffenet(path: Path) -> None:
    """CaffeNet with seeded weights: layer k has RandomState(k), normal weights, then uniform biases."""
    layers = []
    for seed, (name, shape) in enumerate(SHAPES.items(), 1):
        random = np.random.RandomState(seed)
        weight = random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype("<f4")
        bias = random.uniform(-0.1, 0.1, shape[0]).astype("<f4")
        if name == "conv1" and hashlib.sha256(weight.tobytes()).hexdigest() != CONV1_SHA256:
            raise SystemExit("NumPy's RandomState gave other numbers than it did for Caffe")
        blobs = [b"".join(_blob(array)) for array in (weight, bias)]
        layers.append(
            {"name": name, "type": "Convolution" if "conv" in name else "InnerProduct", "blobs": blobs}
        )
    with replacing(path) as file:
        file.writelines(encode({"name": "CaffeNet", "layer": layers}, "NetParameter"))


def _blob(array: np.ndarray) -> list[bytes]:
    shape = encode({"shape": {"dim": list(array.shape)}}, "BlobProto")
    numbers = array.tobytes()
    header = encode({"blobs": [numbers]}, "BlobProtoVector")[1]  # the length as a varint
    return [bytes([5 << 3 | 2]), header, numbers, *shape]


def measure(name: str, interpreter: str, weights: Path) -> dict[str, float]:
    setup, read = READERS[name]
    code = MEASURE.format(setup=setup, read=read)
    command = [interpreter, "-c", code, str(FOLDER / "caffenet.prototxt"), str(weights)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=ROOT)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, default=Path(tempfile.gettempdir()) / "caffenet_full.caffemodel")
    parser.add_argument("--opencv", help="Python of an environment with OpenCV 4")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path, help="where to write the figures as JSON")
    options = parser.parse_args()
    if not options.file.exists():
        write_caffenet(options.file)
    names = [name for name in READERS if options.opencv or not name.startswith("OpenCV")]
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(options.repeats):
        for name in names:
            interpreter = options.opencv if name.startswith("OpenCV") else sys.executable
            runs[name].append(measure(name, interpreter, options.file))
    base = statistics.median(run["seconds"] for run in runs["caffe_port, index"])
    rows = {}
    for name, found in runs.items():
        seconds = [run["seconds"] for run in found]
        rows[name] = {
            "median_ms": round(1e3 * statistics.median(seconds), 2),
            "lowest_ms": round(1e3 * min(seconds), 2),
            "highest_ms": round(1e3 * max(seconds), 2),
            "peak_MB": round(statistics.median(run["bytes"] for run in found) / 1e6, 1),
            "times_index": round(statistics.median(seconds) / base, 1),
        }
        print(f"{name:20}", *(f"{key} {value:<10}" for key, value in rows[name].items()))
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "load": os.getloadavg()[0]}
    result = {
        "file_bytes": options.file.stat().st_size,
        "repeats": options.repeats,
        **machine,
        "readers": rows,
    }
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
