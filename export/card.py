"""What a file of ours says of itself, in its metadata.

``caffe_port.card`` is JSON: what the file takes, where it came from, how exact it is. ``caffe_port.recorded_answers``
is JSON, too: inputs and the pictures that torch made of them, as shapes and base64.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from export.model_file import MAX_SETTING, ModelFile

CARD_FIELD = "caffe_port.card"
ANSWERS_FIELD = "caffe_port.recorded_answers"

# The outputs of decoders and pipelines; files of version 0.1 have `pictures` alone.
OUTPUTS = ("images", "pictures")
# Each kind of file: its input, and what the card must say of it.
KINDS = {
    "decoder": ("features", ("feature_shape", "feature_multiple")),
    "pipeline": (
        "photographs",
        ("feature_shape", "feature_multiple", "photograph_size", "photograph_multiple"),
    ),
    "net": ("data", ("data_shape",)),
}
_BYTES = ("photographs", "images", "pictures")  # arrays of uint8; all others are float32
_AXES = {
    "feature_shape": (1, 3),
    "photograph_size": (2,),
    "data_shape": tuple(range(8)),
}  # numbers of a shape


def read_card(model: ModelFile, source: str) -> dict[str, Any]:
    """The card of a file, with all that a session needs.

    Raises
    ------
    ValueError : if there is none, it lacks something, or the file has no seal.
    """
    text = model.metadata.get(CARD_FIELD)
    if text is None:
        raise ValueError(
            f"{source}: no metadata field {CARD_FIELD}; only files written by decoders export are run"
        )
    try:
        card = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{source}: metadata field {CARD_FIELD} is not JSON ({error}); export it again"
        ) from error
    if lacks := _lacks(card):
        raise ValueError(f"{source}: the card lacks {lacks}; export it again")
    if not model.sealed:
        raise ValueError(f"{source}: its seal is gone, so it was cut short or edited; take another copy")
    return card


def kind_of(card: dict[str, Any]) -> str:
    """A key of `KINDS`; files of version 0.1 are decoders."""
    return card.get("kind", "decoder")


def _lacks(card: Any) -> str:
    """What a card lacks that a session needs, or nothing."""
    if not isinstance(card, dict):
        return "everything: it is no object"
    if kind_of(card) not in KINDS:
        return f"a kind that is known: {', '.join(KINDS)}"
    _, needed = KINDS[kind_of(card)]
    lacking = [name for name in needed if not _is_size(card.get(name), _AXES.get(name))]
    if not isinstance(card.get("representation"), str):
        lacking.insert(0, "representation")
    return ", ".join(lacking)


def _is_size(value: Any, axes: tuple[int, ...] | None) -> bool:
    """Whether a value is a whole number in bounds, or where ``axes`` are given a list of so many."""
    if axes is not None:
        return isinstance(value, list) and len(value) in axes and all(_is_size(v, None) for v in value)
    return type(value) is int and 0 <= value <= MAX_SETTING


def write_answers(arrays: Mapping[str, np.ndarray]) -> str:
    """The metadata field for an input and an output, by their names; float32, photographs and images uint8."""
    return json.dumps(
        {
            name: {"shape": values.shape, "data": base64.b64encode(values.tobytes()).decode()}
            for name, values in arrays.items()
        }
    )


def read_answers(text: str, names: Iterable[str], source: str) -> list[np.ndarray]:
    """The arrays called ``names`` of what `write_answers` wrote.

    Raises
    ------
    ValueError : if there are none, or they are damaged.
    """
    try:
        answers = json.loads(text)
        return [_array(answers[name], np.uint8 if name in _BYTES else np.float32) for name in names]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{source}: metadata field {ANSWERS_FIELD} is missing or damaged; export it again"
        ) from error


def _array(stored: dict[str, Any], dtype: type[np.generic]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(stored["data"]), dtype).reshape(stored["shape"])
