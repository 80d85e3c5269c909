"""Training of a decoder (CVPR 2016, section 3).

The loss is the squared Euclidean distance between picture and prediction; Adam with betas 0.9 and 0.999. Caffe's
loss sums over pixels; ours is their mean, halved, which Adam does not notice. The rate rises linearly over
``warmup`` steps, stays, and from 60 % of the run on is halved at every further 8 % (the paper: lowered "towards
the end"). Gradients longer than ``clip`` are shortened.
"""

import contextlib
import dataclasses
import importlib.util
import json
import signal
import time
from collections.abc import Callable, Iterator
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
from decoders.evaluation import Evaluation, evaluate, read_squares, reconstruct
from decoders.images import data_hash, save_image, side_by_side, split_by_hash, to_pictures
from decoders.model import Decoder
from decoders.representations import Representation, representation

LOG_EVERY = 50
SAMPLE_IMAGES = 6


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
        self.representation: Representation = representation(config.representation)
        self.training, self.validation = find_pictures(config)
        self.data_hash = data_hash(self.training)
        self.steps = config.total_steps(len(self.training))
        self.model = Decoder(config.spec, upconv=config.upconv, seed=config.seed).to(self.device)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=config.lr, betas=(0.9, 0.999))
        self.val_pictures, unreadable = read_squares(self.validation, self.representation.image_size)
        self.bad = dict.fromkeys(unreadable)
        if len(self.val_pictures) < 2:
            raise ValueError(
                f"of the validation pictures {len(self.val_pictures)} can be read; at least 2 are needed"
            )
        self.step, self.seconds, self.evaluation = 0, 0.0, None  # type: int, float, Evaluation | None
        if resume:
            self._restore()
        else:
            self._start()

    def _start(self) -> None:
        before = checkpoints.load_weights(Path(self.config.init), self.model) if self.config.init else None
        self.origin = checkpoints.Origin(self.data_hash, before and before["training"])
        checkpoints.start(self.folder, self.config, self.origin)

    def _restore(self) -> None:
        saved = checkpoints.load_state(self.folder)
        pictures = len(self.training)
        self.origin = checkpoints.continue_run(
            self.folder, self.config, self.data_hash, pictures=pictures, done=saved.step
        )
        checkpoints.restore(saved, self.model, self.optimiser, self.folder / checkpoints.STATE)
        self.step, self.seconds = saved.step, saved.seconds
        checkpoints.truncate_log(self.folder, saved.step)

    def train(self, *, quiet: bool) -> Outcome:
        samples = Samples(
            self.training,
            self.representation,
            crop_size=self.config.image_size,
            zoom=self.config.zoom,
            seed=self.config.seed,
            cache_bytes=int(self.config.cache_gib * 2**30),
        )
        todo = range(self.step, self.steps)
        batches = load_batches(samples, batch=self.config.batch, steps=todo, workers=self.config.workers)
        bar = tqdm(total=self.steps, initial=self.step, unit="step", disable=True if quiet else None)
        started = time.monotonic() - self.seconds
        with bar, contextlib.closing(batches), _interruptions() as interrupted, _logger(self.folder) as log:
            for batch in batches:
                measured = self._train_step(batch)
                self.seconds = time.monotonic() - started
                bar.set_postfix(
                    loss=f"{measured['loss']:.4f}", images_per_s=f"{self._rate(bar):.1f}", refresh=False
                )
                bar.update()
                self._record(log, measured, stopping=bool(interrupted))
                if interrupted:
                    break
        error = self.evaluation.error if self.evaluation else None
        return Outcome(self.step, self.steps, error, tuple(self.bad))

    def _rate(self, bar: tqdm) -> float:
        return (bar.format_dict["rate"] or 0.0) * self.config.batch

    def _train_step(self, batch: Batch) -> dict[str, float]:
        for line in batch.bad:
            if self.config.strict:
                raise ValueError(f"{line} (--strict refuses unreadable pictures)")
            self.bad[line] = None
        rate = learning_rate(self.config, self.step, self.steps)
        self.optimiser.param_groups[0]["lr"] = rate
        features = torch.from_numpy(batch.features).to(self.device)
        target = self.model.target(torch.from_numpy(batch.images).to(self.device))
        loss = functional.mse_loss(self.model(features), target) / 2
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

    def _record(
        self, log: Callable[[dict[str, Any]], None], measured: dict[str, float], *, stopping: bool
    ) -> None:
        """Log, evaluate and save where this step is due for it."""
        last = stopping or self.step == self.steps
        position = {"step": self.step, "epoch": round(self.step * self.config.batch / len(self.training), 3)}
        if last or self.step % LOG_EVERY == 0:
            log(position | measured | {"seconds": round(self.seconds, 1), "unreadable": len(self.bad)})
        if self.step == self.steps or self.step % self.config.evaluate_every == 0:
            self.evaluation = self._evaluate()
            log(position | {"val_error": self.evaluation.error, "val_images": self.evaluation.images})
        if last or self.step % self.config.checkpoint_every == 0:
            checkpoints.save_state(self.folder, self.step, self.seconds, self.model, self.optimiser)
            checkpoints.save_model(self.folder, self.model, self._card())

    def _evaluate(self) -> Evaluation:
        """Error on the validation pictures; a grid of the first few goes to ``samples/``."""
        few = self.val_pictures[:SAMPLE_IMAGES]
        (decoded,) = reconstruct(self.model.decode_numpy, self.representation, few)
        rows = [side_by_side(list(few)), side_by_side(list(to_pictures(decoded)))]
        save_image(self.folder / checkpoints.SAMPLES / f"step-{self.step:07d}.png", np.concatenate(rows))
        return evaluate(self.model.decode_numpy, self.representation, self.val_pictures)

    def _card(self) -> dict[str, Any]:
        return training_card(
            self.config,
            step=self.step,
            seconds=self.seconds,
            pictures=len(self.training),
            origin=dataclasses.asdict(self.origin),
            evaluation=self.evaluation,
        )


@contextlib.contextmanager
def _interruptions() -> Iterator[list[int]]:
    """A list that Ctrl-C makes non-empty instead of raising, so that the step in progress can end."""
    received: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        yield received
    finally:
        signal.signal(signal.SIGINT, previous)


@contextlib.contextmanager
def _logger(folder: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A function that appends a line to ``log.jsonl``, and to TensorBoard's files where it is installed."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context((folder / checkpoints.LOG).open("a", encoding="utf-8"))
        board: Any = None
        if importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            board = stack.enter_context(contextlib.closing(SummaryWriter(str(folder / "tensorboard"))))

        def log(line: dict[str, Any]) -> None:
            file.write(json.dumps(line) + "\n")
            file.flush()
            for name in line.keys() - {"step"} if board else ():
                board.add_scalar(name, line[name], line["step"])

        yield log
