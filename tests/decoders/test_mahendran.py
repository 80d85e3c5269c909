"""Mahendran & Vedaldi's inversions: the differentiable features against slow ones and VLFeat, nets, refusals."""

from pathlib import Path

import numpy as np
import pytest
import torch

import caffe_port
from caffe_port.opening import open_net
from caffe_port.preprocess import Recipe, to_caffe
from decoders.baselines.inversion_energy import MahendranSettings
from decoders.baselines.mahendran import invert, invert_net, invert_shallow, noise, tv_weight
from decoders.baselines.shallow_nets import SHALLOW_NETS, shallow_features
from decoders.images import to_batch
from tests.oracles import shallow_nets as slow
from tests.photos import draw
from tests.tolerances import close

GOLDEN = Path(__file__).parent.parent / "golden" / "vlfeat_hog.npz"
SHORT = MahendranSettings(schedule=((0.004, 30), (0.0004, 10)))
SLOW = {
    "hog": lambda grey: slow.hog(grey, bilinear=False),
    "hogb": lambda grey: slow.hog(grey, bilinear=True),
    "dsift": slow.dsift,
}


def pictures(size: int, count: int = 2) -> np.ndarray:
    return to_batch([draw(seed, size, size) for seed in range(count)])


@pytest.mark.parametrize("name", SHALLOW_NETS)
@pytest.mark.parametrize("size", [(48, 43), (45, 62)], ids=str)
def test_shallow_nets_equal_the_slow_ones(name: str, size: tuple[int, int]) -> None:
    grey = np.random.default_rng(size[0]).uniform(-128, 127, size)
    grey[10:20, 10:30] = 7.0  # no gradient at all
    found = SHALLOW_NETS[name].extract(torch.from_numpy(grey)[None, None])[0].numpy()
    close(found.astype(np.float32), SLOW[name](grey), "shallow net")


@pytest.mark.parametrize("case", ["noise", "noise_grey_levels", "waves", "boxes_odd_size"])
def test_cnn_hog_is_vlfeats_away_from_the_border(case: str) -> None:
    """Channels, their order and their scale; at the border the two differ by design."""
    with np.load(GOLDEN, allow_pickle=False) as archive:
        image, expected = archive[f"{case}/image"], archive[f"{case}/features"]
    found = SHALLOW_NETS["hog"].extract(torch.from_numpy(image.astype(np.float32))[None, None])[0].numpy()
    inner = np.s_[:27, 2 : found.shape[1] - 2, 2 : found.shape[2] - 2]
    assert expected[inner].any()
    close(found[inner], expected[inner], "CNN-HOG, inside")


@pytest.mark.parametrize("name", SHALLOW_NETS)
def test_gradients_of_shallow_nets_agree_with_differences(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    side = SHALLOW_NETS[name].least_side
    grey = (torch.rand(1, 1, side, side, dtype=torch.float64, generator=generator) - 0.5).requires_grad_()
    extract = SHALLOW_NETS[name].extract
    along = torch.randn(grey.shape, dtype=torch.float64, generator=generator)
    weights = torch.randn(extract(grey).shape, dtype=torch.float64, generator=generator)
    (gradient,) = torch.autograd.grad((extract(grey) * weights).sum(), grey)
    step = 1e-7
    with torch.no_grad():
        ahead, behind = ((extract(grey + sign * step * along) * weights).sum() for sign in (1, -1))
    torch.testing.assert_close((gradient * along).sum(), (ahead - behind) / (2 * step), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", SHALLOW_NETS)
def test_flat_pictures_have_finite_gradients(name: str) -> None:
    grey = torch.zeros(1, 1, 40, 40, requires_grad=True)
    (gradient,) = torch.autograd.grad(SHALLOW_NETS[name].extract(grey).sum(), grey)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", SHALLOW_NETS)
def test_shallow_inversion_finds_the_features(name: str) -> None:
    images = pictures(48)
    features = shallow_features(images, name)
    found = invert_shallow(features, name, (48, 48), settings=SHORT)
    assert found.images.shape == images.shape
    assert (found.images[:, :1] == found.images).all()
    assert found.energies.shape == (2, 41, 3)
    assert (found.energies[:, -1].sum(axis=1) < found.energies[:, 0].sum(axis=1) / 4).all()


def test_tv_weights_of_the_papers_layers() -> None:
    """The source's list counts norm1 as 4, norm2 8, relu3 10, relu4 12, pool5 15, relu6 17, relu7 19, fc8 20."""
    expected = {
        "norm1": 1,
        "norm2": 10,
        "conv3": 10,
        "conv4": 10,
        "pool5": 100,
        "fc6": 100,
        "fc7": 100,
        "fc8": 100,
    }
    for net in (
        open_net("caffenet-mini").net,
        caffe_port.load("caffe_port/nets/caffenet.prototxt", random_weights=0),
    ):
        assert {blob: tv_weight(net, blob) for blob in expected} == expected
    with pytest.raises(ValueError, match="conv9"):
        tv_weight(net, "conv9")


def test_net_inversion_finds_the_features_whatever_the_batch() -> None:
    mini = open_net("caffenet-mini")
    assert mini.recipe is not None
    images = pictures(64, 3)
    data = to_caffe(torch.from_numpy(images), mini.recipe.mean)
    features = mini.net.features(data, "norm1").detach().numpy()
    found = invert_net(features, mini.net, "norm1", mini.recipe, settings=SHORT, seed=5)
    energy = found.energies.sum(axis=2)
    assert (energy[:, -1] < energy[:, 0] / 4).all()
    assert found.images.min() >= 0
    assert found.images.max() <= 255
    alone = invert_net(features, mini.net, "norm1", mini.recipe, settings=SHORT, seed=5, batch=2)
    close(alone.images, found.images, "net inversion")


@pytest.mark.parametrize("order", ["BGR", "RGB", "GREY"])
def test_mean_scale_and_channel_order_are_undone(tmp_path: Path, order: str) -> None:
    """A net that gives back its input: the image must be the one whose pixels were given."""
    channels = [90.0, 120.0, 30.0]
    image = np.array(channels, np.float32)[None, :, None, None] * np.ones((1, 1, 4, 6), np.float32)  # RGB
    image = np.broadcast_to(image[:, :1], image.shape) if order == "GREY" else image
    planes = {"BGR": image[:, ::-1], "RGB": image, "GREY": image[:, :1]}[order]
    mean = np.arange(10, 10 + planes.shape[1], dtype=np.float32)
    net_file = tmp_path / "identity.prototxt"
    net_file.write_text(
        f'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: {planes.shape[1]} '
        'dim: 4 dim: 6 } } } layer { name: "out" type: "Power" bottom: "data" top: "out" }'
    )
    found = invert_net(
        (planes - mean[:, None, None]) * 0.5,
        caffe_port.load(net_file),
        "out",
        Recipe(None, None, mean, order, 0.5),
        settings=MahendranSettings(
            schedule=((0.1, 40),), momentum=0.0, tv_weight=0.0, power_weight=0.0, sigma=1000.0
        ),
    )
    close(found.images, image, "net inversion")


def test_convolutional_blobs_are_inverted_at_other_sizes() -> None:
    mini = open_net("caffenet-mini")
    assert mini.recipe is not None
    images = to_batch([draw(2, 80, 72)])
    features = (
        mini.net.features(to_caffe(torch.from_numpy(images), mini.recipe.mean), "conv1").detach().numpy()
    )
    found = invert_net(features, mini.net, "conv1", mini.recipe, size=(80, 72), settings=SHORT)
    assert found.images.shape == (1, 3, 80, 72)
    assert found.energies[0, -1].sum() < found.energies[0, 0].sum() / 4
    with pytest.raises(ValueError, match="features have shape"):
        invert_net(features, mini.net, "conv1", mini.recipe)


def test_noise_has_its_norm_and_follows_seed_and_place() -> None:
    first = noise((3, 8, 8), 100.0, 1, 0)
    assert first.norm().item() == pytest.approx(100, rel=1e-6)
    assert torch.equal(first, noise((3, 8, 8), 100.0, 1, 0))
    assert not torch.equal(first, noise((3, 8, 8), 100.0, 1, 1))
    assert not torch.equal(first, noise((3, 8, 8), 100.0, 2, 0))


def test_features_that_do_not_fit_are_refused() -> None:
    good = shallow_features(pictures(48), "hog")
    with pytest.raises(ValueError, match="all zero"):
        invert_shallow(np.zeros_like(good), "hog", (48, 48), settings=SHORT)
    with pytest.raises(ValueError, match=r"\(N, 27, 6, 6\)"):
        invert_shallow(good[:, :20], "hog", (48, 48), settings=SHORT)
    with pytest.raises(ValueError, match="NaN"):
        invert_shallow(np.full_like(good, np.nan), "hog", (48, 48), settings=SHORT)
    with pytest.raises(ValueError, match="hogb"):
        invert_shallow(good, "hug", (48, 48))
    with pytest.raises(ValueError, match="too small"):
        invert_shallow(good, "hog", (15, 48))


def test_a_descent_that_diverges_is_told() -> None:
    target = np.ones((1, 1, 2, 2), np.float32)
    settings = MahendranSettings(schedule=((1e6, 60),), sigma=1.0)
    with pytest.raises(ValueError, match="not finite"):
        invert(target, lambda x: x * x, (1, 2, 2), settings)
