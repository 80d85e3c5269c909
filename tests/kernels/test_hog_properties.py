"""What must hold for kernels.hog alone, whatever the picture: flips, contrast, ranges, refusals of its own."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import kernels
from tests.kernels.pictures import picture
from tests.tolerances import close


@pytest.fixture(scope="module")
def batch() -> NDArray:
    """Five noisy pictures (5, 200, 152): 25 rows of cells, which do not divide evenly among threads."""
    return np.stack([picture("noise", 200, 152, "float 0..1", seed) for seed in range(5)])


def test_a_flipped_picture_has_permuted_features(batch: NDArray) -> None:
    for gray in batch:
        flipped = kernels.hog(gray)[kernels.HOG_FLIP][:, :, ::-1]
        close(kernels.hog(gray[:, ::-1]), flipped, "hog")
    assert sorted(kernels.HOG_FLIP) == list(range(31))
    np.testing.assert_array_equal(kernels.HOG_FLIP[kernels.HOG_FLIP], np.arange(31))


def test_contrast_hardly_matters(batch: NDArray) -> None:
    """A factor of a power of two changes no bin and no rounding; only the 1e-4 under the norm is left."""
    gray = batch[0] * 255
    close(kernels.hog(gray * 4), kernels.hog(gray), "hog")


def test_brightness_does_not_matter() -> None:
    gray = picture("noise", 60, 50, "uint8", 4).astype(np.float32)
    np.testing.assert_array_equal(kernels.hog(gray + 1000), kernels.hog(gray))


@pytest.mark.parametrize("value", [0, 1, 255])
def test_a_constant_picture_has_no_features(value: int) -> None:
    assert not kernels.hog(np.full((40, 40), value, np.uint8)).any()


def test_features_stay_in_their_range(batch: NDArray) -> None:
    features = kernels.hog(batch)
    assert features.min() >= 0
    assert features[:, :27].max() <= 0.4 + 1e-6
    assert features[:, 27:].max() <= 9 * 0.2 / np.sqrt(18) + 1e-6


def _with(value: float, *places: tuple[int, int], size: int = 16) -> NDArray:
    gray = np.zeros((size, size), np.float32)
    for place in places:
        gray[place] = value
    return gray


@pytest.mark.parametrize(
    ("gray", "settings", "words"),
    [
        (np.zeros((3, 16), np.float32), {}, "3 x 16.*at least 4 x 4"),
        (np.zeros((16, 16), np.float32), {"cell_size": 40}, "cells of 40 need at least 20 x 20"),
        (np.zeros((16, 16), np.float32), {"cell_size": 1}, "cell_size is 1.*2 or more"),
        (_with(-np.inf, (0, 3), (2, 3)), {}, "NaN or infinity"),
        (_with(np.nan, (1, 1), size=3), {"cell_size": 2}, "NaN or infinity"),
        (_with(1e30, (5, 7)), {}, "too large"),
    ],
)
def test_what_hog_alone_refuses(gray: NDArray, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        kernels.hog(gray, **settings)


@pytest.mark.parametrize(
    ("features", "error", "words"),
    [
        (np.zeros((31, 2, 2)), TypeError, "float64.*float32"),
        (np.zeros((30, 2, 2), np.float32), ValueError, r"\(30, 2, 2\).*\(31, H', W'\)"),
        (np.zeros((1, 31, 2, 2), np.float32), ValueError, "one image"),
        (np.zeros((31, 0, 2), np.float32), ValueError, r"\(31, 0, 2\)"),
        (np.full((31, 1, 1), np.nan, np.float32), ValueError, "NaN"),
    ],
)
def test_bad_features_are_not_drawn(features: NDArray, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        kernels.hog_glyphs(features)


def test_parameters_carry_the_defaults_of_vlfeat() -> None:
    parameters = kernels.HogParameters()
    assert (parameters.cell_size, parameters.orientations, parameters.channels) == (8, 9, 31)
    with pytest.raises(AttributeError):
        parameters.cell_size = 4  # type: ignore[misc]
