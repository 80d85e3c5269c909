"""What a run folder holds, written whole or not at all; tensors as safetensors, never pickled.

config.json          the whole TrainConfig, the decoder's table, the net's identity, and what else it was made from
model.safetensors    the decoder's weights, and an autoencoder's encoder as `encoder.*`; its card in the metadata
state.safetensors    weights, Adam's moments and the step in one file: what `--resume` continues from
log.jsonl            one line a logged step
samples/             pictures of the validation set: original and reconstruction

`state.safetensors` alone decides where a run stands; `model.safetensors` is written after it, for use.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from caffe_port.files import replacing, write_text
from decoders.config import FREE_ON_RESUME, TrainConfig, learning_rate
from decoders.model import Decoder
from decoders.representations import Representation, representation
from decoders.rows import DecoderSpec
from decoders.stored import copy_tensors, read_json, read_tensors, write_json

ENCODER = "encoder."  # prefix of an autoencoder's own encoder in model.safetensors
CONFIG, MODEL, STATE, LOG, SAMPLES = (
    "config.json",
    "model.safetensors",
    "state.safetensors",
    "log.jsonl",
    "samples",
)


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Everything that the next step depends on.

    Attributes
    ----------
    step : number of steps done.
    seconds : time spent on them.
    tensors : weights as ``model.<name>`` and Adam's state as ``adam.<name>.<key>``.
    """

    step: int
    seconds: float
    tensors: dict[str, torch.Tensor]


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a run was made from, besides its settings.

    Attributes
    ----------
    data_hash : of the training pictures.
    decoder : the table of the decoder.
    net_identity : whose features they are, as `NetIdentity` in JSON; None without a net.
    started_from : the ``training`` entry of the card of the run whose weights it began with; None for random ones.
    """

    data_hash: str
    decoder: DecoderSpec
    net_identity: dict[str, str] | None = None
    started_from: dict[str, Any] | None = None


def start(folder: Path, config: TrainConfig, origin: Origin) -> None:
    """Make a run folder with its ``config.json``.

    Raises
    ------
    FileExistsError : if the folder holds a run already.
    """
    if (folder / CONFIG).exists():
        raise FileExistsError(
            f"{folder}: holds a run already; continue it with --resume, or choose another --out"
        )
    (folder / SAMPLES).mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG, config.as_json() | dataclasses.asdict(origin))


def read_config(folder: Path) -> tuple[TrainConfig, Origin]:
    """The settings of a run and what it was made from.

    Raises
    ------
    FileNotFoundError, ValueError : if ``config.json`` is missing or damaged.
    """
    value, source = read_json(folder / CONFIG), str(folder / CONFIG)
    made_from = {field.name: value.pop(field.name, None) for field in dataclasses.fields(Origin)}
    config = TrainConfig.from_json(value, source)
    spec = DecoderSpec.from_json(made_from["decoder"], f"{source}, field decoder")
    return config, Origin(**made_from | {"decoder": spec})


def continue_run(
    folder: Path,
    config: TrainConfig,
    data_hash: str,
    net: dict[str, str] | None,
    *,
    pictures: int,
    done: int,
) -> Origin:
    """Make ``config`` the settings of a run from here on, if what it did so far would have been the same.

    Where and how fast it runs may change, and so may its length, as long as the rate has not begun to fall.

    Parameters
    ----------
    data_hash, net : of the training pictures and the net as they are now.
    pictures, done : number of training pictures, and of steps done.

    Returns
    -------
    What the run was made from.

    Raises
    ------
    ValueError : if it would not; the text names the fields that differ. The folder stays as it was.
    """
    saved, origin = read_config(folder)
    old, new = saved.as_json(), config.as_json()
    fixed = old.keys() - FREE_ON_RESUME - {"steps", "epochs"}
    refused = [f"{name} was {old[name]}, is {new[name]}" for name in sorted(fixed) if old[name] != new[name]]
    if refused:
        raise ValueError(
            f"{folder / CONFIG}: {'; '.join(refused)}; resume with the same options, or start a new run"
        )
    if origin.data_hash != data_hash:
        raise ValueError(f"{folder / CONFIG}: the training pictures are not those the run was started with")
    if origin.net_identity != net:
        raise ValueError(
            f"{folder / CONFIG}: net was {origin.net_identity}, is {net}; resume with the net it was started with"
        )
    before, now = saved.total_steps(pictures), config.total_steps(pictures)
    last = max(0, done - 1)
    if now < done or learning_rate(saved, last, before) != learning_rate(config, last, now):
        raise ValueError(
            f"{folder / CONFIG}: the run was to take {before} steps and has done {done}; {now} steps would have used "
            "other learning rates by now; the length can change while the rate has not begun to fall"
        )
    write_json(folder / CONFIG, new | dataclasses.asdict(origin))
    return origin


def save_state(
    folder: Path, step: int, seconds: float, model: torch.nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Write ``state.safetensors``."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        tensors |= {f"adam.{name}.{key}": value for key, value in optimiser.state[parameter].items()}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with replacing(folder / STATE) as file:
        file.write(safetensors.torch.save(tensors, metadata={"step": str(step), "seconds": str(seconds)}))


def load_state(folder: Path) -> Snapshot:
    """Read ``state.safetensors``.

    Raises
    ------
    FileNotFoundError : if the run has none yet.
    ValueError : if the file is damaged.
    """
    path = folder / STATE
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no checkpoint; a run can be resumed after its first checkpoint")
    tensors, metadata = read_tensors(path)
    if not metadata.get("step", "").isdecimal():
        raise ValueError(
            f"{path}: metadata field step is {metadata.get('step')!r}; the checkpoint is damaged"
        )
    return Snapshot(int(metadata["step"]), float(metadata.get("seconds", "0")), tensors)


def restore(saved: Snapshot, model: torch.nn.Module, optimiser: torch.optim.Optimizer, source: Path) -> None:
    """Put a snapshot's tensors back into a model and its optimiser.

    Raises
    ------
    ValueError : if the snapshot's tensors are not the model's.
    """
    copy_tensors(model, {n[6:]: t for n, t in saved.tensors.items() if n.startswith("model.")}, source)
    for name, parameter in model.named_parameters():
        shapes = {"step": (), "exp_avg": parameter.shape, "exp_avg_sq": parameter.shape}
        moments = {}
        for key, shape in shapes.items():
            value = saved.tensors.get(f"adam.{name}.{key}")
            if value is None or value.shape != shape:
                raise ValueError(
                    f"{source}: tensor adam.{name}.{key} is missing or of another shape; train again"
                )
            moments[key] = value if key == "step" else value.to(parameter.device)
        optimiser.state[parameter] = moments


def save_model(folder: Path, model: torch.nn.Module, card: dict[str, Any]) -> None:
    """Write ``model.safetensors``: weights, and the card as JSON in the metadata."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with replacing(folder / MODEL) as file:
        file.write(safetensors.torch.save(tensors, metadata={"card": json.dumps(card)}))


def load_run(folder: Path) -> tuple[Decoder, dict[str, Any]]:
    """The trained decoder of a run folder and its card; its net is not needed.

    Raises
    ------
    FileNotFoundError, ValueError : if a file is missing, damaged, or of another decoder.
    """
    config, origin = read_config(folder)
    decoder = Decoder(origin.decoder, upconv=config.upconv)
    return decoder.eval(), load_weights(folder, decoder)


def open_run(folder: Path, net: str = "") -> tuple[Decoder, Representation, dict[str, Any]]:
    """The trained decoder of a run folder, the representation it inverts, and its card.

    The features of an autoencoder are those of its own encoder.

    Parameters
    ----------
    net : where its net is, if no longer where it was.

    Raises
    ------
    FileNotFoundError, ValueError : as `load_run`, or if the net is not the one it was trained with.
    """
    config, origin = read_config(folder)
    opened = representation(config.representation, net or config.net)
    if opened.net is not None:
        opened.net.check(origin.net_identity or {}, str(folder))
    decoder = Decoder(origin.decoder, upconv=config.upconv)
    card = load_weights(folder, decoder, opened.encoder if config.autoencoder else None)
    return decoder.eval(), opened, card


def load_weights(
    folder: Path, decoder: torch.nn.Module, encoder: torch.nn.Module | None = None
) -> dict[str, Any]:
    """Put the trained weights of a run folder into ``decoder``; return the card beside them.

    Parameters
    ----------
    encoder : is given the run's encoder, if the run is an autoencoder's, and stays as it is otherwise.

    Raises
    ------
    FileNotFoundError, ValueError : if the file is missing, damaged, or of another decoder.
    """
    path = folder / MODEL
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no weights; the folder holds no trained decoder")
    tensors, metadata = read_tensors(path)
    of_encoder = {n.removeprefix(ENCODER): t for n, t in tensors.items() if n.startswith(ENCODER)}
    copy_tensors(decoder, {n: t for n, t in tensors.items() if not n.startswith(ENCODER)}, path)
    if encoder is not None and of_encoder:
        copy_tensors(encoder, of_encoder, path)
    return json.loads(metadata["card"])


def clean(folder: Path, step: int) -> None:
    """Remove what a killed process left: half-written files, and what ``log.jsonl`` says of steps after ``step``."""
    for torn in (*folder.glob(".*.part"), *(folder / SAMPLES).glob(".*.part")):
        torn.unlink(missing_ok=True)
    path = folder / LOG
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.endswith("\n") or json.loads(line)["step"] > step:
            break
        kept.append(line)
    write_text(path, "".join(kept))
