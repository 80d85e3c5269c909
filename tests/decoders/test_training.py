"""Training: what a run leaves behind, that it learns, and that interruption loses nothing."""

import dataclasses
import itertools
import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from caffe_port.pictures import list_images
from decoders import checkpoints, training
from decoders.config import TrainConfig, learning_rate
from decoders.data import Samples, load_batches, shares
from decoders.evaluation import evaluate, read_squares
from decoders.model import Decoder
from decoders.processes import choose_device
from decoders.representations import representation
from decoders.specs import HOG
from tests.decoders.conftest import STEPS
from tests.photos import fill


def state_of(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / checkpoints.STATE)


def assert_equal_runs(first: Path, second: Path) -> None:
    one, two = state_of(first), state_of(second)
    assert one.keys() == two.keys()
    for name in one:
        assert torch.equal(one[name], two[name]), name


def log_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / checkpoints.LOG).read_text().splitlines()]


def test_a_run_folder_holds_what_made_it(run: Path, config: TrainConfig) -> None:
    assert checkpoints.read_config(run)[0] == config
    decoder, card = checkpoints.load_run(run)
    assert card["representation"] == "hog"
    assert card["training"]["step"] == STEPS
    assert card["training"]["config"]["seed"] == 0
    assert len(card["training"]["data_hash"]) == 64
    assert {"torch", "numpy", "numba", "python"} <= card["versions"].keys()
    weights = safetensors.torch.load_file(run / checkpoints.MODEL)
    assert all(torch.equal(weights[name], value) for name, value in decoder.state_dict().items())
    assert [line["step"] for line in log_of(run) if "val_error" in line] == [6, 12]
    assert sorted(path.name for path in (run / checkpoints.SAMPLES).iterdir()) == [
        "step-0000006.png",
        "step-0000012.png",
    ]
    assert not list(run.glob(".*"))


def test_tensorboard_gets_every_figure_of_the_log(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard")).Reload()
    for name in ("loss", "lr", "val_error"):
        logged = [(line["step"], line[name]) for line in log_of(run) if name in line]
        assert [event.step for event in events.Scalars(name)] == [step for step, _ in logged]
        assert [event.value for event in events.Scalars(name)] == pytest.approx(
            [value for _, value in logged]
        )


def test_training_lowers_the_error_on_what_it_saw(config: TrainConfig, photos: Path, tmp_path: Path) -> None:
    hog = representation("hog")
    seen, _ = read_squares(list_images([photos]), hog.framing)
    before = evaluate(Decoder(HOG.scaled(config.width), seed=config.seed).decode_numpy, hog, seen).error
    longer = dataclasses.replace(config, steps=80, evaluate_every=80, batch=8)
    training.train(longer, tmp_path / "run", quiet=True)
    after = evaluate(checkpoints.load_run(tmp_path / "run")[0].decode_numpy, hog, seen).error
    assert after < 0.9 * before


def test_a_run_repeats_from_its_folder_alone(run: Path, tmp_path: Path) -> None:
    training.train(checkpoints.read_config(run)[0], tmp_path / "again", quiet=True)
    assert_equal_runs(run, tmp_path / "again")


@pytest.mark.parametrize("workers", [1, 4])
def test_resume_equals_an_uninterrupted_run(
    run: Path, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """The process dies in step 8, after the checkpoint of step 5 and log lines beyond it."""
    step = training._Run._train_step

    def dying(self: training._Run, batch: object) -> dict[str, float]:
        if self.step == 8:
            raise KeyboardInterrupt
        return step(self, batch)  # type: ignore[arg-type]

    folder = tmp_path / "run"
    monkeypatch.setattr(training._Run, "_train_step", dying)
    with pytest.raises(KeyboardInterrupt):
        training.train(config, folder, quiet=True)
    monkeypatch.undo()
    assert checkpoints.load_state(folder).step == 5
    assert log_of(folder)[-1]["step"] == 6
    training.train(dataclasses.replace(config, workers=workers), folder, resume=True, quiet=True)
    assert_equal_runs(run, folder)
    assert [line["step"] for line in log_of(folder)] == [line["step"] for line in log_of(run)]


def test_ctrl_c_leaves_a_resumable_run(run: Path, config: TrainConfig, tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while not (folder / checkpoints.STATE).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    outcome = training.train(config, folder, quiet=True)
    thread.join()
    if outcome.step < STEPS:  # it may have been done before the signal came
        assert checkpoints.load_state(folder).step == outcome.step >= 5
        training.train(config, folder, resume=True, quiet=True)
    assert_equal_runs(run, folder)


def test_a_checkpoint_cut_short_while_written_leaves_the_last_one(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    before = (folder / checkpoints.STATE).read_bytes()

    def full_disk(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    model, _ = checkpoints.load_run(folder)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save_state(folder, 99, 0.0, model, torch.optim.Adam(model.parameters()))
    assert (folder / checkpoints.STATE).read_bytes() == before
    assert not list(folder.glob(".*"))


def test_damaged_checkpoints_are_named(run: Path, config: TrainConfig, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    state = folder / checkpoints.STATE
    whole = state.read_bytes()
    for damage in (whole[: len(whole) // 2], b"", b"\xff" * 64, b"\0" * 8 + whole[8:]):
        state.write_bytes(damage)
        with pytest.raises(ValueError, match=r"state\.safetensors: damaged"):
            training.train(config, folder, resume=True, quiet=True)
    (folder / checkpoints.MODEL).write_bytes(whole)
    with pytest.raises(ValueError, match=r"model\.safetensors: tensor .* another decoder"):
        checkpoints.load_run(folder)
    (folder / checkpoints.CONFIG).write_text("{")
    with pytest.raises(ValueError, match=r"config\.json: not JSON"):
        checkpoints.load_run(folder)


def test_a_second_run_does_not_overwrite_the_first(run: Path, config: TrainConfig) -> None:
    with pytest.raises(FileExistsError, match="--resume"):
        training.train(config, run, quiet=True)


@pytest.mark.parametrize(("field", "value"), [("lr", 0.01), ("seed", 3), ("width", 0.125), ("batch", 5)])
def test_resuming_with_other_settings_is_refused(
    run: Path, config: TrainConfig, field: str, value: float
) -> None:
    with pytest.raises(ValueError, match=f"{field} was .* is {value}"):
        training.train(dataclasses.replace(config, **{field: value}), run, resume=True, quiet=True)


def test_a_run_can_be_lengthened_before_its_rate_falls(
    run: Path, config: TrainConfig, tmp_path: Path
) -> None:
    short = dataclasses.replace(config, steps=8, checkpoint_every=4)
    step = training._Run._train_step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training._Run, "_train_step", lambda self, b: step(self, b) if self.step < 4 else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            training.train(short, tmp_path / "run", quiet=True)
    training.train(config, tmp_path / "run", resume=True, quiet=True)
    assert_equal_runs(run, tmp_path / "run")
    assert checkpoints.read_config(tmp_path / "run")[0] == config


@pytest.mark.parametrize("steps", [6, 20])
def test_a_run_cannot_change_length_once_its_rate_fell(run: Path, config: TrainConfig, steps: int) -> None:
    with pytest.raises(ValueError, match=f"was to take 12 steps and has done 12; {steps} steps"):
        training.train(dataclasses.replace(config, steps=steps), run, resume=True, quiet=True)


def test_a_run_can_start_from_another_s_weights(run: Path, config: TrainConfig, tmp_path: Path) -> None:
    config = dataclasses.replace(config, init=str(run), steps=5, lr=1e-12)
    training.train(config, tmp_path / "run", quiet=True)
    before, _ = checkpoints.load_run(run)
    after, card = checkpoints.load_run(tmp_path / "run")
    for one, two in zip(before.parameters(), after.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-9)
    assert card["training"]["started_from"]["step"] == STEPS
    assert checkpoints.read_config(tmp_path / "run")[1].started_from == card["training"]["started_from"]
    wider = dataclasses.replace(config, width=0.125)
    with pytest.raises(ValueError, match="another decoder"):
        training.train(wider, tmp_path / "wider", quiet=True)
    assert not (tmp_path / "wider").exists()


def test_resuming_with_other_pictures_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    photos = fill(tmp_path / "photos", 20)
    config = dataclasses.replace(config, images=(str(photos),), steps=5)
    training.train(config, tmp_path / "run", quiet=True)
    fill(photos, 2, first=20)
    with pytest.raises(ValueError, match="training pictures are not those"):
        training.train(config, tmp_path / "run", resume=True, quiet=True)


def test_unreadable_pictures_are_counted_and_named_or_refused(config: TrainConfig, tmp_path: Path) -> None:
    photos = fill(tmp_path / "photos", 8)
    for number in range(8):
        (photos / f"torn-{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    config = dataclasses.replace(
        config, images=(str(photos),), val=(str(fill(tmp_path / "val", 2)),), steps=6
    )
    outcome = training.train(config, tmp_path / "run", quiet=True)
    assert 1 <= len(outcome.unreadable) <= 8
    assert all("torn-" in line for line in outcome.unreadable)
    assert log_of(tmp_path / "run")[0]["unreadable"] >= 1
    with pytest.raises(ValueError, match=r"torn-.*--strict"):
        training.train(dataclasses.replace(config, strict=True), tmp_path / "strict", quiet=True)


def samples(photos: Path, seed: int = 0) -> Samples:
    hog = representation("hog")
    return Samples(
        list_images([photos]),
        hog.framing.for_training(64, 1.0),
        extract=hog.extract,
        seed=seed,
        cache_bytes=2**20,
    )


def test_order_depends_on_seed_and_position_alone(photos: Path) -> None:
    steps = [
        [batch.images for batch in load_batches(samples(photos), shares(range(28), 7), workers=workers)]
        for workers in (1, 3)
    ]
    for one, three in zip(*steps, strict=True):
        assert np.array_equal(one, three)
    later = next(iter(load_batches(samples(photos), [range(24, 28)], workers=1)))
    assert np.array_equal(later.images, steps[0][6])
    other = next(iter(load_batches(samples(photos, seed=1), [range(4)], workers=1)))
    assert not np.array_equal(other.images, steps[0][0])


def test_each_epoch_visits_every_picture_once(photos: Path) -> None:
    drawn = samples(photos)
    orders = [drawn._draw_order(epoch) for epoch in range(2)]
    for order in orders:
        assert sorted(order) == list(range(20))
    assert not np.array_equal(*orders)


def test_features_are_those_of_the_crop(photos: Path) -> None:
    batch = samples(photos).batch(range(3))
    assert np.array_equal(batch.features, representation("hog").extract(batch.images))
    assert batch.features.shape == (3, 31, 8, 8)


def test_learning_rate_rises_stays_and_falls(config: TrainConfig) -> None:
    config = dataclasses.replace(config, lr=0.001, warmup=100)
    rates = [learning_rate(config, step, 1000) for step in range(1000)]
    assert rates[0] == pytest.approx(1e-5)
    assert rates[99:600] == [0.001] * 501
    assert rates[600] == 0.0005
    assert rates[-1] == pytest.approx(0.001 / 32)
    assert sum(before != after for before, after in itertools.pairwise(rates[100:])) == 5


@pytest.mark.parametrize(
    ("field", "value"),
    [("image_size", 100), ("image_size", 0), ("batch", 0), ("lr", -1.0), ("steps", 0), ("val_fraction", 1.0),
     ("val_images", 1), ("seed", -1), ("workers", 0), ("width", 9.0),
     ("accumulate", 0), ("precision", "fp8"), ("crops", -1), ("feature_cache", "folder")],
)  # fmt: skip
def test_bad_settings_are_named(config: TrainConfig, field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field}|width is"):
        dataclasses.replace(config, **{field: value})


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "tpu", "meta"])
def test_absent_devices_are_refused(device: str) -> None:
    if device.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("a CUDA device is here")
    with pytest.raises(ValueError, match="device is"):
        choose_device(device)
