"""Training of a decoder, or of encoder and decoder together (CVPR 2016, section 3).

The loss is the squared Euclidean distance between picture and prediction; Adam with betas 0.9 and 0.999. Caffe's
loss sums over pixels; ours is their mean, halved, which Adam does not notice. The rate rises linearly over
``warmup`` steps, stays, and from 60 % of the run on is halved at every further 8 % (the paper: lowered "towards
the end"). Gradients longer than ``clip`` are shortened. An autoencoder's encoder starts from the net's own weights and
has the decoder's rate; nothing is dropped out in it.
"""

import contextlib
import dataclasses
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from decoders import checkpoints
from decoders.cards import training_card
from decoders.config import TrainConfig, learning_rate
from decoders.data import Batch, Samples, find_pictures, load_batches, shares
from decoders.derive import decoder_for
from decoders.encoder import Autoencoder, Encoder
from decoders.evaluation import Evaluation, evaluate, read_squares, reconstruct
from decoders.feature_cache import cached
from decoders.images import data_hash, save_image, side_by_side, to_pictures
from decoders.lock import locked
from decoders.model import Decoder
from decoders.narrowing import start_from
from decoders.optimisation import Optimisation
from decoders.processes import ALONE, Processes, choose_device
from decoders.representations import KernelRepresentation, Representation, representation
from decoders.rows import DecoderSpec, channels_last
from decoders.runlog import Throughput, interruptions, logger

LOG_EVERY = 50
SAMPLE_IMAGES = 6
SCALE_IMAGES = 256  # whose features say what unit size is


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


def train(
    config: TrainConfig,
    folder: Path,
    *,
    resume: bool = False,
    quiet: bool = False,
    processes: Processes = ALONE,
) -> Outcome:
    """Train a decoder in a run folder; see `decoders.checkpoints` for what the folder holds.

    Parameters
    ----------
    config : the run's settings.
    folder : made if absent; must not hold a run unless ``resume``. Only the first process reads and writes it.
    resume : continue from the folder's checkpoint to weights equal bit by bit to an uninterrupted run's (on the
        same machine and number of threads and processes).
    quiet : no progress bar.
    processes : those that train together, each on its part of every batch; `decoders.processes.join` finds them.

    Returns
    -------
    How far it came. Ctrl-C, SIGTERM or the launcher's death end the step in progress and write a checkpoint.

    Raises
    ------
    ValueError, OSError : on settings, pictures or a checkpoint that do not fit, or if another process trains in the
        folder; the run on disk stays as it was.
    """
    with contextlib.ExitStack() as held:
        if processes.first:
            run = _Run(config, processes, folder)
            run.lead(held, resume=resume)
        else:  # so that what the first one finds wrong is said once
            beginning = processes.tell(None)
            run = _Run(config, processes, folder)
            run.follow(beginning)
        return run.train(quiet=quiet)


def _open(config: TrainConfig) -> Representation:
    """The representation, through the feature cache if there is one."""
    row = representation(config.representation, config.net)
    if config.feature_cache and isinstance(row, KernelRepresentation):
        return cached(row, Path(config.feature_cache), int(config.feature_cache_gib * 2**30))
    return row


class _Run:
    """The state of a run and its loop, in one of its processes."""

    def __init__(self, config: TrainConfig, processes: Processes, folder: Path) -> None:
        self.config, self.processes, self.folder = config, processes, folder
        if config.batch < processes.count * config.accumulate:
            raise ValueError(
                f"batch is {config.batch}; {processes.count} processes of {config.accumulate} parts each need as many "
                "pictures at least"
            )
        self.device = choose_device(config.device, processes)
        self.representation = _open(config)
        net, encoder = self.representation.net, self.representation.encoder
        self.net = None if net is None else dataclasses.asdict(net)
        self.encoder = None if encoder is None else encoder.to(self.device)
        self.training, self.validation = find_pictures(config)
        self.data_hash = data_hash(self.training)
        self.steps = config.total_steps(len(self.training))
        self.table = decoder_for(
            config.representation, channels_last(self.representation.shape), self.representation.image_size
        )
        self.samples = Samples(
            self.training,
            self.representation.framing.for_training(config.image_size, config.zoom),
            target_size=self.table.image_size if self.encoder else None,
            extract=None if self.encoder else self.representation.extract,
            seed=config.seed,
            crops=config.crops,
            cache_bytes=int(config.cache_gib * 2**30),
        )
        self.bad: dict[str, None] = {}
        self.step, self.seconds, self.evaluation = 0, 0.0, None  # type: int, float, Evaluation | None

    def lead(self, held: contextlib.ExitStack, *, resume: bool) -> None:
        """Start or continue the run in its folder, which is locked until ``held`` ends; tell the other processes."""
        self.val_pictures, unreadable = read_squares(self.validation, self.representation.framing)
        self.bad = dict.fromkeys(unreadable)
        if len(self.val_pictures) < 2:
            raise ValueError(
                f"of the validation pictures {len(self.val_pictures)} can be read; at least 2 are needed"
            )
        if resume:
            self._restore(held)
        else:
            self._start(held)
        decoder = dataclasses.asdict(self.origin.decoder)
        self.processes.tell(
            {
                "data": [self.data_hash, self.net],
                "decoder": decoder,
                "step": self.step,
                "seconds": self.seconds,
            }
        )
        self.optimisation.copy_from_first(started=self.step > 0)

    def follow(self, beginning: dict[str, Any]) -> None:
        """Become a copy of the first process."""
        if beginning["data"] != [self.data_hash, self.net]:
            raise ValueError(
                f"process {self.processes.rank} finds other pictures or another net than the first one; give all of "
                "them the same files"
            )
        self._build(DecoderSpec.from_json(beginning["decoder"], "the first process"))
        self.step, self.seconds = beginning["step"], beginning["seconds"]
        self.optimisation.copy_from_first(started=self.step > 0)

    def _start(self, held: contextlib.ExitStack) -> None:
        started_from = None
        if self.config.init:
            scale = checkpoints.read_config(Path(self.config.init))[1].decoder.feature_scale
        elif self.encoder is not None:
            scale = self._measure_scale(self.encoder)
        else:
            scale = self.table.feature_scale
        table = dataclasses.replace(self.table.scaled(self.config.width), feature_scale=scale)
        self._build(table)
        if self.config.init:
            encoder = self.encoder if self.config.autoencoder else None
            started_from = start_from(Path(self.config.init), self.decoder, encoder)["training"]
        self.origin = checkpoints.Origin(self.data_hash, table, self.net, started_from)
        self.folder.mkdir(parents=True, exist_ok=True)
        held.enter_context(locked(self.folder))
        checkpoints.start(self.folder, self.config, self.origin)

    def _restore(self, held: contextlib.ExitStack) -> None:
        checkpoints.read_config(self.folder)
        held.enter_context(locked(self.folder))
        saved = checkpoints.load_state(self.folder)
        self.origin = checkpoints.continue_run(
            self.folder, self.config, self.data_hash, self.net, pictures=len(self.training), done=saved.step
        )
        self._build(self.origin.decoder)
        checkpoints.restore(saved, self.model, self.optimisation.adam, self.folder / checkpoints.STATE)
        self.step, self.seconds = saved.step, saved.seconds
        checkpoints.clean(self.folder, saved.step)

    def _build(self, table: DecoderSpec) -> None:
        config = self.config
        self.decoder = Decoder(table, upconv=config.upconv, seed=config.seed).to(self.device)
        self.model: torch.nn.Module = self.decoder
        if config.autoencoder and self.encoder is not None:
            self.model = Autoencoder(self.encoder, self.decoder)
        self.optimisation = Optimisation(
            self.model,
            self.device,
            clip=config.clip,
            channels_last=config.channels_last,
            precision=config.precision,
            compiled=config.compile,
            processes=self.processes,
        )

    def _measure_scale(self, encoder: Encoder) -> float:
        """One over the root mean square of the features of the first pictures drawn."""
        features = encoder.encode_numpy(
            self.samples.batch(range(min(SCALE_IMAGES, len(self.training)))).images
        )
        return 1 / max(float(np.sqrt(np.square(features, dtype=np.float64).mean())), 1e-12)

    def train(self, *, quiet: bool) -> Outcome:
        config, first = self.config, self.processes.first
        started = time.monotonic() - self.seconds
        self.speed = Throughput(config.batch, config.workers)
        silent = True if quiet or not first else None
        with contextlib.ExitStack() as stack:
            bar = stack.enter_context(tqdm(total=self.steps, initial=self.step, unit="step", disable=silent))
            batches = stack.enter_context(
                contextlib.closing(load_batches(self.samples, self._parts(), workers=config.workers))
            )
            interrupted = stack.enter_context(interruptions())
            self.log = stack.enter_context(logger(self.folder)) if first else None
            source = self.speed.waiting(batches)
            stopping = False
            while self.step < self.steps and not stopping:
                parts = list(itertools.islice(source, config.accumulate))
                began = time.monotonic()
                measured = self._train_step(parts)
                stop = bool(interrupted) or self.processes.orphaned()
                measured["loss"], stops = self.processes.totals(measured["loss"], stop)
                stopping = stops > 0
                now = time.monotonic()
                self.speed.add_step(now - began)
                self.seconds = now - started
                bar.set_postfix({"loss": f"{measured['loss']:.4f}"} | self.speed.rates(), refresh=False)
                bar.update()
                self._record(measured, stopping=stopping)
        error = self.evaluation.error if self.evaluation else None
        return Outcome(self.step, self.steps, error, tuple(self.bad))

    def _parts(self) -> Iterator[range]:
        """The positions of what this process computes, part by part, from here to the end of the run."""
        batch, processes = self.config.batch, self.processes
        for step in range(self.step, self.steps):
            share = shares(range(step * batch, (step + 1) * batch), processes.count)[processes.rank]
            yield from shares(share, self.config.accumulate)

    def _train_step(self, batches: Sequence[Batch]) -> dict[str, float]:
        for line in (line for batch in batches for line in batch.bad):
            if self.config.strict:
                raise ValueError(f"{line} (--strict refuses unreadable pictures)")
            self.bad[line] = None
        rate = learning_rate(self.config, self.step, self.steps)
        parts = ((self._input(batch), self._target(batch)) for batch in batches)
        loss, norm = self.optimisation.gradient(parts, self.config.batch)
        if not math.isfinite(norm):
            raise ValueError(
                f"{self.folder}: the gradient is not finite at step {self.step}; start another run with a lower --lr, "
                "and --init to go on from the last checkpoint"
            )
        self.optimisation.update(rate)
        self.step += 1
        return {"loss": loss, "lr": rate, "grad_norm": norm}

    def _input(self, batch: Batch) -> torch.Tensor:
        """What the model reads: features, or an autoencoder's pictures."""
        if batch.features is not None:
            return torch.from_numpy(batch.features).to(self.device)
        images = torch.from_numpy(batch.images).to(self.device)
        if self.encoder is None or self.config.autoencoder:
            return images
        with torch.no_grad():
            return self.encoder(images)

    def _target(self, batch: Batch) -> torch.Tensor:
        return self.decoder.target(torch.from_numpy(batch.targets).to(self.device))

    def _record(self, measured: dict[str, float], *, stopping: bool) -> None:
        """Log, evaluate and save where this step is due for it."""
        last = stopping or self.step == self.steps
        logged = last or self.step % LOG_EVERY == 0
        for rank in range(self.processes.count) if logged else ():
            self.bad |= dict.fromkeys(self.processes.tell(list(self.bad), source=rank))
        if self.log is None:
            return
        position = {"step": self.step, "epoch": round(self.step * self.config.batch / len(self.training), 3)}
        if logged:
            where = {"seconds": round(self.seconds, 1), "unreadable": len(self.bad)}
            self.log(position | measured | where | self.speed.take())
        if self.step == self.steps or self.step % self.config.evaluate_every == 0:
            self.evaluation = self._evaluate()
            self.log(position | {"val_error": self.evaluation.error, "val_images": self.evaluation.images})
        if last or self.step % self.config.checkpoint_every == 0:
            adam = self.optimisation.adam
            checkpoints.save_state(self.folder, self.step, self.seconds, self.model, adam)
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
