"""The commands as a user types them: what they print, what they leave, and how they refuse."""

import dataclasses
import json
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from caffe_port.pictures import list_images
from decoders.cli import main, open_model, shipped_models
from decoders.images import unique_names
from tests.photos import draw, encode, fill

ROOT = Path(__file__).parent.parent.parent


def type_in(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def refused(result: Result) -> str:
    """The one line on stderr of a command that found bad input."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines, "nothing was said"
    assert "Traceback" not in result.stderr
    return lines[-1]


@pytest.fixture(scope="module")
def onnx(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "hog.onnx"
    result = type_in("export", run, "-o", path)
    assert result.exit_code == 0, result.output
    assert re.search(r"hog\.onnx: \d+ bytes, fp32, at most [\d.e-]+ grey levels from torch", result.stdout)
    return path


@pytest.mark.parametrize("name", [None, *main.commands])
def test_help_has_an_example(name: str | None) -> None:
    result = type_in(*([name] if name else []), "--help")
    assert result.exit_code == 0
    assert "Example: decoders" in result.stdout


@pytest.mark.parametrize("name", list(main.commands))
def test_examples_name_real_options(name: str) -> None:
    command = main.commands[name]
    known = {
        option
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }
    assert set(re.findall(r"(?<=\s)--?[a-z-]+", command.epilog or "")) <= known


@pytest.mark.parametrize("name", list(main.commands))
def test_readme_names_every_command(name: str) -> None:
    assert f"decoders {name}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_train_options_are_the_config_s_fields() -> None:
    from decoders.config import TrainConfig

    options = {parameter.name for parameter in main.commands["train"].params}
    fields = set(TrainConfig.__dataclass_fields__)
    assert options - {"more", "out", "resume", "repeat", "quiet", "representation_name"} == fields - {
        "representation"
    }


def test_train_help_states_the_config_s_defaults() -> None:
    from decoders.config import TrainConfig

    for parameter in main.commands["train"].params:
        stated = re.search(r"\[(.+)\]$", getattr(parameter, "help", None) or "")
        if stated:
            default = TrainConfig.__dataclass_fields__[str(parameter.name)].default
            assert stated[1] == (f"{default:g}" if parameter.name == "epochs" else str(default)), (
                parameter.name
            )


def test_choices_are_the_tables() -> None:
    """The tables live beside torch, which `--help` must not import: the choices are written out."""
    from decoders.upconv import UPCONVS
    from export.precision import PRECISIONS

    def choices(command: str, option: str) -> list[str]:
        return next(list(p.type.choices) for p in main.commands[command].params if p.name == option)

    assert choices("train", "upconv") == list(UPCONVS)
    assert choices("export", "precision") == list(PRECISIONS)


def test_list_shows_representations_and_tables() -> None:
    assert "hog" in type_in("list").stdout
    rows = {row["representation"]: row for row in json.loads(type_in("list", "--json").stdout)}
    assert rows["hog"]["feature_shape"] == [31, 32, 32]
    assert rows["conv2"]["feature_shape"] == [256, 13, 13]
    assert (rows["fc8"]["feature_shape"], rows["fc8"]["output_size"]) == ([1000], [128, 128])
    table = type_in("list", "--table", "hog")
    assert table.stdout.splitlines()[13].split() == [
        "upconvJ6",
        "upconvJ5",
        "128×128×32",
        "4",
        "2",
        "256×256×3",
    ]
    assert "supplementary" in table.stdout
    assert json.loads(type_in("list", "--table", "hog", "--json").stdout)["rows"][0]["name"] == "convA1"
    derived = type_in("list", "--table", "fc6", "--net", "caffenet-mini").stdout
    assert derived.splitlines()[4].split() == ["reshape", "fc3", "1024", "–", "–", "2×2×256"]


def test_train_then_resume_from_the_command_line(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = (
        "--width",
        0.0625,
        "--batch",
        2,
        "--image-size",
        64,
        "--checkpoint-every",
        2,
        "--val-fraction",
        0.2,
    )
    done = type_in(
        "train", "hog", "--images", photos, "--out", out, "--steps", 3, *options, "--val-images", 2
    )
    assert done.exit_code == 0, done.output
    assert re.search(r"run: 3 steps, validation error 0\.\d{4}", done.stdout)
    again = type_in("train", "hog", "--out", out, "--resume", "--quiet")
    assert (again.exit_code, again.stdout) == (0, "")
    assert "3 steps, complete before" in type_in("train", "hog", "--out", out, "--resume").stdout
    assert "lr was 0.001, is 0.5" in refused(type_in("train", "hog", "--out", out, "--resume", "--lr", 0.5))
    assert "--resume" in refused(type_in("train", "hog", "--images", photos, "--out", out, *options))


def test_a_run_is_repeated_from_its_folder_with_other_settings(run: Path, tmp_path: Path) -> None:
    from decoders.checkpoints import read_config

    out = tmp_path / "run"
    done = type_in("train", "--repeat", run, "--steps", 2, "--seed", 5, "--out", out, "--quiet")
    assert done.exit_code == 0, done.output
    old, new = read_config(run)[0], read_config(out)[0]
    assert new == dataclasses.replace(old, steps=2, seed=5)


def test_evaluate_agrees_between_run_and_onnx(run: Path, onnx: Path, photos: Path) -> None:
    figures = [
        json.loads(type_in("evaluate", model, "--images", photos, "--json").stdout) for model in (run, onnx)
    ]
    assert list(figures[0]) == [
        "model",
        "representation",
        "images",
        "skipped",
        "error",
        "normaliser",
        "image_size",
    ]
    assert figures[0]["images"] == 20
    assert figures[0]["image_size"] == [256, 256]
    assert figures[0]["error"] == pytest.approx(figures[1]["error"], abs=1e-6)
    assert figures[0]["normaliser"] == figures[1]["normaliser"]


def test_evaluate_compares_several_models_on_the_same_pictures(run: Path, onnx: Path, photos: Path) -> None:
    more = sorted(photos.iterdir())[:2]
    result = type_in("evaluate", run, onnx, *more, "--images", photos / "picture-005.png", "--json")
    first, second = json.loads(result.stdout)
    assert (first["model"], second["model"]) == (str(run), str(onnx))
    assert first["images"] == second["images"] == 3
    assert first["error"] == pytest.approx(second["error"], abs=1e-6)
    assert len(type_in("evaluate", run, onnx, "--images", photos).stdout.splitlines()) == 2


def test_evaluate_takes_other_picture_sizes(onnx: Path, photos: Path) -> None:
    result = type_in("evaluate", onnx, "--images", photos, "--image-size", 128, "--json")
    assert json.loads(result.stdout)["image_size"] == [128, 128]
    said = refused(type_in("evaluate", onnx, "--images", photos, "--image-size", 100))
    assert "hog needs a multiple of 64" in said


def test_a_decoder_of_a_net_from_training_to_pictures(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ("--width", 0.0625, "--batch", 2, "--steps", 2, "--val-fraction", 0.2, "--val-images", 2)
    done = type_in("train", "fc6", "--net", "caffenet-mini", "--images", photos, "--out", out, *options)
    assert done.exit_code == 0, done.output
    line = json.loads((out / "log.jsonl").read_text().splitlines()[0])
    assert min(line[f"{who}images_per_s"] for who in ("", "network_", "loader_")) > 0
    figures = json.loads(type_in("evaluate", out, "--images", photos, "--json").stdout)
    assert (figures["representation"], figures["image_size"]) == ("fc6", [64, 64])
    assert "fc6 is of pictures of 64x64 only" in refused(
        type_in("evaluate", out, "--images", photos, "--image-size", 128)
    )
    inverted = type_in("invert", out, photos / "picture-000.png", "--out", tmp_path / "inverted")
    assert inverted.exit_code == 0, inverted.output
    assert list_images([tmp_path / "inverted"])[0].read().shape == (64, 64 + 8 + 64, 3)
    assert type_in("train", "fc6", "--out", out, "--resume", "--quiet").exit_code == 0
    said = refused(type_in("train", "fc6", "--out", out, "--resume", "--autoencoder"))
    assert "autoencoder was False, is True" in said


def test_a_shell_s_expansion_of_images_is_understood(onnx: Path, photos: Path) -> None:
    files = sorted(photos.iterdir())
    result = type_in("evaluate", onnx, "--images", *files[:3], "--json")
    assert json.loads(result.stdout)["images"] == 3


def test_evaluate_counts_and_names_bad_files(onnx: Path, tmp_path: Path) -> None:
    photos = fill(tmp_path / "photos", 3)
    (photos / "letter.jpg").write_text("dear reader")
    (photos / "torn.jpg").write_bytes(encode(draw(9), ".jpg")[:-40])
    result = type_in("evaluate", onnx, "--images", photos, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["images"] == 3
    assert json.loads(result.stdout)["skipped"] == 2
    said = result.stderr.splitlines()
    assert len(said) == 2
    assert "letter.jpg: not a picture" in said[0]
    assert "torn.jpg: the data stop" in said[1]
    assert "letter.jpg" in refused(type_in("evaluate", onnx, "--images", photos, "--strict"))


def test_invert_writes_original_and_reconstruction(onnx: Path, tmp_path: Path) -> None:
    photos = fill(tmp_path / "a", 1)
    fill(tmp_path / "b", 1)
    (tmp_path / "tiny.png").write_bytes(encode(draw(1, 3, 3), ".png"))
    (tmp_path / "deep.png").write_bytes(encode(draw(2)[..., 0].astype(np.uint16) * 256, ".png"))
    images = (
        photos / "picture-000.png",
        tmp_path / "b" / "picture-000.png",
        tmp_path / "tiny.png",
        tmp_path / "deep.png",
    )
    result = type_in("invert", onnx, *images, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    written = list_images([tmp_path / "out"])
    assert [image.name for image in written] == [
        "deep.png",
        "picture-000-2.png",
        "picture-000.png",
        "tiny.png",
    ]
    assert all(image.read().shape == (256, 520, 3) for image in written)
    assert len(result.stdout.splitlines()) == 4


def test_bad_input_is_refused_in_one_line(run: Path, onnx: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "letter.jpg").write_text("dear reader")
    (tmp_path / "not.onnx").write_text("not a network")
    torn = Path(shutil.copytree(run, tmp_path / "torn"))
    (torn / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes()[:1000])
    cases = {
        ("evaluate", onnx, "--images", tmp_path / "empty"): "no pictures found",
        ("evaluate", onnx, "--images", tmp_path / "nowhere"): "does not exist",
        ("evaluate", onnx, "--images", photos / "picture-000.png"): "at least two",
        ("evaluate", tmp_path / "not.onnx", "--images", photos): "not an ONNX model",
        ("evaluate", torn, "--images", photos): "model.safetensors: damaged",
        ("evaluate", "nonesuch", "--images", photos): "neither a run folder",
        ("evaluate", onnx): "--images",
        ("evaluate", onnx, "--images", photos, "--net", "caffenet-mini"): "hog is computed without a net",
        ("train", "fc6", "--out", tmp_path / "r", "--images", photos, "--net", "none.safetensors"): "no such file",
        ("train", "fc6", "--out", tmp_path / "r", "--images", photos): "caffe_port fetch caffenet",
        ("train", "hog", "--out", tmp_path / "r", "--images", photos, "--autoencoder"): "hog has no net",
        ("invert", onnx, tmp_path / "letter.jpg", "--out", tmp_path / "o"): "none of the pictures",
        ("train", "nonesuch", "--out", tmp_path / "r", "--images", photos): "'nonesuch' is unknown; choose one of hog",
        ("train", "hog", "--out", tmp_path / "r", "--images", tmp_path / "empty"): "no pictures found",
        ("train", "hog", "--out", tmp_path / "r"): "--images is missing",
        ("train", "hog", "--out", tmp_path / "r", "--images", photos, "--image-size", 100): "multiple of 64",
        ("train", "hog", "--out", tmp_path / "r", "--resume"): "holds no run",
        ("train", "hog", "--out", tmp_path / "r", "--images", photos, "--val", photos): "0 pictures to train on",
        ("train", "--out", tmp_path / "r", "--repeat", tmp_path / "none"): "holds no run",
        ("train", "--out", tmp_path / "r", "--repeat", run, "--batch", 99): "fewer than a batch of 99",
        ("train", "--out", tmp_path / "r", "--repeat", run, "--feature-cache", "d"): "set --crops",
        ("train", "--out", run, "--repeat", run): "holds a run already",
        ("train", "--out", run, "--repeat", run, "--resume"): "--resume and --repeat",
        ("train", "--out", tmp_path / "r", "--images", photos): "REPRESENTATION is missing",
        ("export", torn, "-o", tmp_path / "x.onnx"): "model.safetensors: damaged",
        ("export", run, "-o", tmp_path / "no" / "x.onnx"): "does not exist",
        ("list", "--table", "nonesuch"): "choose one of hog",
        ("nonesuch",): "nonesuch",
    }  # fmt: skip
    for words, said in cases.items():
        assert said in refused(type_in(*words)), words
    assert not (tmp_path / "r").exists()
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.skipif("hog" not in shipped_models(), reason="no decoder ships with this tree")
def test_demo_writes_a_self_contained_gallery(tmp_path: Path) -> None:
    result = type_in("demo", "--out", tmp_path / "gallery")
    assert result.exit_code == 0, result.output
    *errors, page = result.stdout.splitlines()
    assert len(errors) == len(shipped_models())
    for name, error in zip(shipped_models(), errors, strict=True):
        assert re.fullmatch(rf"{name}: error 0\.\d{{3}}", error)
        pictures = list_images([tmp_path / "gallery" / name])
        assert len(pictures) == 6
        side = open_model(name).representation.image_size[0]
        assert all(picture.read().shape == (side, 3 * side + 2 * 8, 3) for picture in pictures)
    html = Path(page).read_text(encoding="utf-8")
    images = 18 * len(errors)
    assert html.count("<img ") == html.count('src="data:image/png;base64,') == html.count("alt=") == images
    assert "http" not in html


@pytest.mark.skipif("hog" not in shipped_models(), reason="no decoder ships with this tree")
def test_the_shipped_decoder_is_worth_looking_at(tmp_path: Path) -> None:
    figures = json.loads(type_in("demo", "--out", tmp_path / "gallery", "--json").stdout)
    assert figures["errors"]["hog"] < 0.5


def test_unique_names() -> None:
    assert unique_names(["a", "b", "a", "a"]) == ["a", "b", "a-2", "a-3"]


def processor_seconds(*arguments: str) -> float:
    """What a fresh interpreter costs the processor, whatever else the machine is doing."""

    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before = spent()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=True)
    return spent() - before


def test_help_is_fast() -> None:
    """It costs no more than half a second beyond NumPy."""
    cost = min(processor_seconds("-m", "decoders", "--help") for _ in range(3))
    assert cost < 0.5 + min(processor_seconds("-c", "import numpy") for _ in range(3))


def test_export_a_pipeline_with_its_own_calibration(run: Path, photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.onnx"
    options = ("--pipeline", "--precision", "fp16", "--calibrate", photos, "--max-extra-error", 2)
    result = type_in("export", run, "-o", path, *options)
    assert result.exit_code == 0, result.output
    assert re.search(
        r"fp16, at most .* from torch; error 0\.\d+ on 20 pictures, torch's 0\.\d+", result.stdout
    )
    import export

    pipeline = export.load(path)
    assert pipeline.card["kind"] == "pipeline"
    picture = draw(4, 64, 64)
    assert pipeline(picture[None]).shape == (1, 64, 64, 3)
    assert "a pipeline, which takes photographs; give a file of its decoder alone" in refused(
        type_in("evaluate", path, "--images", photos)
    )
    assert refused(type_in("export", run, "-o", path, "--max-extra-error", "-1")).endswith("at least 0")
