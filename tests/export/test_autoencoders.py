"""Exported autoencoders: a decoder with its encoder beside it, which is refused when it is not the decoder's own."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors import safe_open

import caffe_port.cli
import export
from caffe_port import converted
from caffe_port.converted import read_converted
from decoders import checkpoints, cli
from decoders.cli import main as decoders
from decoders.config import TrainConfig
from decoders.demo import PICTURES
from decoders.experiments.rivals import RivalsSettings
from decoders.images import to_batch
from decoders.report import making
from decoders.training import train
from export import model_file
from export.__main__ import main as exported
from export.card import ANSWERS_FIELD, CARD_FIELD
from export.web import runtime
from tests.photos import draw, fill

NET = "caffenet-mini"
LAYER, BLOB = "conv1", "norm1"  # the paper's CONV1 is the blob behind pooling and normalisation


def type_in(*words: object, program: Any = decoders) -> Result:
    return CliRunner().invoke(program, [str(word) for word in words])


def refused(result: Result) -> str:
    """The one line of a refusal."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("photos"), 8)


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An autoencoder, trained for so long that its encoder is another than the net's."""
    config = TrainConfig(
        representation=LAYER, net=NET, autoencoder=True, images=(str(photos),), val_fraction=0.3, width=0.0625,
        steps=6, batch=4, lr=0.002, warmup=1, val_images=2,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("run") / "auto"
    train(config, folder, quiet=True)
    return folder


@pytest.fixture(scope="module")
def made(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pair that the command writes; tests must not change it."""
    path = tmp_path_factory.mktemp("made") / "auto.onnx"
    result = type_in("export", run, "-o", path)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1].startswith(f"{path.with_name('auto.encoder.safetensors')}: ")
    return path


@pytest.fixture
def pair(made: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A copy of both files, in a folder of their own."""
    for path in made.parent.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path / "auto.onnx", tmp_path / "auto.encoder.safetensors"


def test_the_encoder_is_the_run_s_rounded_and_cut_behind_its_blob(made: Path, run: Path) -> None:
    encoder = made.with_name("auto.encoder.safetensors")
    assert sorted(path.name for path in made.parent.iterdir()) == [encoder.name, made.name]
    with (
        safe_open(encoder, framework="np") as file,
        safe_open(run / "model.safetensors", framework="np") as own,
    ):
        assert set(file.keys()) == {"conv1/0", "conv1/1", "preprocessing/mean"}
        for name in ("conv1/0", "conv1/1"):
            assert file.get_tensor(name).dtype == np.float16
            trained = own.get_tensor(f"encoder.net.{name}")
            assert np.array_equal(file.get_tensor(name), trained.astype(np.float16))
        assert 'top: "norm1"' in file.metadata()["prototxt"]
        assert "conv2" not in file.metadata()["prototxt"]


def test_the_pair_reconstructs_what_the_run_does_at_the_stated_cost(made: Path, run: Path) -> None:
    rows = json.loads(type_in("evaluate", run, made, "--images", PICTURES, "--json").stdout)
    cost = export.load(made).card["export"]["calibration"]
    assert rows[0]["error"] == pytest.approx(cost["torch_error"], rel=1e-5)
    assert rows[1]["error"] == pytest.approx(cost["error"], rel=1e-5)
    assert rows[0]["error"] != rows[1]["error"]
    assert abs(cost["extra_error"]) < 0.005
    pictures = to_batch([draw(seed, 64, 64) for seed in range(5)])
    decoder, row, _ = checkpoints.open_run(run)
    file = cli.open_model(str(made))
    expected = decoder.decode_numpy(row.extract(pictures))
    assert np.abs(file.decode(file.representation.extract(pictures)) - expected).max() < 2
    assert (file.representation.shape, file.representation.net) == (row.shape, row.net)
    assert file.representation.preprocessing == row.preprocessing


def test_caffe_port_computes_the_encoder_s_features(
    made: Path, run: Path, photos: Path, tmp_path: Path
) -> None:
    encoder, out = made.with_name("auto.encoder.safetensors"), tmp_path / "features.npz"
    result = type_in("features", encoder, photos, "--blob", BLOB, "-o", out, program=caffe_port.cli.cli)
    assert result.exit_code == 0, result.output
    _, row, _ = checkpoints.open_run(run)
    assert row.encoder is not None
    with torch.no_grad():
        for parameter in row.encoder.parameters():
            parameter.copy_(parameter.half().float())
    expected = row.extract(to_batch([row.framing.centre(draw(seed)) for seed in range(8)]))
    found = np.load(out)["features"]
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    table = type_in("inspect", encoder, "--json", program=caffe_port.cli.cli)
    assert json.loads(table.stdout)["outputs"] == [BLOB]
    assert json.loads(table.stdout)["parameters"] == 48 * (3 * 7 * 7 + 1)


def test_a_decoder_can_be_trained_for_the_encoder(made: Path, photos: Path, tmp_path: Path) -> None:
    encoder = made.with_name("auto.encoder.safetensors")
    result = type_in(
        "train", LAYER, "--net", encoder, "--images", photos, "--val-fraction", 0.3, "--width", 0.0625, "--steps", 1,
        "--batch", 4, "--val-images", 2, "--out", tmp_path / "run",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    card = checkpoints.load_run(tmp_path / "run")[1]
    assert (card["net"]["blob"], card["feature_shape"]) == (BLOB, [48, 14, 14])


def flipped(decoder: Path, encoder: Path) -> None:
    data = bytearray(encoder.read_bytes())
    data[-100] ^= 1
    encoder.write_bytes(data)


def lost(decoder: Path, encoder: Path) -> None:
    encoder.unlink()


def anothers(decoder: Path, encoder: Path) -> None:
    net = read_converted(encoder)
    converted.write_converted(encoder, net)


def recarded(**changes: Any) -> Callable[[Path, Path], None]:
    """The decoder's file, sealed anew, with other entries of the card; None takes an entry away."""

    def damage(decoder: Path, encoder: Path) -> None:
        model = onnx.load(decoder)
        fields = {entry.key: entry.value for entry in model.metadata_props}
        card = json.loads(fields[CARD_FIELD]) | changes
        card = {name: value for name, value in card.items() if value is not None}
        onnx.helper.set_model_props(
            model, {CARD_FIELD: json.dumps(card), ANSWERS_FIELD: fields[ANSWERS_FIELD]}
        )
        decoder.write_bytes(model_file.sealed(model.SerializeToString()))

    return damage


REFUSED = {
    "missing": (lost, r"auto.encoder.safetensors: missing; field encoder.file of "),
    "a changed byte": (flipped, "is damaged or another decoder's; copy the two files together again"),
    "another's": (anothers, "is damaged or another decoder's; copy the two files together again"),
    "no name": (
        recarded(encoder={"file": "../auto.encoder.safetensors", "sha256": "00"}),
        "field encoder.file is '../auto.encoder.safetensors', no name that ends in .encoder.safetensors",
    ),
    "no text": (recarded(encoder={"file": 7}), "field encoder.file is '7', no name"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_encoder_that_is_not_the_decoder_s_is_refused(case: str, pair: tuple[Path, Path]) -> None:
    damage, said = REFUSED[case]
    damage(*pair)
    line = refused(type_in("evaluate", pair[0], "--images", PICTURES))
    assert said in line
    assert str(pair[0]) in line
    assert "again" in line
    assert said in refused(type_in("check", pair[0], program=exported))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"encoder": None}, "the card has no field encoder: the decoder of an autoencoder, exported without"),
        ({"net": None}, "field net of the card lacks one of name, sha256, blob; export it again"),
    ],
)
def test_a_card_without_encoder_or_net_is_refused(
    changes: dict[str, Any], said: str, pair: tuple[Path, Path]
) -> None:
    recarded(**changes)(*pair)
    assert said in refused(
        type_in("invert", pair[0], PICTURES / "coffee.jpg", "--out", pair[0].parent / "out")
    )


def test_commands_take_the_pair(made: Path, tmp_path: Path) -> None:
    picture = PICTURES / "coffee.jpg"
    inverted = type_in("invert", made, picture, "--out", tmp_path / "inverted")
    assert inverted.exit_code == 0, inverted.output
    assert (tmp_path / "inverted" / "coffee.png").is_file()
    for name in ("errors", "perturb"):
        rows = json.loads(type_in("experiment", name, made, "--limit", 3, "--json").stdout)["rows"]
        assert all(row["autoencoder"] for row in rows)
    checked = type_in("check", made, program=exported)
    assert checked.exit_code == 0, checked.output
    assert "autoencoder; its encoder is " in checked.stdout
    mapped = type_in("map", made, PICTURES, "--out", tmp_path / "mapped", program=exported)
    assert mapped.exit_code == 0, mapped.output


def test_the_net_it_began_with_may_be_given_and_no_other(made: Path) -> None:
    words = ["evaluate", made, "--images", PICTURES, "--net"]
    assert type_in(*words, NET).exit_code == 0
    other = made.with_name("auto.encoder.safetensors")
    assert "give the right net with --net" in refused(type_in(*words, other))


def test_a_pipeline_has_the_encoder_inside(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.onnx"
    result = type_in("export", run, "-o", path, "--pipeline")
    assert result.exit_code == 0, result.output
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    decoder, row, _ = checkpoints.open_run(run)
    photographs = np.stack([draw(seed, 64, 64) for seed in range(3)])
    expected = np.rint(decoder.decode_numpy(row.extract(to_batch(photographs))))
    found = export.load(path, threads=1)(photographs)
    assert np.abs(found - expected.transpose(0, 2, 3, 1)).max() <= 1


def test_an_encoder_that_costs_too_much_leaves_no_file(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers stored fifty times as large, which the features of the written file must show."""
    monkeypatch.setattr(converted, "_halved", lambda key, array, path: (50 * array).astype("<f2"))
    line = refused(type_in("export", run, "-o", tmp_path / "auto.onnx", "--max-extra-error", 2))
    assert "auto.onnx: not written; fp32 with an fp16 encoder raises the reconstruction error on 6" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["auto.onnx", "auto.encoder.safetensors"])
def test_a_folder_in_the_way_leaves_no_file(run: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert f"{name}: is a folder" in refused(type_in("export", run, "-o", tmp_path / "auto.onnx"))
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.fixture
def shipping(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the autoencoder that ships beside CONV1's decoder, and nothing else does."""
    folder = tmp_path / "pretrained" / NET
    folder.mkdir(parents=True)
    shutil.copy(cli.PRETRAINED / NET / f"{LAYER}.onnx", folder)
    assert type_in("export", run, "-o", folder / f"{LAYER}-autoencoder.onnx").exit_code == 0
    monkeypatch.setattr(cli, "PRETRAINED", tmp_path / "pretrained")
    return f"{NET}/{LAYER}-autoencoder"


def test_shipped_autoencoders_are_listed_and_shown(
    shipping: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {row["representation"]: row for row in json.loads(type_in("list", "--json").stdout)}
    assert rows[LAYER]["ships"] == [f"{NET}/{LAYER}", shipping]
    assert rows["conv2"]["ships"] == []
    shown = type_in("demo", "--out", tmp_path / "demo")
    assert shown.exit_code == 0, shown.output
    assert f"{shipping}: error " in shown.stdout
    page = (tmp_path / "demo" / "index.html").read_text(encoding="utf-8")
    assert page.count("an autoencoder: the net was trained with the decoder") == 1
    monkeypatch.setattr(runtime, "read_runtime", lambda _: dict.fromkeys(runtime.FILES, b""))
    web = json.loads(type_in("demo", "--web", tmp_path / "web", "--json", "--quiet").stdout)
    assert web["models"] == [f"{NET}/{LAYER}"]
    assert web["left_out"] == [
        f"{shipping}: not on the page: an autoencoder, whose encoder is a net of its own"
    ]


def test_experiments_and_the_report_find_shipped_autoencoders(
    shipping: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = type_in("experiment", "perturb", f"{NET}/{LAYER}", shipping, "--limit", 3, "--json")
    rows = json.loads(result.stdout)["rows"]
    assert {row["model"]: row["autoencoder"] for row in rows} == {f"{NET}/{LAYER}": False, shipping: True}
    monkeypatch.setattr(making, "QUICK_RIVALS", RivalsSettings(schedule_share=0.01, atoms=8, iterations=2))
    made = type_in("report", "--out", tmp_path / "report", "--quick", "--limit", 3, "--json", "--quiet")
    assert made.exit_code == 0, made.output
    verdicts = {one["claim"]: one["verdict"] for one in json.loads(made.stdout)["relations"]}
    sensitive = verdicts["Autoencoders are very sensitive to both."]
    figures = json.loads((tmp_path / "report" / "report.json").read_text())
    assert sensitive in ("holds", "holds in part", "does not hold")
    checks = next(
        one["checks"] for one in figures["relations"] if one["claim"].startswith("Autoencoders are very")
    )
    assert [check["text"].split(":")[0] for check in checks] == [f"{LAYER}, bin", f"{LAYER}, drop50"]
    assert {model["net"] for model in figures["models"]} == {NET}
