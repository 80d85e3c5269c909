"""HDF5 weights: Caffe's layout, and what is refused. The numbers themselves are compared in test_wire.py."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffe_port.errors import ConversionError
from caffe_port.wire import open_weights

h5py = pytest.importorskip("h5py")
GOLDEN = Path(__file__).parents[1] / "golden" / "caffe"


def write(path: Path, **layers: dict[str, Any]) -> Path:
    with h5py.File(path, "w") as file:
        for name, blobs in layers.items():
            group = file.require_group("data").create_group(name)
            for position, array in blobs.items():
                group.create_dataset(position, data=array)
    return path


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
def test_arrays_of_either_byte_order(tmp_path: Path, dtype: str) -> None:
    wanted = np.arange(6, dtype=dtype).reshape(2, 3)
    model = open_weights(write(tmp_path / "w.h5", fc={"0": wanted, "1": np.array([], "<f4")}))
    blob, empty = model.layers[0].blobs
    assert (model.format, model.layers[0].name, model.net) == ("HDF5", "fc", {})
    np.testing.assert_array_equal(blob.array(), wanted)
    assert (blob.dtype, blob.legacy) == (f"float{8 * wanted.itemsize}", False)
    assert empty.array().shape == (0,)


def test_chunked_data_is_read(tmp_path: Path) -> None:
    wanted = np.random.default_rng(0).normal(size=(8, 4)).astype("f4")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_group("data/fc").create_dataset("0", data=wanted, chunks=(2, 4), shuffle=True)
    np.testing.assert_array_equal(open_weights(tmp_path / "w.h5").layers[0].blobs[0].array(), wanted)


def test_a_shared_blob_is_left_out(tmp_path: Path) -> None:
    model = open_weights(write(tmp_path / "w.h5", a={"1": np.ones(3, "f4")}, b={}))
    assert model.layers[0].blobs[0] is None
    np.testing.assert_array_equal(model.layers[0].blobs[1].array(), np.ones(3))
    assert model.layers[1].blobs == ()


def damaged(path: Path) -> None:
    write(path, fc={"0": np.ones(3, "f4")})
    path.write_bytes(path.read_bytes()[:-20])


def linked(path: Path, link: Any) -> None:
    with h5py.File(path, "w") as file:
        file.create_group("data/fc")["0"] = link


def sparse(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_group("data/fc").create_dataset("0", shape=(2**40,), dtype="f4", chunks=(2**20,))


def elsewhere(path: Path) -> None:
    raw = path.with_suffix(".raw")
    raw.write_bytes(bytes(12))
    with h5py.File(path, "w") as file:
        external = [(str(raw), 0, 12)]
        file.create_group("data/fc").create_dataset("0", shape=(3,), dtype="f4", external=external)


def rootless(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["fc"] = np.ones(3, "f4")


def misnamed(path: Path, where: str = "data") -> None:
    with h5py.File(path, "w") as file:
        file.create_group(where).create_group(b"\xff\xfe")


ERRORS = {
    "layer's name": (misnamed, "a layer whose name is not UTF-8"),
    "blob's name": (lambda path: misnamed(path, "data/fc"), "layer 'fc': holds [b'\\xff\\xfe']"),
    "truncated": (damaged, "HDF5 cannot read it"),
    "no data": (rootless, "no 'data' in it; Caffe's weights are at /data/<layer>/<position>"),
    "integers": (
        lambda path: write(path, fc={"0": np.ones(3, "i4")}),
        "layer 'fc': blob 0: a dataset of int32",
    ),
    "half": (lambda path: write(path, fc={"0": np.ones(3, "f2")}), "allowed are float32 and float64"),
    "named": (lambda path: write(path, fc={"w": np.ones(3, "f4")}), "layer 'fc': holds ['w']"),
    "soft link": (lambda path: linked(path, h5py.SoftLink("/x")), "'0' is a link to elsewhere"),
    "external link": (
        lambda path: linked(path, h5py.ExternalLink("/etc/x", "/x")),
        "'0' is a link to elsewhere",
    ),
    "larger than the file": (sparse, "1099511627776 numbers of float32 are not in this file"),
    "outside": (elsewhere, "3 numbers of float32 are not in this file"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(tmp_path: Path, case: str) -> None:
    make, expected = ERRORS[case]
    path = tmp_path / "w.h5"
    make(path)
    with pytest.raises(ConversionError) as caught:
        open_weights(path)
    assert str(caught.value).startswith(str(path))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_files(tmp_path: Path) -> None:
    """Three hundred files with some bytes changed: a ConversionError, or arrays."""
    base = (GOLDEN / "weights_hdf5" / "net.caffemodel.h5").read_bytes()
    refused = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        data = np.frombuffer(base, np.uint8).copy()
        data[rng.integers(0, 4200, rng.integers(1, 20))] = rng.integers(0, 256)
        path = tmp_path / f"{seed}.h5"
        path.write_bytes(data.tobytes())
        try:
            for layer in open_weights(path).layers:
                assert all(blob.array().size == blob.count for blob in layer.blobs if blob is not None)
        except ConversionError:
            refused += 1
    assert 50 < refused < 290
