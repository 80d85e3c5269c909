"""The binary form: every way that Caffe keeps numbers, one error a kind, and Google's reader beside ours."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_port import binary, wire
from caffe_port.binary import encode, parse_message
from caffe_port.errors import ConversionError
from caffe_port.wire import CaffeModel, open_caffemodel, open_weights
from tests.oracles.messages import messages
from tests.oracles.protobuf_reader import as_dict, message_class

GOLDEN = Path(__file__).parents[1] / "golden" / "caffe"


def field(number: int, payload: bytes) -> bytes:
    return binary._varint(number << 3 | 2) + binary._varint(len(payload)) + payload


def one_blob(tmp_path: Path, blob: bytes, name: bytes = b"a") -> CaffeModel:
    path = tmp_path / "one.caffemodel"
    path.write_bytes(field(100, field(1, name) + field(7, blob)))
    return open_caffemodel(path)


NUMBERS = np.array([1.5, -2.0, 3e-8, 4.25, 0.0, -7e20], "<f4")
PACKED = field(5, NUMBERS.tobytes())
UNPACKED = b"".join(b"\x2d" + number.tobytes() for number in NUMBERS)
DOUBLES = field(8, NUMBERS.astype("<f8").tobytes())
UNPACKED_DOUBLES = b"".join(b"\x41" + number.tobytes() for number in NUMBERS.astype("<f8"))
SHAPE = field(7, field(1, b"\x02\x03"))
UNPACKED_SHAPE = field(7, b"\x08\x02\x08\x03")
LEGACY = b"\x18\x02\x20\x03"  # height 2, width 3; num and channels not set


@pytest.mark.parametrize(
    ("blob", "dtype", "shape"),
    [
        (SHAPE + PACKED, "float32", (2, 3)),
        (PACKED + UNPACKED_SHAPE, "float32", (2, 3)),
        (SHAPE + UNPACKED, "float32", (2, 3)),
        (SHAPE + DOUBLES, "float64", (2, 3)),
        (SHAPE + UNPACKED_DOUBLES, "float64", (2, 3)),
        (SHAPE + field(5, b"\0" * 24) + DOUBLES, "float64", (2, 3)),  # Caffe takes double_data
        (SHAPE + field(8, b"") + PACKED, "float32", (2, 3)),
        (
            SHAPE + field(5, NUMBERS[:2].tobytes()) + UNPACKED[10:20] + field(5, NUMBERS[4:].tobytes()),
            "float32",
            (2, 3),
        ),
        (b"\x08\x01\x10\x01" + LEGACY + SHAPE + PACKED, "float32", (1, 1, 2, 3)),  # legacy wins
        (SHAPE + field(6, b"\0" * 24) + PACKED + b"\x35\0\0\0\0" * 6, "float32", (2, 3)),  # diffs
        (SHAPE + PACKED + field(4000, b"fork") + b"\xf8\xff\x07\x05", "float32", (2, 3)),  # unknown fields
    ],
)
def test_every_way_to_keep_numbers(tmp_path: Path, blob: bytes, dtype: str, shape: tuple[int, ...]) -> None:
    index = one_blob(tmp_path, blob).layers[0].blobs[0]
    assert index is not None
    array = index.array()
    assert (index.dtype, index.shape, index.legacy, index.count) == (dtype, shape, len(shape) == 4, 6)
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, NUMBERS.reshape(shape).astype(dtype))


def test_packed_numbers_are_not_copied(tmp_path: Path) -> None:
    index = one_blob(tmp_path, SHAPE + PACKED).layers[0].blobs[0]
    assert index is not None
    assert np.shares_memory(index.array(), index.array())
    assert not index.array().flags.writeable


@pytest.mark.parametrize("blob", [PACKED, UNPACKED, DOUBLES])
def test_copying_into_arrays(tmp_path: Path, blob: bytes) -> None:
    index = one_blob(tmp_path, SHAPE + blob).layers[0].blobs[0]
    assert index is not None
    strided = np.zeros((2, 6), np.float32)[:, ::2]
    for out in (np.zeros((3, 2), np.float32), np.zeros(6, np.float64), np.zeros(6, ">f4"), strided):
        index.copy_to(out)
        np.testing.assert_array_equal(out.ravel(), NUMBERS.astype(out.dtype))


def test_a_file_cut_while_it_is_read(tmp_path: Path) -> None:
    index = one_blob(tmp_path, SHAPE + PACKED).layers[0].blobs[0]
    assert index is not None
    with (tmp_path / "one.caffemodel").open("r+b") as file:
        file.truncate(30)
    with pytest.raises(ConversionError, match="layer 'a': blob 0: the file became shorter"):
        index.copy_to(np.zeros(6, np.float32))


def test_scalar_and_empty_blobs(tmp_path: Path) -> None:
    scalar = one_blob(tmp_path, field(5, NUMBERS[:1].tobytes())).layers[0].blobs[0]
    (tmp_path / "one.caffemodel").unlink()  # arrays are views of the mapped file
    empty = one_blob(tmp_path, field(7, field(1, b"\x00\x03"))).layers[0].blobs[0]
    assert scalar is not None
    assert empty is not None
    assert (scalar.shape, scalar.array().item()) == ((), 1.5)
    assert empty.array().shape == (0, 3)


@pytest.mark.parametrize("case", ["weights_double", "weights_hdf5", "weights_legacy_dims", "v1_small"])
def test_forms_of_one_net_hold_the_same_numbers(case: str) -> None:
    """Caffe wrote the same weights in each form; V1's net has the same layers."""
    path = next(iter(sorted((GOLDEN / case).glob("net.caffemodel*"))))
    if path.suffix == ".h5":
        pytest.importorskip("h5py")
    wanted = {layer.name: layer for layer in open_weights(GOLDEN / "small" / "net.caffemodel").layers}
    model = open_weights(path)
    assert {layer.name for layer in model.layers} >= {name for name, layer in wanted.items() if layer.blobs}
    for layer in model.layers:
        assert len(layer.blobs) == len(wanted[layer.name].blobs)
        assert model.format == "HDF5" or layer.type == wanted[layer.name].type
        for blob, reference in zip(layer.blobs, wanted[layer.name].blobs, strict=True):
            assert blob is not None
            assert reference is not None
            assert blob.legacy == (case in ("weights_legacy_dims", "v1_small"))
            np.testing.assert_array_equal(blob.array().ravel(), reference.array().ravel())
            assert blob.array().dtype == ("float64" if case == "weights_double" else "float32")


@pytest.mark.parametrize(
    "case", ["small", "v1_small", "weights_double", "weights_legacy_dims", "textformat_quirks"]
)
def test_google_reads_the_same(case: str) -> None:
    path = GOLDEN / case / "net.caffemodel"
    theirs = message_class("NetParameter").FromString(path.read_bytes())
    model = open_caffemodel(path)
    layers = theirs.layer or theirs.layers
    assert [layer.name for layer in model.layers] == [layer.name for layer in layers]
    for ours, other in zip(model.layers, layers, strict=True):
        for blob, reference in zip(ours.blobs, other.blobs, strict=True):
            assert blob is not None
            np.testing.assert_array_equal(blob.array().ravel(), reference.double_data or reference.data)
        del other.blobs[:]
    assert model.net == as_dict(theirs)


def test_freiburg_numbers(tmp_path: Path) -> None:
    """The fork's DECONVOLUTION is type 34, its parameters field 27 and relu_param field 39 of a V1 layer."""
    layer = field(4, b"up") + b"\x28\x22" + field(6, PACKED) + field(27, b"\x58\x03\x48\x08\x50\x09")
    relu = field(4, b"relu") + b"\x28\x12" + field(39, b"\x0d\x9a\x99\x99\x3e")
    path = tmp_path / "fork.caffemodel"
    path.write_bytes(field(2, layer) + field(2, relu))
    model = open_caffemodel(path)
    assert [layer.type for layer in model.layers] == ["Deconvolution", "ReLU"]
    sizes = {"output_channels": 3, "output_height": 8, "output_width": 9}
    assert model.net["layers"][0] == {"name": "up", "type": "DECONVOLUTION", "deconvolution_param": sizes}
    assert model.net["layers"][1]["relu_param"] == {"negative_slope": float(np.float32(0.3))}
    path.write_bytes(field(2, field(4, b"mvn") + b"\x28\x22"))  # without blobs 34 is Caffe's MVN
    assert open_caffemodel(path).layers[0].type == "MVN"


def test_v0_layers_nest(tmp_path: Path) -> None:
    inner = field(1, b"c") + field(2, b"conv") + field(50, SHAPE + PACKED)
    path = tmp_path / "v0.caffemodel"
    path.write_bytes(field(2, field(3, b"top") + field(1, inner)))
    model = open_caffemodel(path)
    assert (model.format, model.layers[0].name, model.layers[0].type) == ("V0", "c", "Convolution")
    assert model.net["layers"] == [{"top": ["top"], "layer": {"name": "c", "type": "conv"}}]


def test_an_empty_file_holds_no_layers(tmp_path: Path) -> None:
    path = tmp_path / "empty.caffemodel"
    path.touch()
    assert open_weights(path).layers == ()


ERRORS = {
    "truncated in a layer": (field(100, field(1, b"a"))[:-1], "byte 0: field 100 ends 1 bytes too late"),
    "truncated in a number": (b"\x82\x80", "byte 0: a number that does not end"),
    "endless number": (b"\x80" * 11, "byte 0: a number of more than ten bytes"),
    "field number 0": (b"\x02\x00", "byte 0: field number 0"),
    "group": (b"\x0b\x0c", "byte 0: wire type 3"),
    "text": (b"name: 'x'", "byte 0: wire type 6; the file is truncated, damaged or no caffemodel"),
    "layer is a number": (b"\xa0\x06\x01", "field 'layer' is no message"),
    "name is a number": (field(100, b"\x08\x01"), "field 'name' of LayerParameter has wire type 0"),
    "two formats": (field(100, b"") + field(2, b""), "fields 'layer' and 'layers' in one net"),
    "ragged floats": (
        field(100, field(1, b"a") + field(7, field(5, b"abc"))),
        "layer 'a': blob 0: byte 10: ",
    ),
    "33 axes": (field(100, field(7, field(7, field(1, b"\1" * 33)))), "33 axes; a blob may have 32"),
    "data as varint": (field(100, field(7, b"\x28\x01")), "field 'data' of BlobProto has wire type 0"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_damaged_files_are_refused(tmp_path: Path, case: str) -> None:
    data, expected = ERRORS[case]
    path = tmp_path / "bad.caffemodel"
    path.write_bytes(data)
    with pytest.raises(ConversionError) as caught:
        open_weights(path)
    assert str(caught.value).startswith(str(path))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("blob", "expected"),
    [
        (
            SHAPE + field(5, NUMBERS[:5].tobytes()),
            "layer 'a': blob 0 has shape 2 x 3, 6 numbers; the file holds 5",
        ),
        (field(7, field(1, b"\xff" * 9 + b"\x01")) + PACKED, "shape -1"),
        (field(7, b"\x08\xff\xff\xff\xff\x07" * 2) + PACKED, "shape 2147483647 x 2147483647"),
        (PACKED, "shape (), 1 numbers; the file holds 6"),
    ],
)
def test_shapes_that_do_not_fit(tmp_path: Path, blob: bytes, expected: str) -> None:
    index = one_blob(tmp_path, blob).layers[0].blobs[0]
    assert index is not None
    with pytest.raises(ConversionError) as caught:
        index.array()
    assert expected in str(caught.value)


def test_files_that_caffe_refuses() -> None:
    with pytest.raises(ConversionError, match="field 100 ends 100 bytes too late"):
        open_caffemodel(GOLDEN / "errors" / "truncated_file.caffemodel")
    short = open_caffemodel(GOLDEN / "errors" / "data_short.caffemodel")
    with pytest.raises(
        ConversionError, match="layer 'a1': blob 0 has shape 6 x 60, 360 numbers; the file holds 359"
    ):
        [blob.array() for layer in short.layers for blob in layer.blobs if blob]


@pytest.mark.parametrize(
    ("record", "count", "expected"),
    [
        (b"\xa2\x06\x00", wire.MAX_LAYERS + 1, "over 20000 layers"),
        (b"\x40\x01", binary.MAX_VALUES + 1, "more than 200000 values"),
    ],
)
def test_endless_files_are_refused(tmp_path: Path, record: bytes, count: int, expected: str) -> None:
    path = tmp_path / "endless.caffemodel"
    path.write_bytes(record * count)
    with pytest.raises(ConversionError, match=expected):
        open_caffemodel(path)


def test_too_many_blobs(tmp_path: Path) -> None:
    path = tmp_path / "blobs.caffemodel"
    path.write_bytes(field(100, b"\x3a\x00" * (wire.MAX_BLOBS + 1)))
    with pytest.raises(ConversionError, match="more than 50000 blobs"):
        open_caffemodel(path)


def test_a_field_of_another_wire_type_is_unknown() -> None:
    """As in protobuf: a fork's message under a number that Caffe gave to another kind of field."""
    assert parse_message(b"\x0d\x00\x00\x00\x00\x10\x02", "SoftmaxParameter") == {"axis": 2}
    assert parse_message(b"\x08\x63", "ReLUParameter") == {}
    assert parse_message(b"\x08\x63", "PoolingParameter") == {}  # no such PoolMethod


@settings(max_examples=150, deadline=None)
@given(messages("NetParameter", text_only=False))
def test_write_then_read_gives_the_same(net: dict) -> None:
    data = b"".join(encode(net, "NetParameter"))
    theirs = message_class("NetParameter").FromString(data)
    assert parse_message(data, "NetParameter") == as_dict(theirs) == net
    assert theirs.SerializeToString(deterministic=True) == data


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False), max_size=200), st.integers(0, 199))
def test_runs_of_unpacked_numbers(numbers: list[float], cut: int) -> None:
    data = b"".join(b"\x2d" + struct.pack("<f", number) for number in numbers)
    other = b"\x08\x07" if cut % 2 else b""
    at = min(cut, len(numbers)) * 5
    got = parse_message(data[:at] + other + data[at:], "BlobProto")
    assert got.get("data", []) == numbers
    assert got.get("num") == (7 if other else None)
