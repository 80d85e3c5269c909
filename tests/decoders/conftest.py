"""A small run that several tests look at."""

from pathlib import Path

import pytest
import torch

from decoders.config import TrainConfig
from decoders.training import train
from tests.photos import fill

STEPS = 12


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Networks this small run fastest on one thread, above all beside other processes."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty synthetic pictures."""
    return fill(tmp_path_factory.mktemp("photos"), 20)


@pytest.fixture(scope="session")
def config(photos: Path) -> TrainConfig:
    """Settings of a run that takes seconds."""
    return TrainConfig(
        representation="hog",
        images=(str(photos),),
        val_fraction=0.2,
        width=0.0625,
        steps=STEPS,
        batch=4,
        lr=0.003,
        warmup=3,
        image_size=64,
        checkpoint_every=5,
        evaluate_every=6,
        val_images=3,
    )


@pytest.fixture(scope="session")
def run(config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run; tests must not change it."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    outcome = train(config, folder, quiet=True)
    assert outcome.step == STEPS
    return folder
