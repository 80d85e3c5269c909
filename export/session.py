"""Run an exported file: NumPy in, NumPy out, by ONNX Runtime; never by torch.

A session may be used by many threads at once. What a file holds is said in `export.card` and `export.model_file`.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from export.card import ANSWERS_FIELD, KINDS, OUTPUTS, kind_of, read_answers, read_card
from export.model_file import MAX_FILE_BYTES, ModelFile, read_model_file
from export.providers import PROVIDERS, REFUSALS, Provider, one_line, open_session


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
    RuntimeWarning : if the device that was asked for is not there; `OnnxFile.provider` says why.
    """
    opened = open_file(Path(path), device, strict_device=strict_device, threads=threads)
    if not isinstance(opened, OnnxDecoder):
        raise ValueError(f"{path}: a Caffe net; open it with export.load_net")
    return opened


def load_net(
    path: str | os.PathLike[str], *, device: str = "auto", strict_device: bool = False, threads: int = 0
) -> "OnnxNet":
    """Open an exported Caffe net; see `load`."""
    opened = open_file(Path(path), device, strict_device=strict_device, threads=threads)
    if not isinstance(opened, OnnxNet):
        raise ValueError(f"{path}: a {kind_of(opened.card)}, no Caffe net; open it with export.load")
    return opened


def open_file(
    path: Path, device: str = "auto", *, strict_device: bool = False, threads: int = 0
) -> "OnnxDecoder | OnnxNet":
    """Open an exported file of any kind; see `load`."""
    if device != "auto" and device not in PROVIDERS:
        raise ValueError(f"device is {device!r}; it must be one of auto, {', '.join(PROVIDERS)}")
    if threads < 0:
        raise ValueError(f"threads is {threads}; it must be 0 (one a core) or more")
    data = _read_bytes(path)
    model = read_model_file(data, str(path))
    card = read_card(model, str(path))
    session, provider = open_session(path, data, device, strict_device, threads, model.operators)
    return (OnnxNet if kind_of(card) == "net" else OnnxDecoder)(path, model, card, session, provider)


class OnnxFile:
    """An exported file in an ONNX Runtime session.

    Attributes
    ----------
    card : what the file says of itself: representation, preprocessing, shapes, training run, versions, hashes.
    provider : where it runs, where it was asked to, and why.
    model : what the file holds.
    takes : name of its input: ``features``, ``photographs`` or ``data``.
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
        self.model = model
        self._session = session
        self.card = card
        self.provider = provider
        self.takes, _ = KINDS[kind_of(card)]
        fits = len(model.outputs) == 1 if kind_of(card) == "net" else model.outputs in (OUTPUTS, OUTPUTS[1:])
        if model.inputs != (self.takes,) or not fits:
            raise ValueError(
                f"{path}: its inputs and outputs are not those of a {kind_of(card)}; export it again"
            )

    def _run(self, values: np.ndarray, output: str) -> np.ndarray:
        binding = self._session.io_binding()  # one a call: bindings cannot be shared by threads, sessions can
        binding.bind_cpu_input(self.takes, values)
        binding.bind_output(output, "cpu")
        try:
            self._session.run_with_iobinding(binding)
        except REFUSALS as error:
            raise ValueError(f"{self._path}: cannot be run ({one_line(error)})") from error
        return binding.get_outputs()[0].numpy()

    def _real(self, values: np.ndarray) -> np.ndarray:
        """An array of real numbers."""
        values = np.asarray(values)
        if values.dtype.kind not in "fiu":
            raise TypeError(f"{self._path}: {self.takes} are {values.dtype}; real numbers are taken")
        return values

    def _finite(self, values: np.ndarray) -> np.ndarray:
        """The numbers as contiguous float32, none of them NaN or infinite."""
        if not np.isfinite(values).all():
            raise ValueError(f"{self._path}: {self.takes} hold NaN or infinity; finite numbers are taken")
        return np.ascontiguousarray(values, dtype=np.float32)


class OnnxNet(OnnxFile):
    """A Caffe net up to a blob; made by `load_net`. See `OnnxFile`."""

    def __call__(self, data: np.ndarray) -> np.ndarray:
        """Compute the blob.

        Parameters
        ----------
        data : (N, *data_shape) as the card says, prepared as the net wants it (BGR, mean subtracted).

        Returns
        -------
        The blob, float32.

        Raises
        ------
        ValueError, TypeError : if the data have another shape or kind.
        """
        data = self._real(data)
        if data.ndim == 0 or list(data.shape[1:]) != self.card["data_shape"]:
            raise ValueError(
                f"{self._path}: data have shape {data.shape}; this net takes "
                f"(N, {', '.join(map(str, self.card['data_shape']))})"
            )
        return self._run(self._finite(data), self.model.outputs[0])

    def recorded(self) -> tuple[np.ndarray, np.ndarray]:
        """Data recorded in the file when it was exported, and the blob that torch made of them."""
        data, blob = read_answers(
            self.model.metadata.get(ANSWERS_FIELD, ""), ("data", "blob"), str(self._path)
        )
        return data, blob


class OnnxDecoder(OnnxFile):
    """A decoder, or a pipeline from photographs to pictures; made by `load`. See `OnnxFile`."""

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
        if self.model.outputs != OUTPUTS:  # version 0.1: rounded here
            return np.rint(self.pictures(values)).astype(np.uint8).transpose(0, 2, 3, 1)
        return self._run(self._checked(values), "images")

    def pictures(self, values: np.ndarray) -> np.ndarray:
        """The same, before rounding: (N, 3, H', W') float32, RGB, 0..255."""
        return self._run(self._checked(values), "pictures")

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
        output = "images" if self.model.outputs == OUTPUTS else "pictures"
        inputs, images = read_answers(
            self.model.metadata.get(ANSWERS_FIELD, ""), (self.takes, output), str(self._path)
        )
        return inputs, images

    def _checked(self, values: np.ndarray) -> np.ndarray:
        if self.takes == "features":
            return self._checked_features(self._real(values))
        return self._checked_photographs(np.asarray(values))

    def _checked_features(self, features: np.ndarray) -> np.ndarray:
        channels, *sides = self.card["feature_shape"]
        step = self.card["feature_multiple"]
        fits = features.shape[1:2] == (channels,) and features.ndim == 2 + len(sides)
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
        return self._finite(features)

    def _checked_photographs(self, photographs: np.ndarray) -> np.ndarray:
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
