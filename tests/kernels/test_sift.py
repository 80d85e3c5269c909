"""kernels.sift against VLFeat itself and VLFeat's golden arrays."""

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import kernels
from kernels.sift.matlab import from_matlab, to_matlab, transposed_descriptors, vl_sift
from tests.kernels.pictures import FORMS, PICTURES, picture
from tests.kernels.sift_agreement import Agreement, as_uint8, compare, pictures
from tests.oracles.vlfeat_sift import VLFeatSift

GOLDEN = Path(__file__).parent.parent / "golden"
CARD = json.loads((GOLDEN / "vlfeat_sift.json").read_text(encoding="utf-8"))
SAME_BITS = platform.machine() in ("x86_64", "AMD64")  # elsewhere compilers may contract products and sums
SIZES = [(40, 56), (33, 97), (128, 100), (7, 300), (200, 9), (3, 3), (12, 12)]
SETTINGS: list[dict[str, Any]] = [
    *({"first_octave": octave} for octave in (-1, 1, 2)),
    *({"levels": levels} for levels in (1, 2, 5)),
    *({"octaves": octaves} for octaves in (1, 2, 12)),
    *({"peak_thresh": threshold} for threshold in (0.5, 3.0)),
    *({"edge_thresh": threshold} for threshold in (1.0, 2.5, 100.0)),
    *({"norm_thresh": threshold} for threshold in (30.0, 200.0)),
    *({"magnif": magnif} for magnif in (0.5, 1.7, 12.0)),
    *({"window_size": size} for size in (0.3, 1.0, 5.0)),
    {"levels": 4, "first_octave": -1, "peak_thresh": 1.0, "edge_thresh": 6.0, "magnif": 2.0},
]
CHOICES = {
    "octaves": [1, 2, 3, 9],
    "levels": [1, 2, 3, 4, 7],
    "first_octave": [-1, 0, 1, 2],
    "peak_thresh": [0.0, 0.003, 0.5, 5.0],
    "edge_thresh": [1.0, 1.5, 10.0, 100.0],
    "norm_thresh": [-1.0, 0.0, 1.0, 300.0],
    "magnif": [0.3, 1.0, 3.0, 12.0],
    "window_size": [0.5, 2.0, 3.3],
}


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray]:
    """What VLFeat computed, by name of case and array."""
    with np.load(GOLDEN / "vlfeat_sift.npz", allow_pickle=False) as archive:
        return dict(archive)


def check(agreement: Agreement) -> None:
    """Enough agrees; on this kind of machine, all."""
    agreement.check()
    assert agreement.identical == agreement.pictures or not SAME_BITS, agreement


def test_the_golden_file_is_the_one_on_its_card() -> None:
    digest = hashlib.sha256((GOLDEN / "vlfeat_sift.npz").read_bytes()).hexdigest()
    assert digest == CARD["sha256"]["vlfeat_sift.npz"]
    assert CARD["version"] == "0.9.21"


@pytest.mark.parametrize("case", CARD["cases"])
def test_sift_equals_the_golden_arrays(golden: dict[str, NDArray], case: str) -> None:
    parameters = kernels.SiftParameters(**CARD["cases"][case][-1])
    found = kernels.sift(golden[f"{case}/image"], parameters=parameters)
    agreement = Agreement()
    agreement.add(found, golden[f"{case}/frames"], as_uint8(golden[f"{case}/descriptors"]))
    check(agreement)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", PICTURES)
def test_sift_equals_vlfeat(vlfeat_sift: VLFeatSift, kind: str, form: str) -> None:
    agreement = Agreement()
    for seed, (height, width) in enumerate(SIZES):
        compare(picture(kind, height, width, form, seed), vlfeat_sift, agreement)
    assert agreement.pictures == len(SIZES)
    check(agreement)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_sift_equals_vlfeat_with_other_settings(vlfeat_sift: VLFeatSift, settings: dict[str, Any]) -> None:
    agreement = Agreement()
    for kind, height, width in (("blobs", 120, 97), ("waves", 65, 130), ("noise", 50, 41)):
        compare(picture(kind, height, width, "uint8", 1), vlfeat_sift, agreement, **settings)
    check(agreement)


def test_sift_equals_vlfeat_with_settings_drawn_at_random(vlfeat_sift: VLFeatSift) -> None:
    """Any together, on any size, also of the grey values."""
    rng = np.random.default_rng(0)
    agreement = Agreement()
    for seed in range(1000):
        settings = {name: rng.choice(choices).item() for name, choices in CHOICES.items()}
        least = 2 ** max(settings["first_octave"], 0)
        height, width = rng.integers(least, 100, 2)
        gray = picture(rng.choice(list(PICTURES)), height, width, "float 0..255", seed)
        scale, shift = rng.choice([1, 1 / 255, 100]), rng.choice([0, -128])
        gray = ((gray + shift) * scale).astype(np.float32)
        compare(gray, vlfeat_sift, agreement, **settings)
    assert agreement.expected > 3000
    check(agreement)


def test_sift_equals_vlfeat_on_a_square_doubled_twice(vlfeat_sift: VLFeatSift) -> None:
    """Below octave -1 VLFeat mixes up height and width, so only a square can be compared."""
    agreement = Agreement()
    compare(picture("blobs", 40, 40, "uint8", 1), vlfeat_sift, agreement, first_octave=-2)
    assert agreement.expected > 10
    check(agreement)


def test_sift_equals_vlfeat_on_every_small_size(vlfeat_sift: VLFeatSift) -> None:
    agreement = Agreement()
    for height in range(1, 25):
        for width in range(1 + height % 2, 25, 2):
            compare(picture("blobs", height, width, "float 0..255", width), vlfeat_sift, agreement)
    assert agreement.expected > 20
    check(agreement)


def test_sift_equals_vlfeat_on_faint_and_strong_contrast(vlfeat_sift: VLFeatSift) -> None:
    agreement = Agreement()
    for scale in (1e-8, 1e-6, 1e-4, 1e-2, 1e4, 1e8, 1e12):
        compare(picture("blobs", 60, 70, "float 0..1", 1) * np.float32(scale), vlfeat_sift, agreement)
    check(agreement)


def test_sift_equals_vlfeat_on_a_very_wide_and_a_very_tall_picture(vlfeat_sift: VLFeatSift) -> None:
    agreement = Agreement()
    compare(picture("blobs", 20, 1500, "uint8", 1), vlfeat_sift, agreement)
    compare(picture("blobs", 1500, 20, "uint8", 2), vlfeat_sift, agreement)
    assert agreement.expected > 50
    check(agreement)


def test_sift_equals_vlfeat_on_natural_pictures(vlfeat_sift: VLFeatSift, data_folder: Path) -> None:
    """A sample; `python -m tests.kernels.sift_agreement` takes as many as one likes."""
    agreement = Agreement()
    for gray in pictures(data_folder / "data" / "images", 25):
        compare(gray, vlfeat_sift, agreement)
    assert agreement.pictures == 25
    check(agreement)


def test_float_descriptors_are_512_times_the_unit_ones(golden: dict[str, NDArray]) -> None:
    parameters = kernels.SiftParameters(float_descriptors=True)
    found = kernels.sift(golden["blobs/image"], parameters=parameters).descriptors
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, 512 * golden["blobs/descriptors"], rtol=0, atol=1e-3)
    cut = np.minimum(found, 255).astype(np.uint8)
    np.testing.assert_array_equal(kernels.sift(golden["blobs/image"]).descriptors, cut)


def matlab_command(reference: VLFeatSift, gray: NDArray) -> tuple[NDArray, NDArray]:
    """What vl_sift.c, the MATLAB command, makes of VLFeat's frames: it sees columns as rows."""
    frames, descriptors = reference.extract(np.ascontiguousarray(gray.T).astype(np.float32))
    turned = np.empty_like(descriptors)
    for j in range(4):
        for i in range(4):
            here, there = 8 * i + 32 * j, 8 * i + 32 * (3 - j)
            turned[:, there] = descriptors[:, here]
            for t in range(1, 8):
                turned[:, 8 - t + there] = descriptors[:, t + here]
    columns = [frames[:, 1] + 1, frames[:, 0] + 1, frames[:, 2], np.pi / 2 - frames[:, 3]]
    return np.stack(columns), as_uint8(turned).T


def test_vl_sift_is_what_the_matlab_command_gives(vlfeat_sift: VLFeatSift) -> None:
    gray = picture("blobs", 90, 130, "uint8", 1)
    frames, descriptors = matlab_command(vlfeat_sift, gray)
    found = vl_sift(gray)
    assert found[0].shape == frames.shape
    np.testing.assert_allclose(found[0], frames, rtol=0, atol=2e-6 if SAME_BITS else 1e-2)
    np.testing.assert_allclose(found[1].astype(int), descriptors.astype(int), rtol=0, atol=1)


def test_conversion_to_matlab_and_back(vlfeat_sift: VLFeatSift) -> None:
    """The transposed image has the same frames but for rounding, in another order."""
    gray = picture("blobs", 90, 130, "uint8", 2)
    theirs = from_matlab(*matlab_command(vlfeat_sift, gray))
    ours = kernels.sift(gray)
    agreement = Agreement()
    agreement.add(ours, theirs.frames.astype(np.float64), theirs.descriptors)
    assert agreement.expected > 30
    assert agreement.matched >= 0.98 * max(agreement.expected, agreement.found)
    assert agreement.close_entries >= 0.999 * 128 * agreement.matched
    frames, descriptors = to_matlab(ours)
    assert frames.dtype == np.float32
    assert frames[3].max() <= np.pi / 2 + 1e-6
    assert frames[3].min() > -3 * np.pi / 2 - 1e-6
    back = from_matlab(frames, descriptors)
    np.testing.assert_allclose(back.frames, ours.frames, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(back.descriptors, ours.descriptors)


def test_descriptors_transposed_twice_are_the_same() -> None:
    descriptors = np.random.default_rng(0).integers(0, 256, (3, 128)).astype(np.uint8)
    twice = transposed_descriptors(transposed_descriptors(descriptors))
    np.testing.assert_array_equal(twice, descriptors)
    assert (transposed_descriptors(descriptors) != descriptors).any()


@pytest.mark.parametrize(
    ("frames", "descriptors", "words"),
    [
        (np.zeros((5, 3)), np.zeros((128, 3)), r"frames.*\(5, 3\).*\(4, N\)"),
        (np.zeros(4), np.zeros((128, 1)), r"frames.*\(4,\).*\(4, N\)"),
        (np.zeros((4, 3)), np.zeros((3, 128)), r"descriptors.*\(3, 128\).*\(128, 3\)"),
    ],
)
def test_arrays_that_are_not_matlab_s_are_refused(frames: NDArray, descriptors: NDArray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        from_matlab(frames, descriptors)
