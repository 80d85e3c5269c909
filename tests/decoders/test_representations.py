"""The rows of REPRESENTATIONS: they agree with the decoders' tables and with the kernels."""

import numpy as np
import pytest

import kernels
from decoders.images import to_batch
from decoders.representations import KERNELS, REPRESENTATIONS, representation
from decoders.specs import DECODERS
from tests.photos import draw


def test_every_representation_has_a_decoder() -> None:
    assert REPRESENTATIONS.keys() == DECODERS.keys()


@pytest.mark.parametrize("name", list(REPRESENTATIONS))
def test_rows_agree_with_the_decoder_s_table(name: str) -> None:
    row, spec = REPRESENTATIONS[name], DECODERS[name]
    assert row.name == name
    assert row.shape == spec.feature_shape


@pytest.mark.parametrize("name", list(KERNELS))
def test_kernels_decode_to_the_size_they_are_of(name: str) -> None:
    row, spec = KERNELS[name], DECODERS[name]
    assert row.image_size == spec.image_size
    assert row.multiple == spec.multiple


@pytest.mark.parametrize("name", list(KERNELS))
def test_features_and_portraits_have_the_row_s_shapes(name: str) -> None:
    row = KERNELS[name]
    images = to_batch([draw(seed, *row.image_size) for seed in range(2)])
    features = row.extract(images)
    assert features.shape == (2, *row.shape)
    assert features.dtype == np.float32
    portraits = row.portray(features)
    assert portraits.shape == (2, *row.image_size, 3)
    assert portraits.dtype == np.uint8
    assert portraits.max() > 100


def test_hog_is_of_the_grey_picture_in_0_1() -> None:
    picture = draw(3, 64, 128)
    grey = (picture @ np.array([0.298936021293775, 0.587043074451121, 0.114020904255103])).astype(np.float32)
    expected = kernels.hog(grey / np.float32(255))
    np.testing.assert_allclose(KERNELS["hog"].extract(to_batch([picture]))[0], expected, atol=1e-5)


def test_brightness_and_contrast_hardly_change_hog() -> None:
    """CVPR 2016, section 4.1: the HOG of the picture times 0.1 or 10 is almost the same."""
    texture = np.random.default_rng(4).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    images = to_batch([texture])
    hog = KERNELS["hog"]
    features = hog.extract(images)
    for factor in (0.1, 10):
        changed = hog.extract(images * np.float32(factor))
        assert np.linalg.norm(changed - features) < 1e-3 * np.linalg.norm(features)


def test_unknown_names_are_refused_with_the_list() -> None:
    with pytest.raises(ValueError, match=r"'hogg' is unknown; choose one of hog"):
        representation("hogg")
