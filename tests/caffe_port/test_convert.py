"""Converting: the file gives the same net back, bit for bit, says what became of everything, and is safe."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import caffe_port
from caffe_port.binary import encode
from caffe_port.convert import as_text, convert, read_shapes, read_size
from caffe_port.converted import read_converted, write_open
from caffe_port.errors import ConversionError
from tests.caffe_port.command import run

GOLDEN = Path(__file__).parents[1] / "golden" / "caffe"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/net.prototxt"))
SMALL = GOLDEN / "small" / "net.prototxt", GOLDEN / "small" / "net.caffemodel"


def weights_of(case: str) -> Path | None:
    return next((path for path in (GOLDEN / case).glob("net.caffemodel*")), None)


def blobs_of(net: caffe_port.net.CaffeNet, case: str) -> dict[str, np.ndarray]:
    folder = GOLDEN / case if (GOLDEN / case / "input.npz").exists() else GOLDEN / "small"
    with np.load(folder / "input.npz") as arrays, torch.inference_mode():
        given = {name: torch.from_numpy(arrays[name].astype(np.float32)) for name in arrays}
        return {name: blob.numpy() for name, blob in net.blobs(**given).items()}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("converted") / "small.safetensors"
    convert(*SMALL, out, mean="104,117,123")
    return out


@pytest.mark.filterwarnings("ignore:.*keep their fillers")
@pytest.mark.parametrize("case", CASES)
def test_blobs_are_bit_identical_after_conversion(tmp_path: Path, case: str) -> None:
    prototxt, weights = GOLDEN / case / "net.prototxt", weights_of(case)
    if weights is not None and weights.suffix == ".h5":
        pytest.importorskip("h5py")
    convert(prototxt, weights, tmp_path / "net.safetensors")
    before = caffe_port.load(prototxt, weights)
    after = caffe_port.load(tmp_path / "net.safetensors")
    assert after.spec == before.spec
    assert not after.training
    found = blobs_of(after, case)
    for name, blob in blobs_of(before, case).items():
        assert found[name].tobytes() == blob.tobytes(), name


def test_equal_sources_give_equal_files(tmp_path: Path, small: Path) -> None:
    convert(*SMALL, tmp_path / "again.safetensors", mean="104,117,123")
    assert (tmp_path / "again.safetensors").read_bytes() == small.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.safetensors"]


def test_what_the_file_says(small: Path) -> None:
    """Read with the format's own library; parameters compared with another reader of caffemodels."""
    from safetensors import safe_open

    from tests.oracles.protobuf_reader import message_class

    message = message_class("NetParameter")()
    message.ParseFromString(SMALL[1].read_bytes())
    with safe_open(small, framework="np") as file:
        origin = json.loads(file.metadata()["origin"])
        for layer in message.layer:
            for position, blob in enumerate(layer.blobs):
                found = file.get_tensor(f"{layer.name}/{position}")
                assert found.tobytes() == np.array(blob.data, np.float32).tobytes()
        assert np.array_equal(file.get_tensor("preprocessing/mean"), [104, 117, 123])
    for kind, path in zip(("prototxt", "caffemodel"), SMALL, strict=True):
        assert origin["sources"][kind]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert origin["versions"]["torch"] == torch.__version__


def caffemodel(path: Path, **layers: list[np.ndarray]) -> Path:
    rows = [
        {
            "name": name,
            "blobs": [{"shape": {"dim": list(b.shape)}, "data": b.ravel().tolist()} for b in blobs],
        }
        for name, blobs in layers.items()
    ]
    path.write_bytes(b"".join(encode({"layer": rows}, "NetParameter")))
    return path


NET = """name: "two" input: "x" input_shape { dim: [1, 3, 4, 4] }
layer { name: "a" type: "Convolution" bottom: "x" top: "a"
        convolution_param { num_output: 2 kernel_size: 1 bias_term: false } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 3 } }"""
A, B = [np.ones((2, 3, 1, 1))], [np.ones((3, 32)), np.zeros(3)]


def two(folder: Path, text: str = NET) -> Path:
    (folder / "two.prototxt").write_text(text)
    return folder / "two.prototxt"


def test_every_parameter_is_accounted_for(tmp_path: Path) -> None:
    weights = caffemodel(tmp_path / "w.caffemodel", a=A, stranger=B)
    with pytest.warns(UserWarning, match="has no layers 'b'"):
        converted = convert(two(tmp_path), weights, tmp_path / "two.safetensors")
    parameters = converted.origin["parameters"]
    assert parameters == {"loaded": ("a/0",), "filled": ("b/0", "b/1"), "ignored_layers": ("stranger",)}
    text = as_text(converted, "two.safetensors")
    assert "definition  the prototxt's" in text
    assert "filled      'b/0', 'b/1'" in text
    assert "ignored     layers of the caffemodel that the net has not: 'stranger'" in text


def test_parameters_may_be_stored_as_float16(tmp_path: Path) -> None:
    """Read with the format's own library; the numbers are the caffemodel's, rounded by NumPy."""
    from safetensors import safe_open

    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3, 1, 1)) / 30, rng.standard_normal((3, 32)) * 900
    weights = caffemodel(tmp_path / "w.caffemodel", a=[a], b=[b, np.full(3, 1e-9)])
    out, half = tmp_path / "two.safetensors", tmp_path / "half.safetensors"
    converted = convert(two(tmp_path), weights, out, mean="104.3,117,123")
    with half.open("wb") as file:
        write_open(file, converted, half, half=True)
    net = read_converted(half).net
    with safe_open(half, framework="np") as stored, safe_open(out, framework="np") as whole:
        assert stored.metadata() == whole.metadata()
        for name, numbers in (("a/0", a), ("b/0", b), ("b/1", np.zeros(3))):
            rounded = numbers.astype(np.float32).astype(np.float16)
            found = stored.get_tensor(name)
            assert found.dtype == np.float16
            assert np.array_equal(found, rounded), name
            layer, position = name.split("/")
            assert net.params[layer][int(position)].dtype == torch.float32
            assert np.array_equal(
                net.params[layer][int(position)].detach().numpy(), rounded.astype(np.float32)
            )
        assert stored.get_tensor("preprocessing/mean").dtype == np.float32
        assert np.array_equal(stored.get_tensor("preprocessing/mean"), whole.get_tensor("preprocessing/mean"))
    assert net.features(np.ones((1, 3, 4, 4), np.float32), "b").dtype == torch.float32


@pytest.mark.parametrize("number", [70_000.0, np.nan])
def test_what_float16_does_not_hold_is_refused(tmp_path: Path, number: float) -> None:
    weights = caffemodel(tmp_path / "w.caffemodel", a=A, b=[B[0] * number, B[1]])
    converted = convert(two(tmp_path), weights, tmp_path / "two.safetensors")
    with (
        (tmp_path / "half.safetensors").open("wb") as file,
        pytest.raises(ConversionError, match=r"here: float16 does not hold the numbers of tensor 'b/0'"),
    ):
        write_open(file, converted, "here", half=True)


def test_statistics_stay_float32(tmp_path: Path) -> None:
    text = """name: "norm" input: "x" input_shape { dim: [1, 3, 4, 4] }
    layer { name: "n" type: "BatchNorm" bottom: "x" top: "n" }"""
    statistics = [np.full(3, 0.1), np.full(3, 1e6), np.array([999.98])]
    converted = convert(
        two(tmp_path, text), caffemodel(tmp_path / "w.caffemodel", n=statistics), tmp_path / "n.safetensors"
    )
    with (tmp_path / "half.safetensors").open("wb") as file:
        write_open(file, converted, "here", half=True)
    for found, expected in zip(
        caffe_port.load(tmp_path / "half.safetensors").params["n"], statistics, strict=True
    ):
        assert np.array_equal(found.numpy(), expected.astype(np.float32))


def test_a_folder_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    with pytest.raises(IsADirectoryError, match="full: is a folder; name a file"):
        convert(*SMALL, tmp_path / "full")


def test_random_fillers_need_a_seed(tmp_path: Path) -> None:
    text = NET.replace("num_output: 3", 'num_output: 3 weight_filler { type: "xavier" }')
    weights = caffemodel(tmp_path / "w.caffemodel", a=A)
    with pytest.raises(ConversionError, match=r"layer 'b' .*xavier.*random_weights=SEED"):
        convert(two(tmp_path, text), weights, tmp_path / "two.safetensors")
    assert not (tmp_path / "two.safetensors").exists()
    with pytest.raises(ConversionError, match="there are no weights"):
        convert(two(tmp_path), None, tmp_path / "two.safetensors")
    with pytest.warns(UserWarning, match="keep their fillers"):
        first = convert(two(tmp_path, text), weights, tmp_path / "two.safetensors", random_weights=3)
    assert torch.equal(
        read_converted(tmp_path / "two.safetensors").net.params["b"][0], first.net.params["b"][0]
    )


def test_sources_are_not_overwritten(tmp_path: Path) -> None:
    weights = caffemodel(tmp_path / "w.caffemodel", a=A, b=B)
    before = weights.read_bytes()
    with pytest.raises(ConversionError, match="is a source of the conversion"):
        convert(two(tmp_path), weights, weights)
    assert weights.read_bytes() == before


def test_recipes(tmp_path: Path) -> None:
    """Warp is the mean image's size, or what was asked for, or the input's."""
    weights = caffemodel(tmp_path / "w.caffemodel", a=A, b=B)
    image = np.arange(3 * 6 * 8, dtype=np.float32).reshape(3, 6, 8)
    np.save(tmp_path / "mean.npy", image)
    out = tmp_path / "two.safetensors"
    convert(two(tmp_path), weights, out, mean=tmp_path / "mean.npy", scale=0.5)
    recipe = read_converted(out).recipe
    assert recipe is not None
    assert (recipe.warp, recipe.crop, recipe.order, recipe.scale) == ((6, 8), (4, 4), "BGR", 0.5)
    assert np.array_equal(recipe.mean, image)
    convert(two(tmp_path), weights, out, mean="7", warp=(5, 9), order="RGB")
    recipe = read_converted(out).recipe
    assert recipe is not None
    assert (recipe.warp, recipe.order, recipe.mean.tolist()) == ((5, 9), "RGB", [7, 7, 7])
    for settings, problem in (
        ({"mean": "1,2"}, "a mean of 2 channels; the input has 3"),
        ({"warp": (3, 9)}, "pictures of 3 x 9 for an input of 4 x 4"),
        ({"mean": tmp_path / "mean.npy", "warp": (7, 7)}, "a mean of 6 x 8"),
    ):
        with pytest.raises(ConversionError, match=problem):
            convert(two(tmp_path), weights, out, **settings)  # type: ignore[arg-type]


def test_a_data_layer_s_own_mean_is_not_lost_quietly(tmp_path: Path) -> None:
    text = """layer { name: "d" type: "Data" top: "x"
      transform_param { scale: 0.5 mean_value: 7 crop_size: 4 } }
    layer { name: "r" type: "ReLU" bottom: "x" top: "r" }"""
    shape = {"x": (1, 3, 4, 4)}
    with pytest.warns(UserWarning, match=r"layer 'd': transform_param \(scale, mean_value\) is not used"):
        convert(two(tmp_path, text), None, tmp_path / "two.safetensors", input_shapes=shape)
    converted = convert(
        two(tmp_path, text), None, tmp_path / "two.safetensors", input_shapes=shape, mean="7", scale=0.5
    )
    assert converted.recipe is not None
    assert converted.recipe.mean.tolist() == [7, 7, 7]


def test_labels(tmp_path: Path) -> None:
    weights = caffemodel(tmp_path / "w.caffemodel", a=A, b=B)
    labels = tmp_path / "labels.txt"
    labels.write_text('n1 cat, feline\nn2 dög\nn3 "quoted"\n', encoding="utf-8")
    convert(two(tmp_path), weights, tmp_path / "two.safetensors", labels=labels)
    assert read_converted(tmp_path / "two.safetensors").labels == ("n1 cat, feline", "n2 dög", 'n3 "quoted"')
    labels.write_text("one\ntwo\n")
    with pytest.raises(ConversionError, match=r"labels\.txt: 2 labels; of the outputs b has 3"):
        convert(two(tmp_path), weights, tmp_path / "two.safetensors", labels=labels)
    labels.write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(ConversionError, match=r"labels\.txt: labels must be text in UTF-8"):
        convert(two(tmp_path), weights, tmp_path / "two.safetensors", labels=labels)


def test_sizes_and_shapes_as_typed() -> None:
    assert (read_size(None), read_size("256"), read_size("240x320")) == (None, (256, 256), (240, 320))
    assert read_shapes(["data=1,3,2,2", "a=b=7"]) == {"data": (1, 3, 2, 2), "a=b": (7,)}
    for text in ("x", "1x2x3", "-4", "9" * 5000):
        with pytest.raises(ConversionError, match="is no size"):
            read_size(text)
    with pytest.raises(ConversionError, match="is no shape"):
        read_shapes(["data"])


def split(data: bytes) -> tuple[dict[str, object], bytes]:
    stop = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:stop]), data[stop:]


def join(header: object, numbers: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + numbers


def with_metadata(data: bytes, **fields: str) -> bytes:
    header, numbers = split(data)
    metadata = header["__metadata__"]
    assert isinstance(metadata, dict)
    return join(header | {"__metadata__": metadata | fields}, numbers)


def without(data: bytes, tensor: str) -> bytes:
    header, numbers = split(data)
    header["needless/0"] = header.pop(tensor)
    return join(header, numbers)


def reshaped(data: bytes) -> bytes:
    header, numbers = split(data)
    row = header["fc8/1"]
    assert isinstance(row, dict)
    return join(header | {"fc8/1": row | {"shape": [1, *row["shape"]]}}, numbers)


def typed(data: bytes, tensor: str, kind: str, shape: list[int] | None = None) -> bytes:
    header, numbers = split(data)
    row = header[tensor]
    assert isinstance(row, dict)
    return join(header | {tensor: row | {"dtype": kind, "shape": shape or row["shape"]}}, numbers)


HUGE = '{"order": "BGR", "scale": 1.0, "warp": [99999, 99999], "crop": null}'
DAMAGED = {
    "empty": (lambda data: b"", "a header of 0 bytes"),
    "a text": (lambda data: b"name: 'net'\n" * 9, "damaged, or no .safetensors file"),
    "huge header": (lambda data: (2**40).to_bytes(8, "little") + data[8:], "a header of 1099511627776 bytes"),
    "cut short": (lambda data: data[:-1], "damaged, or no .safetensors file"),
    "too long": (lambda data: data + b"\0", "damaged, or no .safetensors file"),
    "header is no JSON": (lambda data: join(b"{" * 2000, b""), "damaged, or no .safetensors file"),
    "deep header": (lambda data: join(b'{"a":' * 200_000, b""), "damaged, or no .safetensors file"),
    "other file": (lambda data: join({}, b""), "field 'format' is ''"),
    "no net": (lambda data: with_metadata(data, prototxt=""), "the net has no layers"),
    "bad net": (lambda data: with_metadata(data, prototxt="layer { top"), "prototxt:1:12: expected"),
    "deep labels": (lambda data: with_metadata(data, labels="[" * 100_000), "field 'labels' is no JSON"),
    "labels of numbers": (lambda data: with_metadata(data, labels="[1]"), "not a list of texts"),
    "labels of another kind": (
        lambda data: with_metadata(data, labels="{}"),
        "'labels' is missing or of another",
    ),
    "origin of another form": (
        lambda data: with_metadata(data, origin='{"sources": {"prototxt": {"name": "x"}}, "parameters": {}}'),
        "field 'origin' does not say sources",
    ),
    "huge warp": (
        lambda data: with_metadata(data, preprocessing=HUGE),
        "field 'preprocessing.warp' is not two sizes",
    ),
    "no scale": (lambda data: with_metadata(data, preprocessing='{"order": "BGR"}'), "with scale None"),
    "infinite scale": (
        lambda data: with_metadata(data, preprocessing=HUGE.replace("1.0", "Infinity")),
        "with scale inf",
    ),
    "another tensor": (lambda data: without(data, "fc8/1"), "the file lacks tensor 'fc8/1'"),
    "a tensor too many": (
        lambda data: without(data, "preprocessing/mean"),
        "the file has a needless tensor 'needless/0'",
    ),
    "another type": (lambda data: typed(data, "fc8/1", "I32"), "tensor 'fc8/1' has type I32; F32 or F16 is"),
    "a short mean": (
        lambda data: typed(data, "preprocessing/mean", "F16", [6]),
        "tensor 'preprocessing/mean' has type F16; F32 is needed",
    ),
    "another shape": (reshaped, "tensor 'fc8/1' has shape 1 10; the net needs 10"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_files(
    tmp_path: Path,
    small: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    case: str,
) -> None:
    damage, problem = DAMAGED[case]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(damage(small.read_bytes()))
    with pytest.raises(ConversionError) as refused:
        caffe_port.load(path)
    assert str(refused.value).startswith(str(path))
    assert problem in str(refused.value)
    assert run(monkeypatch, "verify", path) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


def test_mutated_files_are_refused_or_read(tmp_path: Path, small: Path) -> None:
    """Bytes of the header changed at random: a ConversionError that names the file, or a net."""
    data, rng = small.read_bytes(), np.random.default_rng(0)
    header = 8 + int.from_bytes(data[:8], "little")
    path, refusals = tmp_path / "mutated.safetensors", []
    for _ in range(150):
        mutated = bytearray(data)
        for at in rng.integers(0, header, rng.integers(1, 4)):
            mutated[at] = rng.integers(256)
        path.write_bytes(mutated)
        try:
            read_converted(path)
        except ConversionError as error:
            refusals.append(str(error))
    assert len(refusals) > 75
    assert all(refusal.startswith(str(path)) for refusal in refusals)


def test_parameters_have_memory_of_their_own(tmp_path: Path, small: Path) -> None:
    """A file that is written over later does not change the net."""
    path = tmp_path / "net.safetensors"
    path.write_bytes(small.read_bytes())
    converted = read_converted(path)
    before = {name: [blob.clone() for blob in blobs] for name, blobs in converted.net.params.items()}
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)
    for name, blobs in converted.net.params.items():
        assert all(torch.equal(*pair) for pair in zip(blobs, before[name], strict=True))
    assert converted.recipe is not None
    assert converted.recipe.mean.tolist() == [104, 117, 123]


def test_other_arguments_are_refused(small: Path) -> None:
    with pytest.raises(ConversionError, match="takes no weights"):
        caffe_port.load(small, SMALL[1])
    with pytest.raises(OSError, match=r"nowhere\.safetensors"):
        caffe_port.load("nowhere.safetensors")


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "small.safetensors"
    assert run(monkeypatch, "convert", *SMALL, "-o", out, "--mean", "104,117,123", "--warp", "70") == 0
    text, err = capsys.readouterr()
    assert err == ""
    assert "definition  the prototxt's; what the caffemodel says of layers is not used" in text
    assert "parameters  16 blobs loaded" in text
    assert "mean values 104, 117, 123, scale 1" in text
    assert run(monkeypatch, "convert", *SMALL, "-o", out, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["parameters"]["loaded"]) == 16
    assert run(monkeypatch, "convert", SMALL[0], "-o", out, "--quiet") == 2
    assert "random_weights" in capsys.readouterr().err
    assert run(monkeypatch, "convert", *SMALL, "-o", out, "--quiet") == 0
    assert capsys.readouterr().out == ""
