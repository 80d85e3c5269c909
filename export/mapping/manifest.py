"""Which shards are finished: ``manifest.json`` in the folder of the output, written anew after each."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from caffe_port.files import write_text
from export.mapping.job import Outcome
from export.mapping.shards import Shard

_MAX_BYTES = 2**28


class Manifest:
    """The finished shards of a folder.

    Parameters
    ----------
    out : the folder.
    model : the file that does the shards; a folder is of one model.

    Raises
    ------
    ValueError : if the folder is of another model, or its manifest is damaged.
    OSError : if the model or the manifest cannot be read.
    """

    def __init__(self, out: Path, model: Path) -> None:
        self._out = out
        self._path = out / "manifest.json"
        with open(model, "rb") as file:
            self._model = {"name": model.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
        self.finished: dict[str, Outcome] = {}
        if self._path.is_file():
            self._read()

    def _read(self) -> None:
        if self._path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"{self._path}: more than {_MAX_BYTES} bytes; give another folder with --out")
        try:
            stored: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
            digest = stored["model"]["sha256"]
            outcomes = [_outcome(entry) for entry in stored["shards"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(
                f"{self._path}: damaged ({error}); give another folder with --out, or remove it to begin anew"
            ) from error
        if digest != self._model["sha256"]:
            raise ValueError(
                f"{self._path}: the folder is of another model ({str(stored['model'].get('name'))[:80]}, SHA-256 "
                f"{str(digest)[:12]}...); give another one with --out"
            )
        self.finished = {outcome.shard: outcome for outcome in outcomes}

    def missing(self, shards: list[Shard]) -> list[Shard]:
        """Those that are not finished, or have changed since."""
        return [shard for shard in shards if not self._is_finished(shard)]

    def _is_finished(self, shard: Shard) -> bool:
        outcome = self.finished.get(shard.name)
        return (
            outcome is not None
            and outcome.sha256 == shard.sha256
            and (self._out / f"{shard.name}.tar").is_file()
        )

    def add(self, outcome: Outcome) -> None:
        """Note a finished shard."""
        self.finished[outcome.shard] = outcome
        entries = [dataclasses.asdict(self.finished[name]) for name in sorted(self.finished)]
        write_text(self._path, json.dumps({"model": self._model, "shards": entries}, indent=1) + "\n")


def _outcome(entry: dict[str, Any]) -> Outcome:
    outcome = Outcome(
        str(entry["shard"]),
        str(entry["sha256"]),
        int(entry["pictures"]),
        tuple(map(str, entry["skipped"])),
        str(entry["worker"]),
    )
    if Path(outcome.shard).name != outcome.shard:
        raise ValueError(f"shard {outcome.shard[:80]!r} is no file name")
    return outcome
