"""Arrays from files made elsewhere: read as NumPy and MATLAB wrote them; damaged, hostile or other ones refused."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import io

from caffe_port import array_files
from caffe_port.array_files import read_array
from caffe_port.errors import ConversionError

VALUES = np.random.default_rng(0).standard_normal((2, 3, 4, 5))


@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<i2", "|u1", ">f4"])
def test_every_kind_of_file_gives_the_array(tmp_path: Path, dtype: str) -> None:
    values = (VALUES * 50).astype(dtype)
    np.save(tmp_path / "a.npy", values)
    np.savez_compressed(tmp_path / "a.npz", fc6=values, other=VALUES)
    io.savemat(tmp_path / "a.mat", {"fc6": values, "other": VALUES}, do_compression=True)
    for name in ("a.npy", "a.npz", "a.mat"):
        found = read_array(tmp_path / name, "fc6")
        np.testing.assert_array_equal(found, values)
        assert found.dtype.newbyteorder("=") == values.dtype.newbyteorder("=")


def test_a_file_of_one_array_needs_no_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", VALUES)
    io.savemat(tmp_path / "a.mat", {"x": VALUES})
    for name in ("a.npz", "a.mat"):
        np.testing.assert_array_equal(read_array(tmp_path / name), VALUES)


@pytest.mark.skipif(shutil.which("octave") is None, reason="no octave here")
@pytest.mark.parametrize("version", ["-v4", "-v6", "-v7"])
def test_files_of_octave_are_read(tmp_path: Path, version: str) -> None:
    code = f"x = reshape(1:24, 4, 6); save('{version}', 'a.mat', 'x');"
    subprocess.run(["octave", "--quiet", "--eval", code], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_array_equal(read_array(tmp_path / "a.mat"), np.arange(1, 25).reshape(6, 4).T)


def write_mat(path: Path, values: Any) -> None:
    io.savemat(path, {"x": values, "y": np.zeros(2)})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.npy", "no such file"),
        ("a.csv", r"its suffix is '\.csv'; \.npy, \.npz and \.mat files are read"),
        ("objects.npy", "not an .npy file of numbers"),
        ("objects.npz", "not an .npy file of numbers"),
        ("complex.mat", "real numbers are read"),
        ("cell.mat", "of class cell; numbers are read"),
        ("text.mat", "of class char; numbers are read"),
        ("torn.mat", "or damaged"),
        ("noise.mat", "not a .mat file, or damaged"),
        ("hdf5.mat", "not a .mat file, or damaged|version 7.3"),
        ("two.npz", "holds not one array: name the one to read; its arrays are u, v"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "a.csv").write_text("1,2")
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", x=np.array([{}], object))
    np.savez(tmp_path / "two.npz", u=VALUES, v=VALUES)
    write_mat(tmp_path / "complex.mat", VALUES * 1j)
    write_mat(tmp_path / "cell.mat", np.array([1, "a"], object))
    write_mat(tmp_path / "text.mat", "words")
    write_mat(tmp_path / "torn.mat", VALUES)
    data = (tmp_path / "torn.mat").read_bytes()
    (tmp_path / "torn.mat").write_bytes(data[: len(data) // 2])
    (tmp_path / "noise.mat").write_bytes(b"\x00\x01no mat" * 40)
    (tmp_path / "hdf5.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF" * 9)
    kind = FileNotFoundError if name == "gone.npy" else ConversionError
    with pytest.raises(kind, match=message):
        read_array(tmp_path / name, "" if name == "two.npz" else "x")


def test_arrays_beyond_the_limit_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mat(tmp_path / "large.mat", np.zeros((40, 40), np.float32))
    monkeypatch.setattr(array_files, "MAX_BYTES", 40 * 40 * 4 - 1)
    monkeypatch.setattr(io, "loadmat", None)
    with pytest.raises(ConversionError, match=r"array 'x' of \(40, 40\); at most 6399 bytes are read"):
        read_array(tmp_path / "large.mat", "x")
