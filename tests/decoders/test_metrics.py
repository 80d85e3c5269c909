"""The normalised reconstruction error against hand-worked cases and a plain loop."""

import itertools

import numpy as np
import pytest

from decoders.metrics import distances, mean_pairwise_distance
from tests.tolerances import close


def test_three_points_by_hand() -> None:
    images = np.array([[0, 0], [3, 4], [0, 8]], np.uint8)
    assert mean_pairwise_distance(images) == (5 + 8 + 5) / 3


@pytest.mark.parametrize("count", [2, 255, 256, 257, 600])
def test_equals_a_loop_over_all_pairs(count: int) -> None:
    images = np.random.default_rng(count).integers(0, 256, (count, 3, 5, 2), dtype=np.uint8)
    flat = images.reshape(count, -1).astype(float)
    expected = np.mean([np.linalg.norm(a - b) for a, b in itertools.combinations(flat, 2)])
    close(mean_pairwise_distance(images), expected, "normaliser")


def test_nearly_equal_pictures_keep_their_distance() -> None:
    images = np.full((3, 256, 256, 3), 250, np.uint8)
    images[1, 0, 0, 0] = 251
    assert mean_pairwise_distance(images) == pytest.approx(2 / 3, abs=1e-12)


def test_distances_by_hand() -> None:
    images, reconstructions = np.array([[0, 0], [1, 1]], np.uint8), np.array([[3.0, 4.0], [1.0, 1.5]])
    assert distances(images, reconstructions).tolist() == [5.0, 0.5]


def test_one_picture_has_no_normaliser() -> None:
    with pytest.raises(ValueError, match="at least two"):
        mean_pairwise_distance(np.zeros((1, 2, 2, 3)))


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="must be equal"):
        distances(np.zeros((2, 3)), np.zeros((2, 4)))
