"""kernels.gray against exact integer arithmetic, over every colour there is."""

import numpy as np
import pytest
from numpy.typing import NDArray

import kernels
from kernels.gray import WEIGHTS

# MATLAB's YIQ-to-RGB matrix; rgb2gray's weights are the first row of its inverse.
NTSC = np.array([[1, 0.956, 0.621], [1, -0.272, -0.647], [1, -1.106, 1.703]])
RED, GREEN, BLUE, ONE = 298936021293775, 587043074451121, 114020904255103, 10**15


def test_the_weights_are_the_first_row_of_the_inverse_of_ntsc() -> None:
    np.testing.assert_allclose(WEIGHTS, np.linalg.inv(NTSC)[0], rtol=0, atol=1e-14)


def test_every_colour_is_rounded_to_the_nearest() -> None:
    """All 2**24: the nearest sum to a half is 4.6e-6 away, so no convention about halves is in play."""
    levels = np.arange(256, dtype=np.int64)
    for red in range(256):
        green, blue = np.meshgrid(levels, levels, indexing="ij")
        exact = red * RED + green * GREEN + blue * BLUE
        assert np.abs(exact % ONE - ONE // 2).min() > 4e-6 * ONE
        rgb = np.stack([np.full_like(green, red), green, blue], axis=-1).astype(np.uint8)
        np.testing.assert_array_equal(kernels.gray(rgb), (exact + ONE // 2) // ONE)


def test_float_is_weighted_and_nothing_else() -> None:
    rgb = np.random.default_rng(0).normal(0, 300, (2, 5, 7, 3)).astype(np.float32)
    expected = (rgb.astype(np.float64) @ np.linalg.inv(NTSC)[0]).astype(np.float32)
    found = kernels.gray(rgb)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=2e-7, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_grey_stays_grey_and_shapes_follow(dtype: type) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (2, 6, 5)).astype(dtype)
    rgb = np.repeat(grey[..., None], 3, axis=-1)
    np.testing.assert_array_equal(kernels.gray(rgb), grey)
    np.testing.assert_array_equal(kernels.gray(rgb[1]), grey[1])
    assert kernels.gray(rgb).dtype == dtype
    assert kernels.gray(rgb[:, :0]).shape == (2, 0, 5)


def test_memory_layout_does_not_matter() -> None:
    planes = np.random.default_rng(0).integers(0, 256, (3, 6, 5), dtype=np.uint8)
    planes.setflags(write=False)
    rgb = planes.transpose(1, 2, 0)
    np.testing.assert_array_equal(kernels.gray(rgb[::-1]), kernels.gray(np.ascontiguousarray(rgb))[::-1])


@pytest.mark.parametrize(
    ("rgb", "error", "words"),
    [
        (np.zeros((4, 4, 3)), TypeError, "float64.*uint8 or float32"),
        (np.zeros((4, 4), np.uint8), ValueError, r"\(4, 4\).*\(H, W, 3\)"),
        (np.zeros((4, 4, 4), np.uint8), ValueError, r"\(4, 4, 4\).*\(H, W, 3\)"),
        (np.zeros((3, 4, 4, 1), np.float32), ValueError, r"\(3, 4, 4, 1\).*\(N, H, W, 3\)"),
    ],
)
def test_bad_input_is_refused(rgb: NDArray, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        kernels.gray(rgb)
