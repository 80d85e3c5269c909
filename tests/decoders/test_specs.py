"""The tables, and the networks built from them."""

import dataclasses
import math

import pytest
import torch

from decoders.model import Decoder
from decoders.specs import DECODERS, HOG

# Supplementary of arXiv 1506.02753, table of the HOG network, worked by hand: weights + biases of each layer.
HOG_PARAMETERS = {
    "convA1": 5 * 5 * 31 * 256 + 256,
    "convA2": 5 * 5 * 256 * 512 + 512,
    "convA3": 3 * 3 * 512 * 1024 + 1024,
    "upconvA1": 4 * 4 * 1024 * 512 + 512,
    "upconvA2": 4 * 4 * 512 * 256 + 256,
    "upconvA3": 4 * 4 * 256 * 128 + 128,
    "convB1": 5 * 5 * 31 * 128 + 128,
    "convB2": 3 * 3 * 128 * 128 + 128,
    "convJ1": 3 * 3 * 256 * 256 + 256,
    "convJ2": 3 * 3 * 256 * 128 + 128,
    "upconvJ4": 4 * 4 * 128 * 64 + 64,
    "upconvJ5": 4 * 4 * 64 * 32 + 32,
    "upconvJ6": 4 * 4 * 32 * 3 + 3,
}


@pytest.fixture(scope="module")
def narrow() -> Decoder:
    return Decoder(HOG.scaled(0.125), seed=5)


def test_hog_parameters_are_the_tables() -> None:
    decoder = Decoder(HOG)
    found = {name: sum(p.numel() for p in row.parameters()) for name, row in decoder.rows.items()}
    assert found == HOG_PARAMETERS


def test_hog_table_prints_as_the_paper_does() -> None:
    lines = [line.split() for line in HOG.table().splitlines()]
    assert lines[0] == ["Layer", "Input", "InSize", "K", "S", "OutSize"]
    assert lines[1] == ["convA1", "features", "32×32×31", "5", "2", "16×16×256"]
    assert lines[9] == ["convJ1", "{upconvA3,", "convB2}", "32×32×256", "3", "1", "32×32×256"]
    assert lines[-1] == ["upconvJ6", "upconvJ5", "128×128×32", "4", "2", "256×256×3"]


@pytest.mark.parametrize("name", list(DECODERS))
def test_computed_sizes_are_the_tables(name: str) -> None:
    spec = DECODERS[name].scaled(0.0625)
    height, width, channels = spec.features
    sizes = {}
    decoder = Decoder(spec)
    for row, module in decoder.rows.items():
        module.register_forward_hook(lambda _, __, out, row=row: sizes.update({row: out.shape[1:]}))
    decoder(torch.zeros(1, channels, height, width))
    assert sizes == {row.name: (row.out[2], *row.out[:2]) for row in spec.rows}


@pytest.mark.parametrize("name", list(DECODERS))
@pytest.mark.parametrize("width", [0.5, 0.37, 0.01])
def test_width_scales_every_map_but_the_picture(name: str, width: float) -> None:
    paper, scaled = DECODERS[name], DECODERS[name].scaled(width)
    for before, after in zip(paper.rows[:-1], scaled.rows[:-1], strict=True):
        assert after.out[2] == max(1, round(before.out[2] * width))
    assert scaled.rows[-1].out == paper.rows[-1].out
    assert scaled.width == width


def test_a_table_that_does_not_add_up_is_refused() -> None:
    rows = tuple(
        dataclasses.replace(row, out=(17, 17, 64)) if row.name == "convA1" else row for row in HOG.rows
    )
    with pytest.raises(ValueError, match=r"convA1: computes 16x16, but the table says 17x17"):
        Decoder(dataclasses.replace(HOG, rows=rows))


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


def test_initial_activations_stay_near_unit_size() -> None:
    decoder = Decoder(HOG.scaled(0.5), seed=1)
    features = torch.rand(4, 31, 32, 32, generator=torch.Generator().manual_seed(2)) / HOG.feature_scale
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
