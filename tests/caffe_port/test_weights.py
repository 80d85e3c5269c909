"""Weights into parameters: matching, every blob accounted for, fillers, sharing; what Caffe refuses is
refused.
"""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import caffe_port
from caffe_port import ConversionError
from caffe_port.binary import encode
from caffe_port.fillers import FILLERS, fill
from caffe_port.net import CaffeNet
from caffe_port.spec import FillerSpec
from caffe_port.text import parse_text
from caffe_port.weights import fill_net, load_weights, same_shape
from caffe_port.wire import open_weights
from caffe_port.wiring import read_net

GOLDEN = Path(__file__).parents[1] / "golden" / "caffe"
NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" inner_product_param { num_output: 2 } }
layer { name: "b.1" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 2 %s } }
"""


def net_of(text: str) -> CaffeNet:
    return CaffeNet(read_net(parse_text(text, source="text"), "net.prototxt"))


def write(path: Path, layers: dict[str, list[np.ndarray]]) -> Path:
    """A caffemodel in V2 form."""
    message = [
        {
            "name": name,
            "blobs": [
                {"shape": {"dim": list(blob.shape)}, "data": blob.astype(np.float32).ravel().tolist()}
                for blob in blobs
            ],
        }
        for name, blobs in layers.items()
    ]
    path.write_bytes(b"".join(encode({"layer": message}, "NetParameter")))
    return path


def test_every_blob_is_accounted_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    a = [rng.standard_normal((2, 3)), rng.standard_normal(2)]
    path = write(tmp_path / "w.caffemodel", {"gone": [np.ones(4)], "a": a, "relu": []})
    net = net_of(NET % 'bias_filler { type: "constant" value: 0.5 }')
    with pytest.warns(UserWarning, match=r"net\.prototxt: .*w\.caffemodel has no layers 'b\.1'") as caught:
        report = load_weights(net, open_weights(path))
    assert len(caught) == 1
    assert report.loaded == ("a/0", "a/1")
    assert report.kept == ("b.1/0", "b.1/1")
    assert report.ignored == ("gone",)
    np.testing.assert_array_equal(net.params["a"][0].detach(), a[0].astype(np.float32))
    np.testing.assert_array_equal(net.params["b.1"][1].detach(), np.float32([0.5, 0.5]))
    np.testing.assert_array_equal(net.params["b.1"][0].detach(), np.zeros((2, 2)))
    assert list(net.state_dict()) == ["a/0", "a/1", "b%2E1/0", "b%2E1/1"]


def test_an_empty_file_is_taken_loudly() -> None:
    net = net_of(NET % "")
    with pytest.warns(UserWarning, match=r"no layers 'a', 'b\.1': their parameters keep their fillers"):
        report = load_weights(net, open_weights(Path("/dev/null")))
    assert report.loaded == ()
    assert net(torch.ones(1, 3))["b"].tolist() == [[0.0, 0.0]]


def test_a_missing_layer_with_a_random_filler_needs_a_seed(tmp_path: Path) -> None:
    path = write(tmp_path / "w.caffemodel", {"a": [np.ones((2, 3)), np.ones(2)]})
    text = NET % 'weight_filler { type: "xavier" }'
    with pytest.raises(
        ConversionError, match=r"layer 'b\.1' .*field 'filler.type' is 'xavier'.*random_weights=SEED"
    ):
        load_weights(net_of(text), open_weights(path))
    net = net_of(text)
    with pytest.warns(UserWarning, match="keep their fillers"):
        load_weights(net, open_weights(path), random_weights=3)
    assert net.params["b.1"][0].abs().min() > 0


def test_no_weights_are_refused_unless_a_seed_asks_for_the_fillers(tmp_path: Path) -> None:
    deploy = tmp_path / "deploy.prototxt"
    deploy.write_text(NET % 'weight_filler { type: "gaussian" }')
    with pytest.raises(
        ConversionError, match=r"layer 'a' and others have 4 parameter blobs.*random_weights=SEED"
    ):
        caffe_port.load(deploy)
    one, same, other = (caffe_port.load(deploy, random_weights=seed).params["b.1"][0] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_net_that_learns_nothing_needs_no_weights(tmp_path: Path) -> None:
    deploy = tmp_path / "deploy.prototxt"
    deploy.write_text(NET.split("layer {", 2)[0] + "layer {" + NET.split("layer {", 2)[1])
    assert caffe_port.load(deploy)(torch.ones(1, 3))["data"].tolist() == [[1.0, 1.0, 1.0]]


@pytest.mark.parametrize(
    ("blobs", "message"),
    [
        ([np.ones((2, 3))], r"layer 'a' .*field 'blobs': the file has 1 parameter blobs; the net needs 2"),
        (
            [np.ones((3, 2)), np.ones(2)],
            r"field 'blobs': blob 0 has shape 3 2 in the file; the net needs 2 3",
        ),
        ([np.ones((1, 1, 2, 3)), np.ones(2)], r"blob 0 has shape 1 1 2 3 in the file"),
        ([np.ones((2, 3)), np.ones((1, 2))], r"blob 1 has shape 1 2 in the file; the net needs 2"),
        ([], r"the file has 0 parameter blobs; the net needs 2"),
    ],
)
def test_blobs_that_do_not_fit(tmp_path: Path, blobs: list[np.ndarray], message: str) -> None:
    path = write(tmp_path / "w.caffemodel", {"a": blobs})
    with pytest.raises(ConversionError, match=message):
        load_weights(net_of(NET % ""), open_weights(path))


@pytest.mark.parametrize(
    ("shape", "legacy", "wanted", "fits"),
    [
        ((1, 1, 6, 60), True, (6, 60), True),
        ((6, 60, 1, 1), True, (6, 60), False),
        ((1, 1, 1, 6), True, (6,), True),
        ((1, 6, 1, 1), True, (6,), False),
        ((1, 1, 1, 1), True, (), True),
        ((8, 3, 5, 5), True, (8, 3, 5, 5), True),
        ((8, 3, 5, 5), True, (1, 8, 3, 5, 5), False),
        ((1, 1, 6, 60), False, (6, 60), False),
        ((6, 60), False, (6, 60), True),
    ],
)
def test_old_shapes_match_from_the_right(
    shape: tuple[int, ...], legacy: bool, wanted: tuple[int, ...], fits: bool
) -> None:
    assert same_shape(shape, legacy, wanted) is fits


def test_of_two_layers_of_one_name_the_first_is_loaded(tmp_path: Path) -> None:
    text = NET.replace("b.1", "a") % 'bias_filler { type: "constant" value: 7 }'
    path = write(tmp_path / "w.caffemodel", {"a": [np.full((2, 3), 5.0), np.ones(2)]})
    net = net_of(text)
    with pytest.warns(UserWarning, match="keep their fillers"):
        report = load_weights(net, open_weights(path))
    assert report.loaded == ("a/0", "a/1")
    assert report.kept == ("a#2/0", "a#2/1")
    assert net(torch.ones(1, 3))["b"].tolist() == [[7.0, 7.0]]


SHARED = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 4 } } }
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { name: "w" }
  inner_product_param { num_output: 4 bias_term: false } }
layer { name: "r" type: "Reshape" bottom: "a" top: "r" reshape_param { shape { dim: 2 dim: 2 } } }
layer { name: "b" type: "InnerProduct" bottom: "r" top: "b" param { name: "w" share_mode: PERMISSIVE }
  inner_product_param { num_output: 8 bias_term: false } }
"""


def test_a_permissive_share_is_one_memory_in_two_shapes(tmp_path: Path) -> None:
    first, second = np.arange(16.0).reshape(4, 4), np.arange(16.0, 32.0).reshape(8, 2)
    net = net_of(SHARED)
    path = write(tmp_path / "w.caffemodel", {"a": [first], "b": [second]})
    assert load_weights(net, open_weights(path)).loaded == ("a/0",)
    assert list(net.state_dict()) == ["a/0"]
    assert net.params["b"][0].shape == (8, 2)
    np.testing.assert_array_equal(net.params["a"][0].detach().ravel(), second.ravel())  # the later copy stays
    path = write(tmp_path / "w.caffemodel", {"b": [second], "a": [first]})
    load_weights(net, open_weights(path))
    np.testing.assert_array_equal(net.params["b"][0].detach().ravel(), first.ravel())
    net(torch.ones(1, 4))["b"].sum().backward()
    assert net.get_parameter("a/0").grad.abs().sum() > 0


def test_shared_blobs_may_miss_in_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["data/a/0"] = np.eye(4, dtype=np.float32)
        file.create_group("data/b")
    net = net_of(SHARED)
    assert load_weights(net, open_weights(tmp_path / "w.h5")).loaded == ("a/0",)
    with h5py.File(tmp_path / "bad.h5", "w") as file:
        file.create_group("data/a")
    with pytest.raises(ConversionError, match=r"layer 'a' .*the file has no blob 0; the net needs 1"):
        load_weights(net_of(SHARED), open_weights(tmp_path / "bad.h5"))


def test_all_forms_of_one_net_load_the_same() -> None:
    names = ["small", "v1_small", "weights_double", "weights_hdf5", "weights_legacy_dims"]
    states = []
    for name in names:
        weights = next((GOLDEN / name).glob("net.caffemodel*"))
        states.append(caffe_port.load(GOLDEN / name / "net.prototxt", weights).state_dict())
    for state in states[1:]:
        assert all(torch.equal(state[key], states[0][key]) for key in states[0])


def test_a_partial_file_keeps_the_filler() -> None:
    folder = GOLDEN / "weights_partial"
    with pytest.warns(UserWarning, match="no layers 'fc8'"):
        net = caffe_port.load(folder / "net.prototxt", folder / "net.caffemodel")
    assert net.weights_report.kept == ("fc8/0", "fc8/1")
    assert net.weights_report.ignored


@pytest.mark.parametrize(
    ("filler", "shape", "mean", "deviation"),
    [
        (FillerSpec("constant", value=2.5), (300, 200), 2.5, 0.0),
        (FillerSpec("uniform", min=-1, max=3), (300, 200), 1.0, 4 / 12**0.5),
        (FillerSpec("gaussian", mean=2, std=0.5), (300, 200), 2.0, 0.5),
        (FillerSpec("gaussian", std=1, sparse=30), (300, 200), 0.0, 0.1**0.5),
        (FillerSpec("xavier"), (300, 200), 0.0, (1 / 200) ** 0.5),
        (FillerSpec("xavier", variance_norm="FAN_OUT"), (300, 200), 0.0, (1 / 300) ** 0.5),
        (FillerSpec("xavier", variance_norm="AVERAGE"), (300, 200), 0.0, (1 / 250) ** 0.5),
        (FillerSpec("msra"), (50, 20, 5, 5), 0.0, (2 / 500) ** 0.5),
        (FillerSpec("msra", variance_norm="FAN_OUT"), (50, 20, 5, 5), 0.0, (2 / 1250) ** 0.5),
        (FillerSpec("gaussian_xavier"), (50, 20, 5, 5), 0.0, (2 / 500) ** 0.5),
        (FillerSpec("positive_unitball"), (300, 200), 1 / 200, 1 / 200 / 3**0.5),
    ],
)
def test_fillers_have_caffes_moments(
    filler: FillerSpec, shape: tuple[int, ...], mean: float, deviation: float
) -> None:
    values = fill(filler, shape, np.random.default_rng(0))
    assert values.shape == shape
    assert values.dtype == np.float32
    assert abs(values.mean() - mean) < 0.02 * (deviation + 1e-9) + 1e-6
    assert abs(values.std() - deviation) < 0.02 * deviation + 1e-6
    if filler.type == "positive_unitball":
        np.testing.assert_allclose(values.sum(1), 1, rtol=1e-5)
    again = fill(filler, shape, np.random.default_rng(0))
    np.testing.assert_array_equal(values, again)


def test_the_bilinear_filler_interpolates() -> None:
    text = """
    layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 2 dim: 5 dim: 6 } } }
    layer { name: "u" type: "Deconvolution" bottom: "d" top: "u" convolution_param { num_output: 2 group: 2
      kernel_size: 4 stride: 2 pad: 1 bias_term: false weight_filler { type: "bilinear" } } }
    """
    net = net_of(text)
    fill_net(net, 0)
    ramp = torch.arange(6.0).expand(1, 2, 5, 6)
    inside = net(ramp)["u"][0, 1, 3, 1:-1].detach()
    np.testing.assert_allclose(inside, np.arange(10) / 2 + 0.25, atol=1e-6)


@pytest.mark.parametrize(
    ("filler", "message"),
    [
        (FillerSpec("orthogonal"), f"'orthogonal'; known fillers are {', '.join(FILLERS)}"),
        (FillerSpec("xavier", sparse=3), "field 'filler.sparse' is 3; only 'gaussian' takes it"),
        (FillerSpec("bilinear"), "needs a blob of 4 axes with a square kernel"),
    ],
)
def test_fillers_that_caffe_refuses(filler: FillerSpec, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        fill(filler, (2, 3), np.random.default_rng(0))


def test_fillers_cannot_ask_for_endless_memory() -> None:
    text = NET.replace("num_output: 2", "num_output: 200000000", 1) % ""
    with pytest.raises(ConversionError, match="fillers would have to make more than"):
        fill_net(net_of(text), 0)


def test_constants_are_drawn_once_and_are_no_weights() -> None:
    text = """
    layer { name: "c" type: "DummyData" top: "c" top: "r" dummy_data_param { num: 2 channels: 3 height: 1
      width: 1 width: 4 data_filler { type: "constant" value: 2.5 } data_filler { type: "gaussian" } } }
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = net_of(text)
        fill_net(net, None)
    first, second = net(), net()
    assert first["c"].shape == (2, 3, 1, 1)
    assert (first["c"] == 2.5).all()
    assert first["r"].std() > 0.5
    assert torch.equal(first["r"], second["r"])
    assert net.params == {}
    assert list(net.state_dict()) == []
