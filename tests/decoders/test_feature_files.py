"""Features from files of other programs, and how bad ones are refused."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from decoders.experiments.feature_files import read_features

SHAPE = (3, 4, 5)
ROWS = np.random.default_rng(0).standard_normal((7, *SHAPE))


def test_the_three_formats_hold_the_same(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    np.savez_compressed(tmp_path / "a.npz", features=ROWS.reshape(7, -1), other=np.ones(3))
    scipy.io.savemat(tmp_path / "a.mat", {"feat": ROWS, "names": np.ones(2)}, do_compression=True)
    for name, array in (("a.npy", None), ("a.npz", None), ("a.mat", "feat")):
        found = read_features(tmp_path / name, SHAPE, array)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, ROWS.astype(np.float32))


def test_one_vector_is_one_row(tmp_path: Path) -> None:
    vector = np.arange(1.0, 10)
    np.save(tmp_path / "v.npy", vector)
    scipy.io.savemat(tmp_path / "v.mat", {"v": vector})  # which MATLAB stores as (1, 9)
    for name in ("v.npy", "v.mat"):
        assert read_features(tmp_path / name, (9,)).tolist() == [vector.tolist()]


def test_what_is_no_feature_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"features\.csv: features are read from \.npy, \.npz, \.mat"):
        read_features(tmp_path / "features.csv", SHAPE)
    np.save(tmp_path / "wrong.npy", ROWS[:, :2])
    with pytest.raises(
        ValueError, match=r"wrong\.npy: features of shape \(7, 2, 4, 5\); \(N, 3, 4, 5\) or \(N, 60\)"
    ):
        read_features(tmp_path / "wrong.npy", SHAPE)
    np.save(tmp_path / "nan.npy", np.full((1, *SHAPE), np.nan))
    with pytest.raises(ValueError, match="NaN or infinity"):
        read_features(tmp_path / "nan.npy", SHAPE)
    with pytest.raises(ValueError, match="leave --array out"):
        read_features(tmp_path / "nan.npy", SHAPE, "x")
    np.savez(tmp_path / "two.npz", a=ROWS, b=ROWS)
    with pytest.raises(ValueError, match=r"no array features; there are a, b; name one with --array"):
        read_features(tmp_path / "two.npz", SHAPE)
    with pytest.raises(FileNotFoundError):
        read_features(tmp_path / "absent.npy", SHAPE)


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], object), allow_pickle=True)
    np.savez(tmp_path / "o.npz", features=np.array([{"a": 1}], object))
    for name in ("o.npy", "o.npz"):
        with pytest.raises(ValueError, match=r"not an \.npy file of numbers"):
            read_features(tmp_path / name, SHAPE)


def test_damaged_and_newer_matlab_files(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"feat": ROWS})
    whole = (tmp_path / "a.mat").read_bytes()
    for data in (b"", whole[:60], whole[:300], b"\0" * 200, bytes(whole[:128]) + b"\xff" * 64):
        (tmp_path / "b.mat").write_bytes(data)
        with pytest.raises(ValueError, match=r"b\.mat: "):
            read_features(tmp_path / "b.mat", SHAPE)
    with h5py.File(tmp_path / "c.mat", "w", userblock_size=512) as file:
        file["feat"] = ROWS
    with (tmp_path / "c.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    with pytest.raises(ValueError, match=r"7\.3; save it with save\(\.\.\., '-v7'\)"):
        read_features(tmp_path / "c.mat", SHAPE)
