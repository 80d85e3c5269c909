"""Settings of a run: written to its folder and read back, damaged ones refused."""

import json
import re

import pytest

from decoders.config import TrainConfig


def test_settings_survive_json(config: TrainConfig) -> None:
    written = json.loads(json.dumps(config.as_json()))
    assert TrainConfig.from_json(written, "config.json") == config


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("net", {"name": "lenet"}, "field 'net' is {'name': 'lenet'}, not of kind str"),
        ("batch", "64", "field 'batch' is '64', not of kind int"),
        ("strict", 1, "field 'strict' is 1, not of kind bool"),
        ("batchsize", 64, "field 'batchsize' is unknown"),
        ("lr", "fast", "a field is of the wrong kind"),
    ],
)
def test_damaged_settings_are_refused(config: TrainConfig, field: str, value: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"run/config.json: {complaint}")):
        TrainConfig.from_json(config.as_json() | {field: value}, "run/config.json")
