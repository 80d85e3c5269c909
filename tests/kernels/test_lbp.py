"""kernels.lbp against VLFeat itself, VLFeat's golden arrays, the slow oracle, and its own symmetries."""

import ctypes
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import kernels
from kernels.lbp import scalar
from tests.kernels.pictures import FORMS, PICTURES, picture
from tests.oracles import lbp as slow
from tests.oracles import vlfeat
from tests.tolerances import close

GOLDEN = Path(__file__).parent.parent / "golden"
SIZES = [(1, 1), (2, 3), (3, 3), (16, 16), (17, 31), (33, 47), (97, 13), (128, 100), (7, 500), (500, 9)]
CELL_SIZES = (16, 1, 2, 3, 5, 8, 15, 17, 31, 40, 97)


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray]:
    """What VLFeat computed, by name of case and array."""
    with np.load(GOLDEN / "vlfeat_lbp.npz", allow_pickle=False) as archive:
        return dict(archive)


CARD = json.loads((GOLDEN / "vlfeat_lbp.json").read_text(encoding="utf-8"))


def test_the_golden_file_is_the_one_on_its_card() -> None:
    digest = hashlib.sha256((GOLDEN / "vlfeat_lbp.npz").read_bytes()).hexdigest()
    assert digest == CARD["sha256"]["vlfeat_lbp.npz"]
    assert CARD["version"] == "0.9.21"


@pytest.mark.parametrize("case", CARD["cases"])
def test_lbp_equals_the_golden_arrays(golden: dict[str, NDArray], case: str) -> None:
    image, cell_size = golden[f"{case}/image"], golden[f"{case}/cell_size"].item()
    features = kernels.lbp(image, cell_size=cell_size)
    assert features.dtype == np.float32
    close(features, golden[f"{case}/features"], "lbp")
    close(slow.lbp(image, cell_size).astype(np.float32), golden[f"{case}/features"], "lbp")


@pytest.mark.parametrize("cell_size", CELL_SIZES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", PICTURES)
def test_lbp_equals_vlfeat(vlfeat_lbp: vlfeat.VLFeatLbp, kind: str, form: str, cell_size: int) -> None:
    sizes = [size for size in SIZES if min(size) >= cell_size] or [(cell_size, cell_size + 9)]
    for seed, (height, width) in enumerate(sizes):
        gray = picture(kind, height, width, form, seed)
        close(kernels.lbp(gray, cell_size=cell_size), vlfeat_lbp.features(gray, cell_size), "lbp")


@pytest.mark.parametrize("cell_size", [3, 5])
def test_the_longer_a_picture_the_rougher_is_vlfeat(vlfeat_lbp: vlfeat.VLFeatLbp, cell_size: int) -> None:
    """It keeps a pixel's place among the cells in float32; ours stays as near to the exact one."""
    gray = picture("noise", 2 * cell_size, 3000, "uint8", 1)
    found, reference = kernels.lbp(gray, cell_size=cell_size), vlfeat_lbp.features(gray, cell_size)
    np.testing.assert_allclose(found, slow.lbp(gray, cell_size), rtol=0, atol=2e-7)
    difference = np.abs(found - reference).max()
    assert 5e-6 < difference < 2.5e-8 * (3000 // cell_size)


def test_lbp_equals_vlfeat_on_natural_pictures(vlfeat_lbp: vlfeat.VLFeatLbp, data_folder: Path) -> None:
    files = sorted((data_folder / "data" / "images").glob("*/*.jpg"))
    rng = np.random.default_rng(0)
    for count, file in enumerate(rng.permutation(np.array(files))[:100]):
        gray = kernels.gray(cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB))
        top, left = rng.integers(0, 16, 2)
        gray = FORMS[list(FORMS)[count % 3]](gray[top:, left:].astype(np.float64))
        cell_size = (16, 16, 8, 11)[count % 4]
        close(kernels.lbp(gray, cell_size=cell_size), vlfeat_lbp.features(gray, cell_size), "lbp")
    assert len(files) >= 100


def test_the_codes_are_vlfeat_s_table(libvl: ctypes.CDLL) -> None:
    """VLFeat's object begins with the dimension, then the table."""
    lbp = libvl.vl_lbp_new(vlfeat.UNIFORM, 0)
    table = (ctypes.c_uint8 * 256).from_address(lbp + ctypes.sizeof(ctypes.c_size_t))
    np.testing.assert_array_equal(scalar.code_table(), np.array(table))
    libvl.vl_lbp_delete(lbp)


def test_lbp_shape_is_the_shape() -> None:
    for cell_size in (1, 7, 16):
        for height in range(cell_size, 40):
            shape = kernels.lbp_shape(height, 33, cell_size)
            assert shape == (58, height // cell_size, 33 // cell_size)
            assert kernels.lbp(np.zeros((height, 33), np.uint8), cell_size=cell_size).shape == shape


def _permutation(move: Callable[[int], int]) -> NDArray:
    """Where each code comes from when neighbour b becomes neighbour move(b)."""
    source = np.empty(58, int)
    for pattern in range(256):
        bits = [bool(pattern >> b & 1) for b in range(8)]
        moved = [bits[move(b)] for b in range(8)]
        source[slow.code(bits)] = slow.code(moved)
    return source


@pytest.mark.parametrize("cell_size", [8, 5])
def test_flips_and_transposition_permute_the_codes(cell_size: int) -> None:
    """Bit for bit, since the sums are exact. Neighbour b lies b eighths of a turn clockwise from the right."""
    gray = picture("staircase", 8 * cell_size, 11 * cell_size, "uint8", 3)
    features = kernels.lbp(gray, cell_size=cell_size)
    mirrored = _permutation(lambda b: (4 - b) % 8)
    upside_down, transposed = _permutation(lambda b: -b % 8), _permutation(lambda b: (2 - b) % 8)
    np.testing.assert_array_equal(kernels.LBP_FLIP, mirrored)
    for found, expected in (
        (gray[:, ::-1], features[mirrored][:, :, ::-1]),
        (gray[::-1], features[upside_down][:, ::-1]),
        (gray.T, features[transposed].transpose(0, 2, 1)),
    ):
        np.testing.assert_array_equal(kernels.lbp(found, cell_size=cell_size), expected)


def test_only_the_order_of_the_grey_values_counts() -> None:
    gray = picture("waves", 64, 80, "uint8", 4)
    features = kernels.lbp(gray)
    for same in (gray.astype(np.float32), gray * np.float32(1e30), np.sqrt(gray, dtype=np.float32) - 7):
        np.testing.assert_array_equal(kernels.lbp(same), features)


@pytest.mark.parametrize("form", FORMS)
def test_the_squares_of_a_cell_add_up_to_one(form: str) -> None:
    features = kernels.lbp(picture("noise", 70, 90, form, 5))
    np.testing.assert_allclose((features**2).sum(axis=0), 1, rtol=0, atol=1e-6)
    assert not kernels.lbp(np.zeros((2, 9), np.uint8), cell_size=2).any()


def test_an_image_without_room_for_a_cell_is_refused() -> None:
    with pytest.raises(ValueError, match=r"15 x 40.*cells of 16 need at least 16 x 16"):
        kernels.lbp(np.zeros((15, 40), np.uint8))
    assert kernels.LbpParameters().cell_size == 16
