"""Training of a decoder, or of encoder and decoder together (CVPR 2016, section 3).

The loss is the squared Euclidean distance between picture and prediction; Adam with betas 0.9 and 0.999. Caffe's
loss sums over pixels; ours is their mean, halved, which Adam does not notice. The rate rises linearly over
``warmup`` steps, stays, and from 60 % of the run on is halved at every further 8 % (the paper: lowered "towards
the end"). Gradients longer than ``clip`` are shortened. An autoencoder's encoder starts from the net's own weights and
has the decoder's rate; nothing is dropped out in it.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from caffe_port.pictures import ImageFile, list_images
from decoders import checkpoints
from decoders.cards import training_card
from decoders.config import TrainConfig, learning_rate
from decoders.data import Batch, Samples, load_batches
from decoders.derive import decoder_for
from decoders.encoder import Autoencoder, Encoder
from decoders.evaluation import Evaluation, evaluate, read_squares, reconstruct
from decoders.images import data_hash, save_image, side_by_side, split_by_hash, to_pictures
from decoders.model import Decoder
from decoders.representations import Representation, representation
from decoders.rows import DecoderSpec, channels_last
from decoders.runlog import Throughput, interruptions, logger

LOG_EVERY = 50
SAMPLE_IMAGES = 6
SCALE_IMAGES = 256  # whose features say what unit size is


def choose_device(name: str) -> torch.device:
    """``auto`` is CUDA where it is available, else the CPU; anything else is taken at its word.

    Raises
    ------
    ValueError : if the device is unknown or absent.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device is {name!r}; use auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and not torch.cuda.is_available()):
        raise ValueError(
            f"device is {name!r}, which torch {torch.__version__} does not have here; use cpu or auto"
        )
    return device


def find_pictures(config: TrainConfig) -> tuple[tuple[ImageFile, ...], tuple[ImageFile, ...]]:
    """(training, validation) pictures of a run; no picture is in both.

    Raises
    ------
    ValueError : if either would be too small.
    """
    training = list_images(config.images)
    if config.val:
        validation = list_images(config.val)
        held_out = set(validation)
        training = tuple(image for image in training if image not in held_out)
    else:
        training, validation = split_by_hash(training, config.val_fraction)
    if not training or len(validation) < 2:
        raise ValueError(
            f"{', '.join(config.images)}: {len(training)} pictures to train on and {len(validation)} to validate "
            "with; at least 1 and 2 are needed: give more pictures, or others with --val"
        )
    return training, validation[: config.val_images]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    step, steps : steps done, of how many; fewer when Ctrl-C stopped the run.
    error : normalised error on the validation pictures, or None before the first evaluation.
    unreadable : one line for each picture that could not be read.
    """

    step: int
    steps: int
    error: float | None
    unreadable: tuple[str, ...]


def train(config: TrainConfig, folder: Path, *, resume: bool = False, quiet: bool = False) -> Outcome:
    """Train a decoder in a run folder; see `decoders.checkpoints` for what the folder holds.

    Parameters
    ----------
    config : the run's settings.
    folder : made if absent; must not hold a run unless ``resume``.
    resume : continue from the folder's checkpoint to weights equal bit by bit to an uninterrupted run's (on the
        same machine and number of threads).
    quiet : no progress bar.

    Returns
    -------
    How far it came. Ctrl-C ends the step in progress and writes a checkpoint.

    Raises
    ------
    ValueError, OSError : on settings, pictures or a checkpoint that do not fit; the run on disk stays as it was.
    """
    return _Run(config, folder, resume=resume).train(quiet=quiet)


class _Run:
    """The state of a run and its loop."""

    def __init__(self, config: TrainConfig, folder: Path, *, resume: bool) -> None:
        self.config, self.folder = config, folder
        self.device = choose_device(config.device)
        self.representation: Representation = representation(config.representation, config.net)
        net, encoder = self.representation.net, self.representation.encoder
        self.net = None if net is None else dataclasses.asdict(net)
        self.encoder = None if encoder is None else encoder.to(self.device)
        framing = self.representation.framing.for_training(config.image_size, config.zoom)
        self.training, self.validation = find_pictures(config)
        self.data_hash = data_hash(self.training)
        self.steps = config.total_steps(len(self.training))
        self.val_pictures, unreadable = read_squares(self.validation, self.representation.framing)
        self.bad = dict.fromkeys(unreadable)
        if len(self.val_pictures) < 2:
            raise ValueError(
                f"of the validation pictures {len(self.val_pictures)} can be read; at least 2 are needed"
            )
        table = decoder_for(
            config.representation, channels_last(self.representation.shape), self.representation.image_size
        )
        self.samples = Samples(
            self.training,
            framing,
            target_size=table.image_size if self.encoder else None,
            extract=None if self.encoder else self.representation.extract,
            seed=config.seed,
            cache_bytes=int(config.cache_gib * 2**30),
        )
        self.step, self.seconds, self.evaluation = 0, 0.0, None  # type: int, float, Evaluation | None
        if resume:
            self._restore()
        else:
            self._start(table.scaled(config.width))

    def _start(self, table: DecoderSpec) -> None:
        started_from = None
        if self.config.init:
            scale = checkpoints.read_config(Path(self.config.init))[1].decoder.feature_scale
        elif self.encoder is not None:
            scale = self._measure_scale(self.encoder)
        else:
            scale = table.feature_scale
        table = dataclasses.replace(table, feature_scale=scale)
        self._build(table)
        if self.config.init:
            encoder = self.encoder if self.config.autoencoder else None
            card = checkpoints.load_weights(Path(self.config.init), self.decoder, encoder)
            started_from = card["training"]
        self.origin = checkpoints.Origin(self.data_hash, table, self.net, started_from)
        checkpoints.start(self.folder, self.config, self.origin)

    def _restore(self) -> None:
        saved = checkpoints.load_state(self.folder)
        self.origin = checkpoints.continue_run(
            self.folder, self.config, self.data_hash, self.net, pictures=len(self.training), done=saved.step
        )
        self._build(self.origin.decoder)
        checkpoints.restore(saved, self.model, self.optimiser, self.folder / checkpoints.STATE)
        self.step, self.seconds = saved.step, saved.seconds
        checkpoints.truncate_log(self.folder, saved.step)

    def _build(self, table: DecoderSpec) -> None:
        self.decoder = Decoder(table, upconv=self.config.upconv, seed=self.config.seed).to(self.device)
        self.model: torch.nn.Module = self.decoder
        if self.config.autoencoder and self.encoder is not None:
            self.model = Autoencoder(self.encoder, self.decoder)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=self.config.lr, betas=(0.9, 0.999))

    def _measure_scale(self, encoder: Encoder) -> float:
        """One over the root mean square of the features of the first pictures drawn."""
        features = encoder.encode_numpy(
            self.samples.batch(range(min(SCALE_IMAGES, len(self.training)))).images
        )
        return 1 / max(float(np.sqrt(np.square(features, dtype=np.float64).mean())), 1e-12)

    def train(self, *, quiet: bool) -> Outcome:
        todo = range(self.step, self.steps)
        batches = load_batches(self.samples, batch=self.config.batch, steps=todo, workers=self.config.workers)
        bar = tqdm(total=self.steps, initial=self.step, unit="step", disable=True if quiet else None)
        started = time.monotonic() - self.seconds
        self.speed = Throughput(self.config.batch, self.config.workers)
        with bar, contextlib.closing(batches), interruptions() as interrupted, logger(self.folder) as log:
            for batch in self.speed.waiting(batches):
                began = time.monotonic()
                measured = self._train_step(batch)
                now = time.monotonic()
                self.speed.add_step(now - began)
                self.seconds = now - started
                bar.set_postfix({"loss": f"{measured['loss']:.4f}"} | self.speed.rates(), refresh=False)
                bar.update()
                self._record(log, measured, stopping=bool(interrupted))
                if interrupted:
                    break
        error = self.evaluation.error if self.evaluation else None
        return Outcome(self.step, self.steps, error, tuple(self.bad))

    def _train_step(self, batch: Batch) -> dict[str, float]:
        for line in batch.bad:
            if self.config.strict:
                raise ValueError(f"{line} (--strict refuses unreadable pictures)")
            self.bad[line] = None
        rate = learning_rate(self.config, self.step, self.steps)
        self.optimiser.param_groups[0]["lr"] = rate
        target = self.decoder.target(torch.from_numpy(batch.targets).to(self.device))
        loss = functional.mse_loss(self.model(self._input(batch)), target) / 2
        self.optimiser.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        if not bool(torch.isfinite(norm)):
            raise ValueError(
                f"{self.folder}: the gradient is not finite at step {self.step}; lower --lr and --resume"
            )
        self.optimiser.step()
        self.step += 1
        return {"loss": loss.item(), "lr": rate, "grad_norm": norm.item()}

    def _input(self, batch: Batch) -> torch.Tensor:
        """What the model reads: features, or an autoencoder's pictures."""
        if batch.features is not None:
            return torch.from_numpy(batch.features).to(self.device)
        images = torch.from_numpy(batch.images).to(self.device)
        if self.encoder is None or self.config.autoencoder:
            return images
        with torch.no_grad():
            return self.encoder(images)

    def _record(
        self, log: Callable[[dict[str, Any]], None], measured: dict[str, float], *, stopping: bool
    ) -> None:
        """Log, evaluate and save where this step is due for it."""
        last = stopping or self.step == self.steps
        position = {"step": self.step, "epoch": round(self.step * self.config.batch / len(self.training), 3)}
        if last or self.step % LOG_EVERY == 0:
            where = {"seconds": round(self.seconds, 1), "unreadable": len(self.bad)}
            log(position | measured | where | self.speed.take())
        if self.step == self.steps or self.step % self.config.evaluate_every == 0:
            self.evaluation = self._evaluate()
            log(position | {"val_error": self.evaluation.error, "val_images": self.evaluation.images})
        if last or self.step % self.config.checkpoint_every == 0:
            checkpoints.save_state(self.folder, self.step, self.seconds, self.model, self.optimiser)
            checkpoints.save_model(self.folder, self.model, self._card())

    def _evaluate(self) -> Evaluation:
        """Error on the validation pictures; a grid of the first few goes to ``samples/``."""
        few = self.val_pictures[:SAMPLE_IMAGES]
        (decoded,) = reconstruct(self.decoder.decode_numpy, self.representation, few)
        rows = [side_by_side(list(few)), side_by_side(list(to_pictures(decoded)))]
        save_image(self.folder / checkpoints.SAMPLES / f"step-{self.step:07d}.png", np.concatenate(rows))
        return evaluate(self.decoder.decode_numpy, self.representation, self.val_pictures)

    def _card(self) -> dict[str, Any]:
        return training_card(
            self.config,
            self.representation,
            self.origin.decoder,
            step=self.step,
            seconds=self.seconds,
            pictures=len(self.training),
            origin={"data_hash": self.data_hash, "started_from": self.origin.started_from},
            evaluation=self.evaluation,
        )
