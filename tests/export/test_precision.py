"""Reduced weights: what is stored, what it costs, and that too much is refused."""

import dataclasses
import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import export
from caffe_port.opening import open_net
from decoders.derive import decoder_for
from decoders.model import Decoder
from decoders.representations import Representation, representation
from export import to_onnx
from export.__main__ import main
from export.check import check
from export.net_to_onnx import export_net
from export.precision import PRECISIONS, quantise
from export.to_onnx import ExportOptions, export_decoder
from tests.export.conftest import photographs, write


@pytest.fixture(scope="module")
def fc6() -> tuple[Decoder, Representation]:
    """The decoder of caffenet-mini's fc6: its second and third layers have 2^20 weights each."""
    row = representation("fc6", "caffenet-mini")
    return Decoder(decoder_for("fc6", (1, 1, row.shape[0]), row.image_size), seed=5).eval(), row


def exported(fc6: tuple[Decoder, Representation], path: Path, options: ExportOptions) -> dict[str, Any]:
    decoder, row = fc6
    card = {"representation": "fc6", "preprocessing": row.preprocessing, "training": {}}
    return export_decoder(decoder, row, card, path, calibration=photographs(), options=options)


def test_quantised_weights_are_the_nearest_of_255() -> None:
    weights = np.random.default_rng(0).standard_normal((5, 2500)).astype(np.float32)
    weights[1] = 0
    numbers, scales = quantise(weights)
    assert (numbers.shape, scales.shape) == ((5, 3, 1024), (5, 3))
    restored = ((numbers.astype(np.float32) - 128) * scales[..., None]).reshape(5, 3072)
    assert np.abs(restored[:, :2500] - weights).max() <= scales.max() / 2 * 1.001
    assert not restored[:, 2500:].any()
    assert not restored[1].any()


def test_int8_is_small_and_says_what_it_costs(fc6: tuple[Decoder, Representation], tmp_path: Path) -> None:
    sizes = {}
    for precision in PRECISIONS:
        path = tmp_path / f"{precision}.onnx"
        card = exported(fc6, path, ExportOptions(precision))
        cost = card["export"]["calibration"]
        assert cost["pictures"] == 3
        assert cost["error"] == pytest.approx(cost["torch_error"] * (1 + cost["extra_error"]))
        assert abs(cost["extra_error"]) < 0.005
        found = check(path)
        assert found["passed"], found
        assert found["operators"].get("MatMulNBits", 0) == (2 if precision == "int8" else 0)
        sizes[precision] = path.stat().st_size
    assert sizes["fp32"] > 1.9 * sizes["fp16"] > 1.9 * sizes["int8"]


def test_an_int8_picture_does_not_depend_on_its_batch(
    fc6: tuple[Decoder, Representation], tmp_path: Path
) -> None:
    exported(fc6, tmp_path / "fc6.onnx", ExportOptions("int8"))
    decoder = export.load(tmp_path / "fc6.onnx", threads=1)
    features = np.random.default_rng(0).random((3, 512), dtype=np.float32)
    features[1:] *= 40
    alone = decoder.pictures(features[:1])
    assert np.abs(decoder.pictures(features)[:1] - alone).max() <= 0.005


def test_int8_of_convolutions(decoder: Decoder, card: dict[str, Any], tmp_path: Path) -> None:
    """Each weight is within half a step of the decoder's, a step being a 127th of its output map's largest."""
    path = tmp_path / "hog.onnx"
    cost = write(decoder, card, path, ExportOptions("int8"))["export"]["calibration"]
    assert abs(cost["extra_error"]) < 0.005
    assert check(path)["passed"]
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    for name in ("convA2", "convA3", "convJ2"):
        weights = decoder.rows[name].weight.detach().numpy()
        numbers, scales = stored[f"{name}.weight.bytes"], stored[f"{name}.weight.scales"]
        assert numbers.dtype == np.int8
        largest = np.abs(weights).reshape(len(weights), -1).max(axis=1)
        np.testing.assert_allclose(scales.ravel(), largest / 127, rtol=1e-6)
        assert (np.abs(numbers * scales - weights) <= scales * 0.5001).all()


def test_too_much_extra_error_is_refused(
    decoder: Decoder, card: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def coarse(model: onnx.ModelProto) -> onnx.ModelProto:
        for tensor in model.graph.initializer:
            values = onnx.numpy_helper.to_array(tensor)
            if values.ndim == 4:
                step = np.abs(values).max() / 3
                rounded = (np.rint(values / step) * step).astype(np.float32)
                tensor.CopyFrom(onnx.numpy_helper.from_array(rounded, tensor.name))
        return model

    spoilt = dataclasses.replace(PRECISIONS["fp16"], rewrite=coarse, tolerance=None)
    monkeypatch.setattr(to_onnx, "PRECISIONS", MappingProxyType({**PRECISIONS, "fp16": spoilt}))
    path = tmp_path / "hog.onnx"
    with pytest.raises(
        ValueError,
        match=r"hog\.onnx: not written; fp16 raises the reconstruction error on 3 pictures from \d\.\d+ to \d\.\d+, by "
        r"[\d.e+]+ %; --max-extra-error allows 0 %",
    ):
        write(decoder, card, path, ExportOptions("fp16", max_extra_error=0.0))
    assert not path.exists()


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValueError, match="precision is 'int3'; it must be one of fp32, fp16, int8"):
        ExportOptions("int3")
    with pytest.raises(ValueError, match="kind is 'net'; it must be one of decoder, pipeline"):
        ExportOptions(kind="net")
    with pytest.raises(ValueError, match="max_extra_error is nan"):
        ExportOptions(max_extra_error=float("nan"))


def test_a_pipeline_of_a_net_takes_photographs_of_any_size(
    fc6: tuple[Decoder, Representation], tmp_path: Path
) -> None:
    path = tmp_path / "pipeline.onnx"
    card = exported(fc6, path, ExportOptions(kind="pipeline"))
    assert card["photograph_multiple"] == 1
    assert card["export"]["largest_difference"] <= 0.005
    pipeline, (decoder, row) = export.load(path, threads=1), fc6
    for photograph in photographs():
        framed = row.framing.centre(photograph)[None].transpose(0, 3, 1, 2).astype(np.float32)
        expected = np.rint(decoder.decode_numpy(row.extract(framed)))
        assert np.abs(pipeline(photograph[None]) - expected.transpose(0, 2, 3, 1)).max() <= 1


def test_representations_without_a_graph_have_no_pipeline(tmp_path: Path) -> None:
    row = representation("sift")
    decoder = Decoder(decoder_for("sift", (64, 64, 133), (256, 256)).scaled(0.01), seed=1).eval()
    with pytest.raises(
        ValueError, match="sift has no graph of standard operators, so no pipeline; there are ones for hog"
    ):
        export_decoder(
            decoder, row, {}, tmp_path / "a", calibration=[], options=ExportOptions(kind="pipeline")
        )


def test_a_net_up_to_a_blob_is_one_file(tmp_path: Path) -> None:
    path = tmp_path / "conv3.onnx"
    typed = CliRunner().invoke(
        main, ["net", "caffenet-mini", "--blob", "conv3", "-o", str(path), "--size", "61", "43"]
    )
    assert typed.exit_code == 0, typed.output
    net, converted = export.load_net(path, threads=1), open_net("caffenet-mini")
    data = np.random.default_rng(0).uniform(-99, 99, (2, 3, 61, 43)).astype(np.float32)
    expected = converted.net.features(data, "conv3").detach().numpy()
    assert np.abs(net(data) - expected).max() <= 1e-5 * np.abs(expected).max()
    with pytest.raises(
        ValueError, match=r"data have shape \(2, 3, 61, 42\); this net takes \(N, 3, 61, 43\)"
    ):
        net(data[..., 1:])
    with pytest.raises(ValueError, match=r"a Caffe net; open it with export\.load_net"):
        export.load(path)
    checked = CliRunner().invoke(main, ["check", str(path), "--json"])
    assert checked.exit_code == 0
    assert json.loads(checked.stdout)["unit"] == "of the blob's largest magnitude"
    assert "still gives the recorded answers" in CliRunner().invoke(main, ["check", str(path)]).stdout


def test_a_net_that_differs_from_torch_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.net_to_onnx.TOLERANCE", 0.0)
    converted = open_net("caffenet-mini")
    with pytest.raises(
        ValueError, match=r"a\.onnx: not written; blob 'fc6' of data .* of its largest magnitude"
    ):
        export_net(converted.net, "fc6", tmp_path / "a.onnx", origin={})
    assert not list(tmp_path.iterdir())
