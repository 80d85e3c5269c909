"""Reading .npz files: NumPy's own, and bad ones as inputs of `caffe_port verify`."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from caffe_port.arrays import Arrays, write_npz
from caffe_port.convert import convert
from tests.caffe_port.command import run

SMALL = Path(__file__).parents[1] / "golden" / "caffe" / "small"


def bomb(path: Path) -> None:
    """Two members that claim 4 GiB each in the zip's directory."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.npy", b"\0" * 100)
        archive.writestr("more.npy", b"\0" * 100)
    before, *entries = path.read_bytes().split(b"PK\x01\x02")
    claimed = [entry[:20] + (2**32 - 2).to_bytes(4, "little") + entry[24:] for entry in entries]
    path.write_bytes(b"PK\x01\x02".join([before, *claimed]))


def pickled(path: Path) -> None:
    np.savez(path, data=np.array([{"a": 1}], dtype=object))


def claims(path: Path) -> None:
    header = b"\x93NUMPY\x01\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (999999, 999999), }"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.npy", header.ljust(127) + b"\n" + b"\0" * 40)


BAD_INPUTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no zip": (lambda path: path.write_text("x = 1"), "not an .npz file"),
    "bomb": (bomb, "arrays of 8589934588 bytes; at most 4294967296 are read"),
    "pickled": (pickled, "not an .npy file of numbers"),
    "claims too much": (claims, "an .npy file of shape (999999, 999999), float32, with 40 bytes of numbers"),
    "other names": (
        lambda path: np.savez(path, image=np.zeros(3)),
        "input 'data' is missing; arrays are 'image'",
    ),
    "other axes": (
        lambda path: np.savez(path, data=np.zeros(3)),
        "input 'data' has shape (3,); the net declares",
    ),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    small = tmp_path / "small.safetensors"
    convert(SMALL / "net.prototxt", SMALL / "net.caffemodel", small)
    make, problem = BAD_INPUTS[case]
    make(tmp_path / "bad.npz")
    assert run(monkeypatch, "verify", small, "--input", tmp_path / "bad.npz") == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert problem in err
    assert list(tmp_path.glob("*.certificate.*")) == []


def test_npz_of_numpy_is_read(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6.0).reshape(2, 3).T,
        "b": np.array(7, np.int64),
        "c": np.zeros((0, 2), np.uint8),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", **arrays)
        found = Arrays(tmp_path / "x.npz")
        assert set(found) == set(arrays)
        assert all(np.array_equal(found[name], array) for name, array in arrays.items())


def test_numpy_reads_what_is_written(tmp_path: Path) -> None:
    rows = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    names = np.array(["a", "bé", "c" * 300, ""])
    with (tmp_path / "rows").open("w+b") as stream, (tmp_path / "x.npz").open("wb") as file:
        stream.write(rows.tobytes())
        write_npz(file, {"names": names}, "rows", rows.shape, stream)
    with np.load(tmp_path / "x.npz") as found:
        assert np.array_equal(found["names"], names)
        assert np.array_equal(found["rows"], rows)
        assert set(found) == {"names", "rows"}
