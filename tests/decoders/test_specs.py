"""The tables, and the networks built from them."""

import dataclasses
import json
import math
from typing import Any

import pytest
import torch

from decoders.model import Decoder
from decoders.rows import DecoderSpec, Size, channels_first
from decoders.specs import DECODERS, HOG


def _conv(kernel: int, maps_in: int, maps_out: int) -> int:
    return kernel * kernel * maps_in * maps_out + maps_out


# The tables of PAPER: CVPR 2016, Table 1, and the supplementary of arXiv 1506.02753; weights + biases by layer.
MAP_LAYERS = {
    "conv2": _conv(3, 256, 256),
    "conv3": _conv(3, 256, 256),
}
FOUR_UPCONVS = {
    "upconv1": _conv(5, 256, 128),
    "upconv2": _conv(5, 128, 64),
    "upconv3": _conv(5, 64, 32),
    "upconv4": _conv(5, 32, 3),
}
FIVE_UPCONVS = {
    "upconv1": _conv(5, 256, 256),
    "upconv2": _conv(5, 256, 128),
    "upconv3": _conv(5, 128, 64),
    "upconv4": _conv(5, 64, 32),
    "upconv5": _conv(5, 32, 3),
}
VECTOR_LAYERS = {"fc2": 4096 * 4096 + 4096, "fc3": 4096 * 4096 + 4096, "reshape": 0} | FIVE_UPCONVS
PARAMETERS = {
    "hog": {
        "convA1": _conv(5, 31, 256),
        "convA2": _conv(5, 256, 512),
        "convA3": _conv(3, 512, 1024),
        "upconvA1": _conv(4, 1024, 512),
        "upconvA2": _conv(4, 512, 256),
        "upconvA3": _conv(4, 256, 128),
        "convB1": _conv(5, 31, 128),
        "convB2": _conv(3, 128, 128),
        "convJ1": _conv(3, 256, 256),
        "convJ2": _conv(3, 256, 128),
        "upconvJ4": _conv(4, 128, 64),
        "upconvJ5": _conv(4, 64, 32),
        "upconvJ6": _conv(4, 32, 3),
    },
    "lbp": {
        "convA1": _conv(5, 58, 256),
        "convA2": _conv(5, 256, 512),
        "convA3": _conv(3, 512, 1024),
        "upconvA1": _conv(4, 1024, 512),
        "upconvA2": _conv(4, 512, 256),
        "convB1": _conv(5, 58, 128),
        "convB2": _conv(3, 128, 128),
        "convJ1": _conv(3, 384, 256),
        "convJ2": _conv(3, 256, 128),
        "upconvJ3": _conv(4, 128, 128),
        "upconvJ4": _conv(4, 128, 64),
        "upconvJ5": _conv(4, 64, 32),
        "upconvJ6": _conv(4, 32, 3),
    },
    "sift": {
        "conv1": _conv(5, 133, 256),
        "conv2": _conv(3, 256, 512),
        "conv3": _conv(3, 512, 1024),
        "conv4": _conv(3, 1024, 2048),
        "conv5": _conv(3, 2048, 2048),
        "conv6": _conv(3, 2048, 1024),
        "upconv1": _conv(4, 1024, 512),
        "upconv2": _conv(4, 512, 256),
        "upconv3": _conv(4, 256, 128),
        "upconv4": _conv(4, 128, 64),
        "upconv5": _conv(4, 64, 32),
        "upconv6": _conv(4, 32, 3),
    },
    "conv1": MAP_LAYERS
    | {
        "conv1": _conv(3, 96, 256),
        "upconv1": _conv(5, 256, 64),
        "upconv2": _conv(5, 64, 32),
        "upconv3": _conv(5, 32, 3),
    },
    "conv2": MAP_LAYERS | FOUR_UPCONVS | {"conv1": _conv(3, 256, 256)},
    "conv3": MAP_LAYERS | FOUR_UPCONVS | {"conv1": _conv(3, 384, 256)},
    "conv4": MAP_LAYERS | FOUR_UPCONVS | {"conv1": _conv(3, 384, 256)},
    "conv5": MAP_LAYERS | FIVE_UPCONVS | {"conv1": _conv(3, 256, 256)},
    "fc6": VECTOR_LAYERS | {"fc1": 4096 * 4096 + 4096},
    "fc7": VECTOR_LAYERS | {"fc1": 4096 * 4096 + 4096},
    "fc8": VECTOR_LAYERS | {"fc1": 1000 * 4096 + 4096},
}
OUTPUTS = {"hog": 256, "lbp": 256, "sift": 256, "conv1": 216, "conv2": 208, "conv3": 208, "conv4": 208, "conv5": 192,
           "fc6": 128, "fc7": 128, "fc8": 128}  # fmt: skip

# CVPR 2016, Table 1.
TABLE_1 = """
Layer   Input   InSize    K S OutSize
fc1     FC8     1000      – – 4096
fc2     fc1     4096      – – 4096
fc3     fc2     4096      – – 4096
reshape fc3     4096      – – 4×4×256
upconv1 reshape 4×4×256   5 2 8×8×256
upconv2 upconv1 8×8×256   5 2 16×16×128
upconv3 upconv2 16×16×128 5 2 32×32×64
upconv4 upconv3 32×32×64  5 2 64×64×32
upconv5 upconv4 64×64×32  5 2 128×128×3
"""


@pytest.fixture(scope="module")
def narrow() -> Decoder:
    return Decoder(HOG.scaled(0.125), seed=5)


@pytest.mark.parametrize("name", list(DECODERS))
def test_parameters_are_the_tables(name: str) -> None:
    with torch.device("meta"):
        decoder = Decoder(DECODERS[name])
    found = {row: sum(p.numel() for p in module.parameters()) for row, module in decoder.rows.items()}
    assert found == PARAMETERS[name]
    assert DECODERS[name].parameters == sum(PARAMETERS[name].values())


@pytest.mark.parametrize("name", list(DECODERS))
def test_pictures_have_the_table_s_size(name: str) -> None:
    assert DECODERS[name].rows[-1].out == (OUTPUTS[name], OUTPUTS[name], 3)


def test_hog_table_prints_as_the_paper_does() -> None:
    lines = [line.split() for line in HOG.table().splitlines()]
    assert lines[0] == ["Layer", "Input", "InSize", "K", "S", "OutSize"]
    assert lines[1] == ["convA1", "HOG", "32×32×31", "5", "2", "16×16×256"]
    assert lines[9] == ["convJ1", "{upconvA3,", "convB2}", "32×32×256", "3", "1", "32×32×256"]
    assert lines[-1] == ["upconvJ6", "upconvJ5", "128×128×32", "4", "2", "256×256×3"]


def test_fc8_table_prints_as_the_paper_does() -> None:
    found = [line.split() for line in DECODERS["fc8"].table().splitlines()]
    assert found == [line.split() for line in TABLE_1.strip().splitlines()]


@pytest.mark.parametrize("name", list(DECODERS))
def test_computed_sizes_are_the_tables(name: str) -> None:
    spec = DECODERS[name].scaled(0.0625)
    sizes = {}
    decoder = Decoder(spec)
    for row, module in decoder.rows.items():
        module.register_forward_hook(lambda _, __, out, row=row: sizes.update({row: out.shape[1:]}))
    decoder(torch.zeros(1, *spec.feature_shape))
    assert sizes == {row.name: channels_first(row.out) for row in spec.rows}


@pytest.mark.parametrize("name", list(DECODERS))
@pytest.mark.parametrize("width", [0.5, 0.37, 0.01])
def test_width_scales_every_map_but_the_picture(name: str, width: float) -> None:
    paper, scaled = DECODERS[name], DECODERS[name].scaled(width)
    reshaped = {row.inputs[0]: row for row in scaled.rows if row.op == "reshape"}
    for before, after in zip(paper.rows[:-1], scaled.rows[:-1], strict=True):
        if after.name in reshaped:
            assert after.out == (1, 1, 4 * 4 * reshaped[after.name].out[2])
        else:
            assert after.out[2] == max(1, round(before.out[2] * width))
    assert scaled.rows[-1].out == paper.rows[-1].out
    assert scaled.width == width


def test_a_table_that_does_not_add_up_is_refused() -> None:
    rows = tuple(
        dataclasses.replace(row, out=(17, 17, 64)) if row.name == "convA1" else row for row in HOG.rows
    )
    with pytest.raises(ValueError, match=r"convA1: computes 16x16x64, but the table says 17x17x64"):
        Decoder(dataclasses.replace(HOG, rows=rows))


@pytest.mark.parametrize(("name", "out", "said"), [
    ("reshape", (4, 4, 255), "reshape: computes 1x1x4096, but the table says 4x4x255"),
    ("fc2", (2, 2, 8), "fc2: computes 1x1x8, but the table says 2x2x8"),
])  # fmt: skip
def test_vectors_that_do_not_add_up_are_refused(name: str, out: Size, said: str) -> None:
    fc8 = DECODERS["fc8"]
    rows = tuple(dataclasses.replace(row, out=out) if row.name == name else row for row in fc8.rows)
    with torch.device("meta"), pytest.raises(ValueError, match=said):
        Decoder(dataclasses.replace(fc8, rows=rows))


def test_reshape_is_channel_major() -> None:
    """Caffe's order: all values of the first map, row by row, then the second map's."""
    decoder = Decoder(DECODERS["fc8"].scaled(0.02))
    maps = decoder.rows["reshape"](torch.arange(2 * 80.0).reshape(2, 80))
    assert maps.shape == (2, 5, 4, 4)
    assert maps[1, 2, 1].tolist() == [80 + 2 * 16 + 4 + x for x in range(4)]


@pytest.mark.parametrize("name", ["hog", "fc8"])
def test_a_table_survives_json(name: str) -> None:
    spec = DECODERS[name].scaled(0.5)
    assert DecoderSpec.from_json(json.loads(json.dumps(dataclasses.asdict(spec))), "here") == spec


def damaged_tables() -> dict[str, Any]:
    good = json.loads(json.dumps(dataclasses.asdict(HOG)))
    row = good["rows"][1]
    return {
        "no object": [],
        "no rows": good | {"rows": []},
        "another field": good | {"colour": "red"},
        "a bad size": good | {"features": [32, 32, 0]},
        "a text size": good | {"features": ["a", 32, 31]},
        "two sides": good | {"features": [32, 31]},
        "a row without op": good | {"rows": [{k: v for k, v in row.items() if k != "op"}]},
        "an unknown op": good | {"rows": [row | {"op": "pool", "inputs": ["features"]}]},
        "a row of nothing known": good | {"rows": [row | {"inputs": ["elsewhere"]}]},
        "too large": good | {"rows": [row | {"inputs": ["features"], "out": [1, 1, 10**12]}]},
    }


@pytest.mark.parametrize("damage", list(damaged_tables()))
def test_damaged_tables_are_refused(damage: str) -> None:
    with pytest.raises(ValueError, match="here: not a decoder's table"):
        DecoderSpec.from_json(damaged_tables()[damage], "here")


@pytest.mark.parametrize("width", [0.0, -1.0, 5.0, math.nan])
def test_bad_widths_are_refused(width: float) -> None:
    with pytest.raises(ValueError, match="width is"):
        HOG.scaled(width)


def test_larger_features_give_larger_pictures(narrow: Decoder) -> None:
    assert narrow.decode(torch.zeros(2, 31, 8, 24)).shape == (2, 3, 64, 192)


def test_decode_inverts_target(narrow: Decoder) -> None:
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    features = torch.zeros(2, 31, 8, 8)
    narrow.forward = lambda _: narrow.target(images)  # type: ignore[method-assign, assignment]
    assert torch.allclose(narrow.decode(features), images, atol=1e-4)
    del narrow.forward


def test_zero_features_start_at_the_mean_picture(narrow: Decoder) -> None:
    decoded = narrow.decode(torch.zeros(1, 31, 8, 8))
    assert torch.allclose(decoded[0, :, 0, 0], torch.tensor([122.67891, 116.66877, 104.00699]))


@pytest.mark.parametrize(
    ("name", "width"), [("hog", 0.5), ("lbp", 0.25), ("sift", 0.1), ("conv5", 0.5), ("fc8", 0.2)]
)
def test_initial_activations_stay_near_unit_size(name: str, width: float) -> None:
    spec = DECODERS[name].scaled(width)
    decoder = Decoder(spec, seed=1)
    features = (
        torch.rand(4, *spec.feature_shape, generator=torch.Generator().manual_seed(2)) / spec.feature_scale
    )
    assert 0.2 < decoder(features).std().item() < 3


def test_seed_decides_the_weights() -> None:
    first, again, other = (Decoder(HOG.scaled(0.0625), seed=seed).rows["convJ1"].weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_only_the_picture_is_linear() -> None:
    """A decoder without biases is positively homogeneous, and its last row alone passes negative values whole."""
    decoder = Decoder(HOG.scaled(0.0625), seed=3)
    features = torch.rand(1, 31, 8, 8, generator=torch.Generator().manual_seed(4))
    maps = decoder._maps(features)
    linear = decoder.rows["upconvJ6"](maps["upconvJ5"])
    assert torch.equal(maps["upconvJ6"], linear)
    before = decoder.rows["upconvJ5"](maps["upconvJ4"])
    assert torch.equal(maps["upconvJ5"], torch.where(before > 0, before, before * 0.2))


def test_unknown_upconv_is_refused() -> None:
    with pytest.raises(ValueError, match="literal, fused"):
        Decoder(HOG, upconv="fast")
