"""Every net of the golden folder against Caffe's own blobs and refusals, and the whole CaffeNet."""

import hashlib
import json
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import caffe_port
from caffe_port import ConversionError
from caffe_port.net import CaffeNet
from tests.benchmarks.bench_caffemodel import write_caffenet
from tests.tolerances import blob_close

GOLDEN = Path(__file__).parents[1] / "golden" / "caffe"
NETS = sorted(path.parent.name for path in GOLDEN.glob("*/net.prototxt"))
OTHERS = ["real_cifar10_quick", "real_lenet", "real_mtcnn_det1"]
ACCEPTED: dict[str, bool] = json.loads((GOLDEN / "errors" / "errors.json").read_text())
# Types that choose or move numbers: on equal inputs their tops are equal to the last bit.
EXACT_TYPES = {
    "Pooling",
    "Concat",
    "Slice",
    "Split",
    "Flatten",
    "Reshape",
    "Crop",
    "Tile",
    "ArgMax",
    "Im2col",
    "Threshold",
    "Filter",
    "BatchReindex",
    "SPP",
}


def load(folder: Path) -> CaffeNet:
    weights = next((path for path in folder.glob("net.caffemodel*")), None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # weights_partial lacks a layer; test_weights has it
        return caffe_port.load(folder / "net.prototxt", weights)


def arrays(folder: Path, name: str) -> dict[str, np.ndarray]:
    path = folder / name
    return dict(np.load(path if path.exists() else GOLDEN / "small" / name))


def check(folder: Path) -> None:
    net, expected = load(folder), arrays(folder, "blobs.npz")
    inputs = arrays(folder, "input.npz")
    with torch.no_grad():
        found = net.blobs(**inputs)
    assert set(found) == set(expected)
    for name, blob in expected.items():
        blob_close(found[name], blob, "caffe blob")
    for step in net.plan.steps:
        exact = step.layer.type in EXACT_TYPES and getattr(step.layer.params, "method", "MAX") == "MAX"
        if exact and set(step.layer.bottoms) <= set(inputs):
            for top in step.layer.tops:
                np.testing.assert_array_equal(found[top], expected[top], err_msg=top)


def test_the_arrays_are_those_that_caffe_wrote() -> None:
    sums = dict(reversed(line.split("  ")) for line in (GOLDEN / "SHA256SUMS").read_text().splitlines())
    files = {str(p.relative_to(GOLDEN)) for p in GOLDEN.rglob("*") if p.is_file()} - {"SHA256SUMS"}
    assert files == set(sums)
    for name, digest in sums.items():
        assert hashlib.sha256((GOLDEN / name).read_bytes()).hexdigest() == digest, name


@pytest.mark.parametrize("name", NETS)
def test_blobs_are_caffes(name: str) -> None:
    check(GOLDEN / name)


@pytest.mark.parametrize("name", OTHERS)
def test_blobs_of_nets_that_others_trained_are_caffes(name: str, data_folder: Path) -> None:
    check(data_folder / "golden" / "caffe" / name)


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_caffe_refuses_is_refused_in_one_line(name: str) -> None:
    folder = GOLDEN / "errors"
    if name.startswith("weights:"):
        files = (
            GOLDEN / "inner_product" / "net.prototxt",
            folder / f"{name.removeprefix('weights:')}.caffemodel",
        )
    else:
        files = folder / f"{name}.prototxt", None
    if ACCEPTED[name]:
        net = caffe_port.load(*files)
        inputs = {key: np.ones(shape, np.float32) for key, shape in net.inputs.items()}
        assert all(torch.isfinite(blob).all() for blob in net.blobs(**inputs).values())
        return
    with pytest.raises(ConversionError) as refusal:
        caffe_port.load(*files)
    text = str(refusal.value)
    assert "\n" not in text
    assert files[-1 if files[1] else 0].name in text
    if name not in ("empty_net", "weights:truncated_file"):  # these have no layer to name
        assert "layer '" in text
    if name not in ("unknown_field", "weights:data_short", "weights:truncated_file", "v1_and_v2_mixed"):
        assert "field '" in text or "fields '" in text


@pytest.fixture(scope="module")
def caffenet(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> CaffeNet:
    weights = tmp_path_factory.mktemp("full") / "caffenet.caffemodel"
    write_caffenet(weights)
    net = caffe_port.load(data_folder / "golden/caffe/caffenet_full/net.prototxt", weights)
    weights.unlink()
    return net


def test_the_whole_caffenet_is_caffes(caffenet: CaffeNet, data_folder: Path) -> None:
    folder = data_folder / "golden" / "caffe" / "caffenet_full"
    pictures = np.stack([cv2.imread(str(folder / f"{name}_227.png")) for name in ("cat", "fish-bike")])
    data = pictures.transpose(0, 3, 1, 2).astype(np.float32) - np.float32([104, 117, 123]).reshape(3, 1, 1)
    digest = np.load(folder / "digest.npz")
    with torch.no_grad():
        blobs = caffenet.blobs(data)
    overwritten = {step.layer.tops[0] for step in caffenet.plan.steps if step.reads == step.writes}
    for name, blob in blobs.items():
        key = next(
            (k for k in (f"drop{name[-1]}__{name}", f"relu{name[-1]}__{name}") if f"{k}.val" in digest), name
        )
        assert (key != name) == (name in overwritten)
        blob_close(blob.flatten()[digest[f"{key}.pos"]], digest[f"{key}.val"], "caffe blob")
    blob_close(blobs["fc8"], digest["fc8.full"], "caffe fc8")
