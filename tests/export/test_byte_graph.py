"""Decoders whose maps are bytes: against a slow one in float64, ranges, scales, devices, batches, what they cost."""

import copy
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch.nn import functional

import export
from decoders.derive import decoder_for
from decoders.model import Decoder
from decoders.representations import representation
from decoders.upconv import UpConvolution
from export.byte_graph import MARGIN, Ranges, ranges_of, weight_scales
from export.check import check
from export.decoder_graph import folded_weights
from export.graphs import GRAPHS, Subject
from export.providers import PROVIDERS
from export.to_onnx import ExportOptions, export_decoder
from export.upconvolution import fastest_form
from tests.export.conftest import photographs, spec, write

STATIC = ExportOptions("int8-static")
LEVELS = 63


@pytest.fixture(scope="module")
def static(decoder: Decoder, card: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("static") / "hog.onnx"
    write(decoder, card, path, STATIC)
    return path


@pytest.fixture(scope="module")
def vector() -> Decoder:
    """The decoder of caffenet-mini's fc6: fully connected layers and kernels of 5."""
    row = representation("fc6", "caffenet-mini")
    return Decoder(decoder_for("fc6", (1, 1, row.shape[0]), row.image_size), seed=5).eval()


def hog_features(count: int, seed: int = 0, side: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 31, side, side), dtype=np.float32) * np.float32(0.3)


def to_bytes(values: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """The nearest of 256 numbers that zero is one of."""
    scale = float(np.float32((high - low) / 255))
    zero = round(-low / scale)
    return ((values / scale).round() + zero).clamp(0, 255).sub(zero) * scale


def rounded(weight: np.ndarray) -> torch.Tensor:
    scales = weight_scales(weight, 0)
    return torch.from_numpy(np.clip(np.rint(weight / scales), -LEVELS, LEVELS) * scales).double()


def rounded_parts(weight: np.ndarray) -> torch.Tensor:
    """Of an up-convolution: each parity's part of the kernel is rounded by itself."""
    found = torch.empty(weight.shape, dtype=torch.float64)
    for row in (0, 1):
        for column in (0, 1):
            part = np.s_[:, :, row::2, column::2]
            found[part] = rounded(weight[part])
    return found


def slow_images(decoder: Decoder, ranges: Ranges, features: np.ndarray) -> np.ndarray:
    """What the graph should make, by torch's layers in float64 on numbers that bytes can hold."""
    values, held = (
        {"features": to_bytes(torch.from_numpy(features).double(), *ranges["features"])},
        dict(ranges),
    )
    rows = copy.deepcopy(decoder.rows).double()
    last = decoder.spec.rows[-1]
    for row in decoder.spec.rows:
        inputs = [values[name] for name in row.inputs]
        low, high = min(held[name][0] for name in row.inputs), max(held[name][1] for name in row.inputs)
        joined = inputs[0] if len(inputs) == 1 else to_bytes(torch.cat(inputs, 1), low, high)
        module = rows[row.name]
        if row.op == "reshape":
            values[row.name], held[row.name] = module(joined), (low, high)
            continue
        weight, bias = folded_weights(decoder, row)
        # fully connected weights are stored the other way round, with the same scales
        module.weight.data = (rounded_parts if isinstance(module, UpConvolution) else rounded)(weight)
        module.bias.data = torch.from_numpy(bias).double()
        made = module(joined)
        if row is last:
            return made.round().clamp(0, 255).permute(0, 2, 3, 1).numpy()
        low, high = ranges[row.name]
        held[row.name] = (0.2 * low, high)
        values[row.name] = to_bytes(functional.leaky_relu(to_bytes(made, low, high), 0.2), *held[row.name])
    raise AssertionError("a decoder ends in its picture")


def run(decoder: Decoder, ranges: Ranges, features: np.ndarray) -> np.ndarray:
    model = GRAPHS["decoder"].write(Subject(decoder, None, ranges=ranges))  # type: ignore[arg-type]
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["images"], {"features": features})[0]


def assert_nearly_equal(found: np.ndarray, expected: np.ndarray) -> None:
    """Numbers half-way between two bytes may go either way, and what follows from them by a level or two."""
    assert found.shape == expected.shape
    assert expected.std() > 5
    differences = np.abs(found - expected)
    assert differences.max() <= 3
    assert differences.mean() < 0.05


@torch.inference_mode()
def test_convolutions_equal_slow_ones(decoder: Decoder) -> None:
    features = hog_features(3)
    ranges = ranges_of(decoder, [features])
    assert_nearly_equal(run(decoder, ranges, features), slow_images(decoder, ranges, features))
    wide = hog_features(2, seed=1).reshape(1, 31, 8, 16)
    assert_nearly_equal(run(decoder, ranges, wide), slow_images(decoder, ranges, wide))


@torch.inference_mode()
def test_fully_connected_layers_equal_slow_ones(vector: Decoder) -> None:
    features = np.random.default_rng(0).standard_normal((3, 512), dtype=np.float32)
    ranges = ranges_of(vector, [features])
    assert_nearly_equal(run(vector, ranges, features), slow_images(vector, ranges, features))


def test_ranges_are_those_of_the_rows(decoder: Decoder) -> None:
    batches = [hog_features(2, seed=0), hog_features(1, seed=1, side=16) - np.float32(0.1)]
    ranges = ranges_of(decoder, batches)
    assert set(ranges) == {"features", *(row.name for row in decoder.spec.rows)}
    low, high = min(batch.min() for batch in batches), max(batch.max() for batch in batches)
    assert ranges["features"] == pytest.approx((MARGIN * low, MARGIN * high))
    with torch.inference_mode():
        scale = decoder.spec.feature_scale
        made = [decoder.rows["convB1"](scale * torch.from_numpy(batch)) for batch in batches]
    low, high = min(float(one.min()) for one in made), MARGIN * max(float(one.max()) for one in made)
    assert ranges["convB1"] == pytest.approx((low, high))
    assert not any(module._forward_hooks for module in decoder.rows.values())


@settings(max_examples=50, deadline=None)
@given(
    arrays.arrays(np.float32, (3, 2, 2), elements=st.floats(-100, 100, width=32)), st.sampled_from([0, 1, 2])
)
def test_no_other_scale_is_nearer(weight: np.ndarray, axis: int) -> None:
    scales = weight_scales(weight, axis)
    assert scales.shape == tuple(length if n == axis else 1 for n, length in enumerate(weight.shape))
    assert (scales > 0).all()

    def error(scales: np.ndarray) -> np.ndarray:
        steps = np.clip(np.rint(weight / scales), -LEVELS, LEVELS) * scales - weight
        return np.square(steps.astype(np.float64)).sum(axis=tuple(n for n in range(3) if n != axis))

    largest = np.abs(weight).max(axis=tuple(n for n in range(3) if n != axis), keepdims=True) / LEVELS
    plain = np.where(largest == 0, 1, largest).astype(np.float32)
    for share in (0.5, 0.75, 0.9, 1.0):
        assert (error(scales) <= error(plain * np.float32(share)) * 1.001 + 1e-6).all()


def test_a_file_says_what_it_costs(static: Path) -> None:
    found = check(static)
    assert found["passed"], found
    assert found["card"]["export"]["precision"] == "int8-static"
    cost = found["card"]["export"]["calibration"]
    assert abs(cost["extra_error"]) < 0.005
    digest = hashlib.sha256()
    for picture in photographs():
        digest.update(f"{picture.shape}".encode() + picture.tobytes())
    assert cost["pictures_sha256"] == digest.hexdigest()
    assert found["operators"]["QLinearConv"] > 8
    assert not {"Conv", "Clip", "Round"} & set(found["operators"])
    for tensor in onnx.load(static).graph.initializer:
        if tensor.name.endswith(".weight"):  # which no processor's sums of two products overflow
            numbers = onnx.numpy_helper.to_array(tensor)
            assert numbers.dtype == np.int8
            assert 2 * 255 * np.abs(numbers.astype(int)).max() < 2**15


def test_a_vector_decoder_and_its_pipeline_are_exported(vector: Decoder, tmp_path: Path) -> None:
    row = representation("fc6", "caffenet-mini")
    card = {"representation": "fc6", "preprocessing": row.preprocessing, "training": {}}
    for kind in ("decoder", "pipeline"):
        path = tmp_path / f"{kind}.onnx"
        options = ExportOptions("int8-static", kind, max_extra_error=0.02)
        export_decoder(vector, row, card, path, calibration=photographs(), options=options)
        assert check(path)["passed"]
    decoder, pipeline = (export.load(tmp_path / f"{kind}.onnx") for kind in ("decoder", "pipeline"))
    photograph = photographs()[0]
    features = GRAPHS["decoder"].inputs(Subject(vector, row), [photograph])[0]
    difference = np.abs(pipeline(photograph[None]).astype(int) - decoder(features))
    assert difference.mean() < 1


def test_a_picture_depends_on_nothing_but_its_features(static: Path) -> None:
    decoder, features = export.load(static, threads=2), hog_features(5, seed=3)
    features[1:] *= 40  # far beyond the ranges: counted as their ends
    images = decoder(features)
    for n in range(5):
        assert np.array_equal(export.load(static, threads=1)(features[n : n + 1])[0], images[n])
    assert decoder(features[:0]).shape == (0, 64, 64, 3)
    assert decoder(hog_features(1, side=16)).shape == (1, 128, 128, 3)


def test_only_the_cpu_computes_bytes(static: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(PROVIDERS.values()))
    assert (export.load(static).provider.got, export.load(static).provider.why[:18]) == (
        "cpu",
        "its maps are bytes",
    )
    with pytest.warns(
        RuntimeWarning, match=r"on the CPU instead of cuda: its maps are bytes.* export it as fp16"
    ):
        assert export.load(static, device="cuda").provider.got == "cpu"
    with pytest.raises(ValueError, match="device is 'cuda', but its maps are bytes"):
        export.load(static, device="cuda", strict_device=True)


def test_forms_are_for_floats() -> None:
    with pytest.raises(ValueError, match="form is 'phases'; int8-static has no choice of forms"):
        ExportOptions("int8-static", form="phases")
    assert {fastest_form(row.out[2]) for row in spec().rows if row.op == "upconv"} == {"phases", "merged"}
