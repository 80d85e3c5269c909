"""Nets that other people trained, from the command line: convert, verify against Caffe, classify."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.caffe_port.command import run
from tests.photos import fill

NETS = {"real_lenet": 10, "real_cifar10_quick": 10, "real_mtcnn_det1": 2}  # classes


@pytest.fixture(params=NETS)
def case(request: pytest.FixtureRequest, data_folder: Path) -> Path:
    folder = data_folder / "golden" / "caffe" / request.param
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    return folder


def test_convert_verify_classify(
    case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net = tmp_path / "net.safetensors"
    assert run(monkeypatch, "convert", case / "net.prototxt", case / "net.caffemodel", "-o", net) == 0
    capsys.readouterr()
    inputs = "--input", case / "input.npz"
    assert run(monkeypatch, "verify", net, *inputs, "--against", case / "blobs.npz", "--json") == 0
    (judge,) = json.loads(capsys.readouterr().out)["judges"]
    with np.load(case / "blobs.npz") as arrays:
        assert {blob["blob"] for blob in judge["blobs"]} == set(arrays)
    assert judge["worst"]["difference"] < 2e-6
    photos = fill(tmp_path / "photos", 2)
    assert run(monkeypatch, "classify", net, photos, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["image"] for row in found] == ["picture-000.png", "picture-001.png"]
    for row in found:
        scores = [guess["score"] for guess in row["top"]]
        assert len(scores) == min(5, NETS[case.name])
        assert scores == sorted(scores, reverse=True)
        assert 0 < sum(scores) <= 1 + 1e-5


def test_the_net_that_ships_recognises_photographs(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 200 training pictures with the class in the name far more are right than the 1 of chance."""
    shards = sorted((data_folder / "data" / "images" / "tiny-imagenet").glob("*.tar"))
    if not shards:
        pytest.skip(f"no tiny-imagenet in {data_folder}")
    from caffe_port.features import classify
    from caffe_port.opening import open_net
    from caffe_port.pictures import list_images

    files = list_images([shards[0]])[::50][:200]
    answers = dict(classify(open_net("caffenet-mini"), files, [], top=1, batch=50))
    right = sum(Path(name).name.split("_")[0] in guesses[0].label for name, guesses in answers.items())
    assert len(answers) == len(files)
    assert right > len(files) * 0.25
