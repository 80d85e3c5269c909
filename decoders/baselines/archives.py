"""What the rivals learn, as files: an .npz of arrays with a card; bounded, checked, nothing unpickled.

The card, JSON in an array of bytes, holds the file's kind, settings, seed, data, versions, and a SHA-256 of the other
arrays: their names, types, shapes and numbers.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from caffe_port.arrays import Arrays
from caffe_port.files import replacing
from caffe_port.versions import versions

CARD = "card"
MAX_CARD = 2**20


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


Settings = TypeVar("Settings", bound=_Dataclass)
Fields = Mapping[str, tuple[str, int]]  # name -> dtype, axes


def rival_versions() -> dict[str, str]:
    """Versions of what decides the numbers, the extra `rivals` included."""
    return versions() | {name: version(name) for name in ("scikit-learn", "scipy")}


def digest_picture(digest: Any, picture: NDArray) -> None:
    """Take one picture, uint8, into a digest of the data."""
    digest.update(f"{picture.shape}".encode() + np.ascontiguousarray(picture).tobytes())


def write_archive(
    path: str | os.PathLike[str], kind: str, arrays: Mapping[str, NDArray], card: Mapping[str, Any]
) -> None:
    """Write arrays with their card; the file is replaced whole or not at all. OSError if it cannot be written."""
    text = json.dumps({"kind": kind, **card, "sha256": _digest(arrays)})
    with replacing(path) as file:
        np.savez(file, allow_pickle=False, card=np.frombuffer(text.encode(), np.uint8), **arrays)


def read_archive(
    path: str | os.PathLike[str], kind: str, fields: Fields
) -> tuple[dict[str, NDArray], dict[str, Any]]:
    """Read the arrays named in `fields` and the card.

    Raises
    ------
    ValueError
        The file is damaged, of another kind, too large, or lacks an array; the text names file and array.
    OSError
        The file cannot be read.
    """
    archive = Arrays(path)
    if missing := [name for name in (CARD, *fields) if name not in archive]:
        raise ValueError(f"{path}: array {missing[0]!r} is missing; a {kind} is needed")
    text = archive[CARD]
    if text.dtype != np.uint8 or text.size > MAX_CARD:
        raise ValueError(f"{path}: array {CARD!r} is no text of at most {MAX_CARD} bytes")
    try:
        card = json.loads(text.tobytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: array {CARD!r} is no JSON ({error})") from error
    if not isinstance(card, dict) or card.get("kind") != kind:
        raise ValueError(f"{path}: the file is no {kind}")
    arrays = {name: archive[name] for name in fields}
    for name, (dtype, axes) in fields.items():
        if arrays[name].dtype != dtype or arrays[name].ndim != axes:
            raise ValueError(
                f"{path}: array {name!r} is {arrays[name].dtype} with {arrays[name].ndim} axes; "
                f"{dtype} with {axes} is needed"
            )
    if card.get("sha256") != _digest(arrays):
        raise ValueError(f"{path}: damaged: the arrays are not those on the card")
    return arrays, card


def settings_on(card: Mapping[str, Any], kind: type[Settings], path: str | os.PathLike[str]) -> Settings:
    """The settings that a card holds, as the dataclass they were.

    Raises
    ------
    ValueError
        They are not there or out of range; the text names the file and the field.
    """
    found = card.get("settings")
    if not isinstance(found, dict) or found.keys() != kind.__dataclass_fields__.keys():
        raise ValueError(
            f"{path}: field 'settings' of the card must hold {', '.join(kind.__dataclass_fields__)}"
        )
    try:
        return kind(**found)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: field 'settings' of the card: {error}") from error


def _digest(arrays: Mapping[str, NDArray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()
