"""Verifying: Caffe's arrays pass, a spoilt weight fails at its layer, the certificate says so."""

import ast
import html
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from caffe_port import opencv, verify
from caffe_port.convert import convert
from caffe_port.converted import read_converted
from caffe_port.errors import ConversionError
from caffe_port.verify import relative_difference
from tests.caffe_port.command import run

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "caffe"
Output = pytest.CaptureFixture[str]


def converted(case: str, folder: Path) -> Path:
    source, out = GOLDEN / case, folder / f"{case}.safetensors"
    weights = source / "net.caffemodel"
    convert(source / "net.prototxt", weights if weights.exists() else None, out)
    return out


def options(case: str) -> tuple[object, ...]:
    return "--input", GOLDEN / case / "input.npz", "--against", GOLDEN / case / "blobs.npz"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return converted("small", tmp_path)


def spoil(path: Path, tensor: str, factor: float) -> None:
    """Multiply the first number of a tensor of a converted file."""
    data = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    at = start + json.loads(data[8:start])[tensor]["data_offsets"][0]
    data[at : at + 4] = (np.frombuffer(data[at : at + 4], "<f4") * np.float32(factor)).tobytes()
    path.write_bytes(data)


def test_caffe_s_arrays_pass(small: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    assert run(monkeypatch, "verify", small, *options("small")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Caffe's arrays, blobs.npz, SHA-256 ")
    assert [line.split()[0] for line in lines[1:16]] == list(np.load(GOLDEN / "small" / "blobs.npz"))
    assert lines[16].startswith("passed (largest absolute difference of a blob over")
    assert lines[17:] == [str(small.with_suffix(f".certificate.{kind}")) for kind in ("json", "html")]
    assert run(monkeypatch, "verify", small, *options("small"), "--quiet") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("case", ["pool_max_stride_gt_kernel_nopad", "relu_inf", "flatten_reshape", "argmax"])
def test_infinities_and_shared_memory_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    assert run(monkeypatch, "verify", converted(case, tmp_path), *options(case), "--quiet") == 0


def test_the_first_layer_that_is_off_is_named(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    spoil(small, "conv3/1", 1.5)
    assert run(monkeypatch, "verify", small, *options("small"), "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] is False
    assert found["first_off"] == "layer 'conv3' (Convolution), then layer 'relu3' (ReLU) (blob 'conv3')"
    (judge,) = found["judges"]
    assert judge["off"][0] == "conv3"
    differences = {blob["blob"]: blob["difference"] for blob in judge["blobs"]}
    assert differences["norm2"] < 1e-6
    assert judge["worst"]["difference"] == max(differences.values())
    assert run(monkeypatch, "verify", small, *options("small"), "--rtol", judge["worst"]["difference"]) == 0
    assert run(monkeypatch, "verify", small, *options("small")) == 1
    text = capsys.readouterr().out
    assert "OFF  layer 'conv3' (Convolution), then layer 'relu3' (ReLU)" in text
    assert "FAILED: the first layer that is off is layer 'conv3'" in text


def test_the_certificate(small: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    spoil(small, "fc8/1", 3)
    assert run(monkeypatch, "verify", small, *options("small"), "--json") == 1
    printed = json.loads(capsys.readouterr().out)
    assert json.loads(small.with_suffix(".certificate.json").read_text()) == printed
    page = small.with_suffix(".certificate.html").read_text()
    for text in (
        printed["net"]["sha256"],
        printed["input"]["sha256"],
        "Failed",
        printed["first_off"],
        "conv1",
    ):
        assert text in html.unescape(page)
    assert page.count('<tr class="off">') == len(printed["judges"][0]["off"])
    assert "http" not in page
    assert "src=" not in page
    assert {path.name for path in small.parent.iterdir()} == {
        "small.safetensors",
        "small.certificate.json",
        "small.certificate.html",
    }


@pytest.mark.filterwarnings("ignore:.*keep their fillers")
def test_parameters_that_no_file_gave_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    net = converted("weights_partial", tmp_path)
    against = "--input", GOLDEN / "small" / "input.npz", "--against", GOLDEN / "weights_partial" / "blobs.npz"
    assert run(monkeypatch, "verify", net, *against) == 0
    said = capsys.readouterr().out.splitlines()[0]
    assert said.startswith("no file gave these parameters, they are filled: '")
    filled = json.loads(net.with_suffix(".certificate.json").read_text())["net"]["filled"]
    page = net.with_suffix(".certificate.html").read_text()
    assert filled
    assert f"{', '.join(filled)}: no file gave these parameters" in page


def test_names_from_files_are_text_in_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(
        """name: "<script>alert(1)</script>" input: "x" input_shape { dim: [1, 3, 2, 2] }
        layer { name: "<b>" type: "ReLU" bottom: "x" top: "<i>" }"""
    )
    convert(net, None, tmp_path / "net.safetensors")
    assert run(monkeypatch, "verify", tmp_path / "net.safetensors", "--quiet") == 0
    page = (tmp_path / "net.certificate.html").read_text()
    assert "&lt;script&gt;" in page
    assert not any(tag in page for tag in ("<script", "<b>", "<i>"))


def test_without_arrays_the_reference_judges(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    assert run(monkeypatch, "verify", small, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    judge = found["judges"][0]
    assert (judge["judge"], judge["decides"], len(judge["blobs"])) == ("float64 reference", True, 15)
    assert 0 < judge["worst"]["difference"] < 1e-5
    assert found["input"] == {"name": "a random picture, seed 0", "sha256": None}
    assert run(monkeypatch, "verify", small, "--rtol", "1e-12", "--quiet") == 1


def test_the_reference_finds_a_wrong_layer(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference reads the net itself: a layer of the port that is wrong differs from it."""
    from caffe_port.layers import LAYERS

    wrong = LAYERS["LRN"]
    monkeypatch.setitem(
        LAYERS, "LRN", type(wrong)(**{**vars(wrong), "run": lambda p, bottoms, *_: [bottoms[0] * 1]})
    )
    net = read_converted(small)
    verdict, *_ = verify.verify(net, verify.random_input(net, 0))
    assert verdict.off[0].layers == ("layer 'norm1' (LRN)",)


def test_the_reference_shares_nothing_with_the_layers() -> None:
    for path in (ROOT / "caffe_port" / "reference").glob("*.py"):
        modules = [
            node.module if isinstance(node, ast.ImportFrom) else alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        ]
        assert modules
        assert all(
            str(name).startswith("caffe_port.reference") or str(name).partition(".")[0] != "caffe_port"
            for name in modules
        ), path
        assert "torch" not in modules


def test_a_random_dummy_cannot_be_judged_by_the_reference(tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(
        """layer { name: "d" type: "DummyData" top: "d" dummy_data_param {
             shape { dim: [2] } data_filler { type: "gaussian" } } }"""
    )
    convert(net, None, tmp_path / "net.safetensors")
    with pytest.raises(ConversionError, match=r"layer 'd' \(DummyData\): field 'data_filler' is random"):
        verify.verify(read_converted(tmp_path / "net.safetensors"), {})


def test_two_layers_of_one_name(tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    product = """layer { name: "twin" type: "InnerProduct" bottom: "%s" top: "%s" inner_product_param {
      num_output: 3 weight_filler { type: "xavier" } bias_filler { type: "uniform" } } }"""
    net.write_text('input: "x" input_shape { dim: [1, 3] }' + product % ("x", "y") + product % ("y", "z"))
    convert(net, None, tmp_path / "net.safetensors", random_weights=0)
    (reference,) = verify.verify(read_converted(tmp_path / "net.safetensors"), {"x": np.array([[1, 2, 3]])})[
        :1
    ]
    assert [check.blob for check in reference.blobs] == ["x", "y", "z"]
    assert reference.off == ()


def measures() -> dict[str, tuple[list[float], list[float], float]]:
    inf, nan, lowest = math.inf, math.nan, -float(np.finfo(np.float32).max)
    return {
        "equal": ([1, 2], [1, 2], 0),
        "relative to the largest": ([1, 4], [2, 4], 0.25),
        "absolute where all are zero": ([0.5, 0], [0, 0], 0.5),
        "equal infinities and nan": ([inf, -inf, nan, 3], [inf, -inf, nan, 4], 0.25),
        "nan found": ([nan, 1], [1, 1], inf),
        "nan expected": ([1, 1], [nan, 1], inf),
        "infinity of the other sign": ([-inf, 1], [inf, 1], inf),
        "empty window": ([lowest, 1], [lowest, 2], 0.5),
        "lost empty window": ([0, 2], [lowest, 2], inf),
        "nothing": ([], [], 0),
    }


@pytest.mark.parametrize("case", measures())
def test_the_measure(case: str) -> None:
    found, expected, difference = measures()[case]
    assert relative_difference(np.array(found, np.float32), np.array(expected, np.float32))[0] == difference


def test_another_shape_is_off(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    blobs = dict(np.load(GOLDEN / "small" / "blobs.npz"))
    np.savez(tmp_path / "blobs.npz", **blobs | {"fc6": blobs["fc6"].T})
    against = "--input", GOLDEN / "small" / "input.npz", "--against", tmp_path / "blobs.npz"
    assert run(monkeypatch, "verify", small, *against) == 1
    assert "inf  OFF  layer 'fc6' (InnerProduct), then" in capsys.readouterr().out


def test_blobs_without_arrays_are_named(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """Caffe's copies of blobs with several readers are no blobs of the net, and are left out."""
    blobs = dict(np.load(GOLDEN / "small" / "blobs.npz"))
    fc8, _ = blobs.pop("fc8"), blobs.pop("data")
    np.savez_compressed(tmp_path / "blobs.npz", **blobs, fc8_fc8_0_split_0=fc8)
    against = "--input", GOLDEN / "small" / "input.npz", "--against", tmp_path / "blobs.npz"
    assert run(monkeypatch, "verify", small, *against) == 0
    assert "not compared: data, fc8" in capsys.readouterr().out


def test_arrays_of_another_net(small: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    other = "--input", GOLDEN / "small" / "input.npz", "--against", GOLDEN / "eltwise" / "blobs.npz"
    assert run(monkeypatch, "verify", small, *other) == 2
    assert "are no blobs of" in capsys.readouterr().err
    assert run(monkeypatch, "verify", small, "--against", GOLDEN / "small" / "blobs.npz") == 2
    assert "name it with --input" in capsys.readouterr().err


def test_opencv_is_a_second_opinion(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong answer of OpenCV's is shown and does not fail the net; its errors are named."""
    net = read_converted(small)
    inputs = verify.random_input(net, 0)
    answer = np.zeros((1, 10), np.float32)
    monkeypatch.setattr(cv2.dnn, "readNetFromCaffe", lambda *_: None, raising=False)
    monkeypatch.setattr(opencv, "_forward", lambda *_: {"prob": answer})
    reference, second = verify.verify(net, inputs)
    assert (reference.off, second.decides) == ((), False)
    assert [check.blob for check in second.off] == ["prob"]

    def refuse(*_: object) -> dict[str, np.ndarray]:
        error = cv2.error()
        error.err = "Can't create layer of type LRN"
        raise error

    monkeypatch.setattr(opencv, "_forward", refuse)
    _, second = verify.verify(net, inputs)
    assert "Can't create layer of type LRN" in second.note


@pytest.mark.skipif(not hasattr(cv2.dnn, "readNetFromCaffe"), reason="OpenCV 5 cannot read Caffe nets")
def test_opencv_4_agrees(small: Path) -> None:
    net = read_converted(small)
    _, second = verify.verify(net, verify.random_input(net, 0))
    assert second.judge == f"OpenCV {cv2.__version__}"
    assert [check.blob for check in second.blobs] == ["prob"]
    assert second.off == ()


def test_the_caffemodel_for_opencv_is_the_net_s(small: Path, tmp_path: Path) -> None:
    from caffe_port.wire import open_caffemodel

    net = read_converted(small).net
    (tmp_path / "net.caffemodel").write_bytes(opencv.caffemodel(net))
    original = open_caffemodel(GOLDEN / "small" / "net.caffemodel")
    written = {layer.name: layer for layer in open_caffemodel(tmp_path / "net.caffemodel").layers}
    for layer in original.layers:
        for position, blob in enumerate(layer.blobs):
            assert blob is not None
            found = written[layer.name].blobs[position]
            assert found is not None
            np.testing.assert_array_equal(found.array(), blob.array())
