"""kernels.hog against VLFeat itself, VLFeat's golden arrays, and the slow oracle."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import kernels
from tests.kernels.pictures import FORMS, PICTURES, picture
from tests.oracles import hog as slow
from tests.oracles import vlfeat
from tests.tolerances import close

GOLDEN = Path(__file__).parent.parent / "golden"
SIZES = [
    *[(1, 1), (2, 3), (3, 3), (4, 4), (5, 4), (11, 12), (12, 11)],  # around one cell of eight
    *[(33, 47), (64, 64), (97, 13), (128, 100), (227, 228)],
    *[(4, 300), (300, 4), (7, 1000), (1000, 9)],
]
CELL_SIZES = (8, 2, 3, 5, 6, 7, 16, 31)


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray]:
    """What VLFeat computed, by name of case and array."""
    with np.load(GOLDEN / "vlfeat_hog.npz", allow_pickle=False) as archive:
        return dict(archive)


CARD = json.loads((GOLDEN / "vlfeat_hog.json").read_text(encoding="utf-8"))


def test_the_golden_file_is_the_one_on_its_card() -> None:
    digest = hashlib.sha256((GOLDEN / "vlfeat_hog.npz").read_bytes()).hexdigest()
    assert digest == CARD["sha256"]["vlfeat_hog.npz"]
    assert CARD["version"] == "0.9.21"


@pytest.mark.parametrize("case", CARD["cases"])
def test_hog_equals_the_golden_arrays(golden: dict[str, NDArray], case: str) -> None:
    features = kernels.hog(golden[f"{case}/image"], cell_size=golden[f"{case}/cell_size"].item())
    assert features.dtype == np.float32
    close(features, golden[f"{case}/features"], "hog")


@pytest.mark.parametrize("case", CARD["cases"])
def test_the_slow_oracle_equals_the_golden_arrays(golden: dict[str, NDArray], case: str) -> None:
    features = slow.hog(golden[f"{case}/image"], golden[f"{case}/cell_size"].item())
    close(features.astype(np.float32), golden[f"{case}/features"], "hog")


@pytest.mark.parametrize("cell_size", CELL_SIZES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", PICTURES)
def test_hog_equals_vlfeat(vlfeat_hog: vlfeat.VLFeatHog, kind: str, form: str, cell_size: int) -> None:
    sizes = [size for size in SIZES if min(size) >= cell_size - cell_size // 2]
    assert sizes
    for seed, (height, width) in enumerate(sizes):
        gray = picture(kind, height, width, form, seed)
        close(kernels.hog(gray, cell_size=cell_size), vlfeat_hog.features(gray, cell_size), "hog")


def test_hog_equals_vlfeat_on_faint_and_strong_contrast(vlfeat_hog: vlfeat.VLFeatHog) -> None:
    for scale in (1e-12, 1e-6, 1e-3, 1e3, 1e6, 1e12):
        gray = picture("noise", 50, 70, "float 0..1", 1) * np.float32(scale)
        close(kernels.hog(gray), vlfeat_hog.features(gray), "hog")


def test_hog_equals_vlfeat_on_natural_pictures(vlfeat_hog: vlfeat.VLFeatHog, data_folder: Path) -> None:
    files = sorted((data_folder / "data" / "images").glob("*/*.jpg"))
    rng = np.random.default_rng(0)
    for count, file in enumerate(rng.permutation(np.array(files))[:400]):
        gray = kernels.gray(cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB))
        top, left = rng.integers(0, 16, 2)
        gray = gray[top:, left:] if count % 2 else gray  # every other one of an odd size, and not contiguous
        form = list(FORMS)[count % 3]
        gray = FORMS[form](gray.astype(np.float64))
        close(kernels.hog(gray), vlfeat_hog.features(gray), "hog")
    assert len(files) >= 400


def _near(angles_rad: NDArray, spread: float, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Gradients of many magnitudes at almost the given angles."""
    angles_rad = angles_rad + rng.normal(0, 1, angles_rad.shape) * spread
    magnitudes = 10 ** rng.uniform(-3, 3, angles_rad.shape)
    return (magnitudes * np.cos(angles_rad)).astype(np.float32), (magnitudes * np.sin(angles_rad)).astype(
        np.float32
    )


@pytest.mark.parametrize("spread", [0, 1e-8, 1e-7, 1e-6, 1e-3])
def test_every_gradient_gets_the_bin_of_nine_scores(spread: float) -> None:
    """The kernel decides by five scores and signs: the same, also where two bins meet and beside the axes."""
    from numba import njit

    from kernels.hog import scalar

    direction = njit(scalar.direction)

    @njit
    def directions(dx: NDArray, dy: NDArray, bins: NDArray) -> None:
        for i in range(dx.size):
            bins[i] = direction(dx[i], dy[i])

    rng = np.random.default_rng(0)
    borders = np.pi / 18 + np.pi / 9 * rng.integers(0, 18, 200_000)
    axes = np.pi / 2 * rng.integers(0, 4, 200_000)
    grid = np.mgrid[-255:256, -255:256].reshape((2, -1)).astype(np.float32)
    mixed = (rng.choice([-1, 1], (2, 200_000)) * 10 ** rng.uniform(-12, 6, (2, 200_000))).astype(np.float32)
    for dx, dy in (_near(borders, spread, rng), _near(axes, spread, rng), grid, mixed):
        bins = np.empty(dx.size, np.int64)
        directions(dx, dy, bins)
        some = dx * dx + dy * dy > 0
        np.testing.assert_array_equal(bins[some], slow.directions(dx, dy)[some])


@pytest.mark.parametrize("cell_size", [2, 5, 8])
def test_hog_shape_is_vlfeat_s_grid(vlfeat_hog: vlfeat.VLFeatHog, cell_size: int) -> None:
    for length in range(cell_size - cell_size // 2, 300):
        gray = np.zeros((length, 20), np.uint8)
        shape = vlfeat_hog.features(gray, cell_size).shape
        assert (
            kernels.hog_shape(length, 20, cell_size) == shape == kernels.hog(gray, cell_size=cell_size).shape
        )
        _, height, width = shape
        assert kernels.hog_shape(20, length, cell_size=cell_size) == (31, width, height)


def test_hog_flip_is_vlfeat_s_permutation(golden: dict[str, NDArray], vlfeat_hog: vlfeat.VLFeatHog) -> None:
    np.testing.assert_array_equal(kernels.HOG_FLIP, golden["permutation"])
    np.testing.assert_array_equal(kernels.HOG_FLIP, vlfeat_hog.permutation)


@pytest.mark.parametrize("case", CARD["cases"])
def test_glyphs_equal_the_golden_ones(golden: dict[str, NDArray], case: str) -> None:
    glyphs = kernels.hog_glyphs(golden[f"{case}/features"])
    np.testing.assert_array_equal(glyphs[:84, :84], golden[f"{case}/glyphs"])


def test_glyphs_equal_vlfeat_also_for_negative_weights(vlfeat_hog: vlfeat.VLFeatHog) -> None:
    features = np.random.default_rng(0).normal(size=(31, 7, 5)).astype(np.float32)
    np.testing.assert_array_equal(kernels.hog_glyphs(features), vlfeat_hog.render(features))
