"""Decoders of nets: a frozen encoder stays what it is, a trained one is kept with its decoder."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from decoders import checkpoints, training
from decoders.config import TrainConfig
from decoders.images import to_batch
from decoders.representations import representation
from tests.decoders.nets import grey_net
from tests.decoders.test_training import assert_equal_runs
from tests.photos import draw

STEPS = 8


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grey_net(tmp_path_factory.mktemp("net"))


@pytest.fixture(scope="module")
def frozen(config: TrainConfig, net: Path) -> TrainConfig:
    own = {"representation": "ip1", "net": str(net), "image_size": None}
    return dataclasses.replace(config, **own, steps=STEPS, warmup=2, evaluate_every=4)


@pytest.fixture(scope="module")
def tuned(frozen: TrainConfig) -> TrainConfig:
    return dataclasses.replace(frozen, autoencoder=True)


@pytest.fixture(scope="module")
def frozen_run(frozen: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frozen") / "run"
    training.train(frozen, folder, quiet=True)
    return folder


@pytest.fixture(scope="module")
def tuned_run(tuned: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned") / "run"
    training.train(tuned, folder, quiet=True)
    return folder


def encoder_of(name: str, net: str) -> dict[str, torch.Tensor]:
    encoder = representation(name, net).encoder
    assert encoder is not None
    return encoder.state_dict()


def tensors_of(run: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(run / checkpoints.MODEL)


def test_training_leaves_a_frozen_encoder_bit_for_bit(
    net: Path, frozen: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, opened = net.read_bytes(), representation("ip1", str(net))
    before = {name: value.clone() for name, value in encoder_of("ip1", str(net)).items()}
    monkeypatch.setattr(training, "representation", lambda *_: opened)
    training.train(frozen, tmp_path / "run", quiet=True)
    assert opened.encoder is not None
    for name, value in opened.encoder.state_dict().items():
        assert value.numpy().tobytes() == before[name].numpy().tobytes(), name
    assert net.read_bytes() == file
    assert not any(name.startswith("encoder") for name in tensors_of(tmp_path / "run"))


def test_a_frozen_run_names_its_net_and_table(frozen_run: Path, net: Path) -> None:
    config = json.loads((frozen_run / checkpoints.CONFIG).read_text())
    assert config["net_identity"] == {
        "name": str(net),
        "sha256": representation("ip1", str(net)).net.sha256,
        "blob": "ip1",
    }  # type: ignore[union-attr]
    assert config["decoder"]["rows"][0]["name"] == "fc1"
    decoder, card = checkpoints.load_run(frozen_run)
    assert card["net"]["blob"] == "ip1"
    assert not card["autoencoder"]
    assert decoder.spec.feature_shape == (9,)
    assert decoder.decode(torch.zeros(2, 9)).shape == (2, 3, 32, 32)  # 20 / 32 and 28 / 32 round to 1


def test_features_are_brought_to_unit_size(frozen_run: Path, photos: Path) -> None:
    decoder, row, _ = checkpoints.open_run(frozen_run)
    pictures = [row.framing.centre(draw(seed)) for seed in range(20)]
    scaled = row.extract(to_batch(pictures)) * decoder.spec.feature_scale
    assert 0.8 < np.sqrt(np.square(scaled).mean()) < 1.25


def test_an_autoencoder_trains_its_encoder_and_keeps_it(tuned_run: Path, net: Path) -> None:
    before = encoder_of("ip1", str(net))
    found = {name.removeprefix("encoder."): value for name, value in tensors_of(tuned_run).items()}
    assert len(before) == 4
    for name, value in before.items():
        assert not torch.equal(found[name], value), name
    decoder, row, card = checkpoints.open_run(tuned_run)
    assert card["autoencoder"]
    assert row.encoder is not None
    for name, value in row.encoder.state_dict().items():
        assert torch.equal(found[name], value), name
    images = to_batch([draw(1, 20, 28)])
    assert not np.allclose(row.extract(images), representation("ip1", str(net)).extract(images))
    assert set(decoder.state_dict()) == {name for name in found if name.startswith("rows")}


@pytest.mark.parametrize("kind", ["frozen", "tuned"])
def test_resume_equals_an_uninterrupted_run(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    config, run = request.getfixturevalue(kind), request.getfixturevalue(f"{kind}_run")
    step = training._Run._train_step

    def dying(self: training._Run, batch: object) -> dict[str, float]:
        if self.step == 7:
            raise KeyboardInterrupt
        return step(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(training._Run, "_train_step", dying)
    with pytest.raises(KeyboardInterrupt):
        training.train(config, tmp_path / "run", quiet=True)
    monkeypatch.undo()
    assert checkpoints.load_state(tmp_path / "run").step == 5
    training.train(config, tmp_path / "run", resume=True, quiet=True)
    assert_equal_runs(run, tmp_path / "run")


def test_a_checkpoint_holds_adam_s_moments_of_the_encoder_too(
    frozen_run: Path, tuned_run: Path, net: Path
) -> None:
    frozen, tuned = (checkpoints.load_state(run).tensors for run in (frozen_run, tuned_run))
    moments = {
        f"adam.encoder.{name}.{key}"
        for name in encoder_of("ip1", str(net))
        for key in ("step", "exp_avg", "exp_avg_sq")
    }
    assert tuned.keys() - frozen.keys() == moments | {
        f"model.encoder.{name}" for name in encoder_of("ip1", str(net))
    }
    assert all(tuned[name].abs().sum() > 0 for name in moments)


def test_an_autoencoder_can_start_from_a_decoder(
    frozen_run: Path, tuned: TrainConfig, net: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(tuned, init=str(frozen_run), lr=1e-12, steps=1)
    training.train(config, tmp_path / "run", quiet=True)
    expected = tensors_of(frozen_run) | {f"encoder.{n}": t for n, t in encoder_of("ip1", str(net)).items()}
    found = tensors_of(tmp_path / "run")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=1e-9), name
    scales = [checkpoints.read_config(run)[1].decoder.feature_scale for run in (frozen_run, tmp_path / "run")]
    assert scales[0] == scales[1]


def test_another_net_is_refused(frozen_run: Path, frozen: TrainConfig, net: Path, tmp_path: Path) -> None:
    other = grey_net(tmp_path, seed=1)
    with pytest.raises(ValueError, match="give the right net with --net"):
        checkpoints.open_run(frozen_run, str(other))
    with pytest.raises(ValueError, match="net was "):
        training.train(dataclasses.replace(frozen, net=str(other)), frozen_run, resume=True, quiet=True)
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(net.read_bytes())
    assert checkpoints.open_run(frozen_run, str(moved))[1].shape == (9,)


@pytest.mark.parametrize(("changes", "said"), [
    ({"representation": "hog", "net": "", "autoencoder": True}, "hog has no net"),
    ({"representation": "hog"}, "computed without a net"),
    ({"representation": "ip1", "net": ""}, "'ip1' is unknown"),
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(
    frozen: TrainConfig, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(frozen, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{"image_size": 64}, {"zoom": 1.5}])
def test_nets_take_pictures_of_their_own_size(
    frozen: TrainConfig, tmp_path: Path, changes: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match="the net takes pictures of 20x28, warped and cut as Caffe does"):
        training.train(dataclasses.replace(frozen, **changes), tmp_path / "run", quiet=True)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()
