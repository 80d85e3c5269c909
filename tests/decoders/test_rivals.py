"""The decoders beside their rivals: the same pictures, the same metric, and nothing learned from what is inverted."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from decoders.baselines.inversion_energy import MahendranSettings
from decoders.baselines.mahendran import invert_net
from decoders.experiments import rivals
from decoders.experiments.subjects import Subject
from decoders.nets import find_net
from decoders.representations import representation
from tests.decoders.nets import grey_net
from tests.decoders.subjects import identity
from tests.photos import draw

SETTINGS = rivals.RivalsSettings(seed=3, schedule_share=0.02)


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """Blob ip1 of a small net, with a decoder that always answers mid grey."""
    features = representation("ip1", str(grey_net(tmp_path_factory.mktemp("net"))))
    pictures = np.stack([draw(seed, *features.image_size) for seed in range(3)])
    return Subject(
        "grey",
        lambda rows: np.full((len(rows), 3, *features.image_size), 128, np.float32),
        features,
        features.extract(pictures.transpose(0, 3, 1, 2).astype(np.float32)),
        ("a", "b", "c"),
        pictures,
        autoencoder=False,
    )


def test_gradient_inversion_of_a_net(subject: Subject) -> None:
    outcome = rivals.run(subject, SETTINGS)
    decoder, rival = outcome.rows
    assert (decoder["method"], rival["method"]) == ("decoder", "Mahendran & Vedaldi")
    converted, _ = find_net(subject.representation.net.name)
    settings = MahendranSettings(
        schedule=((0.004, 2), (0.0004, 4), (0.00004, 2)), tv_weight=rival["tv_weight"]
    )
    direct = invert_net(
        subject.features, converted.net, "ip1", converted.recipe, size=(20, 28), settings=settings, seed=3
    )
    pictures = subject.pictures.transpose(0, 3, 1, 2).astype(float)
    lengths = np.linalg.norm((pictures - direct.images).reshape(3, -1), axis=1)
    assert rival["error"] == pytest.approx(lengths.mean() / rival["normaliser"], rel=1e-6)
    grey = np.linalg.norm((pictures - 128).reshape(3, -1), axis=1).mean() / decoder["normaliser"]
    assert decoder["error"] == pytest.approx(grey, rel=1e-6)
    energies = list(rival["energies"].values())
    assert rival["steps"] == 8
    assert energies[0] == pytest.approx(direct.energies[:, 0].sum(axis=1).mean(), rel=1e-4)
    assert [line.name for line in rivals.charts(outcome.rows)[1].lines] == ["ip1, Mahendran & Vedaldi"]


def test_what_learns_learns_from_other_pictures() -> None:
    subject = identity(5)
    calls = []

    def invert(learn: list[np.ndarray], pictures: np.ndarray) -> np.ndarray:
        calls.append((np.stack(learn), pictures))
        return pictures.transpose(0, 3, 1, 2)

    found, facts = rivals._learned(subject, SETTINGS, invert)
    np.testing.assert_array_equal(found, subject.features)
    assert "half" in facts["learned_from"]
    for learn, pictures in calls:
        assert len(learn) + len(pictures) == 5
        assert not any(np.array_equal(one, other) for one in learn for other in pictures)


def test_pictures_to_learn_from_can_be_given(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes(next(photos.rglob("*.png")).read_bytes()[:100])
    settings = dataclasses.replace(SETTINGS, learn=(str(photos), str(tmp_path)))
    counts = []

    def invert(learn: list[np.ndarray], pictures: np.ndarray) -> np.ndarray:
        counts.append((len(learn), min(min(one.shape[:2]) for one in learn), len(pictures)))
        return pictures

    _, facts = rivals._learned(identity(5), settings, invert)
    assert counts == [(20, 256, 5)]
    assert facts["learned_from"].startswith(
        f"20 pictures of {photos}, {tmp_path}; 1 that cannot be read left out, "
    )
    assert "cut.jpg" in facts["learned_from"]


def test_missing_pictures_to_learn_from_are_told_first(subject: Subject) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: does not exist"):
        rivals.run(subject, dataclasses.replace(SETTINGS, learn=("nowhere",)))


def test_who_has_rivals(subject: Subject) -> None:
    assert rivals.unfit(subject) == ""
    assert "no rival" in rivals.unfit(dataclasses.replace(subject, autoencoder=True))
    for name, count in (("hog", 2), ("sift", 1), ("lbp", 0)):
        other = dataclasses.replace(subject, representation=representation(name))
        assert len(rivals.rivals_of(other)) == count
    assert "without" in rivals.unfit(dataclasses.replace(subject, pictures=None))
    with pytest.raises(ValueError, match="schedule_share is 0"):
        rivals.RivalsSettings(schedule_share=0)
