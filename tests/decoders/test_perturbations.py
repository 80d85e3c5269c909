"""Perturbed features: norms kept, shares dropped, zeros kept, seeds repeated; small cases worked by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from decoders.experiments import perturbations
from decoders.experiments.perturbations import binarise, drop, drop_least, interpolate, keep_largest


def features(*shape: int, negative: bool = False) -> NDArray[np.float32]:
    """About half of them zero, as after ReLU, unless ``negative``."""
    values = np.random.default_rng(4).standard_normal(shape).astype(np.float32)
    return values if negative else np.maximum(values, 0)


def norms(values: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.linalg.norm(values.reshape(len(values), -1).astype(np.float64), axis=1)


def test_hand_worked_rows() -> None:
    row = np.array([[3, 0, -4, 0, 12]], np.float32)  # norm 13
    common = 13 / np.sqrt(3)
    np.testing.assert_allclose(binarise(row), [[common, 0, -common, 0, common]], rtol=1e-6)
    np.testing.assert_allclose(drop_least(row, 1 / 3), np.array([[0, 0, -4, 0, 12]]) * 13 / np.sqrt(160))
    np.testing.assert_allclose(drop_least(row, 0.5), [[0, 0, 0, 0, 13]])  # 1.5 of 3 entries: two
    assert keep_largest(row, 2).tolist() == [[3, 0, 0, 0, 12]]
    assert keep_largest(row, 4).tolist() == [[3, 0, 0, 0, 12]]  # the largest by value: -4 comes last
    assert interpolate(row, -row, 0.25).tolist() == [[1.5, 0, -2, 0, 6]]


@pytest.mark.parametrize("shape", [(3, 1000), (2, 7, 5, 9)])
@pytest.mark.parametrize("negative", [False, True])
def test_norms_are_kept(shape: tuple[int, ...], negative: bool) -> None:
    values = features(*shape, negative=negative)
    for changed in (binarise(values), drop(values, 0.5, seed=1), drop_least(values, 0.5)):
        assert changed.shape == values.shape
        assert changed.dtype == np.float32
        np.testing.assert_allclose(norms(changed), norms(values), rtol=1e-6)


def test_signs_and_zeros_are_kept() -> None:
    values = features(2, 500, negative=True)
    values[:, ::3] = 0
    assert np.array_equal(np.sign(binarise(values)), np.sign(values))
    assert len(np.unique(np.abs(binarise(values)[0]))) == 2
    for changed in (drop(values, 0.4, seed=0), drop_least(values, 0.4), keep_largest(values, 9)):
        assert not changed[values == 0].any()
        assert np.all((changed == 0) | (np.sign(changed) == np.sign(values)))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_exactly_the_share_is_dropped(share: float) -> None:
    values = features(3, 1000, negative=True)
    assert np.count_nonzero(drop(values, share, seed=5) == 0, axis=1).tolist() == [round(1000 * share)] * 3
    rectified = features(1, 1000)
    left = drop_least(rectified, share)
    count = np.count_nonzero(rectified)
    assert np.count_nonzero(left) == count - np.floor(share * count + 0.5)
    if 0 < share < 1:
        assert rectified[left == 0].max() <= rectified[left > 0].min()


def test_what_is_dropped_is_random_and_repeats() -> None:
    values = np.ones((4, 4000), np.float32)
    zeros = drop(values, 0.5, seed=3) == 0
    assert np.array_equal(zeros, drop(values, 0.5, seed=3) == 0)
    assert np.array_equal(zeros[0], drop(values[:1], 0.5, seed=3)[0] == 0)  # a row's draw needs no other row
    others = [zeros[1], zeros[2], zeros[3], *(drop(values[:1], 0.5, seed=seed)[0] == 0 for seed in (4, -1))]
    # Independent halves agree on half of 4000 entries, give or take 0.008 (one standard deviation).
    assert all(abs(np.mean(zeros[0] == other) - 0.5) < 0.04 for other in others)
    for lag in (1, 2, 3, 16, 64, 256):
        assert abs(np.mean(zeros[:, lag:] == zeros[:, :-lag]) - 0.5) < 0.03


def test_the_hash_is_murmur_s() -> None:
    """Against the finaliser as its author publishes it (MurmurHash3.cpp), in plain integers."""

    def fmix32(h: int) -> int:
        h ^= h >> 16
        h = h * 0x85EBCA6B & 0xFFFFFFFF
        h ^= h >> 13
        h = h * 0xC2B2AE35 & 0xFFFFFFFF
        return h ^ h >> 16

    values = np.array([0, 1, 0x12345678, 0xFFFFFFFF], np.uint64)
    assert perturbations._mixed(values).tolist() == [fmix32(int(value)) for value in values]


def test_nothing_left_stays_nothing() -> None:
    zeros = np.zeros((2, 6), np.float32)
    for changed in (
        binarise(zeros),
        drop(zeros, 0.5, seed=0),
        drop_least(zeros, 0.5),
        keep_largest(zeros, 2),
    ):
        assert np.array_equal(changed, zeros)
    assert not drop(np.ones((1, 6), np.float32), 1, seed=0).any()


def test_what_makes_no_sense_is_refused() -> None:
    values = features(2, 8)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"it must be in 0\.\.1"):
            drop(values, share, seed=0)
        with pytest.raises(ValueError, match=r"it must be in 0\.\.1"):
            drop_least(values, share)
    with pytest.raises(ValueError, match="0 or more"):
        keep_largest(values, -1)
    with pytest.raises(ValueError, match=r"\(2, 8\) and \(1, 8\) cannot be interpolated"):
        interpolate(values, values[:1], 0.5)
    with pytest.raises(ValueError, match="one row a picture"):
        binarise(values[0])
