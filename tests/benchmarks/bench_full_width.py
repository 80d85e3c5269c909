"""One training step of every decoder at full width, for CaffeNet at its real size with random weights: time and memory.

Each runs in a process of its own, by `decoders.training.train` as `decoders train` calls it, checkpoint included. Peak
memory is what the system counted (ru_maxrss); multiply-adds come from the tables.

    python tests/benchmarks/bench_full_width.py --batch 8
"""

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from caffe_port import zoo
from caffe_port.convert import convert
from decoders.checkpoints import load_run
from decoders.config import TrainConfig
from decoders.representations import KERNELS
from decoders.rows import DecoderSpec
from decoders.specs import DECODERS
from decoders.training import train

RESULTS = Path(__file__).parent / "results" / "full_width.json"


def multiply_adds(spec: DecoderSpec, *, upconv: str = "fused", backward: bool = False) -> int:
    """Multiply-adds of one picture, forward; with ``backward``, of a step: products for weights and inputs too."""
    total = 0
    for row in spec.rows:
        height, width, maps = row.out
        kernel = row.kernel**2 if row.op in ("conv", "upconv") else 1
        count = height * width * maps * spec.maps_in(row) * kernel
        count //= 4 if row.op == "upconv" and upconv == "fused" else 1
        products = 3 if "features" not in row.inputs else 2  # features need no gradient
        total += 0 if row.op == "reshape" else count * (products if backward else 1)
    return total


def random_caffenet(folder: Path) -> Path:
    """CaffeNet at its real size with random weights, converted."""
    text = zoo.NETS["caffenet"].deploy.read_text(encoding="utf-8")
    text = re.sub(r"(convolution|inner_product)_param \{", r"\1_param { weight_filler { type: 'msra' }", text)
    (folder / "caffenet.prototxt").write_text(text)
    path = folder / "caffenet.safetensors"
    convert(folder / "caffenet.prototxt", None, path, mean="104,117,123", warp=(256, 256), random_weights=0)
    return path


def one_step(name: str, net: str, images: str, batch: int) -> None:
    """Train for a step, say what it took."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        began = time.monotonic()
        config = TrainConfig(
            representation=name,
            net=net,
            images=(images,),
            steps=1,
            batch=batch,
            val_images=2,
            val_fraction=0.2,
        )
        train(config, out, quiet=True)
        seconds = time.monotonic() - began
        spec = load_run(out)[0].spec
        log = json.loads((out / "log.jsonl").read_text().splitlines()[0])
        size = (out / "state.safetensors").stat().st_size
    print(
        json.dumps(
            {
                "decoder": name,
                "parameters": spec.parameters,
                "gflops_a_picture_and_step": round(2e-9 * multiply_adds(spec, backward=True), 2),
                "network_images_per_s": log["network_images_per_s"],
                "seconds_in_all": round(seconds, 1),
                "checkpoint_gib": round(size / 2**30, 3),
                "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
            }
        )
    )


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(DECODERS))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--images", required=True, help="Pictures, about twenty or more.")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--net", help="Used by this script when it calls itself.")
    arguments = parser.parse_args()
    if arguments.net is not None:
        one_step(arguments.names[0], arguments.net, arguments.images, arguments.batch)
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        net = str(random_caffenet(Path(folder)))
        for name in arguments.names:
            of = "" if name in KERNELS else net
            words = [name, "--batch", arguments.batch, "--images", arguments.images, "--net", of]
            command = [sys.executable, __file__, *map(str, words)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append(json.loads(done.stdout))
            print(done.stdout.strip(), flush=True)
    machine = {"threads": torch.get_num_threads(), "torch": torch.__version__, "batch": arguments.batch}
    arguments.out.write_text(
        json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
