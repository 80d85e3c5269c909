"""Pictures from SIFT patches: frames, patches, neighbours and order worked out otherwise; files; refusals."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import kernels
from decoders.baselines.patch_database import (
    DatabaseSettings,
    PatchDatabase,
    build_database,
    cut_patches,
    nearest,
    patch_to_image,
    read_database,
    write_database,
)
from decoders.baselines.weinzaepfel import assemble, invert_sift
from kernels.sift import sift

SMALL = DatabaseSettings(side=32)


class Points(NamedTuple):
    frames: NDArray
    descriptors: NDArray


def ramp(height: int, width: int) -> NDArray[np.uint8]:
    """Red grows to the right by 1 a pixel, green downwards by 2, blue is 40."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x + 20, 2 * y + 10, np.full_like(x, 40)], axis=-1).astype(np.uint8)


def dotted(seed: int) -> NDArray[np.uint8]:
    """Many small discs, so that there are small keypoints."""
    rng = np.random.default_rng(seed)
    picture = np.full((128, 160, 3), rng.integers(60, 200, 3), np.uint8)
    for _ in range(60):
        centre = (int(rng.integers(160)), int(rng.integers(128)))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        cv2.circle(picture, centre, int(rng.integers(2, 7)), colour, -1, cv2.LINE_AA)
    return picture


def constant(values: list[float], frames: NDArray) -> NDArray:
    """What `assemble` makes of patches of one grey level each."""
    patches = np.stack([np.full((8, 8, 3), value, np.uint8) for value in values])
    empty = PatchDatabase(np.empty((0, 128), np.uint8), patches[:0], DatabaseSettings(side=8, support=2.0))
    return assemble(frames, patches, (40, 60), empty)[0]


@pytest.fixture(scope="module")
def pictures() -> list[NDArray]:
    return [dotted(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def database(pictures: list[NDArray]) -> PatchDatabase:
    return build_database(pictures, settings=SMALL, seed=1)


def test_a_patch_is_the_keypoints_own_view() -> None:
    """Scale 2, support 6: a disc of radius 12 over 4 pixels, so 6 pixels of the image each."""
    settings = DatabaseSettings(side=4)
    upright = patch_to_image(np.array([10.0, 20.0, 2.0, 0.0]), settings)
    np.testing.assert_allclose(upright @ [1.5, 1.5, 1], [10, 20])
    np.testing.assert_allclose(upright @ [2.5, 1.5, 1], [16, 20])
    np.testing.assert_allclose(upright @ [1.5, 2.5, 1], [10, 26])
    # A quarter turn clockwise on the screen: the patch's x axis points down in the image, its y axis to the left.
    turned = patch_to_image(np.array([10.0, 20.0, 2.0, np.pi / 2]), settings)
    np.testing.assert_allclose(turned @ [2.5, 1.5, 1], [10, 26])
    np.testing.assert_allclose(turned @ [1.5, 2.5, 1], [4, 20])


@pytest.mark.parametrize("scale", [1.0, 2.0, 5.0, 7.5])
def test_patches_of_a_ramp(scale: float) -> None:
    """Any resampling of a linear picture is linear; scale 7.5 is taken from a smaller copy."""
    frame = np.array([60.0, 50.0, scale, 0.7])
    patch = cut_patches(ramp(110, 130), frame[None], SMALL)[0].astype(float)
    v, u = np.mgrid[:32, :32]
    zoom = 12 * scale / 32
    x = 60 + zoom * (np.cos(0.7) * (u - 15.5) - np.sin(0.7) * (v - 15.5))
    y = 50 + zoom * (np.sin(0.7) * (u - 15.5) + np.cos(0.7) * (v - 15.5))
    inside = (abs(x - 65) < 60) & (abs(y - 55) < 50)
    expected = np.stack([x + 20, 2 * y + 10, np.full_like(x, 40)], axis=-1)
    assert inside.mean() > 0.6
    assert np.abs(patch - expected)[inside].max() <= 1.5


def test_the_nearest_are_the_nearest() -> None:
    rng = np.random.default_rng(0)
    many = rng.integers(0, 256, (5000, 128), np.uint8)
    many[4000] = many[17]  # a tie, in another block
    queries = np.concatenate([rng.integers(0, 256, (20, 128), np.uint8), many[[17, 4999, 2047, 2048]]])
    index, distance = nearest(queries, many)
    squared = np.array([((many.astype(int) - query) ** 2).sum(axis=1) for query in queries.astype(int)])
    np.testing.assert_array_equal(index, squared.argmin(axis=1))
    np.testing.assert_array_equal(distance, np.sqrt(squared.min(axis=1)))
    assert index[20:].tolist() == [17, 4999, 2047, 2048]


def test_pasting_undoes_cutting() -> None:
    """A keypoint's own patch put back: within the disc the picture, beyond it the picture's harmonic continuation."""
    picture = ramp(90, 100)
    frame = np.array([[50.0, 45.0, 4.0, 2.3]])
    patches = cut_patches(picture, frame, SMALL)
    empty = PatchDatabase(np.empty((0, 128), np.uint8), patches[:0], SMALL)
    image, is_covered = assemble(frame, patches, (90, 100), empty)
    y, x = np.mgrid[:90, :100]
    np.testing.assert_array_equal(is_covered, (x - 50) ** 2 + (y - 45) ** 2 <= 24**2)
    assert np.abs(image - picture)[is_covered].max() <= 1.5
    rest = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")  # a free border repeats its pixels
    laplacian = rest[:-2, 1:-1] + rest[2:, 1:-1] + rest[1:-1, :-2] + rest[1:-1, 2:] - 4 * image
    assert np.abs(laplacian[~is_covered]).max() < 1e-8


def test_large_ones_come_first_and_small_ones_take_their_level() -> None:
    """Discs of radius 12 and 6 that overlap; patches without gradients take the level of what they touch."""
    frames = np.array([[40.0, 20.0, 3.0, 0.0], [25.0, 20.0, 6.0, 0.0]])
    np.testing.assert_allclose(constant([50, 200], frames), 200, atol=1e-9)
    np.testing.assert_allclose(constant([200, 50], frames[::-1]), 200, atol=1e-9)
    apart = np.array([[50.0, 20.0, 3.0, 0.0], [15.0, 20.0, 6.0, 0.0]])
    image = constant([50, 200], apart)
    assert image[20, 50, 0] == 50
    assert image[20, 15, 0] == 200
    assert 50 < image[20, 38, 0] < 200


def test_discs_that_leave_the_image_are_cut() -> None:
    frames = np.array([[-3.0, 20.0, 4.0, 0.0], [300.0, 20.0, 4.0, 0.0]])
    np.testing.assert_allclose(constant([90, 10], frames), 90, atol=1e-9)


def test_a_picture_from_its_own_patches(pictures: list[NDArray], database: PatchDatabase) -> None:
    """Its keypoints find themselves, and their patches make the picture again, up to a level."""
    keypoints = sift(kernels.gray(pictures[1]))
    x, y, radius = keypoints.frames[:, 0], keypoints.frames[:, 1], 6 * keypoints.frames[:, 2]
    whole = (x >= radius) & (y >= radius) & (x <= 159 - radius) & (y <= 127 - radius)
    own = Points(keypoints.frames[whole], keypoints.descriptors[whole])
    assert len(own.frames) > 10
    found = invert_sift([own, Points(np.empty((0, 4)), np.empty((0, 128), np.uint8))], (128, 160), database)
    assert found.images.shape == (2, 3, 128, 160)
    assert not found.distances[0].any()
    np.testing.assert_array_equal(database.descriptors[found.matches[0]], own.descriptors)
    covered = np.zeros((128, 160), bool)
    rows, columns = np.mgrid[:128, :160]
    for frame in own.frames:
        covered |= (columns - frame[0]) ** 2 + (rows - frame[1]) ** 2 <= (6 * frame[2]) ** 2
    assert found.covered[0] == covered.mean()
    grey = pictures[1].mean(axis=2)[covered]
    assert np.corrcoef(found.images[0].mean(axis=0)[covered], grey)[0, 1] > 0.9
    # Nothing is known of the second picture.
    assert (found.images[1] == 128).all()
    assert found.covered[1] == 0


def test_the_database_is_drawn_by_its_seed(pictures: list[NDArray], database: PatchDatabase) -> None:
    few = DatabaseSettings(side=32, patches=7)
    first, again, other = (build_database(pictures, settings=few, seed=seed) for seed in (1, 1, 2))
    assert len(first.patches) == 7 < len(database.patches) == first.card["patches_seen"]
    np.testing.assert_array_equal(first.descriptors, again.descriptors)
    assert not np.array_equal(first.descriptors, other.descriptors)
    rows = [np.flatnonzero((database.descriptors == one).all(axis=1))[0] for one in first.descriptors]
    assert rows == sorted(rows)
    np.testing.assert_array_equal(database.patches[rows], first.patches)


def test_databases_are_written_and_read(database: PatchDatabase, tmp_path: Path) -> None:
    path = tmp_path / "database.npz"
    write_database(path, database)
    found = read_database(path)
    np.testing.assert_array_equal(found.descriptors, database.descriptors)
    np.testing.assert_array_equal(found.patches, database.patches)
    assert found.settings == SMALL
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez(path, **(arrays | {"patches": arrays["patches"][:-1]}))
    with pytest.raises(ValueError, match=r"database\.npz: damaged"):
        read_database(path)
    np.savez(path, descriptors=arrays["descriptors"], card=arrays["card"])
    with pytest.raises(ValueError, match="'patches' is missing"):
        read_database(path)


def test_what_does_not_fit_is_refused(database: PatchDatabase) -> None:
    frames, descriptors = np.ones((2, 4)), np.zeros((2, 128), np.uint8)
    with pytest.raises(ValueError, match=r"image 0 have frames \(2, 4\) and descriptors \(1, 128\)"):
        invert_sift([Points(frames, descriptors[:1])], (32, 32), database)
    with pytest.raises(ValueError, match="uint8"):
        invert_sift([Points(frames, descriptors.astype(np.float32))], (32, 32), database)
    with pytest.raises(ValueError, match="scales above 0"):
        invert_sift([Points(frames * [1, 1, 0, 1], descriptors)], (32, 32), database)
    with pytest.raises(ValueError, match="1 pictures have no keypoint"):
        build_database([np.full((64, 64, 3), 9, np.uint8)])
    with pytest.raises(ValueError, match="side"):
        DatabaseSettings(side=2)
