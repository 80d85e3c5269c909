"""Exported decoders: equal to torch, documented by their card, and refused when they are not what they claim."""

import dataclasses
import hashlib
import json
import zipfile
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

import export
from decoders.model import Decoder
from export import to_onnx
from export.__main__ import main
from export.card import ANSWERS_FIELD, CARD_FIELD
from export.model_file import SEAL_FIELD, sealed
from export.precision import PRECISIONS
from export.to_onnx import ExportOptions
from tests.export.conftest import write

ROOT = Path(__file__).parent.parent.parent


def random_features(*shape: int) -> np.ndarray:
    return np.random.default_rng(11).random(shape, dtype=np.float32) * 0.3


@pytest.mark.parametrize("shape", [(1, 31, 32, 32), (5, 31, 32, 32), (2, 31, 8, 40), (1, 31, 64, 8)])
def test_values_equal_torch_for_any_batch_and_size(
    exported: Path, decoder: Decoder, precision: str, shape: tuple[int, ...]
) -> None:
    features = random_features(*shape)
    expected = decoder.decode_numpy(features)
    found = export.load(exported).pictures(features)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= PRECISIONS[precision].tolerance


def test_decoder_returns_rgb_bytes(exported: Path, decoder: Decoder, precision: str) -> None:
    features = random_features(2, 31, 8, 16)
    pictures = export.load(exported)(features)
    assert pictures.dtype == np.uint8
    assert pictures.shape == (2, 64, 128, 3)
    expected = decoder.decode_numpy(features).transpose(0, 2, 3, 1)
    assert np.abs(pictures - expected).max() <= 0.5 + PRECISIONS[precision].tolerance


def test_half_weights_halve_the_file(exported: Path, precision: str, decoder: Decoder) -> None:
    parameters = sum(parameter.numel() for parameter in decoder.parameters())
    per_weight = (exported.stat().st_size - 90_000) / parameters
    assert per_weight <= {"fp32": 4, "fp16": 2}[precision]


def test_card_says_what_made_the_file(exported: Path, precision: str) -> None:
    card = export.load(exported).card
    assert card["representation"] == "hog"
    assert card["feature_shape"] == [31, 32, 32]
    assert card["feature_multiple"] == 8
    assert "rgb2gray" in card["preprocessing"]
    assert card["training"]["data_hash"] == "00" * 32
    assert card["training"]["config"]["seed"] == 0
    assert len(card["weights_sha256"]) == 64
    assert card["export"]["precision"] == precision
    assert 0 <= card["export"]["largest_difference"] <= card["export"]["tolerance"]
    assert {"torch", "onnx"} <= card["export"]["versions"].keys()


def test_weights_hash_is_of_the_weights(exported: Path, decoder: Decoder) -> None:
    digest = export.load(exported).card["weights_sha256"]
    assert to_onnx.weights_hash(decoder) == digest
    assert to_onnx.weights_hash(Decoder(decoder.spec, seed=8)) != digest


def test_one_file_without_external_data(exported: Path) -> None:
    assert [path.name for path in exported.parent.iterdir()] == [exported.name]
    model = onnx.load(exported)
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert str(ROOT).encode() not in exported.read_bytes()
    assert [entry.key for entry in model.metadata_props] == [CARD_FIELD, ANSWERS_FIELD, SEAL_FIELD]


def test_a_file_that_differs_from_torch_is_not_written(
    decoder: Decoder, card: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(model: onnx.ModelProto) -> onnx.ModelProto:
        tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
        values = onnx.numpy_helper.to_array(tensor) * 1.01
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), tensor.name))
        return model

    spoilt = dataclasses.replace(PRECISIONS["fp32"], rewrite=spoil)
    monkeypatch.setattr(to_onnx, "PRECISIONS", MappingProxyType({"fp32": spoilt}))
    path = tmp_path / "hog.onnx"
    path.write_bytes(b"what was there")
    with pytest.raises(
        ValueError,
        match=r"hog\.onnx: not written; .* differ from torch's by .* grey levels; 0\.005 are allowed",
    ):
        write(decoder, card, path, ExportOptions())
    assert path.read_bytes() == b"what was there"
    assert [entry.name for entry in tmp_path.iterdir()] == ["hog.onnx"]


@pytest.mark.parametrize(
    "shape",
    [(31, 32, 32), (1, 30, 32, 32), (1, 31, 33, 32), (1, 31, 32, 12), (1, 31, 0, 32), (1, 31, 32), ()],
)
def test_features_of_another_shape_are_refused(exported: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"takes \(N, 31, 32, 32\), or with both sides multiples of 8"):
        export.load(exported)(np.zeros(shape, np.float32))


def test_other_dtypes_are_converted_or_refused(exported: Path) -> None:
    decoder = export.load(exported)
    features = random_features(1, 31, 8, 8)
    assert np.array_equal(decoder(features.astype(np.float64)), decoder(features))
    assert np.array_equal(decoder(np.asfortranarray(features)), decoder(features))
    with pytest.raises(TypeError, match="complex64"):
        decoder(features.astype(np.complex64))
    features[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        decoder(features)


def test_an_empty_batch_gives_no_pictures(exported: Path) -> None:
    assert export.load(exported)(np.zeros((0, 31, 8, 8), np.float32)).shape == (0, 64, 64, 3)


def test_damaged_files_are_refused(exported: Path, tmp_path: Path) -> None:
    data = exported.read_bytes()
    for damage in (b"", b"not onnx", data[: len(data) // 2], data[:100]):
        (tmp_path / "torn.onnx").write_bytes(damage)
        with pytest.raises(ValueError, match=r"torn\.onnx: "):
            export.load(tmp_path / "torn.onnx")
    with pytest.raises(FileNotFoundError, match=r"gone\.onnx: no such file"):
        export.load(tmp_path / "gone.onnx")


def type_in(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_check_repeats_the_recorded_answers(exported: Path, decoder: Decoder) -> None:
    features, images = export.load(exported).recorded()
    assert np.array_equal(images, np.rint(decoder.decode_numpy(features)).transpose(0, 2, 3, 1))
    result = type_in("check", exported, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["passed"]
    assert found["sha256"] == hashlib.sha256(exported.read_bytes()).hexdigest()
    assert found["operators"]["Conv"] == 7 + 3 * 4 + 3  # plain ones, rows in four phases, narrow rows merged
    assert "still gives the recorded answers" in type_in("check", exported).stdout


def test_check_notices_other_weights(exported: Path, tmp_path: Path) -> None:
    model = onnx.load(exported)
    tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
    values = onnx.numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values * values.dtype.type(1.5), tensor.name))
    del model.metadata_props[2:]
    (tmp_path / "changed.onnx").write_bytes(sealed(model.SerializeToString()))
    result = type_in("check", tmp_path / "changed.onnx")
    assert result.exit_code == 1
    assert "NO LONGER GIVES" in result.stdout
    assert not json.loads(type_in("check", tmp_path / "changed.onnx", "--json").stdout)["passed"]


def test_run_decodes_an_npz_file(exported: Path, tmp_path: Path) -> None:
    features = random_features(3, 31, 8, 8)
    np.savez(tmp_path / "features.npz", features=features)
    result = type_in("run", exported, tmp_path / "features.npz", "-o", tmp_path / "images.npz")
    assert result.exit_code == 0, result.output
    with np.load(tmp_path / "images.npz") as arrays:
        assert np.array_equal(arrays["images"], export.load(exported)(features))


def test_commands_refuse_bad_files_in_one_line(exported: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    (tmp_path / "noise.npz").write_bytes(b"\x80\x04pickled")
    np.savez(tmp_path / "objects.npz", features=np.array([{}], dtype=object))
    header = (
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999,), }".ljust(117)
    )
    with zipfile.ZipFile(tmp_path / "claims.npz", "w") as archive:
        archive.writestr("features.npy", header + b"\n")
    (tmp_path / "text.csv").write_text("1, 2")
    for name in ("other.npz", "noise.npz", "objects.npz", "text.csv", "claims.npz", "gone.npz"):
        result = type_in("run", exported, tmp_path / name, "-o", tmp_path / "images.npz")
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1, name
        assert f"{name}: " in result.stderr
    assert not (tmp_path / "images.npz").exists()
    assert type_in("check", tmp_path / "noise.npz").exit_code == 2


@pytest.mark.parametrize("name", list(main.commands))
def test_help_has_an_example(name: str) -> None:
    assert f"Example: python -m export {name}" in type_in(name, "--help").stdout
    assert f"python -m export {name}" in (ROOT / "README.md").read_text(encoding="utf-8")
