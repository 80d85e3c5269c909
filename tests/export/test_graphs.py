"""Graphs written operator by operator: equal to the kernels, to OpenCV, to torch, and to Caffe's own blobs."""

import warnings
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import caffe_port
import kernels
from caffe_port.errors import ConversionError
from caffe_port.net import CaffeNet
from caffe_port.preprocess import Recipe
from decoders.demo import PICTURES
from decoders.upconv import UPCONVS
from export.caffe_graph import write_net
from export.caffe_layers import WRITERS
from export.feature_graphs import write_hog, write_lbp
from export.model_file import read_model_file
from export.picture_graph import write_grey, write_recipe, write_rounded_grey
from export.upconvolution import FORMS, fastest_form
from export.writer import GraphWriter
from tests.photos import draw
from tests.tolerances import blob_close, close

GOLDEN = Path(__file__).parents[1] / "golden" / "caffe"
# Outputs whose layers have no writer, or do not keep the batch on the first axis.
REFUSED = {
    "argmax": ("ax", "ax2", "axv", "d", "k3", "k3v", "mv"),
    "batch_norm": ("batch",),
    "concat_slice_split": ("cat0",),
    "conv_nd": ("ax2",),
    "embed": ("e", "enb"),
    "filter_batchreindex": ("br", "f"),
    "flatten_reshape": ("f02", "r2", "r7"),
    "im2col": ("i",),
    "inner_product": ("a0",),
    "losses": ("acc", "acc2", "euc", "hinge", "hinge2", "smloss"),
    "lstm_rnn": ("lstm", "rnn"),
    "parameter_dummy_silence": ("e",),
    "pool_global_and_mask": ("mmask", "mtop"),
    "pool_relu_nonfinite": ("am",),
    "reduction": ("sum",),
    "sigmoid_ce_loss": ("ign", "l"),
    "spp": ("spp", "sppa"),
    "tile": ("t0",),
}


def running(graph: GraphWriter) -> onnxruntime.InferenceSession:
    """A session of a written graph, which is valid, has nothing dead in it, and only operators that may be loaded."""
    model = graph.model()
    onnx.checker.check_model(model, full_check=True)
    made = Counter(name for node in model.graph.node for name in node.output)
    read = {name for node in model.graph.node for name in node.input}
    assert max(made.values(), default=1) == 1
    assert {tensor.name for tensor in model.graph.initializer} <= read
    used = read | {value.name for value in model.graph.output}
    assert all(used.intersection(node.output) for node in model.graph.node)
    read_model_file(model.SerializeToString(), "written")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def photographs() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    files = [cv2.imread(str(path))[:, :, ::-1] for path in sorted(PICTURES.glob("*.jpg"))[:2]]
    noise = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((16, 17), (50, 71))]
    blocks = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8).repeat(7, axis=0).repeat(7, axis=1)
    flat = np.full((33, 40, 3), 90, np.uint8)
    return [np.ascontiguousarray(picture) for picture in (*files, *noise, blocks, flat, draw(5))]


def test_hog_is_the_kernel_s() -> None:
    graph = GraphWriter("hog")
    grey = write_grey(graph, graph.input("p", np.uint8, ["N", "H", "W", 3]))
    features = write_hog(graph, graph.op("Div", [grey, graph.weight(255.0)]))
    graph.output(features, "features", np.float32, ["N", 31, "h", "w"])
    session = running(graph)
    for photograph in photographs():
        expected = kernels.hog(kernels.gray(photograph.astype(np.float32)) / np.float32(255))
        (found,) = session.run(None, {"p": np.stack([photograph, photograph[::-1]])})
        close(found[0], expected, "hog")


def test_lbp_is_the_kernel_s() -> None:
    graph = GraphWriter("lbp")
    grey = write_rounded_grey(graph, graph.input("p", np.uint8, ["N", "H", "W", 3]))
    graph.output(write_lbp(graph, grey), "features", np.float32, ["N", 58, "h", "w"])
    session = running(graph)
    for photograph in photographs():
        (found,) = session.run(None, {"p": photograph[None]})
        close(found[0], kernels.lbp(kernels.gray(photograph)), "lbp")


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe((256, 256), (227, 227), np.float32([104, 117, 123])),
        Recipe((64, 70), None, np.random.default_rng(0).random((3, 64, 70), dtype=np.float32), "RGB", 0.5),
        Recipe((31, 200), (30, 33), np.zeros(3, np.float32), "BGR"),
    ],
)
def test_warp_crop_and_mean_are_opencv_s_bit_for_bit(recipe: Recipe) -> None:
    graph = GraphWriter("recipe")
    pictures = graph.input("p", np.uint8, ["N", "H", "W", 3])
    size = recipe.crop or recipe.warp
    assert size is not None
    graph.output(write_recipe(graph, pictures, recipe, size), "data", np.float32, ["N", 3, *size])
    session = running(graph)
    rng = np.random.default_rng(1)
    sizes = [(1, 1), (2, 3), (512, 512), (62, 400), (256, 256), *rng.integers(1, 600, (25, 2))]
    for height, width in sizes:
        picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        (found,) = session.run(None, {"p": picture[None]})
        np.testing.assert_array_equal(found[0], recipe(picture), err_msg=f"{height}x{width}")


def test_grey_nets_are_refused() -> None:
    graph = GraphWriter("recipe")
    with pytest.raises(ValueError, match="pictures in GREY; pipelines take BGR or RGB"):
        write_recipe(
            graph,
            graph.input("p", np.uint8, ["N", "H", "W", 3]),
            Recipe((8, 8), None, np.zeros(1), "GREY"),
            (8, 8),
        )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kernel", [2, 3, 4, 5, 6, 7])
def test_every_form_is_the_literal_up_convolution(form: str, kernel: int) -> None:
    literal = UPCONVS["literal"](3, 5, kernel)
    torch.nn.init.normal_(literal.weight, generator=torch.Generator().manual_seed(kernel))
    torch.nn.init.normal_(literal.bias, generator=torch.Generator().manual_seed(kernel))
    graph = GraphWriter("up")
    maps = graph.input("maps", np.float32, ["N", 3, "H", "W"])
    weight, bias = (tensor.detach().numpy() for tensor in (literal.weight, literal.bias))
    enlarged = FORMS[form](graph, maps, weight, bias, lambda graph, value: value, "up")
    graph.output(enlarged, "enlarged", np.float32, ["N", 5, "H2", "W2"])
    session = running(graph)
    for shape in ((2, 3, 4, 5), (1, 3, 1, 7)):
        given = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        (found,) = session.run(None, {"maps": given})
        close(found, literal(torch.from_numpy(given)).detach().numpy(), "upconv")


def test_few_maps_are_made_by_one_convolution() -> None:
    assert [fastest_form(maps) for maps in (3, 4, 5, 256)] == ["merged"] * 2 + ["phases"] * 2


def caffe_nets() -> list[Path]:
    return sorted(path.parent for path in GOLDEN.glob("*/net.prototxt"))


def load(folder: Path) -> CaffeNet:
    weights = next(iter(folder.glob("net.caffemodel*")), None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # weights_partial lacks a layer
        return caffe_port.load(folder / "net.prototxt", weights)


def onnx_blob(net: CaffeNet, blob: str, data: dict[str, np.ndarray]) -> np.ndarray:
    """A blob by a written graph in ONNX Runtime."""
    steps = net.plan.needed((blob,))
    needed = [top for step in steps if step.layer.type == "Input" for top in step.layer.tops]
    graph = GraphWriter("net")
    shapes = {name: data[name].shape[1:] for name in needed}
    inputs = {name: (graph.input(name, np.float32, ["N", *shape]), shape) for name, shape in shapes.items()}
    value, shape = write_net(graph, net, inputs, blob)
    graph.output(value, "blob", np.float32, ["N", *shape])
    (found,) = running(graph).run(None, {name: data[name] for name in needed})
    return found


@pytest.mark.parametrize("folder", caffe_nets(), ids=lambda folder: folder.name)
def test_blobs_are_caffe_s(folder: Path) -> None:
    """Every last blob whose layers have writers; layers without are refused by name."""
    net = load(folder)
    paths = [folder / name for name in ("input.npz", "blobs.npz")]
    data, expected = (
        dict(np.load(path if path.exists() else GOLDEN / "small" / path.name)) for path in paths
    )
    for blob in [name for name in net.outputs if name in expected]:
        if blob in REFUSED.get(folder.name, ()):
            with pytest.raises(ConversionError, match=r"net\.prototxt: .*layer '.*' \(.*\): .*"):
                onnx_blob(net, blob, data)
            continue
        found = onnx_blob(net, blob, data)
        if all(np.isfinite(values).all() for values in data.values()):
            blob_close(found, expected[blob], "caffe blob")


def test_the_nets_reach_most_writers() -> None:
    types = {step.layer.type for folder in caffe_nets() for step in load(folder).plan.steps}
    assert set(WRITERS) - types == {"Bias", "Normalize", "Permute", "ReLU6", "ShuffleChannel"}


OTHERS = """input: "x" input_shape { dim: 2 dim: 4 dim: 3 dim: 5 }
layer { name: "p" type: "Permute" bottom: "x" top: "p" permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "s" type: "ShuffleChannel" bottom: "x" top: "s" shuffle_channel_param { group: 2 } }
layer { name: "r" type: "ReLU6" bottom: "s" top: "r" }
layer { name: "n" type: "Normalize" bottom: "x" top: "n" norm_param { across_spatial: false channel_shared: false
        scale_filler { type: "constant" value: 3 } } }
layer { name: "b" type: "Bias" bottom: "n" top: "b" bias_param { filler { type: "constant" value: 2 } } }
layer { name: "f" type: "Flatten" bottom: "b" top: "f" }
layer { name: "v" type: "Reshape" bottom: "f" top: "v" reshape_param { shape { dim: 0 dim: 6 dim: -1 } } }
layer { name: "pad" type: "Pooling" bottom: "x" top: "pad" pooling_param { pool: AVE kernel_size: 3 stride: 4 pad: 2 } }
"""


@pytest.mark.parametrize("blob", ["p", "r", "v", "pad"])
def test_layers_of_forks_are_torch_s(tmp_path: Path, blob: str) -> None:
    (tmp_path / "net.prototxt").write_text(OTHERS)
    net = caffe_port.load(tmp_path / "net.prototxt", random_weights=1)
    data = np.random.default_rng(0).standard_normal((3, 4, 3, 5)).astype(np.float32) * 4
    expected = net.features(torch.from_numpy(data), blob).detach().numpy()
    blob_close(onnx_blob(net, blob, {"x": data}), expected, "caffe blob")


def test_layers_without_a_writer_are_refused_together(tmp_path: Path) -> None:
    text = OTHERS + (
        'layer { name: "a" type: "ArgMax" bottom: "r" top: "a" } layer { name: "e" type: "SPP" bottom: "x" top: "e" '
        'spp_param { pyramid_height: 1 } } layer { name: "z" type: "Flatten" bottom: "a" top: "z" } '
    )
    (tmp_path / "net.prototxt").write_text(text)
    net = caffe_port.load(tmp_path / "net.prototxt", random_weights=1)
    with pytest.raises(
        ConversionError, match=r"net\.prototxt: layer 'a' \(ArgMax\): no ONNX writer.*Convolution"
    ):
        onnx_blob(net, "z", {"x": np.zeros((1, 4, 3, 5), np.float32)})
    with pytest.raises(ValueError, match="blob 'gone' is not in the net"):
        write_net(GraphWriter("net"), net, {}, "gone")
