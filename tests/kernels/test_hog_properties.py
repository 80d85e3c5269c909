"""What must hold for kernels.hog whatever the picture: flips, threads, batches, memory layouts, refusals."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import kernels
from tests.kernels.pictures import FORMS, picture
from tests.tolerances import close


@pytest.fixture(scope="module")
def batch() -> NDArray:
    """Five noisy pictures (5, 200, 152): 25 rows of cells, which do not divide evenly among threads."""
    return np.stack([picture("noise", 200, 152, "float 0..1", seed) for seed in range(5)])


def test_a_flipped_picture_has_permuted_features(batch: NDArray) -> None:
    for gray in batch:
        flipped = kernels.hog(gray)[kernels.HOG_FLIP][:, :, ::-1]
        close(kernels.hog(gray[:, ::-1]), flipped, "hog")
    assert sorted(kernels.HOG_FLIP) == list(range(31))
    np.testing.assert_array_equal(kernels.HOG_FLIP[kernels.HOG_FLIP], np.arange(31))


@pytest.mark.parametrize("form", FORMS)
def test_each_image_of_a_batch_is_as_alone(form: str) -> None:
    images = np.stack([picture("waves", 61, 83, form, seed) for seed in range(3)])
    together = kernels.hog(images)
    assert together.shape == (3, *kernels.hog_shape(61, 83))
    for image, features in zip(images, together, strict=True):
        np.testing.assert_array_equal(kernels.hog(image), features)


@pytest.mark.parametrize("threads", [2, 3, 7, 10**9, None])
def test_any_number_of_threads_gives_the_same_bits(batch: NDArray, threads: int | None) -> None:
    np.testing.assert_array_equal(kernels.hog(batch, threads=threads), kernels.hog(batch, threads=1))
    large = picture("noise", 700, 600, "uint8", 1)
    np.testing.assert_array_equal(kernels.hog(large, threads=threads), kernels.hog(large, threads=1))


def test_threads_may_call_at_once(batch: NDArray) -> None:
    expected = kernels.hog(batch, threads=1)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: kernels.hog(batch, threads=2), range(8)):
            np.testing.assert_array_equal(found, expected)


def _in_child(queue: Any, images: NDArray) -> None:
    queue.put(kernels.hog(images, threads=2))


def test_a_forked_child_may_use_threads_after_its_parent_did(batch: NDArray) -> None:
    """A data loader's workers do so."""
    expected = kernels.hog(batch, threads=2)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue, batch))
    child.start()
    found = queue.get(timeout=60)
    child.join(timeout=60)
    np.testing.assert_array_equal(found, expected)


def test_contrast_hardly_matters(batch: NDArray) -> None:
    """A factor of a power of two changes no bin and no rounding; only the 1e-4 under the norm is left."""
    gray = batch[0] * 255
    close(kernels.hog(gray * 4), kernels.hog(gray), "hog")


def test_brightness_does_not_matter() -> None:
    gray = picture("noise", 60, 50, "uint8", 4).astype(np.float32)
    np.testing.assert_array_equal(kernels.hog(gray + 1000), kernels.hog(gray))


@pytest.mark.parametrize("value", [0, 1, 255])
def test_a_constant_picture_has_no_features(value: int) -> None:
    assert not kernels.hog(np.full((40, 40), value, np.uint8)).any()


def test_features_stay_in_their_range(batch: NDArray) -> None:
    features = kernels.hog(batch)
    assert features.min() >= 0
    assert features[:, :27].max() <= 0.4 + 1e-6
    assert features[:, 27:].max() <= 9 * 0.2 / np.sqrt(18) + 1e-6


def _unaligned(gray: NDArray) -> NDArray:
    raw = np.empty(gray.nbytes + 1, np.uint8)
    view = raw[1:].view(gray.dtype).reshape(gray.shape)
    view[:] = gray
    return view


def _read_only(gray: NDArray) -> NDArray:
    copy = gray.copy()
    copy.setflags(write=False)
    return copy


LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "negative strides": lambda gray: gray[::-1, ::-1].copy()[::-1, ::-1],
    "every other pixel": lambda gray: np.repeat(np.repeat(gray, 2, axis=0), 2, axis=1)[::2, ::2],
    "read-only": _read_only,
    "unaligned": _unaligned,
    "broadcast batch": lambda gray: np.broadcast_to(gray, (2, *gray.shape))[1],
}


@pytest.mark.parametrize("form", ["uint8", "float 0..1"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layout_does_not_matter(layout: str, form: str) -> None:
    gray = picture("noise", 45, 37, form, 3)
    arranged = LAYOUTS[layout](gray)
    before = arranged.copy()
    np.testing.assert_array_equal(kernels.hog(arranged), kernels.hog(gray))
    np.testing.assert_array_equal(arranged, before)


def test_an_empty_batch_has_no_features() -> None:
    assert kernels.hog(np.empty((0, 64, 80), np.float32)).shape == (0, 31, 8, 10)


GOOD = np.zeros((16, 16), np.float32)


def _with(value: float, *places: tuple[int, int], size: int = 16) -> NDArray:
    gray = np.zeros((size, size), np.float32)
    for place in places:
        gray[place] = value
    return gray


@pytest.mark.parametrize(
    ("gray", "settings", "error", "words"),
    [
        (np.zeros((16, 16)), {}, TypeError, "float64.*float32 or uint8"),
        (np.zeros((16, 16), np.int32), {}, TypeError, "int32.*float32 or uint8"),
        (np.zeros((16, 16), ">f4"), {}, TypeError, ">f4.*float32 or uint8"),
        (np.zeros((16, 16), bool), {}, TypeError, "bool.*float32 or uint8"),
        ([["a"]], {}, TypeError, "float32 or uint8"),
        (GOOD[0], {}, ValueError, r"\(16,\).*\(H, W\) or \(N, H, W\)"),
        (GOOD[None, None], {}, ValueError, r"\(1, 1, 16, 16\).*\(H, W\) or \(N, H, W\)"),
        (GOOD[:0], {}, ValueError, "0 x 16.*at least 4 x 4"),
        (GOOD[:, :0], {}, ValueError, "16 x 0.*at least 4 x 4"),
        (GOOD[:3], {}, ValueError, "3 x 16.*at least 4 x 4"),
        (GOOD, {"cell_size": 40}, ValueError, "cells of 40 need at least 20 x 20"),
        (GOOD, {"cell_size": 10**30}, ValueError, "need at least"),
        (GOOD, {"cell_size": 1}, ValueError, "cell_size is 1.*2 or more"),
        (GOOD, {"cell_size": -8}, ValueError, "cell_size is -8.*2 or more"),
        (GOOD, {"cell_size": 8.0}, TypeError, "cell_size is 8.0.*whole number"),
        (GOOD, {"cell_size": True}, TypeError, "cell_size is True.*whole number"),
        (GOOD, {"cell_size": "8"}, TypeError, "cell_size is '8'.*whole number"),
        (GOOD, {"threads": 0}, ValueError, "threads is 0.*1 or more"),
        (GOOD, {"threads": 1.5}, TypeError, "threads is 1.5.*whole number"),
        (_with(np.nan, (5, 7)), {}, ValueError, "NaN or infinity"),
        (_with(np.nan, (0, 0)), {}, ValueError, "NaN or infinity"),
        (_with(np.inf, (15, 0)), {}, ValueError, "NaN or infinity"),
        (_with(-np.inf, (0, 3), (2, 3)), {}, ValueError, "NaN or infinity"),
        (_with(np.nan, (1, 1), size=3), {"cell_size": 2}, ValueError, "NaN or infinity"),
        (_with(np.nan, (0, 0), size=2), {"cell_size": 2}, ValueError, "NaN or infinity"),
        (_with(1e30, (5, 7)), {}, ValueError, "too large"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    gray: Any, settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        kernels.hog(gray, **settings)
    assert "\n" not in str(caught.value)


def test_one_bad_image_spoils_its_batch_by_name(batch: NDArray) -> None:
    spoilt = batch.copy()
    spoilt[3, 100, 100] = np.nan
    with pytest.raises(ValueError, match=r"image 3 holds NaN or infinity"):
        kernels.hog(spoilt)


@pytest.mark.parametrize(
    ("features", "error", "words"),
    [
        (np.zeros((31, 2, 2)), TypeError, "float64.*float32"),
        (np.zeros((30, 2, 2), np.float32), ValueError, r"\(30, 2, 2\).*\(31, H', W'\)"),
        (np.zeros((1, 31, 2, 2), np.float32), ValueError, "one image"),
        (np.zeros((31, 0, 2), np.float32), ValueError, r"\(31, 0, 2\)"),
        (np.full((31, 1, 1), np.nan, np.float32), ValueError, "NaN"),
    ],
)
def test_bad_features_are_not_drawn(features: NDArray, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        kernels.hog_glyphs(features)


def test_parameters_carry_the_defaults_of_vlfeat() -> None:
    parameters = kernels.HogParameters()
    assert (parameters.cell_size, parameters.orientations, parameters.channels) == (8, 9, 31)
    with pytest.raises(AttributeError):
        parameters.cell_size = 4  # type: ignore[misc]
