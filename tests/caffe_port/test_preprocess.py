"""Pictures to net inputs: caffe.io.Transformer's arrays, the ImageNet recipe by hand, means from files."""

from pathlib import Path

import numpy as np
import pytest
import torch

from caffe_port.errors import ConversionError
from caffe_port.means import read_mean
from caffe_port.preprocess import (
    Recipe,
    Transformer,
    crop_mean,
    from_caffe,
    imagenet_recipe,
    resize,
    to_caffe,
)
from tests.tolerances import close

GOLDEN = Path(__file__).parents[1] / "golden" / "caffe" / "mean_transformer"
BGR = (2, 1, 0)


@pytest.fixture(scope="module")
def caffe() -> dict[str, np.ndarray]:
    """Arrays that caffe.io computed; the picture is uint8, caffe.io.load_image gives 0..1."""
    with np.load(GOLDEN / "blobs.npz") as arrays:
        return {**arrays, "picture": arrays["image_uint8_hwc_rgb"].astype(np.float32) / np.float32(255)}


def test_resize(caffe: dict[str, np.ndarray]) -> None:
    close(resize(caffe["picture"], (12, 12)), caffe["resized_noaa"], "unit picture")


def test_channel_mean_without_resize(caffe: dict[str, np.ndarray]) -> None:
    transformer = Transformer((15, 20), (2, 0, 1), BGR, 255.0, np.array([104, 117, 123.0]))
    np.testing.assert_array_equal(transformer.preprocess(caffe["picture"]), caffe["pre_noresize"])


def test_channel_mean_with_resize(caffe: dict[str, np.ndarray]) -> None:
    mean = caffe["mean_array"][0].mean((1, 2))
    got = Transformer((12, 12), (2, 0, 1), BGR, 255.0, mean).preprocess(caffe["picture"])
    close(got, caffe["pre_channelmean_noaa"], "picture")


def test_mean_image_and_input_scale(caffe: dict[str, np.ndarray]) -> None:
    transformer = Transformer((12, 12), (2, 0, 1), BGR, 255.0, caffe["mean_array"][0], 0.017)
    got = transformer.preprocess(caffe["picture"])
    close(got, caffe["pre_pixelmean_scaled_noaa"], "unit picture")
    assert got.dtype == np.float32


def test_deprocess(caffe: dict[str, np.ndarray]) -> None:
    transformer = Transformer((12, 12), (2, 0, 1), BGR, 255.0, caffe["mean_array"][0].mean((1, 2)))
    got = transformer.deprocess(caffe["pre_channelmean"])
    close(got, caffe["deprocess"], "unit picture")


def test_deprocess_undoes_preprocess(caffe: dict[str, np.ndarray]) -> None:
    transformer = Transformer((15, 20), (2, 0, 1), BGR, 255.0, np.array([1.0, 2, 3]), 0.5)
    back = transformer.deprocess(transformer.preprocess(caffe["picture"])[None])
    close(back, caffe["picture"], "unit picture")


def test_mean_image_of_another_size_is_resized(caffe: dict[str, np.ndarray]) -> None:
    ramp = np.broadcast_to(np.arange(24.0)[:, None], (3, 24, 24))
    got = Transformer((12, 12), mean=ramp).preprocess(np.zeros((12, 12, 3)))
    close(got[0, :, 0], -(np.arange(12) * 2 + 0.5), "picture")


def test_resize_of_other_channel_counts_maps_corners_to_corners() -> None:
    """scipy's zoom: with 2 channels a ramp of 0..3 in five steps is 0, 0.75, ... 3."""
    ramp = np.broadcast_to(np.arange(4.0)[:, None, None], (4, 4, 2))
    close(resize(ramp, (5, 4))[:, 1, 1], [0, 0.75, 1.5, 2.25, 3], "unit picture")


def test_enlarging_mixes_the_minimum_in_at_the_border() -> None:
    """scikit-image's `mode="constant"`: half a pixel outside, a quarter of the weight is the outside."""
    picture = np.full((2, 2, 1), 4.0)
    picture[0, 0] = 0
    close(resize(picture, (4, 4))[3, 3, 0], 4 * 0.75 * 0.75, "unit picture")
    np.testing.assert_array_equal(resize(np.full((2, 2, 3), 7.0), (5, 4)), np.full((5, 4, 3), 7.0))


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_batches_there_and_back(kind: str) -> None:
    rgb = np.random.default_rng(0).uniform(0, 255, (2, 3, 4, 5)).astype(np.float32)
    mean = np.random.default_rng(1).uniform(90, 130, (3, 6, 7)).astype(np.float32)
    images = torch.from_numpy(rgb) if kind == "torch" else rgb
    blob = to_caffe(images, mean, scale=0.5)
    wanted = np.stack([rgb[:, 2 - c] - mean[c, 1:5, 1:6] for c in range(3)], 1) / 2
    assert isinstance(blob, type(images))
    close(np.asarray(blob), wanted, "picture")
    close(np.asarray(from_caffe(blob, mean, scale=0.5)), rgb, "picture")
    close(
        np.asarray(to_caffe(images, mean[:, 0, 0], order="RGB"))[0, 1], rgb[0, 1] - mean[1, 0, 0], "picture"
    )


def test_gradients_flow_through_batches() -> None:
    images = torch.zeros(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    blob = to_caffe(images, np.zeros(3, np.float32), scale=2.0)
    (blob[:, 0].sum() * 3 + blob[:, 2].sum()).backward()
    assert images.grad is not None
    assert images.grad[0, :, 0, 0].tolist() == [2.0, 0.0, 6.0]


def test_imagenet_recipe_takes_the_centre_at_14() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    mean = np.random.default_rng(1).uniform(90, 130, (3, 256, 256)).astype(np.float32)
    got = imagenet_recipe(mean)(picture)
    wanted = picture[14:241, 14:241, ::-1].transpose(2, 0, 1).astype(np.float32) - mean[:, 14:241, 14:241]
    np.testing.assert_array_equal(got, wanted)
    assert got.dtype == np.float32


def test_recipe_warps_without_keeping_proportions() -> None:
    """Against bilinear interpolation at pixel centres, the border repeated; OpenCV rounds to integers."""
    picture = np.random.default_rng(0).integers(0, 256, (40, 90, 3), np.uint8)
    got = Recipe((64, 32), None, np.zeros(3, np.float32), "RGB")(picture)
    rows, columns = (np.clip((np.arange(n) + 0.5) * m / n - 0.5, 0, m - 1) for n, m in ((64, 40), (32, 90)))
    (top, left), image = (rows.astype(int), columns.astype(int)), picture.astype(float)
    down, right = np.minimum(top + 1, 39), np.minimum(left + 1, 89)
    y, x = (rows - top)[:, None, None], (columns - left)[None, :, None]
    upper = image[top][:, left] * (1 - x) + image[top][:, right] * x
    lower = image[down][:, left] * (1 - x) + image[down][:, right] * x
    close(got.transpose(1, 2, 0), upper * (1 - y) + lower * y, "warped picture")


def test_grey_recipe() -> None:
    """LeNet's: one channel, scaled by 1/256; OpenCV's weights for grey are 0.299, 0.587, 0.114."""
    picture = np.zeros((28, 28, 3), np.uint8)
    picture[..., 1] = 200
    got = Recipe(None, None, np.zeros(1, np.float32), "GREY", 1 / 256)(picture)
    np.testing.assert_array_equal(got, np.full((1, 28, 28), round(0.587 * 200) / 256, np.float32))


@pytest.mark.parametrize(
    ("recipe", "picture", "expected"),
    [
        (Recipe(None, (9, 9), np.zeros(3)), np.zeros((8, 9, 3), np.uint8), "a crop of 9 x 9 from 8 x 9"),
        (
            Recipe(None, None, np.zeros((3, 4, 4))),
            np.zeros((8, 9, 3), np.uint8),
            "a mean of 4 x 4 is smaller than 8 x 9",
        ),
        (Recipe(None, None, np.zeros(3)), np.zeros((8, 9), np.uint8), "expected uint8 (H, W, 3), RGB"),
    ],
)
def test_recipe_errors(recipe: Recipe, picture: np.ndarray, expected: str) -> None:
    with pytest.raises(ConversionError) as caught:
        recipe(picture)
    assert expected in str(caught.value)


def test_means_from_files(tmp_path: Path, caffe: dict[str, np.ndarray]) -> None:
    wanted = caffe["mean_array"][0].astype(np.float32)
    np.testing.assert_array_equal(read_mean(GOLDEN / "mean.binaryproto"), wanted)
    big_endian, fortran = wanted.astype(">f4"), np.asfortranarray(wanted)
    for array in (wanted, wanted.astype(np.float64), wanted[None], big_endian, fortran):
        np.save(tmp_path / "mean.npy", array)
        np.testing.assert_array_equal(read_mean(tmp_path / "mean.npy"), wanted)
    np.save(tmp_path / "mean.npy", np.array([1, 2, 3], np.uint8))
    np.testing.assert_array_equal(read_mean(tmp_path / "mean.npy"), np.array([1, 2, 3], np.float32))
    values = read_mean("104, 116.5,123")
    np.testing.assert_array_equal(values, np.array([104, 116.5, 123], np.float32))
    np.testing.assert_array_equal(crop_mean(wanted, (4, 6)), wanted[:, 4:8, 3:9])


def pickled(path: Path) -> None:
    np.save(path, np.array([{}], object), allow_pickle=True)


def oversized(path: Path) -> None:
    np.save(path, np.zeros((3, 4, 4), np.float32))
    path.write_bytes(path.read_bytes().replace(b"(3, 4, 4), ", b"(3, 4, 94),"))


def evaluated(path: Path) -> None:
    np.save(path, np.zeros((3, 4, 4), np.float32))
    path.write_bytes(path.read_bytes().replace(b"(3, 4, 4), ", b"(3,((((((, "))


ERRORS = {
    "pickle": (pickled, "not an .npy file of numbers"),
    "more than the file": (oversized, "an .npy file of shape (3, 4, 94), float32, with 192 bytes of numbers"),
    "a header to evaluate": (evaluated, "not an .npy file of numbers"),
    "two axes": (lambda path: np.save(path, np.zeros((3, 4))), "a mean of shape (3, 4); allowed are"),
    "text": (
        lambda path: path.write_text("hello"),
        "a mean is an .npy file, a binaryproto or numbers with commas",
    ),
    "empty": (lambda path: path.touch(), "blob 0 has shape ()"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_mean_errors(tmp_path: Path, case: str) -> None:
    make, expected = ERRORS[case]
    path = tmp_path / "mean.npy"
    make(path)
    with pytest.raises(ConversionError) as caught:
        read_mean(path)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_mean_file() -> None:
    with pytest.raises(FileNotFoundError):
        read_mean("nowhere.npy")
