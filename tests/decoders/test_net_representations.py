"""Blobs of nets as representations: against Caffe's own numbers, and which net a decoder belongs to."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from caffe_port import zoo
from caffe_port.binary import encode
from caffe_port.convert import convert
from caffe_port.converted import read_converted
from caffe_port.errors import ConversionError
from caffe_port.opencv import caffemodel
from caffe_port.preprocess import from_caffe
from caffe_port.text import format_text, parse_text
from caffe_port.wiring import read_net
from decoders.images import to_batch
from decoders.nets import NetIdentity, find_net, paper_blob, up_to
from decoders.representations import representation
from tests.decoders.nets import GREY_NET, grey_net, narrow_caffenet
from tests.photos import draw

MINI = "caffenet-mini"
# CVPR 2016, section 5: after a layer's last step, FC8 before the softmax.
BLOBS = {"conv1": "norm1", "conv2": "norm2", "conv3": "conv3", "conv4": "conv4", "conv5": "pool5",
         "fc6": "fc6", "fc7": "fc7", "fc8": "fc8", "pool1": "pool1", "prob": "prob"}  # fmt: skip
SHAPES = {"conv1": (48, 14, 14), "conv2": (96, 7, 7), "conv3": (128, 7, 7), "conv5": (96, 3, 3), "fc6": (512,),
          "fc8": (200,)}  # fmt: skip


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grey_net(tmp_path_factory.mktemp("grey"))


@pytest.mark.parametrize("name", list(BLOBS))
def test_features_are_caffe_s(name: str, data_folder: Path) -> None:
    """`blobs.npz` is what Caffe 1.0 computed of the net that ships for `input.npz`."""
    folder = data_folder / "data/caffemodels/caffenet-mini"
    data, expected = np.load(folder / "input.npz")["data"], np.load(folder / "blobs.npz")[BLOBS[name]]
    images = from_caffe(data, np.array(zoo.NETS[MINI].mean, np.float32))
    row = representation(name, MINI)
    found = row.extract(images)
    assert found.shape == (len(data), *row.shape)
    assert np.abs(found - expected.reshape(found.shape)).max() <= 1e-5 * np.abs(expected).max()
    assert row.net is not None
    assert row.net.blob == BLOBS[name]


@pytest.mark.parametrize("name", list(SHAPES))
def test_shapes_of_the_net_that_ships(name: str) -> None:
    row = representation(name, MINI)
    assert row.shape == SHAPES[name]
    assert row.image_size == (64, 64)
    portraits = row.portray(row.extract(to_batch([draw(1, 64, 64)])))
    assert portraits.shape == (1, 64, 64, 3)
    assert portraits.max() > 100


def test_maps_take_larger_pictures_and_vectors_do_not() -> None:
    larger = representation("conv5", MINI).sized(128)
    assert larger.image_size == (128, 128)
    images = to_batch([larger.framing.centre(draw(0, 300, 200))])
    assert larger.extract(images).shape == (1, *larger.shape) == (1, 96, 7, 7)
    with pytest.raises(ValueError, match="fc6 is of pictures of 64x64 only"):
        representation("fc6", MINI).sized(128)


def test_a_grey_net_s_features_are_those_of_its_recipe(grey: Path) -> None:
    row = representation("pool1", str(grey))
    assert (row.shape, row.image_size) == ((6, 8, 12), (20, 28))
    picture = draw(2, 20, 28)
    converted = read_converted(grey)
    assert converted.recipe is not None
    data = converted.recipe(picture)[None]  # rounds the grey level, where the encoder does not
    expected = converted.net.features(data, "pool1").detach().numpy()
    assert np.abs(row.extract(to_batch([picture])) - expected).max() < 0.01 * np.abs(expected).max()
    assert row.preprocessing.startswith("warped to 20x28, GREY minus (100), times 0.0078125; blob pool1 of ")


def test_other_nets_blobs_go_by_their_own_names(grey: Path) -> None:
    row = representation("conv1", str(grey))
    assert row.net is not None
    assert row.net.blob == "conv1"
    assert representation("ip1", str(grey)).shape == (9,)


@pytest.mark.parametrize(("blob", "said"), [
    ("conv9", "blob 'conv9' is not in the net; blobs are data, conv1, pool1, ip1, ip2, cross"),
    ("cross", "decoders invert maps"),
])  # fmt: skip
def test_blobs_that_cannot_be_inverted_are_refused(grey: Path, blob: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        representation(blob, str(grey))


def test_a_net_cut_off_at_a_blob_has_its_parameters_alone(grey: Path) -> None:
    net = read_converted(grey).net
    short = up_to(net, "ip1")
    assert list(short.params) == ["conv1", "ip1"]
    data = np.random.default_rng(0).standard_normal((2, 1, 20, 28)).astype(np.float32)
    assert torch.equal(short.features(data, "ip1"), net.features(data, "ip1"))
    text = format_text(dict(short.spec.message))
    assert read_net(parse_text(text, source="text"), "text") == short.spec


def test_a_published_net_is_known_by_its_layers_whatever_its_sizes(tmp_path: Path) -> None:
    narrow = read_converted(narrow_caffenet(tmp_path, tmp_path / "narrow.safetensors")).net
    assert [paper_blob(narrow, name) for name in BLOBS] == list(BLOBS.values())
    for name, blob in BLOBS.items():
        assert paper_blob(up_to(narrow, blob), name) == blob, "cut behind it"
    assert paper_blob(up_to(narrow, "conv1"), "conv1") == "conv1"


def test_without_net_caffenet_is_looked_for_where_it_is_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="get it with `caffe_port fetch caffenet`"):
        representation("conv5")
    narrow_caffenet(tmp_path, tmp_path / "caffenet.safetensors")
    row = representation("conv5")
    assert row.shape == (8, 6, 6)
    assert row.image_size == (227, 227)
    assert row.net is not None
    assert (row.net.name, row.net.blob) == ("caffenet", "pool5")


def test_a_fetched_folder_is_a_net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`caffe_port fetch caffenet` leaves a folder with these three files."""
    monkeypatch.chdir(tmp_path)
    narrow = read_converted(narrow_caffenet(tmp_path, tmp_path / "n.safetensors"))
    folder = tmp_path / "caffenet"
    folder.mkdir()
    with pytest.raises(ConversionError, match="caffenet: holds no net"):
        representation("conv5")
    shutil.copy(tmp_path / "narrow.prototxt", folder / "caffenet.prototxt")
    (folder / "bvlc_reference_caffenet.caffemodel").write_bytes(caffemodel(narrow.net))
    mean = np.full((1, 3, 256, 256), 110, "<f4")
    blob = {"num": 1, "channels": 3, "height": 256, "width": 256, "data": mean.tobytes()}
    (folder / "imagenet_mean.binaryproto").write_bytes(b"".join(encode(blob, "BlobProto")))
    row = representation("conv5")
    assert row.preprocessing.startswith(
        "warped to 256x256, cut to 227x227, BGR minus the mean picture, on average (110, 110, 110)"
    )
    images = to_batch([draw(0, 227, 227)])
    data = images[:, ::-1] - np.float32(110)
    assert np.allclose(
        row.extract(images), narrow.net.features(data.copy(), "pool5").detach().numpy(), atol=1e-4
    )
    assert find_net("caffenet")[1] == find_net(str(folder))[1]


def test_another_file_of_a_net_is_noticed(tmp_path: Path) -> None:
    first, other = (representation("ip1", str(grey_net(tmp_path, seed=seed))).net for seed in (0, 1))
    assert first is not None
    assert other is not None
    first.check({"name": "x", "sha256": first.sha256, "blob": "ip1"}, "run")
    with pytest.raises(
        ValueError, match=r"run: made for blob ip1 of .*grey-0.*give the right net with --net"
    ):
        other.check({"name": first.name, "sha256": first.sha256, "blob": "ip1"}, "run")
    with pytest.raises(ValueError, match="made for blob conv1"):
        NetIdentity("n", "aa", "ip1").check({"name": "n", "sha256": "aa", "blob": "conv1"}, "run")


def test_kernels_take_no_net_and_unknown_names_need_one() -> None:
    with pytest.raises(ValueError, match="hog is computed without a net"):
        representation("hog", MINI)
    with pytest.raises(ValueError, match="'ip1' is unknown; choose one of hog, lbp, sift, conv1"):
        representation("ip1")


def test_nets_that_take_no_pictures_are_refused(tmp_path: Path) -> None:
    two_channels = GREY_NET.replace("dim: 1 dim: 1 dim: 20", "dim: 1 dim: 2 dim: 20")
    (tmp_path / "two.prototxt").write_text(two_channels)
    convert(tmp_path / "two.prototxt", None, tmp_path / "two.safetensors", random_weights=0)
    with pytest.raises(ValueError, match="takes no pictures"):
        representation("conv1", str(tmp_path / "two.safetensors"))
