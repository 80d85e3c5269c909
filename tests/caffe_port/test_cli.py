"""The command line: help, statuses, one line for every error; inspect and upgrade against known figures."""

import json
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest

from caffe_port import zoo
from caffe_port.binary import encode
from caffe_port.cli import OneLineErrors, cli
from caffe_port.convert import convert
from caffe_port.inspection import inspect
from caffe_port.text import parse_text, read_text
from tests.caffe_port.command import run

GOLDEN = Path(__file__).parents[1] / "golden" / "caffe"
MINI = zoo.find("caffenet-mini")


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_has_help_with_an_example(name: str) -> None:
    command = cli.commands[name]
    context = click.Context(command, info_name=f"caffe_port {name}")
    text = command.get_help(context)
    assert "Example" in text
    assert f"caffe_port {name}" in text.split("Example", 1)[1]
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert all(option.help for option in options)
    assert "--quiet" in text


@pytest.mark.parametrize("arguments", [["--help"], ["inspect", "--help"], []])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = """import sys; from caffe_port.cli import main
try: main()
finally: print(sorted({"torch", "numpy", "cv2", "numba", "onnx"} & set(sys.modules)))"""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=GOLDEN.parents[2], check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: caffe_port" in done.stdout
    assert done.stdout.endswith("[]\n")


def test_inspect_caffenet() -> None:
    """60,965,224 parameters as published; multiply-adds of each layer by hand."""
    found = inspect(zoo.find("caffenet").deploy)
    assert found["parameters"] == 60_965_224
    convolutions = [
        96 * 55**2 * 363,
        256 * 27**2 * 1200,
        384 * 13**2 * 2304,
        384 * 13**2 * 1728,
        256 * 13**2 * 1728,
    ]
    products = [9216 * 4096, 4096 * 4096, 4096 * 1000]
    assert found["multiply_adds"] == sum(convolutions + products) == 724_406_816
    assert found["inputs"] == {"data": [1, 3, 227, 227]}
    assert found["outputs"] == ["prob"]
    shapes = {top: shape for layer in found["layers"] for top, shape in layer["tops"].items()}
    assert [shapes[name][1:] for name in ("norm1", "norm2", "conv4", "pool5", "fc6")] == [
        [96, 27, 27],
        [256, 13, 13],
        [384, 13, 13],
        [256, 6, 6],
        [4096],
    ]


def test_a_converted_net_is_inspected_like_its_definition(tmp_path: Path) -> None:
    old = GOLDEN / "v1_small"
    converted = tmp_path / "net.safetensors"
    convert(old / "net.prototxt", old / "net.caffemodel", converted)
    found, wanted = inspect(converted), inspect(old / "net.prototxt")
    assert found["format"] == "V2"
    for field in ("name", "inputs", "outputs", "parameters", "multiply_adds", "layers"):
        assert found[field] == wanted[field]


def test_alexnet_normalises_before_it_pools() -> None:
    found = inspect(zoo.find("alexnet").deploy)
    assert (found["parameters"], found["multiply_adds"]) == (60_965_224, 724_406_816)
    assert [layer["name"] for layer in found["layers"][3:5]] == ["norm1", "pool1"]
    shapes = {top: shape for layer in found["layers"] for top, shape in layer["tops"].items()}
    assert (shapes["norm1"], shapes["pool1"], shapes["pool2"]) == (
        [1, 96, 55, 55],
        [1, 96, 27, 27],
        [1, 256, 13, 13],
    )
    assert set(zoo.find("alexnet").blobs.values()) <= shapes.keys()


NETS = {
    "deconvolution": (
        """input: "x" input_shape { dim: [2, 3, 5, 4] }
           layer { name: "d" type: "Deconvolution" bottom: "x" top: "d"
           convolution_param { num_output: 6 kernel_size: 3 stride: 2 group: 3 } }""",
        (2 * 3 * 5 * 4) * (2 * 9),
        3 * 2 * 9 + 6,
    ),
    "transposed product": (
        """input: "x" input_shape { dim: [2, 3, 5] }
           layer { name: "p" type: "InnerProduct" bottom: "x" top: "p"
           inner_product_param { num_output: 7 axis: 2 transpose: true bias_term: false } }""",
        2 * 3 * 7 * 5,
        35,
    ),
    "lstm": (
        """input: "x" input: "c" input_shape { dim: [3, 2, 5] } input_shape { dim: [3, 2] }
           layer { name: "l" type: "LSTM" bottom: "x" bottom: "c" top: "l"
                   recurrent_param { num_output: 4 } }""",
        3 * 2 * (16 * 5 + 16 * 4),
        16 * 5 + 16 + 16 * 4,
    ),
}


@pytest.mark.parametrize("case", NETS)
def test_multiply_adds(tmp_path: Path, case: str) -> None:
    text, multiply_adds, parameters = NETS[case]
    (tmp_path / "net.prototxt").write_text(text)
    found = inspect(tmp_path / "net.prototxt")
    assert (found["multiply_adds"], found["parameters"]) == (multiply_adds, parameters)


def test_inspect_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    weights = MINI.folder / str(MINI.weights)
    assert run(monkeypatch, "inspect", MINI.deploy, weights, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"] == found["weights"]["numbers"] == 1_112_904
    assert found["weights"]["found"] == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
    assert found["layers"][4]["tops"] == {"norm1": [1, 48, 14, 14]}


def test_inspect_as_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = GOLDEN / "v1_small"
    assert run(monkeypatch, "inspect", path / "net.prototxt", path / "net.caffemodel") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["layer", "type", "output", "parameters", "multiply-adds"]
    assert " ".join(lines[2].split()) == "conv1 Convolution conv1 2 x 8 x 15 x 15 2,912 1,306,800"
    assert lines[-2].split()[:4] == ["24", "layers", "format", "V1"]
    assert lines[-1].endswith("net.caffemodel (V1): 14,298 numbers")
    assert run(monkeypatch, "inspect", path / "net.prototxt", "--quiet") == 0
    assert capsys.readouterr().out == ""


def weights_file(path: Path, **blobs: list[int]) -> Path:
    rows = [{"shape": {"dim": dims}, "data": [0.0] * int(np.prod(dims))} for dims in blobs.values()]
    path.write_bytes(b"".join(encode({"layer": [{"name": "conv", "blobs": rows}]}, "NetParameter")))
    return path


@pytest.mark.parametrize(
    ("blobs", "expected"),
    [
        (
            {"w": [2, 3, 3, 3], "b": [2]},
            "layer 'conv' (Convolution): field 'blobs': the file has 2; the net needs 1",
        ),
        ({"w": [3, 2, 3, 3]}, "layer 'conv' (Convolution): field 'blobs': blob 0 has shape"),
    ],
)
def test_weights_that_do_not_fit(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    blobs: dict[str, list[int]],
    expected: str,
) -> None:
    weights = weights_file(tmp_path / "w.caffemodel", **blobs)
    assert run(monkeypatch, "inspect", GOLDEN / "textformat_quirks" / "net.prototxt", weights) == 2
    assert expected in capsys.readouterr().err


def test_upgrade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Byte for byte what Caffe's own tools write."""
    old = GOLDEN / "v1_small"
    assert run(monkeypatch, "upgrade", old / "net.prototxt") == 0
    assert capsys.readouterr().out == (old / "net.upgraded.prototxt").read_text()
    for suffix in ("prototxt", "caffemodel"):
        new = tmp_path / f"new.{suffix}"
        assert run(monkeypatch, "upgrade", old / f"net.{suffix}", "-o", new) == 0
        assert capsys.readouterr().out == f"{old / f'net.{suffix}'} (V1) -> {new} (V2)\n"
        assert new.read_bytes() == (old / f"net.upgraded.{suffix}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.caffemodel", "new.prototxt"]


def test_an_upgraded_text_is_no_caffemodel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new.caffemodel"
    assert run(monkeypatch, "upgrade", GOLDEN / "v1_small" / "net.prototxt", "-o", target) == 2
    assert "net.prototxt: a prototxt, whose upgrade is text too; name a .prototxt" in capsys.readouterr().err
    assert not target.exists()


def test_upgrade_may_replace_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for suffix in ("prototxt", "caffemodel"):
        path = tmp_path / f"net.{suffix}"
        path.write_bytes((GOLDEN / "v1_small" / path.name).read_bytes())
        assert run(monkeypatch, "upgrade", path, "-o", path, "--quiet") == 0
        assert path.read_bytes() == (GOLDEN / "v1_small" / f"net.upgraded.{suffix}").read_bytes()


def test_fetch_of_what_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "fetch", "caffenet-mini", "--dir", tmp_path / "to", "--json") == 0
    paths = json.loads(capsys.readouterr().out)
    assert set(paths) == {"deploy", "weights", "labels"}
    assert read_text(paths["deploy"])["name"] == "CaffeNet-mini"


ERRORS = {
    "no such command": (["sing"], "No such command 'sing'"),
    "no argument": (["inspect"], "Missing argument 'DEPLOY'"),
    "no such file": (["inspect", "nowhere.prototxt"], "File 'nowhere.prototxt' does not exist"),
    "no such net": (["fetch", "vgg"], "'vgg' is not one of 'caffenet', 'alexnet', 'caffenet-mini'"),
    "refused net": (
        ["inspect", GOLDEN / "errors" / "unknown_field.prototxt"],
        "ReLUParameter has no field 'slope'",
    ),
    "weights as a net": (["inspect", GOLDEN / "small" / "net.caffemodel"], "is this a weights file?"),
    "weights to the screen": (["upgrade", GOLDEN / "v1_small" / "net.caffemodel"], "name a file with -o"),
    "hdf5": (["upgrade", GOLDEN / "weights_hdf5" / "net.caffemodel.h5", "-o", "x"], "they need no upgrade"),
    "no folder": (
        ["upgrade", GOLDEN / "v1_small" / "net.prototxt", "-o", "no/such/x"],
        "does not exist",
    ),
    "unreachable": (
        ["fetch", "caffenet", "--base-url", "http://127.0.0.1:9", "--dir", "@"],
        "Connection refused",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_one_line_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    arguments, expected = ERRORS[case]
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *[tmp_path if argument == "@" else argument for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert expected in err
    assert err.startswith("caffe_port: ")
    assert err.count("\n") == 1


def test_warnings_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "v0.prototxt"
    path.write_text('layers { layer { name: "r" type: "relu" pad: 3 } }')
    assert run(monkeypatch, "upgrade", path) == 0
    out, err = capsys.readouterr()
    assert parse_text(out, source="out") == {"layer": [{"name": "r", "type": "ReLU"}]}
    wanted = "layer 'r': V0 type 'relu' has no field 'pad': left out, as Caffe does"
    assert err == f"caffe_port: warning: {path}: {wanted}\n"


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (ValueError("two\nlines"), 2, "group: two lines\n"),
        (TypeError("an input is a list"), 2, "group: an input is a list\n"),
        (MemoryError(), 2, "group: MemoryError\n"),
        (FileNotFoundError(2, "No such file", "x.png"), 2, "group: x.png: No such file\n"),
        (click.UsageError("no such thing"), 2, "group: no such thing\n"),
        (click.Abort(), 130, ""),
    ],
)
def test_groups_answer_in_one_line(
    capsys: pytest.CaptureFixture[str], raised: Exception, status: int, said: str
) -> None:
    """The group's class serves other command lines too."""

    @click.group(cls=OneLineErrors, name="group")
    def group() -> None:
        """A group."""

    @group.command()
    def go() -> None:
        raise raised

    with pytest.raises(SystemExit) as stop:
        group(["go"])
    assert stop.value.code == status
    assert capsys.readouterr().err == said
