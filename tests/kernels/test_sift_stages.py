"""Each stage of kernels.sift alone, against what VLFeat has in its buffers, and the scalar maths against exact ones."""

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.sift import scalar
from kernels.sift.cpu import describe, detect, orient, scale_space
from kernels.sift.geometry import gaussian, level_taps, octave_count
from tests.kernels.pictures import picture
from tests.kernels.test_sift import SAME_BITS
from tests.oracles.vlfeat_sift import VLFeatOctave, VLFeatSift

GOLDEN = Path(__file__).parent.parent / "golden"
CASES = [("blobs", 75, 90, 3, 0), ("noise", 40, 53, 2, -1), ("waves", 64, 120, 4, 0), ("boxes", 60, 50, 3, 1)]


def agree(found: NDArray, expected: NDArray, *, atol: float) -> None:
    """The same bits on this kind of machine, and close on others."""
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=0 if SAME_BITS else atol)


@pytest.fixture(params=CASES, ids=str, scope="module")
def octaves(
    request: pytest.FixtureRequest, vlfeat_sift: VLFeatSift
) -> tuple[NDArray, int, list[VLFeatOctave]]:
    """A picture, its first octave, and VLFeat's buffers octave by octave."""
    kind, height, width, levels, first_octave = request.param
    gray = picture(kind, height, width, "float 0..255", 1)
    return gray, first_octave, list(vlfeat_sift.octaves(gray, levels=levels, first_octave=first_octave))


Octaves = tuple[NDArray, int, list[VLFeatOctave]]


def test_scale_space(octaves: Octaves) -> None:
    gray, first_octave, expected = octaves
    levels = len(expected[0].levels) - 3
    assert octave_count(*gray.shape, first_octave) == len(expected)
    lowest = scale_space.first_level(gray, levels, first_octave)
    for octave in expected:
        found = scale_space.octave_levels(lowest, levels)
        agree(found, octave.levels, atol=1e-3)
        agree(detect.differences(found), octave.differences, atol=1e-3)
        lowest = scale_space.next_level(found)


def test_gradients(octaves: Octaves) -> None:
    compared = 0
    for octave in octaves[2]:
        if octave.gradients is not None:
            agree(
                scale_space.gradients(octave.levels),
                np.moveaxis(octave.gradients, 3, 1)[: len(octave.levels) - 3],
                atol=1e-3,
            )
            compared += 1
    assert compared


def test_gradients_of_some_rows_are_those_of_all() -> None:
    octave = np.random.default_rng(0).normal(0, 50, (5, 300, 600)).astype(np.float32)
    lazy = scale_space.LazyGradients(octave)
    lazy.polar.fill(np.nan)
    lazy.compute((1, -5, 3))
    lazy.compute((1, 250, 400))
    done = np.isfinite(lazy.polar[1]).all(axis=(0, 2))
    assert done[:3].all()
    assert done[250:].all()
    assert not done[100:190].any()
    assert np.isnan(lazy.polar[0]).all()
    np.testing.assert_array_equal(lazy.polar[1, :, done], scale_space.gradients(octave)[1, :, done])


def slow_extrema(differences: NDArray, threshold: float) -> list[tuple[int, int, int]]:
    """x, y, s of what exceeds all its 26 neighbours, or is exceeded by all."""
    found = []
    count, height, width = differences.shape
    for s in range(1, count - 1):
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                cube = differences[s - 1 : s + 2, y - 1 : y + 2, x - 1 : x + 2]
                value, others = cube[1, 1, 1], np.delete(cube.ravel(), 13)
                if (value >= threshold and (value > others).all()) or (
                    value <= -threshold and (value < others).all()
                ):
                    found.append((x, y, s - 1))
    return found


@pytest.mark.parametrize("peak_thresh", [0.0, 2.0])
def test_extrema(octaves: Octaves, peak_thresh: float) -> None:
    for octave in octaves[2]:
        expected = slow_extrema(octave.differences, 0.8 * peak_thresh)
        found = detect.extrema(octave.levels, peak_thresh)
        assert [tuple(place) for place in found.tolist()] == expected


def test_extrema_more_than_expected_are_all_found() -> None:
    """The first guess of their number is too small for a checkerboard of isolated peaks."""
    octave = np.zeros((6, 66, 130), np.float32)
    octave[2, 1:-1:2, 1:-1:2] = 1
    found = detect.extrema(octave)
    assert len(found) == 2 * 32 * 64  # highest of one difference, lowest of the next
    assert len(np.unique(found, axis=0)) == len(found)
    assert [tuple(place) for place in found[:3].tolist()] == slow_extrema(octave[1:] - octave[:-1], 0.0)[:3]


def test_ties_and_flat_areas_are_no_extrema() -> None:
    octave = np.zeros((6, 20, 20), np.float32)
    assert len(detect.extrema(octave)) == 0
    octave[2, 5, 5:7] = 1
    assert len(detect.extrema(octave)) == 0


def test_refinement(octaves: Octaves) -> None:
    for octave in octaves[2]:
        places, values = detect.refined(octave.levels, detect.extrema(octave.levels), octave.index)
        np.testing.assert_array_equal(places, octave.places)
        agree(values, octave.values[:, [0, 1, 3]], atol=1e-2)


def test_orientations(octaves: Octaves) -> None:
    compared = 0
    for octave in octaves[2]:
        if octave.gradients is None:
            continue
        values = np.ascontiguousarray(octave.values[:, [0, 1, 3]])
        gradients = scale_space.gradients(octave.levels)
        owners, angles = orient.orientations(gradients, octave.places, values, octave.index)
        counts = [len(found) for found in octave.angles]
        np.testing.assert_array_equal(owners, np.repeat(np.arange(len(counts)), counts))
        agree(angles, np.concatenate(octave.angles), atol=1e-3)
        compared += len(angles)
    assert compared


def test_descriptors(octaves: Octaves) -> None:
    for octave in octaves[2]:
        if octave.gradients is None:
            continue
        values = np.ascontiguousarray(octave.values[:, [0, 1, 3]])
        gradients = scale_space.gradients(octave.levels)
        counts, angles = [len(found) for found in octave.angles], np.concatenate(octave.angles)
        keypoints = octave.places, values, np.repeat(np.arange(len(counts), dtype=np.int32), counts), angles
        found = describe.descriptors(gradients, *keypoints, octave.index, (-math.inf, 3.0, 2.0))
        agree(found, np.stack(octave.descriptors), atol=1e-3)


def test_stages_equal_the_golden_ones() -> None:
    with np.load(GOLDEN / "vlfeat_sift.npz", allow_pickle=False) as golden:
        lowest = scale_space.first_level(golden["blobs_odd_size/image"], 3, 0)
        for index in range(2):
            levels = scale_space.octave_levels(lowest, 3)
            places, values = detect.refined(levels, detect.extrema(levels), index)
            agree(levels[[0, -1]], golden[f"octave {index}/levels"], atol=1e-3)
            np.testing.assert_array_equal(places, golden[f"octave {index}/places"])
            agree(values, golden[f"octave {index}/values"][:, [0, 1, 3]], atol=1e-2)
            lowest = scale_space.next_level(levels)


def test_gaussians_are_gaussians() -> None:
    for taps in (*level_taps(3), *level_taps(1), gaussian(0.1)):
        radius = taps.size // 2
        np.testing.assert_allclose(taps.sum(dtype=np.float64), 1, atol=1e-6)
        np.testing.assert_array_equal(taps, taps[::-1])
        assert taps[radius] == taps.max()
    exact = np.exp(-0.5 * (np.arange(-8, 9) / 2.0) ** 2)
    np.testing.assert_allclose(gaussian(2.0), exact / exact.sum(), atol=1e-7)


def test_a_doubled_image_has_means_between_its_pixels() -> None:
    image = np.array([[0, 4, 8], [2, 6, 16]], np.float32)
    doubled = scale_space.resampled(image, -1)
    expected = [[0, 2, 4, 6, 8, 8], [1, 3, 5, 8.5, 12, 12], [2, 4, 6, 11, 16, 16], [2, 4, 6, 11, 16, 16]]
    np.testing.assert_array_equal(doubled, expected)
    assert scale_space.resampled(image, -3).shape == (16, 24)


def test_an_image_is_halved_to_its_even_pixels() -> None:
    image = np.arange(7 * 9, dtype=np.float32).reshape((7, 9))
    np.testing.assert_array_equal(scale_space.resampled(image, 1), image[:6:2, :8:2])
    np.testing.assert_array_equal(scale_space.resampled(image, 2), image[:4:4, :8:4])


def test_a_product_with_1_over_2_pi_is_a_division_by_2_pi_for_every_float32() -> None:
    """Powers of two change neither, so one octave of floats stands for all."""
    angles = np.arange(1 << 23, 1 << 24, dtype=np.float64)
    expected = (angles / (2 * np.pi)).astype(np.float32)
    np.testing.assert_array_equal((angles * scalar.PER_TURN).astype(np.float32), expected)


def test_fast_functions_are_near_the_exact_ones() -> None:
    rng = np.random.default_rng(0)
    for x, y in rng.normal(0, 50, (500, 2)).astype(np.float32):
        assert abs(scalar.fast_atan2(y, x) - math.atan2(y, x)) < 0.011
        square = np.float32(x * x)
        assert abs(scalar.fast_sqrt(square) - abs(x)) <= 1e-5 * abs(x)
    for x in rng.uniform(0, 25, 500):
        assert abs(scalar.fast_exp(x, scalar.EXP_TABLE) - math.exp(-x)) < 2e-3
    assert scalar.fast_exp(25.1, scalar.EXP_TABLE) == 0
    assert scalar.fast_sqrt(np.float32(1e-9)) == 0


def test_a_system_of_three_equations_is_solved() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        half = rng.normal(size=(3, 3)) * 10 ** rng.uniform(-3, 3, (3, 3))
        matrix, right = half + half.T, rng.normal(size=3)
        (p0, p1, p2), (_, q1, q2), (_, _, r2) = matrix
        found = scalar.solve_3(p0, p1, p2, q1, q2, r2, *right)
        if found != (0.0, 0.0, 0.0):
            np.testing.assert_allclose(matrix @ found, right, rtol=0, atol=1e-6 * np.abs(matrix).max())
    assert scalar.solve_3(1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0) == (0.0, 0.0, 0.0)
