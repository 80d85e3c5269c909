"""A narrower decoder that begins as a wider one."""

import dataclasses
from pathlib import Path

import pytest
import torch

from decoders import checkpoints, training
from decoders.config import TrainConfig
from decoders.model import Decoder
from decoders.narrowing import narrow
from decoders.specs import DECODERS


@pytest.mark.parametrize("name", ["hog", "lbp", "sift", "conv2"])
def test_maps_that_are_zero_are_the_first_to_go(name: str) -> None:
    """Without the maps that add nothing to the picture, which lie anywhere, it is the same picture."""
    wide, spec = DECODERS[name].scaled(0.125), DECODERS[name].scaled(0.1)
    source = Decoder(wide, seed=1)
    generator = torch.Generator().manual_seed(0)
    for row, thin in zip(wide.rows, spec.rows, strict=True):
        empty = torch.randperm(row.out[2], generator=generator)[thin.out[2] :]
        with torch.no_grad():
            source.rows[row.name].bias.normal_(generator=generator)
            source.rows[row.name].weight[empty] = 0
            source.rows[row.name].bias[empty] = 0
    decoder = Decoder(spec)
    decoder.load_state_dict(narrow(source.state_dict(), wide, spec))
    height, width, channels = wide.features
    features = torch.randn(2, channels, height, width, generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(decoder(features), source(features), rtol=1e-4, atol=1e-4)


def test_a_decoder_of_vectors_or_with_other_rows_is_refused() -> None:
    wide, spec = DECODERS["fc6"].scaled(0.02), DECODERS["fc6"].scaled(0.01)
    with pytest.raises(ValueError, match=r"fc6 of width 0\.01 cannot begin as one of width 0\.02"):
        narrow(Decoder(wide).state_dict(), wide, spec)
    wide = DECODERS["conv1"].scaled(0.02)
    with pytest.raises(ValueError, match="from one with the same rows"):
        narrow(Decoder(wide).state_dict(), wide, DECODERS["hog"].scaled(0.01))


def test_training_begins_there(run: Path, config: TrainConfig, tmp_path: Path) -> None:
    thin = dataclasses.replace(config, init=str(run), width=config.width / 2, steps=1, lr=1e-12)
    training.train(thin, tmp_path / "thin", quiet=True)
    before, card = checkpoints.load_run(run)
    wanted = narrow(before.state_dict(), before.spec, DECODERS["hog"].scaled(thin.width))
    after, narrowed_card = checkpoints.load_run(tmp_path / "thin")
    for name, weights in after.state_dict().items():
        torch.testing.assert_close(weights, wanted[name], rtol=0, atol=1e-9)
    assert narrowed_card["training"]["started_from"] == card["training"]
