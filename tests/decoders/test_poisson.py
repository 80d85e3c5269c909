"""Poisson blending against closed forms and dense least squares."""

import numpy as np
import pytest
from numpy.typing import NDArray

from decoders.baselines.poisson import solve


def dense(values: NDArray, is_open: NDArray, is_known: NDArray, guide: NDArray) -> NDArray:
    """The same sum of squares, one equation a pair of neighbours, by numpy.linalg.lstsq; one channel."""
    number = {place: n for n, place in enumerate(zip(*np.nonzero(is_open), strict=True))}
    rows, right = [], []
    height, width = is_open.shape
    for y in range(height):
        for x in range(width):
            for other in ((y, x + 1), (y + 1, x)):
                pair = ((y, x), other)
                if other[0] >= height or other[1] >= width or not any(p in number for p in pair):
                    continue
                if not all(p in number or is_known[p] for p in pair):
                    continue
                row = np.zeros(len(number))
                wanted = guide[other] - guide[y, x]
                for p, sign in zip(pair, (-1, 1), strict=True):
                    if p in number:
                        row[number[p]] = sign
                    else:
                        wanted -= sign * values[p]
                rows.append(row)
                right.append(wanted)
    solution = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    filled = values.copy()
    for place, n in number.items():
        filled[place] = solution[n]
    return filled


def border(height: int, width: int) -> NDArray:
    known = np.ones((height, width), bool)
    known[1:-1, 1:-1] = False
    return known


def test_a_line_between_two_known_ends() -> None:
    """No gradient is wanted: the straight line, in each channel."""
    values = np.zeros((1, 10, 2))
    values[0, [0, 9]] = [[3, -1], [30, 8]]
    known = np.zeros((1, 10), bool)
    known[0, [0, 9]] = True
    found = solve(values, ~known, known, np.zeros_like(values))
    np.testing.assert_allclose(found[0, :, 0], 3 + 3 * np.arange(10), atol=1e-12)
    np.testing.assert_allclose(found[0, :, 1], -1 + np.arange(10), atol=1e-12)


def test_a_parabola_between_two_known_ends() -> None:
    """Wanted are the differences of x^2: what is found is x^2 + a + b x, with a and b from the ends."""
    x = np.arange(8.0)
    values = np.zeros((8, 1, 1))
    values[[0, 7], 0, 0] = [5, 5 + 49 + 14]
    known = np.zeros((8, 1), bool)
    known[[0, 7], 0] = True
    found = solve(values, ~known, known, (x**2)[:, None, None])
    np.testing.assert_allclose(found[:, 0, 0], x**2 + 5 + 2 * x, atol=1e-12)


def test_harmonic_functions_on_a_rectangle() -> None:
    """x y and x^2 - y^2 are harmonic on the grid too: each pixel is the mean of its four neighbours."""
    y, x = np.mgrid[:9, :13].astype(float)
    exact = np.stack([x * y, x**2 - y**2 + 3 * x], axis=-1)
    known = border(9, 13)
    found = solve(np.where(known[..., None], exact, 7.0), ~known, known, np.zeros_like(exact))
    np.testing.assert_allclose(found, exact, atol=1e-10)


def test_a_patch_of_another_brightness_blends_without_a_seam() -> None:
    exact = np.random.default_rng(0).uniform(0, 255, (12, 11, 3))
    region = np.zeros((12, 11), bool)
    region[3:9, 2:8] = True
    known = np.ones((12, 11), bool)  # what the region held before does not count
    found = solve(np.where(region[..., None], -50, exact), region, known, exact + np.array([100, -30, 5]))
    np.testing.assert_allclose(found, exact, atol=1e-10)


def test_where_nothing_is_known_the_border_is_free() -> None:
    """A slope of 2 to the right, held on its left only: it goes on, and no level is forced at its end."""
    values = np.full((3, 8, 1), 10.0)
    known = np.zeros((3, 8), bool)
    known[:, 0] = True
    region = np.zeros((3, 8), bool)
    region[:, 1:6] = True
    x = np.arange(8.0)
    found = solve(values, region, known, np.broadcast_to(2 * x, (3, 8))[..., None])
    np.testing.assert_allclose(found[1, :, 0], [10, 12, 14, 16, 18, 20, 10, 10], atol=1e-12)


def test_a_part_that_touches_nothing_known_is_the_guide() -> None:
    values = np.zeros((1, 7, 1))
    known = np.array([[True, False, False, False, False, False, False]])
    region = np.array([[False, True, True, False, True, True, False]])
    guide = np.arange(100.0, 107)[None, :, None]
    assert solve(values, region, known, guide)[0, :, 0].tolist() == [0, 1, 2, 0, 104, 105, 0]
    assert solve(values, region, np.zeros_like(known), guide)[0, :, 0].tolist() == [
        0,
        101,
        102,
        0,
        104,
        105,
        0,
    ]


def test_nothing_open_changes_nothing() -> None:
    values = np.random.default_rng(1).uniform(size=(4, 5, 3))
    none = np.zeros((4, 5), bool)
    np.testing.assert_array_equal(solve(values, none, ~none, values), values)


def reached(is_open: NDArray, is_fixed: NDArray) -> NDArray:
    """Open pixels that a walk over open ones reaches from a fixed one."""
    found = is_fixed
    while True:
        walls = np.pad(found, 1)
        beside = walls[:-2, 1:-1] | walls[2:, 1:-1] | walls[1:-1, :-2] | walls[1:-1, 2:]
        grown = is_fixed | (is_open & (beside | found))
        if (grown == found).all():
            return grown & is_open
        found = grown


@pytest.mark.parametrize("seed", range(8))
def test_any_regions_equal_dense_least_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(4, 9, 2)
    is_open, is_known = rng.random((2, height, width)) < np.array([0.6, 0.3])[:, None, None]
    values, guide = rng.uniform(0, 255, (2, height, width))
    is_fixed = is_known & ~is_open
    held = reached(is_open, is_fixed)
    expected = dense(values, held, is_fixed, guide)
    expected[is_open & ~held] = guide[is_open & ~held]
    found = solve(values[..., None], is_open, is_known, guide[..., None])[..., 0]
    np.testing.assert_allclose(found, expected, atol=1e-8)
