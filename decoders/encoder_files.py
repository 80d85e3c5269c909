"""The encoder of an exported autoencoder: a converted net in a file of its own, beside the decoder's.

``X.onnx`` holds the decoder; its card names ``X.encoder.safetensors`` and the SHA-256 of that file, so that the two
cannot be mixed up with others.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SUFFIX = ".encoder.safetensors"
FIELD = "encoder"  # of the card: an object of `file`, a name without a folder, and `sha256`


def encoder_path(decoder: Path) -> Path:
    """Where the encoder of an ``.onnx`` file is written."""
    return decoder.with_name(decoder.stem + SUFFIX)


def entry(path: Path, name: str) -> dict[str, str]:
    """The card's field for the encoder that lies in ``path`` and shall be called ``name``."""
    return {"file": name, "sha256": _sha256(path)}


def find_encoder(card: Mapping[str, Any], decoder: Path) -> Path:
    """The encoder beside an exported autoencoder's file, once its hash is known to be the card's.

    Raises
    ------
    ValueError, FileNotFoundError : if the card names none, it is not there, or it is damaged or another one; the text
        names file and field, and says what to do.
    """
    recorded = card.get(FIELD)
    if not isinstance(recorded, dict):
        raise ValueError(
            f"{decoder}: the card has no field {FIELD}: the decoder of an autoencoder, exported without its encoder; "
            "export its run folder again"
        )
    name, digest = recorded.get("file"), recorded.get("sha256")
    if not isinstance(name, str) or not name.endswith(SUFFIX) or name != Path(name).name:
        raise ValueError(
            f"{decoder}: field {FIELD}.file is {str(name)[:80]!r}, no name that ends in {SUFFIX}; export it again"
        )
    path = decoder.with_name(name)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: missing; field {FIELD}.file of {decoder} names it: put it beside that file under this name, or "
            "export the run folder again"
        )
    found = _sha256(path)
    if found != digest:
        raise ValueError(
            f"{path}: SHA-256 {found[:12]}..., field {FIELD}.sha256 of {decoder} is {str(digest)[:12]}...: the encoder "
            "is damaged or another decoder's; copy the two files together again, or export the run folder again"
        )
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
