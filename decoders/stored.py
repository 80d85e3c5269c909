"""Tensors and JSON from files, with every fault named; nothing is unpickled."""

import json
from pathlib import Path
from typing import Any

import safetensors
import torch

from caffe_port.files import write_text


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a ``.safetensors`` file.

    Raises
    ------
    ValueError : if the file is damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: damaged ({error}); take another copy, or train again") from error


def copy_tensors(model: torch.nn.Module, tensors: dict[str, torch.Tensor], source: Path) -> None:
    """Copy every tensor into the model.

    Raises
    ------
    ValueError : if names or shapes are not the model's; the text names ``source`` and the tensor.
    """
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    for name in sorted(own.keys() | found.keys()):
        if own.get(name) != found.get(name):
            raise ValueError(
                f"{source}: tensor {name} has shape {found.get(name, 'none: it is missing')}, the decoder's table "
                f"needs {own.get(name, 'no such tensor')}; the file belongs to another decoder or is damaged"
            )
    model.load_state_dict(tensors)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    FileNotFoundError, ValueError : if the file is missing or no JSON object.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; the folder holds no run")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); restore the file or train again") from error
    if not isinstance(value, dict):
        raise ValueError(
            f"{path}: holds a {type(value).__name__}, not an object; restore the file or train again"
        )
    return value
