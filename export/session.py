"""Run an exported file: NumPy in, NumPy out, by ONNX Runtime; never by torch.

A session may be used by many threads at once. What a file holds is said in `export.card` and `export.model_file`.
"""

import dataclasses
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from export.card import ANSWERS_FIELD, KINDS, OUTPUTS, kind_of, read_answers, read_card
from export.model_file import MAX_FILE_BYTES, ModelFile, read_model_file

_CPU = "CPUExecutionProvider"
PROVIDERS = {"cpu": _CPU, "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
AUTO = (
    "cuda",
    "cpu",
)  # TensorRT takes minutes to build its engine, so that it runs only where it is asked for

_REFUSALS = (
    errors.Fail,
    errors.InvalidArgument,
    errors.InvalidGraph,
    errors.InvalidProtobuf,
    errors.NoSuchFile,
    errors.NotImplemented,
    errors.RuntimeException,
)


@dataclasses.dataclass(frozen=True)
class Provider:
    """Where a session runs: ``asked`` for, ``got``, and ``why``."""

    asked: str
    got: str
    why: str


def load(
    path: str | os.PathLike[str], *, device: str = "auto", strict_device: bool = False, threads: int = 0
) -> "OnnxDecoder":
    """Open an exported decoder or pipeline.

    Parameters
    ----------
    path : an ``.onnx`` file written by ``decoders export``.
    device : ``auto`` (a GPU where this ONNX Runtime has one), ``cpu``, ``cuda`` or ``tensorrt``.
    strict_device : refuse to run elsewhere than asked for, instead of warning and running on the CPU.
    threads : CPU threads inside one call; 0 leaves the choice to ONNX Runtime (one a core).

    Raises
    ------
    FileNotFoundError : if there is no such file.
    ValueError : if it is not an ONNX model, not one of ours, damaged, or the device is unknown or, with
        ``strict_device``, not there.

    Warns
    -----
    RuntimeWarning : if the device that was asked for is not there; `OnnxDecoder.provider` says why.
    """
    path = Path(path)
    if device != "auto" and device not in PROVIDERS:
        raise ValueError(f"device is {device!r}; it must be one of auto, {', '.join(PROVIDERS)}")
    if threads < 0:
        raise ValueError(f"threads is {threads}; it must be 0 (one a core) or more")
    data = _read_bytes(path)
    model = read_model_file(data, str(path))
    card = read_card(model, str(path))
    session, provider = _open_session(path, data, device, strict_device, threads)
    return OnnxDecoder(path, model, card, session, provider)


class OnnxDecoder:
    """A decoder, or a pipeline from photographs to pictures, in an ONNX Runtime session; made by `load`.

    Attributes
    ----------
    card : what the file says of itself: representation, preprocessing, shapes, training run, versions, hashes.
    provider : where it runs, where it was asked to, and why.
    takes : ``features`` or ``photographs``.
    """

    def __init__(
        self,
        path: Path,
        model: ModelFile,
        card: dict[str, Any],
        session: onnxruntime.InferenceSession,
        provider: Provider,
    ) -> None:
        self._path = path
        self._answers = model.metadata.get(ANSWERS_FIELD, "")
        self._session = session
        self.card = card
        self.provider = provider
        self.takes = KINDS[kind_of(card)]
        self._rounds = model.outputs == OUTPUTS
        if model.inputs != (self.takes,) or model.outputs not in (OUTPUTS, OUTPUTS[1:]):
            raise ValueError(
                f"{path}: its inputs and outputs are not those of a {kind_of(card)}; export it again"
            )

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Decode features, or reconstruct photographs.

        Parameters
        ----------
        values : features (N, C, H, W) or (N, C) as the card's ``feature_shape`` says, float32 or another real dtype
            that is converted; fully convolutional decoders take larger maps too. Pipelines take photographs
            (N, H, W, 3) uint8, RGB.

        Returns
        -------
        (N, H', W', 3) uint8, RGB, rounded inside the graph.

        Raises
        ------
        ValueError, TypeError : if the values have another shape or kind.
        """
        if not self._rounds:
            return np.rint(self.pictures(values)).astype(np.uint8).transpose(0, 2, 3, 1)
        return self._run(values, "images")

    def pictures(self, values: np.ndarray) -> np.ndarray:
        """The same, before rounding: (N, 3, H', W') float32, RGB, 0..255."""
        return self._run(values, "pictures")

    def map(self, stream: Iterable[np.ndarray], *, batch: int = 16) -> Iterator[np.ndarray]:
        """Decode a stream one batch at a time.

        Parameters
        ----------
        stream : features or photographs of one picture each, (C, H, W), (C,) or (H, W, 3).
        batch : at most so many are decoded in one call; those of one call have one shape.

        Yields
        ------
        (H', W', 3) uint8, RGB, in the order of the stream.
        """
        if batch < 1:
            raise ValueError(f"batch is {batch}; it must be at least 1")
        waiting: list[np.ndarray] = []
        for item in map(np.asarray, stream):
            if len(waiting) == batch or (waiting and waiting[0].shape != item.shape):
                yield from self(np.stack(waiting))
                waiting = []
            waiting.append(item)
        if waiting:
            yield from self(np.stack(waiting))

    def warm_up(self, batch: int = 1) -> None:
        """Decode zeros once, so that the first real call does not pay for memory and, on a GPU, for compiling."""
        if self.takes == "features":
            self(np.zeros((batch, *self.card["feature_shape"]), np.float32))
        else:
            self(np.zeros((batch, *self.card["photograph_size"], 3), np.uint8))

    def recorded(self) -> tuple[np.ndarray, np.ndarray]:
        """The answers recorded in the file when it was exported.

        Returns
        -------
        inputs : what the file takes.
        pictures : (N, H', W', 3) uint8, what torch made of them.

        Raises
        ------
        ValueError : if the file records none, or they are damaged.
        """
        return read_answers(self._answers, self.takes, str(self._path))

    def _run(self, values: np.ndarray, output: str) -> np.ndarray:
        values = (
            self._checked_features(values) if self.takes == "features" else self._checked_photographs(values)
        )
        binding = self._session.io_binding()  # one a call: bindings cannot be shared by threads, sessions can
        binding.bind_cpu_input(self.takes, values)
        binding.bind_output(output, "cpu")
        try:
            self._session.run_with_iobinding(binding)
        except _REFUSALS as error:
            raise ValueError(f"{self._path}: cannot be run ({_one_line(error)})") from error
        return binding.get_outputs()[0].numpy()

    def _checked_features(self, features: np.ndarray) -> np.ndarray:
        """The features as contiguous float32, once they are what the card says."""
        features = np.asarray(features)
        if features.dtype.kind not in "fiu":
            raise TypeError(f"{self._path}: features are {features.dtype}; real numbers are decoded")
        channels, *sides = self.card["feature_shape"]
        step = self.card["feature_multiple"]
        fits = features.shape[1:2] == (channels,) and len(features.shape) == 2 + len(sides)
        fits = fits and all(
            side > 0 and side % step == 0 if step else side == fixed
            for side, fixed in zip(features.shape[2:], sides, strict=True)
        )
        if not fits:
            more = f", or with both sides multiples of {step}" if step else ""
            raise ValueError(
                f"{self._path}: features have shape {features.shape}; this decoder takes "
                f"(N, {', '.join(map(str, (channels, *sides)))}){more}"
            )
        if not np.isfinite(features).all():
            raise ValueError(f"{self._path}: features hold NaN or infinity; finite numbers are decoded")
        return np.ascontiguousarray(features, dtype=np.float32)

    def _checked_photographs(self, photographs: np.ndarray) -> np.ndarray:
        """The photographs as contiguous bytes, once they are what the card says."""
        photographs = np.asarray(photographs)
        if photographs.dtype != np.uint8:
            raise TypeError(f"{self._path}: photographs are {photographs.dtype}; uint8 RGB is taken")
        step = self.card["photograph_multiple"]
        fits = photographs.ndim == 4 and photographs.shape[3] == 3
        if not fits or any(side < 1 or side % step for side in photographs.shape[1:3]):
            raise ValueError(
                f"{self._path}: photographs have shape {photographs.shape}; this pipeline takes (N, H, W, 3)"
                + (f" with H and W multiples of {step}" if step > 1 else "")
            )
        return np.ascontiguousarray(photographs)


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give an .onnx file written by decoders export")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size} bytes; an ONNX file has at most {MAX_FILE_BYTES}")
    return path.read_bytes()


def _open_session(
    path: Path, data: bytes, device: str, strict_device: bool, threads: int
) -> tuple[onnxruntime.InferenceSession, Provider]:
    present = onnxruntime.get_available_providers()
    wanted = next(name for name in AUTO if PROVIDERS[name] in present) if device == "auto" else device
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    providers = [p for p in dict.fromkeys((PROVIDERS[wanted], _CPU)) if p in present]
    try:
        session = onnxruntime.InferenceSession(data, options, providers=providers)
    except _REFUSALS as error:
        raise ValueError(f"{path}: not an ONNX model that runs here ({_one_line(error)})") from error
    session.disable_fallback()
    if PROVIDERS[wanted] in session.get_providers():
        return session, Provider(device, wanted, _reason(device, wanted, present))
    missing = "could not start" if PROVIDERS[wanted] in present else "has no"
    why = f"this ONNX Runtime {missing} {PROVIDERS[wanted]}; install caffe-port[gpu] on a machine with a GPU"
    if strict_device:
        raise ValueError(f"device is {device!r}, but {why}")
    warnings.warn(f"{path}: runs on the CPU instead of {device}: {why}", RuntimeWarning, stacklevel=3)
    return session, Provider(device, "cpu", why)


def _reason(device: str, got: str, present: list[str]) -> str:
    if device != "auto":
        return "as asked"
    return f"the first of {', '.join(AUTO)} among this ONNX Runtime's providers: {', '.join(present)}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
