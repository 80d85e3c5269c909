"""The experiments against slow versions, closed forms and SciPy; with decoders whose answers are known."""

import dataclasses

import cv2
import numpy as np
import pytest
import scipy.special
import scipy.stats

from decoders.experiments import brightness, color, errors, interpolate, perturb, sample, units
from decoders.experiments.bootstrap import mean_interval
from decoders.experiments.files import animation
from decoders.experiments.outcomes import Outcome, Sheet, as_csv, join
from decoders.experiments.perturbations import binarise, drop_least
from decoders.experiments.random_features import Histograms, ShiftedGaussian
from decoders.experiments.subjects import Subject
from decoders.representations import KERNELS, representation
from tests.decoders.subjects import identity
from tests.photos import draw


def shifted(subject: Subject, by: float) -> Subject:
    """The same with a decoder that errs by ``by`` grey levels everywhere."""
    return dataclasses.replace(subject, decode=lambda features: features + np.float32(by))


def pairs_mean(pictures: np.ndarray) -> float:
    values = pictures.astype(float).reshape(len(pictures), -1)
    distances = [np.linalg.norm(a - b) for i, a in enumerate(values) for b in values[:i]]
    return float(np.mean(distances))


def test_interval_is_scipy_s() -> None:
    values = np.random.default_rng(1).gamma(2, size=60)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(9)
    ).confidence_interval
    ours = mean_interval(values, seed=3, samples=20000)
    np.testing.assert_allclose(ours, theirs, atol=0.02 * values.std())
    assert ours == mean_interval(values, seed=3, samples=20000)
    assert ours != mean_interval(values, seed=4, samples=20000)
    assert mean_interval(np.full(5, 2.0), seed=0) == (2, 2)
    with pytest.raises(ValueError, match="one value or more"):
        mean_interval(np.empty(0), seed=0)


def test_error_is_the_paper_s() -> None:
    subject = shifted(identity(), 3)
    (row,) = errors.run(subject, errors.ErrorsSettings()).rows
    expected = 3 * np.sqrt(3 * 8 * 8) / pairs_mean(subject.shown(4))
    assert row["error"] == pytest.approx(expected)
    assert row["errors"] == pytest.approx([expected] * 4, abs=1e-6)
    assert (row["low"], row["high"]) == pytest.approx((expected, expected))
    assert row["pictures"] == 4


def test_smaller_reconstructions_are_enlarged_bilinearly() -> None:
    subject = identity()
    small = dataclasses.replace(subject, decode=lambda features: features[:, :, ::2, ::2])
    decoded = np.concatenate(list(small.decoded(subject.features)))
    assert decoded.shape == subject.features.shape
    expected = cv2.resize(subject.features[1, 2, ::2, ::2], (8, 8), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(decoded[1, 2], expected)


def test_perturbed_errors_are_of_perturbed_features() -> None:
    subject = identity()
    rows = {row["perturbation"]: row for row in perturb.run(subject, perturb.PerturbSettings(seed=2)).rows}
    assert list(rows) == list(perturb.PERTURBATIONS)
    assert rows["none"]["error"] == 0
    changed = binarise(drop_least(subject.features, 0.5))
    distance = np.linalg.norm((changed - subject.features).reshape(4, -1), axis=1).mean()
    assert rows["bin-drop50least"]["error"] == pytest.approx(distance / pairs_mean(subject.shown(4)))
    again = perturb.run(subject, perturb.PerturbSettings(seed=2)).rows
    other = perturb.run(subject, perturb.PerturbSettings(seed=3)).rows
    assert again[2] == rows["drop50"]
    assert other[2]["error"] != rows["drop50"]["error"]


def test_features_alone_are_decoded_without_errors() -> None:
    alone = dataclasses.replace(
        identity(side=256), pictures=None, features=np.ones((2, 3, 256, 256), np.float32)
    )
    outcome = perturb.run(
        dataclasses.replace(alone, representation=_portrayed(alone)), perturb.PerturbSettings()
    )
    assert all("error" not in row for row in outcome.rows)
    assert len(outcome.sheets[0].panels[0]) == 1 + len(perturb.PERTURBATIONS)


def _portrayed(subject: Subject) -> object:
    return dataclasses.replace(subject.representation, portrait=lambda features: features[0])


def test_interpolation_goes_from_one_end_to_the_other() -> None:
    subject = identity()
    outcome = interpolate.run(subject, interpolate.InterpolateSettings(steps=5, pairs=2))
    (sheet,) = outcome.sheets
    assert len(sheet.panels) == 2
    for first, row in zip((0, 2), sheet.panels, strict=True):
        ends = subject.shown(4)[first], subject.shown(4)[first + 1]
        for panel, picture in zip(
            (row[0], row[1], row[-2], row[-1]), np.repeat(ends, 2, axis=0), strict=True
        ):
            np.testing.assert_array_equal(panel, picture)
        middle = (ends[0].astype(float) + ends[1]) / 2
        assert np.abs(row[3] - middle).max() <= 0.5
    np.testing.assert_allclose(outcome.rows[0]["rms_steps"], np.mean(outcome.rows[0]["rms_steps"]), rtol=0.1)


def test_animation_has_all_frames_and_returns() -> None:
    frames = [np.full((16, 16, 3), value, np.uint8) for value in (0, 120, 240)]
    _, film = cv2.imdecodeanimation(np.frombuffer(animation([frames, frames]), np.uint8))
    means = [frame[..., :3].mean() for frame in film.frames]
    np.testing.assert_allclose(means, [0, 120, 240, 120], atol=6)
    assert film.frames[0].shape[:2] == (32, 16)


def test_histograms_repeat_what_they_were_made_of() -> None:
    rng = np.random.default_rng(0)
    features = np.maximum(rng.standard_normal((300, 5)) + np.array([-1, 0, 1, 3, -9]), 0).astype(np.float32)
    histograms = Histograms.of(features, 8)
    for dimension in range(5):
        column = features[:, dimension]
        positive = column[column != 0]
        assert histograms.counts[dimension, 0] == (column == 0).sum()
        expected = np.histogram(positive, 8)[0] if len(positive) else np.zeros(8)
        assert np.abs(histograms.counts[dimension, 1:] - expected).sum() <= 2  # float32 against float64 edges
    drawn = histograms.sample(20000, seed=1)
    np.testing.assert_allclose((drawn == 0).mean(axis=0), (features == 0).mean(axis=0), atol=0.015)
    np.testing.assert_allclose(drawn.mean(axis=0), features.mean(axis=0), atol=0.05)
    assert not drawn[:, 4].any()
    assert (drawn.max(axis=0) <= features.max(axis=0) * (1 + 1e-6)).all()
    assert np.abs(np.corrcoef(drawn[:, :4].T) - np.eye(4)).max() < 0.04  # independent
    assert np.array_equal(drawn[:5], histograms.sample(20000, seed=1)[:5])
    assert not np.array_equal(drawn[:5], histograms.sample(20000, seed=2)[:5])


def test_gaussian_meets_sparsity_and_mean() -> None:
    features = np.random.default_rng(0).exponential(size=(100, 50))
    features *= np.random.default_rng(1).random((100, 50)) < 0.2
    fitted = ShiftedGaussian.of(features)
    assert fitted.truncated
    above = scipy.stats.truncnorm(
        -fitted.mean / fitted.deviation, np.inf, loc=fitted.mean, scale=fitted.deviation
    )
    assert above.mean() == pytest.approx(features[features > 0].mean(), rel=1e-6)
    assert scipy.stats.norm.cdf(fitted.mean / fitted.deviation) == pytest.approx((features > 0).mean())
    drawn = fitted.sample((400, 500), seed=0)
    assert drawn.min() == 0
    assert (drawn > 0).mean() == pytest.approx((features > 0).mean(), abs=0.005)
    scores = ShiftedGaussian.of(features - 0.1)
    assert (scores.mean, scores.deviation) == pytest.approx((features.mean() - 0.1, features.std()))
    assert not scores.truncated


def test_samples_are_decoded_at_twice_their_size() -> None:
    subject = identity()
    seen = []
    spy = dataclasses.replace(subject, decode=lambda features: seen.append(features) or features)
    outcome = sample.run(spy, sample.SampleSettings(seed=5, count=3, alpha=2.0, bins=4))
    drawn = Histograms.of(subject.features.reshape(4, -1), 4).sample(3, 5)
    np.testing.assert_array_equal(seen[0].reshape(3, -1), 2 * drawn)
    assert [row["kind"] for row in outcome.rows] == ["histograms", "shifted Gaussian"]
    assert [len(row) for row in outcome.sheets[0].panels] == [3, 3]


def test_one_unit_is_switched_on_in_the_middle() -> None:
    subject = identity()
    seen = []
    spy = dataclasses.replace(subject, decode=lambda features: seen.append(features) or features)
    units.run(spy, units.UnitsSettings(unit=(2, 0), strength=0.5))
    assert np.argwhere(seen[0]).tolist() == [[0, 2, 4, 4], [1, 0, 4, 4]]
    assert seen[0][0, 2, 4, 4] == subject.features[:, 2].max() / 2
    rows = units.run(subject, units.UnitsSettings(count=3)).rows
    largest = subject.features.max(axis=(0, 2, 3))
    assert [row["unit"] for row in rows] == np.argsort(-largest, kind="stable").tolist()
    with pytest.raises(ValueError, match="unit 3 is not one of 0 to 2"):
        units.run(subject, units.UnitsSettings(unit=(3,)))


def test_brightness_of_hog_and_of_pixels() -> None:
    pixels = dataclasses.replace(
        identity(),
        representation=dataclasses.replace(
            KERNELS["hog"], features_of=lambda pictures: pictures.transpose(0, 3, 1, 2)
        ),
    )
    (row, _) = brightness.run(pixels, brightness.BrightnessSettings(factor=(3.0, 1.0))).rows
    assert row["feature_change"] == pytest.approx(2)
    length = np.linalg.norm(pixels.features.reshape(4, -1), axis=1).mean()
    assert row["error"] == pytest.approx(2 * length / pairs_mean(pixels.shown(4)), rel=1e-5)
    hog = representation("hog")
    picture = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3)).astype(np.uint8)
    textured = picture.transpose(0, 3, 1, 2).astype(np.float32)
    ten, one = hog.extract(textured * 10), hog.extract(textured)
    assert np.linalg.norm(ten - one) < 1e-4 * np.linalg.norm(one)
    assert "mean" in brightness.unfit(
        dataclasses.replace(pixels, representation=representation("fc6", "caffenet-mini"))
    )


def test_hue_turns_red_to_green_to_blue() -> None:
    red = np.full((2, 2, 3), (200, 0, 0), np.uint8)
    assert color.turn_hue(red, 120)[0, 0].tolist() == [0, 200, 0]
    assert color.turn_hue(red, 240)[0, 0].tolist() == [0, 0, 200]
    mask = np.array([[True, False], [False, False]])
    turned = color.turn_hue(red, 120, mask)
    assert turned[0, 0].tolist() == [0, 200, 0]
    assert (turned[~mask] == red[~mask]).all()
    picture = draw(3, 20, 20)
    assert np.abs(color.turn_hue(picture, 360).astype(int) - picture).max() <= 1


def test_softmax_is_scipy_s() -> None:
    scores = np.random.default_rng(0).normal(scale=300, size=(3, 7)).astype(np.float32)
    np.testing.assert_allclose(
        color.softmax(scores), scipy.special.softmax(scores.astype(float), axis=1), atol=1e-12
    )


def test_colour_of_class_scores() -> None:
    fc8 = representation("fc8", "caffenet-mini")
    pictures = np.stack([draw(seed, 64, 64) for seed in range(3)])
    features = fc8.extract(pictures.transpose(0, 3, 1, 2).astype(np.float32))

    def decode(scores: np.ndarray) -> np.ndarray:
        return scores[:, :3, None, None].repeat(64, axis=2).repeat(64, axis=3)

    subject = Subject("fc8", decode, fc8, features, ("a", "b", "c"), pictures, autoencoder=False)
    assert color.unfit(subject) == ""
    outcome = color.run(subject, color.ColorSettings(shown=2))
    assert len(outcome.rows) == 2 * 3 * 3
    plain, only = (outcome.rows[i] for i in (0, 3))
    expected = scipy.special.softmax(features[0].astype(float))
    assert (plain["class"], plain["hue"], plain["scores"]) == (int(features[0].argmax()), 0, "all")
    assert plain["confidence"] == pytest.approx(expected.max(), rel=1e-4)
    assert only["class"] == plain["class"]
    rest = {row["class"] for row in outcome.rows if row["picture"] == "a" and row["hue"] == 0}
    best = np.argsort(-features[0])[:6]
    assert rest == {int(best[0]), int(best[5])} or features[0][best[5]] <= 0
    other = dataclasses.replace(subject, representation=representation("fc6", "caffenet-mini"))
    assert "Softmax" in color.unfit(other)


def test_sheets_are_joined_row_by_row() -> None:
    panels = [[np.full((4, 6, 3), 10 * r + c, np.uint8) for c in range(3)] for r in range(2)]
    joined = Sheet("s", "t", ("a", "b"), ("x", "y", "z"), panels).joined()
    assert joined.shape == (4 + 4 + 4, 6 + 4 + 6 + 4 + 6, 3)
    assert joined[0, 0, 0] == 0
    assert joined[11, 25, 0] == 12
    assert joined[5, 0, 0] == 255


def test_tables_leave_lists_out() -> None:
    rows = join([Outcome([{"a": 1, "b": [1, 2]}]), Outcome([{"a": 2, "c": "x, y"}])]).rows
    assert as_csv(rows) == 'a,c\n1,\n2,"x, y"\n'
