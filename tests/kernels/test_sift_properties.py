"""What must hold for kernels.sift whatever the picture: symmetries, contrast, threads, layouts, refusals."""

import math
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import kernels
from kernels import Keypoints, SiftParameters
from kernels.sift.matlab import transposed_descriptors
from tests.kernels.layouts import LAYOUTS
from tests.kernels.pictures import FORMS, picture
from tests.kernels.refusals import GOOD, REFUSED, with_value
from tests.kernels.sift_agreement import Agreement

ONE_OCTAVE = SiftParameters(octaves=1)  # the next one is made of every other pixel, which a flip changes


@pytest.fixture(scope="module")
def gray() -> NDArray:
    """A picture with some hundred frames."""
    return picture("blobs", 150, 211, "float 0..255", 1)


def assert_same(found: Keypoints, expected: Keypoints) -> None:
    np.testing.assert_array_equal(found.frames, expected.frames)
    np.testing.assert_array_equal(found.descriptors, expected.descriptors)
    assert found.descriptors.dtype == expected.descriptors.dtype


def assert_nearly(found: Keypoints, expected: Keypoints, *, share: float = 0.98) -> None:
    """Most frames are the same but for rounding, in any order."""
    agreement = Agreement()
    agreement.add(found, expected.frames.astype(np.float64), expected.descriptors)
    assert agreement.expected > 40
    assert agreement.matched >= share * max(agreement.expected, agreement.found), agreement
    assert agreement.close_entries >= 0.999 * 128 * agreement.matched


def moved(keypoints: Keypoints, frames: list[NDArray], descriptors: NDArray | None = None) -> Keypoints:
    """Keypoints with other columns of frames; angles come to [0, 2 pi)."""
    columns = np.stack(frames, axis=1).astype(np.float32)
    columns[:, 3] %= np.float32(2 * math.pi)
    return Keypoints(columns, keypoints.descriptors if descriptors is None else descriptors)


def test_a_transposed_picture_has_transposed_frames(gray: NDArray) -> None:
    found = kernels.sift(gray, parameters=ONE_OCTAVE)
    x, y, scale, angle = found.frames.T
    expected = moved(found, [y, x, scale, math.pi / 2 - angle], transposed_descriptors(found.descriptors))
    assert_nearly(kernels.sift(gray.T, parameters=ONE_OCTAVE), expected)


def test_a_flipped_picture_has_flipped_frames(gray: NDArray) -> None:
    found = kernels.sift(gray, parameters=ONE_OCTAVE)
    x, y, scale, angle = found.frames.T
    turned = transposed_descriptors(found.descriptors)
    sideways = moved(found, [gray.shape[1] - 1 - x, y, scale, math.pi - angle], turned)
    assert_nearly(kernels.sift(gray[:, ::-1], parameters=ONE_OCTAVE), sideways)
    upside_down = moved(found, [x, gray.shape[0] - 1 - y, scale, -angle], turned)
    assert_nearly(kernels.sift(gray[::-1], parameters=ONE_OCTAVE), upside_down)


def test_a_turned_picture_has_turned_frames_and_the_same_descriptors(gray: NDArray) -> None:
    found = kernels.sift(gray, parameters=ONE_OCTAVE)
    x, y, scale, angle = found.frames.T
    expected = moved(found, [y, gray.shape[1] - 1 - x, scale, angle - math.pi / 2])
    assert_nearly(kernels.sift(np.rot90(gray), parameters=ONE_OCTAVE), expected)


def test_a_shift_by_a_whole_sample_of_each_octave_shifts_frames(gray: NDArray) -> None:
    parameters = SiftParameters(octaves=3)
    found = kernels.sift(gray[8:, 16:], parameters=parameters)
    whole = kernels.sift(gray, parameters=parameters)
    x, y, scale, angle = found.frames.T
    far = (np.minimum(x, y) > 60) & (np.maximum(x + 16 - 150, y + 8 - 90) < 0)
    near = moved(found, [x + 16, y + 8, scale, angle])
    wanted = {tuple(frame) for frame in near.frames[far].round(3).tolist()}
    assert len(wanted) > 5
    assert len(wanted & {tuple(frame) for frame in whole.frames.round(3).tolist()}) >= 0.9 * len(wanted)


def test_contrast_does_not_matter(gray: NDArray) -> None:
    """A factor of a power of two changes no rounding; small constants under roots and quotients are left."""
    plain, strong = kernels.sift(gray), kernels.sift(gray * 4)
    np.testing.assert_array_equal(strong.frames[:, :3], plain.frames[:, :3])
    np.testing.assert_allclose(strong.frames[:, 3], plain.frames[:, 3], rtol=0, atol=1e-4)
    assert np.abs(strong.descriptors.astype(int) - plain.descriptors.astype(int)).max() <= 1


def test_brightness_hardly_matters(gray: NDArray) -> None:
    assert_nearly(kernels.sift(gray + 100), kernels.sift(gray), share=0.95)


def test_a_negative_has_its_frames_turned_by_half(gray: NDArray) -> None:
    found = kernels.sift(gray)
    x, y, scale, angle = found.frames.T
    turned = found.descriptors.reshape((-1, 4, 4, 8))[:, ::-1, ::-1].reshape((-1, 128))
    assert_nearly(kernels.sift(-gray), moved(found, [x, y, scale, angle + math.pi], turned), share=0.95)


@pytest.mark.parametrize("value", [0, 1, 255])
@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (40, 56), (256, 2)])
def test_a_constant_picture_has_no_frames(value: int, shape: tuple[int, int]) -> None:
    found = kernels.sift(np.full(shape, value, np.uint8))
    assert found.frames.shape == (0, 4)
    assert found.frames.dtype == np.float32
    assert found.descriptors.shape == (0, 128)
    assert found.descriptors.dtype == np.uint8


def test_frames_and_descriptors_are_in_their_ranges(gray: NDArray) -> None:
    frames, descriptors = kernels.sift(gray)
    assert frames[:, 0].min() >= 0
    assert frames[:, 1].min() >= 0
    assert frames[:, 0].max() <= gray.shape[1] - 1
    assert frames[:, 1].max() <= gray.shape[0] - 1
    assert frames[:, 2].min() > 1
    assert frames[:, 3].min() >= 0
    assert frames[:, 3].max() <= 2 * math.pi
    lengths = np.linalg.norm(descriptors.astype(np.float64) / 512, axis=1)
    assert np.all((lengths > 0.9) & (lengths < 1.01))
    assert descriptors.max() < 255


@pytest.mark.parametrize("form", FORMS)
def test_uint8_and_float_of_the_same_values_have_the_same_frames(form: str) -> None:
    levels = picture("blobs", 90, 70, "uint8", 3)
    assert_same(kernels.sift(levels), kernels.sift(levels.astype(np.float32)))


def test_each_image_of_a_batch_is_as_alone() -> None:
    images = np.stack([picture("blobs", 61, 83, "uint8", seed) for seed in range(3)])
    for threads in (1, 2):
        together = kernels.sift(images, threads=threads)
        assert len(together) == 3
        for image, found in zip(images, together, strict=True):
            assert_same(found, kernels.sift(image))
    assert kernels.sift(images[:0]) == []


@pytest.mark.parametrize("threads", [2, 3, 10**9, None])
def test_any_number_of_threads_gives_the_same_bits(threads: int | None) -> None:
    large = picture("blobs", 390, 430, "uint8", 1)
    assert_same(kernels.sift(large, threads=threads), kernels.sift(large, threads=1))


def test_bands_of_rows_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pictures are not cut into bands otherwise."""
    from kernels.sift.cpu import extract

    gray = picture("blobs", 211, 97, "uint8", 1)
    expected = kernels.sift(gray, threads=1)
    monkeypatch.setattr(extract, "WORTH_THREADS", 1)
    assert_same(kernels.sift(gray, threads=3), expected)


@pytest.mark.parametrize("magnif", [0.1, 3.0, 9.0])
def test_no_gradient_is_read_before_it_is_computed(monkeypatch: pytest.MonkeyPatch, magnif: float) -> None:
    from kernels.sift.cpu import extract, scale_space

    class Poisoned(scale_space.LazyGradients):
        def __init__(self, octave: NDArray, room: NDArray):
            super().__init__(octave, room)
            self.polar.fill(np.nan)

    gray, parameters = picture("blobs", 400, 90, "uint8", 1), kernels.SiftParameters(magnif=magnif)
    expected = kernels.sift(gray, parameters=parameters)
    monkeypatch.setattr(scale_space, "WORTH_A_CALL", 1)  # as in a larger picture
    monkeypatch.setattr(extract, "WORTH_THREADS", 1)
    monkeypatch.setattr(scale_space, "LazyGradients", Poisoned)
    assert_same(kernels.sift(gray, parameters=parameters), expected)


def test_threads_may_call_at_once(gray: NDArray) -> None:
    expected = kernels.sift(gray)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: kernels.sift(gray, threads=2), range(8)):
            assert_same(found, expected)


def _in_child(queue: Any, gray: NDArray) -> None:
    queue.put(kernels.sift(gray, threads=2))


def test_a_forked_child_may_call(gray: NDArray) -> None:
    """A data loader's workers do so."""
    expected = kernels.sift(gray, threads=2)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue, gray))
    child.start()
    found = queue.get(timeout=60)
    child.join(timeout=60)
    assert_same(found, expected)


@pytest.mark.parametrize("form", ["uint8", "float 0..1"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layout_does_not_matter(layout: str, form: str) -> None:
    gray = picture("blobs", 65, 57, form, 3)
    arranged = LAYOUTS[layout](gray)
    before = arranged.copy()
    assert_same(kernels.sift(arranged), kernels.sift(gray))
    np.testing.assert_array_equal(arranged, before)


HUGE = np.broadcast_to(np.uint8(0), (200_000, 200_000))  # of one byte


@pytest.mark.parametrize(
    ("gray", "settings", "error", "words"),
    [
        *REFUSED,
        (GOOD[:0], {}, ValueError, "0 x 16.*at least 1 x 1"),
        (GOOD[:, :0], {}, ValueError, "16 x 0.*at least 1 x 1"),
        (
            GOOD,
            {"parameters": SiftParameters(first_octave=5)},
            ValueError,
            "first_octave 5.*at least 32 x 32",
        ),
        (
            np.broadcast_to(np.uint8(0), (200_000, 200_000)),
            {},
            ValueError,
            "200000 x 200000.*too large.*allowed",
        ),
        (
            np.broadcast_to(np.uint8(0), (9999, 9999)),
            {"parameters": SiftParameters(first_octave=-4)},
            ValueError,
            "too large",
        ),
        (GOOD, {"parameters": {"levels": 3}}, TypeError, "levels.*SiftParameters"),
        (with_value(np.nan, 0, 0)[:1, :1], {}, ValueError, "NaN or infinity"),
        (with_value(1e30, 5, 7), {}, ValueError, r"too large.*1e\+15"),
        (with_value(-1e30, 5, 7), {}, ValueError, "too large"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    gray: Any, settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        kernels.sift(gray, **settings)
    assert "\n" not in str(caught.value)


def test_the_largest_values_allowed_stay_finite() -> None:
    extreme = np.where(picture("blobs", 90, 90, "uint8", 1) > 127, 1e15, -1e15).astype(np.float32)
    found = kernels.sift(extreme, parameters=SiftParameters(float_descriptors=True, magnif=50.0))
    assert len(found.frames) > 5
    assert np.isfinite(found.frames).all()
    assert np.isfinite(found.descriptors).all()


def test_one_bad_image_spoils_its_batch_by_name(gray: NDArray) -> None:
    spoilt = np.stack([gray] * 4)
    spoilt[3, 100, 100] = np.nan
    with pytest.raises(ValueError, match=r"image 3 holds NaN or infinity"):
        kernels.sift(spoilt)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"octaves": 0}, ValueError, "octaves is 0.*1 or more"),
        ({"octaves": 2.0}, TypeError, "octaves is 2.0.*whole number"),
        ({"levels": 0}, ValueError, "levels is 0.*1 or more"),
        ({"levels": True}, TypeError, "levels is True.*whole number"),
        ({"first_octave": -5}, ValueError, "first_octave is -5.*-4 or more"),
        ({"first_octave": None}, TypeError, "first_octave is None.*whole number"),
        ({"peak_thresh": -1.0}, ValueError, "peak_thresh is -1.0.*from 0 to inf"),
        ({"peak_thresh": math.nan}, ValueError, "peak_thresh is nan"),
        ({"edge_thresh": 0.5}, ValueError, "edge_thresh is 0.5.*from 1 to"),
        ({"norm_thresh": math.nan}, ValueError, "norm_thresh is nan"),
        ({"norm_thresh": "3"}, TypeError, "norm_thresh is '3'.*number"),
        ({"magnif": 0}, ValueError, "magnif is 0.*from 0.001 to 1000"),
        ({"window_size": 0.0}, ValueError, "window_size is 0.0.*from 0.001 to 1000"),
        ({"window_size": True}, TypeError, "window_size is True.*number"),
        ({"float_descriptors": 1}, TypeError, "float_descriptors is 1.*True or False"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        SiftParameters(**settings)
    assert "\n" not in str(caught.value)


def test_parameters_carry_the_defaults_of_the_matlab_command() -> None:
    parameters = SiftParameters()
    assert (parameters.octaves, parameters.levels, parameters.first_octave) == (None, 3, 0)
    assert (parameters.peak_thresh, parameters.edge_thresh, parameters.norm_thresh) == (0, 10, -math.inf)
    assert (parameters.magnif, parameters.window_size, parameters.float_descriptors) == (3, 2, False)
    with pytest.raises(AttributeError):
        parameters.levels = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    "settings", [{"magnif": 1e3}, {"magnif": 1e-3}, {"window_size": 1e3}, {"window_size": 1e-3}]
)
def test_extreme_settings_give_finite_descriptors(gray: NDArray, settings: dict[str, float]) -> None:
    parameters = SiftParameters(float_descriptors=True, **settings)  # type: ignore[arg-type]
    found = kernels.sift(gray[:60, :60], parameters=parameters)
    assert len(found.frames)
    assert np.isfinite(found.descriptors).all()
