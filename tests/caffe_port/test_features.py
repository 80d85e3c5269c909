"""Pictures through a converted net: features and classes against the float64 reference and by hand."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from caffe_port import features as module
from caffe_port import zoo
from caffe_port.convert import convert
from caffe_port.converted import read_converted
from caffe_port.errors import ConversionError
from caffe_port.features import classify, extract, score_blob
from caffe_port.fetch import fetch
from caffe_port.net import CaffeNet
from caffe_port.opening import open_net
from caffe_port.pictures import BadImage, list_images
from caffe_port.text import parse_text
from caffe_port.verify import reference_blobs
from caffe_port.wiring import read_net
from tests.caffe_port.command import run
from tests.photos import draw, encode, fill
from tests.tolerances import close

Output = pytest.CaptureFixture[str]

TEXT = """name: "tiny" input: "data" input_shape { dim: [2, 3, 6, 7] }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }"""
MEAN = np.array([104.0, 117, 123])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "net.prototxt").write_text(TEXT)
    (folder / "labels.txt").write_text("ant\nbee\ncat\n")
    settings = {"mean": "104,117,123", "warp": (8, 9), "scale": 0.01}
    out = folder / "tiny.safetensors"
    convert(folder / "net.prototxt", None, out, labels=folder / "labels.txt", random_weights=1, **settings)
    return out


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return fill(tmp_path / "photos", 5)


def by_hand(net: Path, seeds: range, blob: str) -> np.ndarray:
    """Warp, centre crop, BGR, minus mean, scale; then the float64 reference."""
    rows = []
    for seed in seeds:
        warped = cv2.resize(draw(seed), (9, 8), interpolation=cv2.INTER_LINEAR)[1:7, 1:8]
        rows.append(((warped[..., ::-1].astype(np.float64) - MEAN) * 0.01).transpose(2, 0, 1))
    return reference_blobs(read_converted(net).net, {"data": np.array(rows)})[blob]


@pytest.mark.parametrize("blob", ["conv", "fc", "data"])
@pytest.mark.parametrize("batch", [1, 2, 5, 16])
def test_features(tiny: Path, photos: Path, tmp_path: Path, blob: str, batch: int) -> None:
    out = tmp_path / "features.npz"
    done = extract(read_converted(tiny), list_images([photos]), blob, out, batch=batch)
    with np.load(out) as arrays:
        assert list(arrays["names"]) == [f"picture-{seed:03d}.png" for seed in range(5)]
        assert str(arrays["blob"]) == blob
        close(arrays["features"], by_hand(tiny, range(5), blob), "features of pictures")
        assert (done.images, done.shape, done.bad) == (5, arrays["features"].shape[1:], ())


def test_only_one_batch_is_held(
    tiny: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture is decoded when its batch is due, and its features are on disk before the next batch."""
    events = []
    read, run_net = module.read_images, CaffeNet.features

    def reading(files, bad, *, strict):  # type: ignore[no-untyped-def]
        for pair in read(files, bad, strict=strict):
            events.append("read")
            yield pair

    def running(self, data, blob):  # type: ignore[no-untyped-def]
        events.append(f"run {len(data)}")
        return run_net(self, data, blob)

    monkeypatch.setattr(module, "read_images", reading)
    monkeypatch.setattr(CaffeNet, "features", running)
    extract(read_converted(tiny), list_images([photos]), "fc", tmp_path / "f.npz", batch=2)
    assert events == ["read", "read", "run 2", "read", "read", "run 2", "read", "run 1"]


def test_bad_pictures(tiny: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "picture-001.png").write_bytes(b"no picture")
    net, files, out = read_converted(tiny), list_images([photos]), tmp_path / "features.npz"
    done = extract(net, files, "fc", out, batch=2)
    assert done.images == 4
    assert len(done.bad) == 1
    assert "picture-001.png: not a picture" in done.bad[0]
    before = out.read_bytes()
    with pytest.raises(BadImage, match="--strict"):
        extract(net, files, "fc", out, strict=True)
    with pytest.raises(ConversionError, match=r"none of 1 pictures can be read; .*picture-001"):
        extract(net, [files[1]], "fc", out)
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features.npz", "photos"]


def test_classes(tiny: Path, photos: Path) -> None:
    prob = by_hand(tiny, range(5), "prob")
    bad: list[str] = []
    found = dict(classify(read_converted(tiny), list_images([photos]), bad, top=2))
    assert bad == []
    for row, guesses in zip(prob, found.values(), strict=True):
        best = sorted(range(3), key=lambda i: -row[i])[:2]
        assert [guess.index for guess in guesses] == best
        assert [guess.label for guess in guesses] == [("ant", "bee", "cat")[i] for i in best]
        close([guess.score for guess in guesses], row[best], "features of pictures", dtype="float32")


def net_of(text: str) -> CaffeNet:
    return CaffeNet(read_net(parse_text(text, source="net"), "net"))


def test_which_blob_holds_the_classes() -> None:
    split = 'layer { name: "p2" type: "Pooling" bottom: "conv" top: "p2" pooling_param { kernel_size: 1 } }'
    assert score_blob(net_of(TEXT)) == "prob"
    assert score_blob(net_of(TEXT + split)) == "prob"
    with pytest.raises(ConversionError, match="name it with --blob: 'fc', 'p2'"):
        score_blob(net_of(TEXT.rpartition("layer")[0] + split))


def test_blobs_that_do_not_suit(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "net.prototxt").write_text(
        """input: "x" input_shape { dim: [1, 3, 2, 2] }
        layer { name: "flat" type: "Reshape" bottom: "x" top: "flat" reshape_param { shape { dim: [-1] } } }
        layer { name: "r" type: "ReLU" bottom: "x" top: "r" }"""
    )
    convert(tmp_path / "net.prototxt", None, tmp_path / "net.safetensors")
    net, files = read_converted(tmp_path / "net.safetensors"), list_images([photos])
    with pytest.raises(ConversionError, match="blob 'flat' has shape 60 for 5 pictures; one row a picture"):
        extract(net, files, "flat", tmp_path / "f.npz")
    with pytest.raises(ConversionError, match="blob 'r' has shape 5 3 2 2; one number a class"):
        list(classify(net, files, [], blob="r"))
    with pytest.raises(ValueError, match="blob 'nothing' is not in the net; blobs are 'x', 'flat', 'r'"):
        extract(net, files, "nothing", tmp_path / "f.npz")
    assert not (tmp_path / "f.npz").exists()


def test_a_net_without_pictures(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "net.prototxt").write_text(
        """input: "x" input_shape { dim: [1, 5] } layer { name: "r" type: "ReLU" bottom: "x" top: "r" }"""
    )
    convert(tmp_path / "net.prototxt", None, tmp_path / "net.safetensors")
    with pytest.raises(ConversionError, match="takes no pictures; inputs are x 1 5"):
        list(classify(read_converted(tmp_path / "net.safetensors"), list_images([photos]), []))


def test_a_grey_net(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "net.prototxt").write_text(
        """input: "x" input_shape { dim: [1, 1, 4, 4] }
        layer { name: "r" type: "Power" bottom: "x" top: "r" }"""
    )
    convert(tmp_path / "net.prototxt", None, tmp_path / "net.safetensors", mean="10")
    extract(read_converted(tmp_path / "net.safetensors"), list_images([photos]), "r", tmp_path / "f.npz")
    grey = cv2.resize(cv2.cvtColor(draw(2), cv2.COLOR_RGB2GRAY), (4, 4), interpolation=cv2.INTER_LINEAR)
    with np.load(tmp_path / "f.npz") as arrays:
        np.testing.assert_array_equal(arrays["features"][2, 0], grey.astype(np.float32) - 10)


def test_the_net_that_ships_knows_its_classes(tmp_path: Path) -> None:
    """Its README: mean 104, 117, 123, warped to 64 x 64; 200 labels."""
    net = open_net("caffenet-mini")
    assert len(net.labels) == 200
    assert net.recipe is not None
    assert (net.recipe.warp, net.recipe.mean.tolist()) == ((64, 64), [104, 117, 123])
    fill(tmp_path, 1)
    ((_, guesses),) = classify(net, list_images([tmp_path]), [])
    assert len(guesses) == 5
    assert all(guess.label == net.labels[guess.index] for guess in guesses)
    with pytest.raises(ConversionError, match=r"nowhere: no such file.*ships: caffenet-mini"):
        open_net("nowhere")


def test_a_fetched_folder_is_a_net(tiny: Path, tmp_path: Path) -> None:
    """What `caffe_port fetch` leaves in a folder is the net that ships; a converted file there goes first."""
    folder, shipped = tmp_path / "mini", open_net("caffenet-mini")
    with pytest.raises(ConversionError, match="mini: no such file"):
        open_net(folder)
    folder.mkdir()
    with pytest.raises(ConversionError, match="mini: holds no net; `caffe_port fetch NET --dir"):
        open_net(folder)
    fetch(zoo.find("caffenet-mini"), folder)
    fetched = open_net(folder)
    assert fetched.labels == shipped.labels
    data = np.random.default_rng(0).normal(0, 50, (1, 3, 64, 64)).astype(np.float32)
    assert np.array_equal(
        fetched.net.features(data, "fc8").detach(), shipped.net.features(data, "fc8").detach()
    )
    shutil.copy(tiny, folder / "mini.safetensors")
    assert list(open_net(folder).net.spec.inputs.values()) == [(2, 3, 6, 7)]


def test_commands(
    tiny: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    (photos / "picture-003.png").write_bytes(encode(draw(3), ".png")[:-30])
    out = tmp_path / "features.npz"
    assert run(monkeypatch, "features", tiny, photos, "--blob", "fc", "-o", out) == 0
    text, err = capsys.readouterr()
    assert text == f"{out}: fc (3,) of 4 pictures (1 skipped)\n"
    assert err.splitlines()[0].startswith(f"skipped {photos / 'picture-003.png'}: ")
    assert run(monkeypatch, "features", tiny, photos, "--blob", "fc", "-o", out, "--strict") == 2
    assert run(monkeypatch, "features", tiny, photos, "--blob", "fc", "-o", out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == 1
    picture = photos / "picture-000.png"
    assert run(monkeypatch, "classify", tiny, picture, "--top", "2", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["image"] == "picture-000.png"
    assert [set(guess) for guess in found["top"]] == [{"index", "label", "score"}] * 2
    assert run(monkeypatch, "classify", tiny, picture, photos / "picture-001.png") == 0
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[4], len(lines)) == ("picture-000.png", "picture-001.png", 8)
    assert lines[1].split()[-1] in {"ant", "bee", "cat"}
    assert run(monkeypatch, "classify", tiny, photos / "nowhere.png") == 2
    assert "nowhere.png: does not exist" in capsys.readouterr().err
