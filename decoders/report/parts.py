"""Parts of a report that are made once: one experiment on one model, kept in the report's folder.

A part's files are named by a hash of all that decides it: experiment, settings, the model's and its net's files, the
pictures' names and sizes, and versions. ``<hash>.npz`` holds the sheets' pictures, ``<hash>.json`` the rest, written
last.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from caffe_port.arrays import Arrays
from caffe_port.files import replacing
from decoders.experiments.outcomes import Outcome, Sheet
from decoders.stored import read_json, write_json


@dataclasses.dataclass(frozen=True)
class Part:
    """An outcome, or the reason why a model has none; and the hash it is kept under."""

    outcome: Outcome
    reason: str
    key: str


def part_key(decides: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def kept(folder: Path, decides: Mapping[str, Any], make: Callable[[], Outcome | str]) -> Part:
    """The part that ``decides`` names: read if it is there, else made and written.

    Parameters
    ----------
    make : the outcome, or the reason why there is none.

    Raises
    ------
    ValueError : if a file of the folder is damaged; the text names it.
    OSError : if it cannot be written.
    """
    key = part_key(decides)
    facts, pictures = folder / f"{key}.json", folder / f"{key}.npz"
    if facts.is_file():
        return _read(facts, pictures, key)
    made = make()
    outcome = Outcome() if isinstance(made, str) else made
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        f"sheet{i}": np.stack([np.stack(row) for row in s.panels]) for i, s in enumerate(outcome.sheets)
    }
    with replacing(pictures) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    reason = made if isinstance(made, str) else ""
    sheets = [_captions(sheet) for sheet in outcome.sheets]
    write_json(facts, {"of": dict(decides), "reason": reason, "rows": list(outcome.rows), "sheets": sheets})
    return Part(outcome, reason, key)


def _captions(sheet: Sheet) -> dict[str, Any]:
    return {
        "name": sheet.name,
        "title": sheet.title,
        "rows": list(sheet.rows),
        "columns": list(sheet.columns),
        "frames": sheet.frames,
    }


def _read(facts: Path, pictures: Path, key: str) -> Part:
    found, arrays = read_json(facts), Arrays(pictures)
    try:
        sheets = [
            Sheet(**captions, panels=[list(row) for row in arrays[f"sheet{number}"]])
            for number, captions in enumerate(found["sheets"])
        ]
        return Part(Outcome(found["rows"], sheets), found["reason"], key)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{facts}: not a part of a report ({error}); delete it to have it made again"
        ) from error
