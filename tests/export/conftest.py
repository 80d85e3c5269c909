"""A tiny trained-looking decoder and its exported files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from decoders.cards import training_card
from decoders.config import TrainConfig
from decoders.model import Decoder
from decoders.representations import representation
from decoders.rows import DecoderSpec
from decoders.specs import DECODERS
from export.to_onnx import ExportOptions, export_decoder
from tests.photos import draw


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Networks this small run fastest on one thread, above all beside other processes."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def decoder() -> Decoder:
    """Random weights are as good as trained ones for comparing two runtimes."""
    return Decoder(spec(), seed=7).eval()


def config() -> TrainConfig:
    return TrainConfig(representation="hog", images=("nowhere",), width=0.0625)


def spec() -> DecoderSpec:
    return DECODERS["hog"].scaled(config().width)


@pytest.fixture(scope="session")
def card() -> dict[str, Any]:
    return training_card(
        config(),
        representation("hog"),
        spec(),
        step=3,
        seconds=36.0,
        pictures=20,
        origin={"data_hash": "00" * 32},
        evaluation=None,
    )


@pytest.fixture(scope="session", params=["fp32", "fp16"])
def precision(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def exported(
    decoder: Decoder, card: dict[str, Any], precision: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An exported file of either precision."""
    path = tmp_path_factory.mktemp("exported") / f"{precision}.onnx"
    write(decoder, card, path, ExportOptions(precision))
    return path


@pytest.fixture(scope="session")
def small(decoder: Decoder, card: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One exported file, for what does not depend on the precision."""
    path = tmp_path_factory.mktemp("small") / "hog.onnx"
    write(decoder, card, path, ExportOptions())
    return path


@pytest.fixture(scope="session")
def pipeline(decoder: Decoder, card: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same decoder as a pipeline, from photographs to pictures through HOG."""
    path = tmp_path_factory.mktemp("pipeline") / "pipeline.onnx"
    write(decoder, card, path, ExportOptions(kind="pipeline"))
    return path


def photographs() -> list[np.ndarray]:
    """Of several sizes."""
    return [draw(0, 96, 128), draw(1, 300, 200), draw(2, 64, 64)]


def write(decoder: Decoder, card: dict[str, Any], path: Path, options: ExportOptions) -> dict[str, Any]:
    """Export a decoder of HOG."""
    features = representation(card["representation"])
    return export_decoder(decoder, features, card, path, calibration=photographs(), options=options)
