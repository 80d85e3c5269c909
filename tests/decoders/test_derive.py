"""Decoders derived by the paper's recipe; expected tables worked by hand from its sentences and Table 1."""

import pytest
import torch

from decoders.derive import decoder_for, derive
from decoders.model import Decoder
from decoders.rows import Size
from decoders.specs import DECODERS


def rows_of(name: str, features: Size, image_size: tuple[int, int]) -> list[str]:
    lines = derive(name, features, image_size).table().splitlines()[1:]
    return [" ".join(line.split()) for line in lines]


# caffenet-mini: norm1 is 14x14x48; 64/14 is nearest to 4, two doublings.
def test_maps_of_a_small_net() -> None:
    assert rows_of("norm1", (14, 14, 48), (64, 64)) == [
        "conv1 norm1 14×14×48 3 1 14×14×256",
        "conv2 conv1 14×14×256 3 1 14×14×256",
        "conv3 conv2 14×14×256 3 1 14×14×256",
        "upconv1 conv3 14×14×256 5 2 28×28×32",
        "upconv2 upconv1 28×28×32 5 2 56×56×3",
    ]


# caffenet-mini: 64 / 32 = 2, so 2x2x256 = 1024 units.
def test_vectors_of_a_small_net() -> None:
    assert rows_of("fc6", (1, 1, 512), (64, 64)) == [
        "fc1 fc6 512 – – 1024",
        "fc2 fc1 1024 – – 1024",
        "fc3 fc2 1024 – – 1024",
        "reshape fc3 1024 – – 2×2×256",
        "upconv1 reshape 2×2×256 5 2 4×4×256",
        "upconv2 upconv1 4×4×256 5 2 8×8×128",
        "upconv3 upconv2 8×8×128 5 2 16×16×64",
        "upconv4 upconv3 16×16×64 5 2 32×32×32",
        "upconv5 upconv4 32×32×32 5 2 64×64×3",
    ]


# LeNet: 28 / 32 rounds to 1; the picture is 32x32.
def test_vectors_of_a_tiny_net_start_from_one_cell() -> None:
    rows = rows_of("ip1", (1, 1, 500), (28, 28))
    assert rows[:3] == ["fc1 ip1 500 – – 256", "fc2 fc1 256 – – 256", "fc3 fc2 256 – – 256"]
    assert rows[4] == "upconv1 reshape 256 5 2 2×2×256"
    assert rows[-1] == "upconv5 upconv4 16×16×32 5 2 32×32×3"


# 227 / 32 rounds to 7; the first two layers have Table 1's 4096 units, the third 7x7x256.
def test_vectors_of_a_large_net_keep_table_1_s_units() -> None:
    rows = rows_of("prob", (1, 1, 1000), (227, 227))
    assert rows[:3] == ["fc1 prob 1000 – – 4096", "fc2 fc1 4096 – – 4096", "fc3 fc2 4096 – – 12544"]
    assert rows[-1] == "upconv5 upconv4 112×112×32 5 2 224×224×3"


@pytest.mark.parametrize(
    ("features", "image_size", "picture"),
    [
        ((3, 5, 4), (64, 128), (96, 160, 3)),  # log2 of 21.3 and 25.6: 4.41 and 4.68, 4.55 in the mean
        ((4, 3, 7), (64, 48), (64, 48, 3)),  # 16 and 16
        ((55, 55, 96), (227, 227), (220, 220, 3)),  # 4.13: two doublings
        ((227, 227, 3), (227, 227), (227, 227, 3)),  # none
        ((40, 40, 3), (20, 20), (40, 40, 3)),  # larger than the picture: none
        ((1, 7, 3), (32, 224), (32, 224, 3)),  # a row of maps is no vector
        ((1, 1, 9), (20, 100), (32, 96, 3)),  # 20/32 rounds to 1, 100/32 to 3
    ],
)
def test_sizes_of_rectangles(features: Size, image_size: tuple[int, int], picture: Size) -> None:
    spec = derive("blob", features, image_size)
    assert spec.rows[-1].out == picture
    decoder = Decoder(spec.scaled(0.02))
    assert decoder(torch.zeros(2, *spec.feature_shape)).shape == (2, 3, *picture[:2])


@pytest.mark.parametrize("name", ["conv1", "conv2", "conv3", "conv4", "conv5"])
def test_the_recipe_makes_the_paper_s_own_tables_of_maps(name: str) -> None:
    spec = DECODERS[name]
    assert [row.out for row in derive(name, spec.features, (227, 227)).rows] == [row.out for row in spec.rows]


def test_a_table_is_used_where_its_features_fit() -> None:
    assert decoder_for("fc6", (1, 1, 4096), (227, 227)) is DECODERS["fc6"]
    derived = decoder_for("fc6", (1, 1, 512), (64, 64))
    assert derived.provenance == "derived by the paper's recipe for 1x1x512 features of 64x64 pictures"


def test_more_doublings_than_the_paper_has_keep_256_maps() -> None:
    outs = [row.out for row in derive("blob", (2, 2, 9), (256, 256)).rows[3:]]
    assert outs == [
        (4, 4, 256),
        (8, 8, 256),
        (16, 16, 256),
        (32, 32, 128),
        (64, 64, 64),
        (128, 128, 32),
        (256, 256, 3),
    ]


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="all sizes must be at least 1"):
        derive("blob", (0, 3, 3), (64, 64))
