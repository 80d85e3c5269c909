"""Running a net: memory that blobs share, features, gradients, types, memory orders, what callers pass."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from caffe_port import ConversionError, reference
from caffe_port.net import CaffeNet
from caffe_port.text import parse_text
from caffe_port.weights import fill_net
from caffe_port.wiring import read_net
from tests.tolerances import blob_close, close

ROOT = Path(__file__).parents[2]
SMALL = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 33 dim: 35 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 8 kernel_size: 5 stride: 2 weight_filler { type: "msra" }
    bias_filler { type: "uniform" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "norm1" type: "LRN" bottom: "pool1" top: "norm1" lrn_param { alpha: 0.01 } }
layer { name: "conv2" type: "Convolution" bottom: "norm1" top: "conv2"
  convolution_param { num_output: 12 kernel_size: 3 pad: 1 group: 2 weight_filler { type: "msra" } } }
layer { name: "relu2" type: "PReLU" bottom: "conv2" top: "conv2" }
layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool2" top: "fc"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "drop" type: "Dropout" bottom: "fc" top: "fc" }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


def build(text: str, seed: int | None = 0) -> CaffeNet:
    net = CaffeNet(read_net(parse_text(text, source="text"), "text"))
    fill_net(net, seed)
    return net


def picture(seed: int = 0, *shape: int) -> torch.Tensor:
    return torch.from_numpy(
        np.random.default_rng(seed).standard_normal(shape or (2, 3, 33, 35)).astype(np.float32)
    )


def numbers(net: CaffeNet) -> dict[str, list[np.ndarray]]:
    return {name: [blob.detach().numpy() for blob in blobs] for name, blobs in net.params.items()}


def random_net(rng: np.random.Generator) -> dict[str, Any]:
    """Layers that share memory, work in place, or read what others wrote over."""
    layers: list[dict[str, Any]] = [
        {"name": "d", "type": "Input", "top": ["d"], "input_param": {"shape": [{"dim": [2, 4, 3, 3]}]}}
    ]
    blobs = ["d"]
    kinds = [
        "Split",
        "Flatten",
        "Reshape",
        "ReLU",
        "Power",
        "Slice",
        "Concat",
        "Dropout",
        "Eltwise",
        "Scale",
        "Tile",
    ]
    params = {
        "Power": {"power_param": {"scale": 1.5, "shift": 0.25}},
        "ReLU": {"relu_param": {"negative_slope": 0.5}},
        "Reshape": {"reshape_param": {"shape": {"dim": [0, -1]}}},
        "Slice": {"slice_param": {"slice_point": [1]}},
        "Eltwise": {"eltwise_param": {"operation": "PROD"}},
        "Tile": {"tile_param": {"tiles": 2}},
        "Scale": {"scale_param": {"axis": 0, "num_axes": 1, "filler": {"type": "uniform", "min": 0.5}}},
    }
    for index in range(int(rng.integers(3, 12))):
        kind = kinds[rng.integers(len(kinds))]
        bottom = blobs[rng.integers(len(blobs))]
        tops = [f"{kind.lower()}{index}"]
        if kind in ("ReLU", "Power", "Dropout", "Scale", "Eltwise") and rng.random() < 0.7:
            tops = [bottom]
        elif kind in ("Split", "Slice"):
            tops = [f"{tops[0]}a", f"{tops[0]}b"]
        bottoms = [bottom, blobs[rng.integers(len(blobs))]] if kind == "Eltwise" else [bottom]
        layer = {"name": f"l{index}", "type": kind, "bottom": bottoms, "top": tops, **params.get(kind, {})}
        layers.append(layer)
        try:
            CaffeNet(read_net({"layer": layers}, "random net"))
        except ConversionError:
            layers.pop()
            continue
        blobs += [top for top in tops if top not in blobs]
    return {"layer": layers}


def test_shared_memory_is_left_as_caffe_leaves_it() -> None:
    overwritten = aliases = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        message = random_net(rng)
        net = CaffeNet(read_net(message, "random net"))
        fill_net(net, seed)
        data = rng.standard_normal((2, 4, 3, 3))
        expected = reference.forward(message, numbers(net), {"d": data})
        net.double()
        for mode in (torch.no_grad, torch.enable_grad):
            given = torch.from_numpy(data.copy())
            with mode():
                found = net.blobs(given)
                assert set(found) == set(expected)
                for name, blob in expected.items():
                    close(found[name].detach().numpy(), blob, "layer")
                    close(net.features(given, name).detach().numpy(), blob, "layer")
            np.testing.assert_array_equal(given.numpy(), data)  # the caller's array stays
        overwritten += sum(step.reads == step.writes and not step.is_alias for step in net.plan.steps)
        aliases += sum(step.is_alias for step in net.plan.steps)
    assert overwritten > 100
    assert aliases > 100


def test_an_in_place_layer_on_one_alias_changes_all() -> None:
    net = build("""
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }
    layer { name: "s" type: "Split" bottom: "x" top: "a" top: "b" }
    layer { name: "keep" type: "Power" bottom: "b" top: "keep" }
    layer { name: "f" type: "Flatten" bottom: "a" top: "f" }
    layer { name: "twice" type: "Power" bottom: "f" top: "f" power_param { scale: 2 } }
    """)
    found = net.blobs(torch.tensor([[1.0, -3.0]]))
    assert {name: blob.tolist() for name, blob in found.items()} == {
        "x": [[2.0, -6.0]],
        "a": [[2.0, -6.0]],
        "b": [[2.0, -6.0]],
        "keep": [[1.0, -3.0]],
        "f": [[2.0, -6.0]],
    }
    assert list(net(torch.ones(1, 2))) == ["f", "keep"]


def test_features_compute_no_further_than_needed() -> None:
    net = build(SMALL)
    ran: list[str] = []
    original = net._step
    net._step = lambda step, bottoms: (ran.append(step.layer.name), original(step, bottoms))[1]  # type: ignore[method-assign]
    pool = net.features(picture(), "pool1")
    assert ran == ["conv1", "relu1", "pool1"]
    ran.clear()
    conv = net.features(picture(), "conv1")
    assert ran == ["conv1", "relu1"]  # relu1 works in place: conv1 is what it leaves
    assert (conv >= 0).all()
    assert torch.equal(pool, net.blobs(picture())["pool1"])


def test_only_the_inputs_that_a_blob_needs_are_asked_for() -> None:
    net = build("""
    input: "data" input_shape { dim: 2 dim: 3 } input: "label" input_shape { dim: 2 }
    layer { name: "p" type: "Softmax" bottom: "data" top: "p" }
    layer { name: "acc" type: "Accuracy" bottom: "p" bottom: "label" top: "acc" }
    """)
    data = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 5.0]])
    assert net.features(data, "p").shape == (2, 3)
    assert net(data, label=torch.tensor([1, 0]))["acc"] == 0.5
    assert net(label=np.array([1, 2]), data=data)["acc"] == 1.0
    with pytest.raises(ValueError, match=r"input 'label' is missing.*features\(\)"):
        net(data)


@pytest.mark.parametrize(
    ("arguments", "named", "message"),
    [
        ((picture(0, 3, 33, 35),), {}, "input 'data' has shape"),
        ((), {}, "input 'data' is missing"),
        ((picture(),), {"data": picture()}, "an input too many"),
        ((picture(),), {"lable": picture()}, "input 'lable' is not in the net; inputs are 'data'"),
        (
            (picture(0, 2, 4, 33, 35),),
            {},
            r"layer 'conv1' \(Convolution\): field 'bottom'.*8 4 5 5.*has 8 3 5 5",
        ),
        ((picture(0, 2, 3, 40, 40),), {}, r"layer 'fc' \(InnerProduct\).*5 300.*has 5 240"),
        ((picture(0, 2, 3, 4, 4),), {}, r"layer 'conv1' \(Convolution\): field 'kernel_size'"),
    ],
)
def test_inputs_that_do_not_fit_are_named(
    arguments: tuple[Any, ...], named: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(SMALL)(*arguments, **named)


def test_an_input_that_is_no_array_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="input 'data' is a list"):
        build(SMALL)([[1.0]])


def test_an_unknown_blob_is_named() -> None:
    with pytest.raises(ValueError, match=r"blob 'fc6' is not in the net; blobs are 'data', 'conv1'"):
        build(SMALL).features(picture(), "fc6")


def test_a_net_without_numbers_says_so() -> None:
    with pytest.raises(ValueError, match="no numbers yet"):
        CaffeNet(read_net(parse_text(SMALL, source="text"), "text"))(picture())


def test_batch_and_size_may_differ_from_the_files() -> None:
    net = build(SMALL)
    assert net(picture(0, 5, 3, 33, 35))["prob"].shape == (5, 5)
    assert net.features(picture(0, 1, 3, 60, 41), "pool2").shape == (1, 12, 8, 5)
    whole = net.features(picture(3, 4, 3, 33, 35), "fc")
    parts = torch.cat([net.features(part, "fc") for part in picture(3, 4, 3, 33, 35).split(1)])
    blob_close(whole.detach(), parts.detach(), "caffe blob")


def test_gradients_are_those_of_finite_differences() -> None:
    net = build(SMALL).double().requires_grad_(False)
    data = picture(1).double()[:1].requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: net.features(x, "fc"), (data,), fast_mode=True)


def test_every_parameter_gets_a_gradient() -> None:
    net = build(SMALL)
    net(picture())["prob"][:, 0].sum().backward()
    assert {
        name: bool(parameter.grad.abs().sum() > 0) for name, parameter in net.named_parameters()
    } == dict.fromkeys(("conv1/0", "conv1/1", "conv2/0", "conv2/1", "relu2/0", "fc/0", "fc/1"), True)


def test_grad_and_inference_modes_agree() -> None:
    net = build(SMALL)
    tracked = net.blobs(picture())
    assert tracked["prob"].requires_grad
    with torch.inference_mode():
        free = net.blobs(picture())
    for name, blob in tracked.items():
        blob_close(free[name], blob.detach(), "caffe blob")


def test_channels_last_gives_the_same_blobs() -> None:
    net, data = build(SMALL), picture()
    with torch.no_grad():
        expected = net.blobs(data)
        assert all(blob.is_contiguous() for blob in expected.values())
        net.to(memory_format=torch.channels_last)
        found = net.blobs(data.contiguous(memory_format=torch.channels_last))
    assert found["conv2"].is_contiguous(memory_format=torch.channels_last)
    for name, blob in expected.items():
        blob_close(found[name], blob, "caffe blob")


def test_bfloat16_stays_near() -> None:
    net, data = build(SMALL), picture()
    with torch.no_grad():
        expected = net.blobs(data)
        found = net.to(torch.bfloat16).blobs(data)
    for name, blob in expected.items():
        assert found[name].dtype == torch.bfloat16
        blob_close(found[name].float(), blob, "bfloat16 blob", dtype="bfloat16")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_blobs() -> None:
    net, data = build(SMALL), picture()
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        expected = net.blobs(data)
        found = net.to("cuda").blobs(data.to("cuda"))
    with pytest.raises(ValueError, match=r"input 'data' is on cpu, the net on cuda"):
        net(data)
    for name, blob in expected.items():
        blob_close(found[name].cpu(), blob, "caffe blob")


@pytest.mark.parametrize("again", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])  # noqa: S301
def test_copies_compute_the_same(again: Any) -> None:
    net = build(SMALL)
    other = again(net)
    assert torch.equal(net(picture())["prob"], other(picture())["prob"])
    with torch.no_grad():
        other.get_parameter("conv1/0").zero_()
    assert not torch.equal(net(picture())["prob"], other(picture())["prob"])


def test_exporting_keeps_the_batch_free() -> None:
    net = build(SMALL).requires_grad_(False)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(net, (picture(),), dynamic_shapes={"data": {0: batch}})
    data = picture(5, 7, 3, 33, 35)
    blob_close(program.module()(data)["prob"], net(data)["prob"], "caffe blob")


def test_the_module_lists_its_layers() -> None:
    text = repr(build(SMALL))
    assert "conv1 (Convolution): data -> conv1 [2 8 15 16]" in text
    assert "fc (InnerProduct): pool2 -> fc [2 5]" in text


def test_importing_the_package_loads_no_torch() -> None:
    code = "import caffe_port, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"
