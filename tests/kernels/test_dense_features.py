"""What must hold for every feature on a grid of cells: batches, threads, memory layouts, refusals."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import kernels
from tests.kernels.layouts import LAYOUTS
from tests.kernels.pictures import FORMS, picture
from tests.kernels.refusals import GOOD, REFUSED, with_value

Feature = Callable[..., NDArray]
FEATURES: dict[str, Feature] = {"hog": kernels.hog, "lbp": partial(kernels.lbp, cell_size=8)}


@pytest.fixture(params=FEATURES)
def feature(request: pytest.FixtureRequest) -> Feature:
    """Each of them, with cells of 8."""
    return FEATURES[request.param]


@pytest.fixture(scope="module")
def batch() -> NDArray:
    """Five noisy pictures (5, 200, 152): 25 rows of cells, which do not divide evenly among threads."""
    return np.stack([picture("noise", 200, 152, "float 0..1", seed) for seed in range(5)])


@pytest.mark.parametrize("form", FORMS)
def test_each_image_of_a_batch_is_as_alone(feature: Feature, form: str) -> None:
    images = np.stack([picture("waves", 61, 83, form, seed) for seed in range(3)])
    together = feature(images)
    assert len(together) == 3
    for image, features in zip(images, together, strict=True):
        np.testing.assert_array_equal(feature(image), features)


@pytest.mark.parametrize("threads", [2, 3, 7, 10**9, None])
def test_any_number_of_threads_gives_the_same_bits(
    feature: Feature, batch: NDArray, threads: int | None
) -> None:
    np.testing.assert_array_equal(feature(batch, threads=threads), feature(batch, threads=1))
    large = picture("noise", 700, 600, "uint8", 1)
    np.testing.assert_array_equal(feature(large, threads=threads), feature(large, threads=1))


def test_threads_may_call_at_once(feature: Feature, batch: NDArray) -> None:
    expected = feature(batch, threads=1)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: feature(batch, threads=2), range(8)):
            np.testing.assert_array_equal(found, expected)


def _in_child(queue: Any, feature: Feature, images: NDArray) -> None:
    queue.put(feature(images, threads=2))


def test_a_forked_child_may_use_threads_after_its_parent_did(feature: Feature, batch: NDArray) -> None:
    """A data loader's workers do so."""
    expected = feature(batch, threads=2)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue, feature, batch))
    child.start()
    found = queue.get(timeout=60)
    child.join(timeout=60)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("form", ["uint8", "float 0..1"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layout_does_not_matter(feature: Feature, layout: str, form: str) -> None:
    gray = picture("noise", 45, 37, form, 3)
    arranged = LAYOUTS[layout](gray)
    before = arranged.copy()
    np.testing.assert_array_equal(feature(arranged), feature(gray))
    np.testing.assert_array_equal(arranged, before)


def test_an_empty_batch_has_no_features(feature: Feature) -> None:
    channels = len(feature(np.zeros((64, 80), np.float32)))
    assert feature(np.empty((0, 64, 80), np.float32)).shape == (0, channels, 8, 10)


@pytest.mark.parametrize(
    ("gray", "settings", "error", "words"),
    [
        *REFUSED,
        (GOOD[:0], {}, ValueError, "0 x 16.*at least"),
        (GOOD[:, :0], {}, ValueError, "16 x 0.*at least"),
        (GOOD, {"cell_size": 10**30}, ValueError, "need at least"),
        (GOOD, {"cell_size": 0}, ValueError, "cell_size is 0.*or more"),
        (GOOD, {"cell_size": -8}, ValueError, "cell_size is -8.*or more"),
        (GOOD, {"cell_size": 8.0}, TypeError, "cell_size is 8.0.*whole number"),
        (GOOD, {"cell_size": True}, TypeError, "cell_size is True.*whole number"),
        (GOOD, {"cell_size": "8"}, TypeError, "cell_size is '8'.*whole number"),
        (with_value(np.nan, 0, 0)[:2, :2], {"cell_size": 2}, ValueError, "NaN or infinity"),
        (with_value(np.nan, 2, 15)[:3], {"cell_size": 2}, ValueError, "NaN or infinity"),
        (with_value(np.nan, 15, 8), {"cell_size": 11}, ValueError, "NaN or infinity"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    feature: Feature, gray: Any, settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        feature(gray, **settings)
    assert "\n" not in str(caught.value)


def test_one_bad_image_spoils_its_batch_by_name(feature: Feature, batch: NDArray) -> None:
    spoilt = batch.copy()
    spoilt[3, 100, 100] = np.nan
    with pytest.raises(ValueError, match=r"image 3 holds NaN or infinity"):
        feature(spoilt)
