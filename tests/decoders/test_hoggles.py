"""HOGgles: its HOG and its inversion against slow ones, its codes against a second solver, learning, files."""

import json
from pathlib import Path

import numpy as np
import pytest

from decoders import extras
from decoders.baselines.hoggles import invert_hog
from decoders.baselines.ihog import ihog
from decoders.baselines.paired_dictionary import (
    HogglesSettings,
    PairedDictionary,
    learn_dictionary,
    read_dictionary,
    write_dictionary,
)
from decoders.baselines.paired_windows import PairedWindows, unit_length
from decoders.baselines.sparse_coding import OnlineDictionary, sparse_codes
from tests.oracles import ihog as slow
from tests.photos import draw
from tests.tolerances import close

GOLDEN = Path(__file__).parent.parent / "golden" / "vlfeat_hog.npz"
SMALL = HogglesSettings(atoms=24, cells=3, iterations=12, batch=60)


@pytest.fixture(scope="module")
def dictionary() -> PairedDictionary:
    return learn_dictionary([draw(seed) for seed in range(6)], settings=SMALL, seed=3)


def random_dictionary(atoms: int) -> PairedDictionary:
    """Atoms with no structure, so that every part of the inversion matters."""
    rng = np.random.default_rng(atoms)
    settings = HogglesSettings(atoms=atoms, cells=2, sparsity=0.05)
    patches = rng.standard_normal((atoms, settings.side, settings.side)).astype(np.float32)
    features = rng.standard_normal((atoms, 32, 2, 2)).astype(np.float32) / 11
    return PairedDictionary(patches, features, settings)


@pytest.mark.parametrize("size", [(24, 24), (33, 52), (44, 39)], ids=str)
def test_ihog_equals_the_slow_one(size: tuple[int, int]) -> None:
    image = np.random.default_rng(size[0]).integers(0, 256, (3, *size), np.uint8)
    image[:, 8:20, 5:15] = 90  # flat, and gradients along the axes at its sides
    found = ihog(image[None])[0]
    close(found, slow.features(image / 255, 8), "iHOG")


def test_grey_pictures_are_three_equal_channels() -> None:
    grey = np.random.default_rng(0).uniform(0, 255, (1, 1, 40, 40))
    np.testing.assert_array_equal(ihog(grey), ihog(grey.repeat(3, axis=1)))


@pytest.mark.parametrize("case", ["noise_grey_levels", "waves"])
def test_orientations_are_vlfeats_and_textures_are_not(case: str) -> None:
    """Both are the same HOG inside, but for directions of four digits, which seldom change a bin, and texture."""
    with np.load(GOLDEN, allow_pickle=False) as archive:
        image, expected = archive[f"{case}/image"], archive[f"{case}/features"][:, 1:-1, 1:-1]
    found = ihog(image[None, None])[0]
    close(found[:27], expected[:27], "iHOG against VLFeat's")
    # An orientation's two directions are clamped together there, each for itself here.
    assert (found[27:31] > expected[[30, 28, 29, 27]] - 1e-3).all()
    assert not found[31].any()


def test_sparse_codes_equal_a_second_solvers() -> None:
    rng = np.random.default_rng(1)
    atoms = rng.standard_normal((12, 30)) * rng.uniform(0.2, 0.4, (12, 1))
    rows = unit_length(rng.standard_normal((20, 30)))
    codes = sparse_codes(rows, atoms, 0.02)
    expected = np.stack([slow.lasso(row, atoms, 0.02) for row in rows])
    assert 0.1 < (expected > 0).mean() < 0.9
    close(codes, expected, "sparse codes")
    # The conditions of optimality: no atom wants more, and those that are used do not want less.
    slope = (codes @ atoms - rows) @ atoms.T + 0.02
    assert slope.min() > -1e-4
    assert np.abs(slope[codes > 0]).max() < 1e-4


def test_inversion_equals_the_slow_one() -> None:
    dictionary = random_dictionary(7)
    features = ihog(np.random.default_rng(5).uniform(0, 255, (2, 3, 40, 56)))
    found = invert_hog(features, dictionary)
    assert found.images.shape == (2, 3, 40, 56)
    for image, feature in zip(found.images, features, strict=True):
        expected = 255 * slow.invert(feature, dictionary.patches, dictionary.features, 0.05)
        close(image, np.broadcast_to(expected, (3, 40, 56)), "HOGgles")
    assert (found.atoms_used > 0).all()
    # Coding nothing leaves half the squared length of every window that is not zero.
    assert (found.objectives < 0.5).all()


def test_features_without_any_structure_give_black() -> None:
    assert not invert_hog(np.zeros((1, 32, 3, 3), np.float32), random_dictionary(3)).images.any()


def test_windows_lie_over_their_pixels() -> None:
    """Both halves of a row come from one place: the HOG of the patch's own pixels, but for its border."""
    picture = draw(1, 83, 70)
    windows = PairedWindows([draw(0, 20, 90), picture], cells=3, cell_size=8)
    assert (len(windows), windows.pictures, windows.too_small) == (6 * 4, 1, 1)
    index = 1 * 4 + 2  # second row, third column
    row = windows.rows(np.array([index]))[0]
    patch = picture[8 : 8 + 40, 16 : 16 + 40].mean(axis=2)
    np.testing.assert_allclose(row[:1600], unit_length(patch.reshape(1, -1))[0], atol=1e-6)
    inner = slow.features(np.broadcast_to(picture.mean(axis=2) / 255, (3, 83, 70)), 8)[:, 1:4, 2:5]
    np.testing.assert_allclose(row[1600:], unit_length(inner.reshape(1, -1))[0], atol=1e-5)
    np.testing.assert_allclose([row[:1600] @ row[:1600], row[1600:] @ row[1600:]], 1, rtol=1e-9)


def test_one_step_of_learning_is_mairals() -> None:
    """Codes of a batch by the second solver, then each atom in turn moved to where it fits best, and shortened to 1.

    Source: Mairal et al., Online Dictionary Learning for Sparse Coding (ICML 2009), algorithm 2, from no past.
    """
    settings = HogglesSettings(atoms=4, cells=3, iterations=1, batch=50)
    pictures = [draw(seed) for seed in range(3)]
    found = learn_dictionary(pictures, settings=settings, seed=8)
    windows = PairedWindows(pictures, cells=3, cell_size=8)
    rng = np.random.default_rng(8)  # the draws: the windows in some order, the batch
    order = rng.permutation(len(windows))
    atoms = windows.rows(order[:4]) / np.sqrt(2)
    rows = windows.rows(rng.choice(order, 50))
    codes = np.stack([slow.lasso(row, atoms, 0.02) for row in rows])
    past, wanted = codes.T @ codes, codes.T @ rows
    assert past.diagonal().min() > 0.1
    assert (np.linalg.lstsq(atoms.T, rows.T, rcond=None)[0] < 0).any()  # so that being non-negative matters
    for k in range(4):
        atoms[k] += (wanted[k] - past[k] @ atoms) / past[k, k]
        atoms[k] /= max(np.linalg.norm(atoms[k]), 1)
    learned = np.concatenate([found.patches.reshape(4, -1), found.features.reshape(4, -1)], axis=1)
    close(learned, atoms, "learned atoms")


def test_later_steps_count_the_past_and_blocks_are_as_one_by_one() -> None:
    """Three batches of 20 for 70 atoms: beta = (theta + 1 - 20) / (theta + 1), theta = 20 t (JMLR 2010, 3.4.3)."""
    rng = np.random.default_rng(0)
    atoms = unit_length(rng.standard_normal((70, 90)))
    online = OnlineDictionary(3 * atoms, 0.1, np.random.default_rng(1))
    past, wanted = np.zeros((70, 70)), np.zeros((70, 90))
    for beta in (1 / 21, 21 / 41, 41 / 61):
        rows = unit_length(rng.standard_normal((20, 90)))
        codes = np.stack([slow.lasso(row, atoms, 0.1) for row in rows])
        past, wanted = beta * past + codes.T @ codes, beta * wanted + codes.T @ rows
        drawn = np.random.default_rng(1)
        online._rng = np.random.default_rng(1)
        for k in np.flatnonzero(past.diagonal() < 1e-6):
            atoms[k] = rows[drawn.integers(20)]
            past[k], past[:, k], wanted[k] = 0, 0, 0
        for k in np.flatnonzero(past.diagonal() >= 1e-6):
            atoms[k] += (wanted[k] - past[k] @ atoms) / past[k, k]
            atoms[k] /= max(np.linalg.norm(atoms[k]), 1)
        online.learn(rows)
        np.testing.assert_allclose(online.atoms, atoms, atol=1e-4)


def test_atoms_that_no_window_uses_are_replaced() -> None:
    rng = np.random.default_rng(0)
    rows = np.abs(unit_length(rng.standard_normal((30, 6))))
    atoms = np.concatenate([np.eye(6), -np.eye(6)])
    online = OnlineDictionary(atoms, 0.1, rng)
    online.learn(rows)
    for atom in online.atoms[6:]:
        assert any(np.allclose(atom, row) for row in rows)
    assert np.linalg.norm(online.atoms, axis=1).max() <= 1 + 1e-12


def test_learning_codes_unseen_windows_better(dictionary: PairedDictionary) -> None:
    """Than a dictionary of as many windows, in the very sum that learning minimises."""
    seen = PairedWindows([draw(seed) for seed in range(6)], cells=3, cell_size=8)
    unseen = PairedWindows([draw(seed) for seed in range(20, 26)], cells=3, cell_size=8)
    rng = np.random.default_rng(0)
    rows = unseen.rows(rng.choice(len(unseen), 150))

    def objective(atoms: np.ndarray) -> float:
        codes = sparse_codes(rows, atoms, SMALL.sparsity)
        return (np.square(rows - codes @ atoms).sum(axis=1) / 2 + SMALL.sparsity * codes.sum(axis=1)).mean()

    learned = np.concatenate(
        [dictionary.patches.reshape(24, -1), dictionary.features.reshape(24, -1)], axis=1
    )
    assert np.linalg.norm(learned, axis=1).max() <= 1 + 1e-5
    drawn = seen.rows(rng.choice(len(seen), 24, replace=False)) / np.sqrt(2)
    assert objective(learned) < 0.9 * objective(drawn)


def test_learning_follows_its_seed(dictionary: PairedDictionary) -> None:
    again = learn_dictionary((draw(seed) for seed in range(6)), settings=SMALL, seed=3)
    np.testing.assert_array_equal(again.patches, dictionary.patches)
    np.testing.assert_array_equal(again.features, dictionary.features)
    assert again.card == dictionary.card
    other = learn_dictionary([draw(seed) for seed in range(6)], settings=SMALL, seed=4)
    assert not np.array_equal(other.patches, dictionary.patches)


def test_inversion_looks_like_the_picture(dictionary: PairedDictionary) -> None:
    picture = draw(30)
    found = invert_hog(ihog(picture.transpose(2, 0, 1)[None]), dictionary).images[0, 0]
    assert found.shape == picture.shape[:2]
    correlation = np.corrcoef(found.ravel(), picture.mean(axis=2).ravel())[0, 1]
    mirrored = np.corrcoef(found[:, ::-1].ravel(), picture.mean(axis=2).ravel())[0, 1]
    assert correlation > 0.25 > mirrored + 0.1


def test_dictionaries_are_written_and_read(dictionary: PairedDictionary, tmp_path: Path) -> None:
    path = tmp_path / "dictionary.npz"
    write_dictionary(path, dictionary)
    found = read_dictionary(path)
    np.testing.assert_array_equal(found.patches, dictionary.patches)
    np.testing.assert_array_equal(found.features, dictionary.features)
    assert found.settings == SMALL
    assert {"seed", "data_sha256", "versions", "sha256", "settings", "pictures"} <= found.card.keys()
    assert found.card["seed"] == 3


def test_damaged_dictionaries_are_refused(dictionary: PairedDictionary, tmp_path: Path) -> None:
    path = tmp_path / "dictionary.npz"
    write_dictionary(path, dictionary)
    with np.load(path) as archive:
        arrays = dict(archive)
    card = json.loads(arrays["card"].tobytes())

    def refused(complaint: str, **changed: np.ndarray) -> None:
        np.savez(path, **(arrays | changed))
        with pytest.raises(ValueError, match=complaint) as error:
            read_dictionary(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)

    def carded(**changed: object) -> np.ndarray:
        return np.frombuffer(json.dumps(card | changed).encode(), np.uint8)

    refused("damaged", patches=arrays["patches"] + np.float32(1))
    refused("float32 with 3 is needed", patches=arrays["patches"].astype(np.float64))
    refused("no HOGgles dictionary", card=carded(kind="something else"))
    refused("JSON", card=np.frombuffer(b"{", np.uint8))
    refused("settings", card=carded(settings={"atoms": 2}))
    refused("atoms is 0", card=carded(settings=card["settings"] | {"atoms": 0}))
    refused("shape", card=carded(settings=card["settings"] | {"atoms": 25}))
    refused("floats and integers", patches=np.array([{"run": "me"}], object))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="npz"):
        read_dictionary(path)
    with pytest.raises(FileNotFoundError):
        read_dictionary(tmp_path / "absent.npz")


def test_what_does_not_fit_is_refused(dictionary: PairedDictionary) -> None:
    with pytest.raises(ValueError, match=r"\(N, 32, ny, nx\)"):
        invert_hog(np.zeros((1, 31, 4, 4), np.float32), dictionary)
    with pytest.raises(ValueError, match="NaN"):
        invert_hog(np.full((1, 32, 4, 4), np.nan, np.float32), dictionary)
    with pytest.raises(ValueError, match="three cells"):
        ihog(np.zeros((1, 1, 64, 19)))
    with pytest.raises(ValueError, match="too few"):
        learn_dictionary([draw(0, 48, 48)], settings=SMALL)
    with pytest.raises(ValueError, match="no picture"):
        learn_dictionary([draw(0, 30, 80)], settings=SMALL)
    with pytest.raises(ValueError, match="sparsity"):
        HogglesSettings(sparsity=float("nan"))


def test_a_missing_package_names_its_extra() -> None:
    with pytest.raises(ValueError, match=r"caffe-port\[rivals\]"):
        extras.need("sklearn_that_is_absent")
