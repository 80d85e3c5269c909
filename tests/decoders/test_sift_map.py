"""The paper's map of keypoints, by cases worked by hand."""

import numpy as np
import pytest

from decoders.sift_map import sift_map, sift_map_shape

E = float(np.e)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_keypoint_fills_its_cell_and_no_other() -> None:
    """(9.5, 6) lies in column 2 and row 1, at (1.5, 2) from the cell's corner; a scale of e has the logarithm 1."""
    frames = np.array([[9.5, 6.0, E, np.pi / 6]], np.float32)
    descriptors = np.arange(128, dtype=np.uint8)[None] * 2
    found = sift_map(frames, descriptors, (10, 13), rng())
    assert found.shape == (133, 3, 4)
    assert found.dtype == np.float32
    expected = [*(2 * i / 255 for i in range(128)), 1.5 / 4, 2 / 4, 0.5, np.sqrt(3) / 2, 1 / 4]
    np.testing.assert_allclose(found[:, 1, 2], expected, rtol=1e-6)
    found[:, 1, 2] = 0
    assert not found.any()


@pytest.mark.parametrize(
    ("size", "shape"),
    [((256, 256), (133, 64, 64)), ((1, 1), (133, 1, 1)), ((5, 8), (133, 2, 2)), ((4, 9), (133, 1, 3))],
)
def test_cells_are_rounded_up(size: tuple[int, int], shape: tuple[int, int, int]) -> None:
    assert sift_map_shape(*size) == shape
    assert sift_map(np.empty((0, 4), np.float32), np.empty((0, 128), np.uint8), size, rng()).shape == shape


def test_corners_of_cells() -> None:
    """x = 4 begins column 1, x = 3.99 ends column 0; the last pixel of a picture of 7 lies in the cut cell."""
    frames = np.array([[4, 0, 1, 0], [3.99, 0, 1, 0], [6.9, 6.9, 1, 0]], np.float32)
    found = sift_map(frames, np.full((3, 128), 255, np.uint8), (7, 7), rng())
    assert found[0].tolist() == [[1, 1], [0, 1]]
    np.testing.assert_allclose(found[128], [[3.99 / 4, 0], [0, 2.9 / 4]], atol=1e-6)
    assert found[132].tolist() == [[0, 0], [0, 0]]  # the logarithm of 1


def test_of_several_keypoints_in_a_cell_one_is_drawn_whole() -> None:
    frames = np.array([[1, 1, 1, 0], [2, 2, E, np.pi / 2], [3, 3, E * E, np.pi]], np.float32)
    descriptors = np.array([[10] * 128, [20] * 128, [30] * 128], np.uint8)
    counts = {1: 0, 2: 0, 3: 0}
    for seed in range(600):
        found = sift_map(frames, descriptors, (4, 4), rng(seed))[:, 0, 0]
        which = round(float(found[0]) * 255 / 10)
        np.testing.assert_allclose(found[128:130], which / 4)
        assert found[132] == pytest.approx((which - 1) / 4, abs=1e-6)
        counts[which] += 1
    assert all(
        150 < count < 250 for count in counts.values()
    )  # 200 each, give or take four deviations of 11.5


def test_the_draw_is_the_generator_s() -> None:
    frames = np.tile(np.array([[1, 1, 1, 0]], np.float32), (50, 1))
    descriptors = np.arange(50, dtype=np.uint8)[:, None].repeat(128, 1)
    first, again, other = (sift_map(frames, descriptors, (4, 4), rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("place", [(-0.1, 0), (8, 0), (0, 4), (np.nan, 0)])
def test_keypoints_outside_the_picture_are_refused(place: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="outside the picture of 4 x 8"):
        sift_map(np.array([[*place, 1, 0]], np.float32), np.zeros((1, 128), np.uint8), (4, 8), rng())
