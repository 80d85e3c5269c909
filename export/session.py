"""Run an exported decoder: NumPy in, NumPy out, by ONNX Runtime; this file stands alone and never needs torch.

The file's metadata field ``caffe_port.card`` holds its card, JSON that says what it takes and where it came from;
``caffe_port.recorded_answers`` holds features and the pictures that torch made of them: see `OnnxDecoder.recorded`.
"""

import base64
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

CARD_FIELD = "caffe_port.card"
ANSWERS_FIELD = "caffe_port.recorded_answers"
MAX_FILE_BYTES = 2**31  # protobuf's own limit for one message

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_REFUSALS = (
    errors.Fail,
    errors.InvalidArgument,
    errors.InvalidGraph,
    errors.InvalidProtobuf,
    errors.NoSuchFile,
    errors.NotImplemented,
    errors.RuntimeException,
)


def load(path: str | os.PathLike[str], *, device: str = "cpu", threads: int = 0) -> "OnnxDecoder":
    """Open an exported decoder.

    Parameters
    ----------
    path : an ``.onnx`` file written by ``decoders export``.
    device : ``cpu`` or ``cuda``; what is asked for is what runs, or an error says why not.
    threads : CPU threads inside one call; 0 leaves the choice to ONNX Runtime (one a core).

    Raises
    ------
    FileNotFoundError : if there is no such file.
    ValueError : if it is not an ONNX model, not one of ours, or the device is not there.
    """
    return OnnxDecoder(Path(path), device=device, threads=threads)


class OnnxDecoder:
    """A decoder in an ONNX Runtime session.

    Attributes
    ----------
    card : what the file says of itself: representation, preprocessing, shapes, training run, versions, hashes.
    """

    def __init__(self, path: Path, *, device: str, threads: int) -> None:
        self._path = path
        self._session = _open_session(path, device, threads)
        self.card = _read_card(self._session, path)
        self._check_signature()

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Decode features to pictures.

        Parameters
        ----------
        features : (N, C, H, W) as the card's ``feature_shape`` says; float32, or another real dtype that is
            converted. Fully convolutional decoders take larger maps too.

        Returns
        -------
        (N, H', W', 3) uint8, RGB.

        Raises
        ------
        ValueError, TypeError : if the features have another shape or kind.
        """
        return np.rint(self.pictures(features)).astype(np.uint8).transpose(0, 2, 3, 1)

    def pictures(self, features: np.ndarray) -> np.ndarray:
        """The same, before rounding: (N, 3, H', W') float32, RGB, 0..255."""
        (name,) = (value.name for value in self._session.get_inputs())
        (decoded,) = self._session.run(None, {name: self._checked(features)})
        return decoded

    def recorded(self) -> tuple[np.ndarray, np.ndarray]:
        """The answers recorded in the file when it was exported.

        Returns
        -------
        features : (N, C, H, W) float32.
        pictures : (N, H', W', 3) uint8, what torch made of them.

        Raises
        ------
        ValueError : if the file records none, or they are damaged.
        """
        try:
            answers = json.loads(self._session.get_modelmeta().custom_metadata_map[ANSWERS_FIELD])
            features, pictures = answers["features"], answers["pictures"]
            return (
                np.frombuffer(base64.b64decode(features["data"]), np.float32).reshape(features["shape"]),
                np.frombuffer(base64.b64decode(pictures["data"]), np.uint8).reshape(pictures["shape"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{self._path}: metadata field {ANSWERS_FIELD} is missing or damaged; export it again"
            ) from error

    def _checked(self, features: np.ndarray) -> np.ndarray:
        """The features as contiguous float32, once they are what the card says."""
        features = np.asarray(features)
        if features.dtype.kind not in "fiu":
            raise TypeError(f"{self._path}: features are {features.dtype}; real numbers are decoded")
        channels, *sides = self.card["feature_shape"]
        step = self.card["feature_multiple"]
        fits = (
            features.ndim == 4
            and features.shape[1] == channels
            and all(
                side > 0 and side % step == 0 if step else side == fixed
                for side, fixed in zip(features.shape[2:], sides, strict=True)
            )
        )
        if not fits:
            more = f", or with both sides multiples of {step}" if step else ""
            raise ValueError(
                f"{self._path}: features have shape {features.shape}; this decoder takes "
                f"(N, {channels}, {', '.join(map(str, sides))}){more}"
            )
        if not np.isfinite(features).all():
            raise ValueError(f"{self._path}: features hold NaN or infinity; finite numbers are decoded")
        return np.ascontiguousarray(features, dtype=np.float32)

    def _check_signature(self) -> None:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if [value.name for value in inputs] != ["features"] or [value.name for value in outputs] != [
            "pictures"
        ]:
            raise ValueError(
                f"{self._path}: its inputs and outputs are not those of a decoder; export it again"
            )


def _open_session(path: Path, device: str, threads: int) -> onnxruntime.InferenceSession:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give an .onnx file written by decoders export")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size} bytes; an ONNX file has at most {MAX_FILE_BYTES}")
    if device not in _PROVIDERS:
        raise ValueError(f"device is {device!r}; it must be one of {', '.join(_PROVIDERS)}")
    provider = _PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        raise ValueError(
            f"device is {device!r}, but this ONNX Runtime has no {provider}; install caffe-port[gpu]"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=[provider])
    except _REFUSALS as error:
        raise ValueError(f"{path}: not an ONNX model that runs here ({str(error)[:200]})") from error
    if provider not in session.get_providers():
        raise ValueError(
            f"device is {device!r}, but ONNX Runtime could not start {provider}; use device='cpu'"
        )
    return session


def _read_card(session: onnxruntime.InferenceSession, path: Path) -> dict[str, Any]:
    text = session.get_modelmeta().custom_metadata_map.get(CARD_FIELD)
    if text is None:
        raise ValueError(
            f"{path}: no metadata field {CARD_FIELD}; only files written by decoders export are run"
        )
    try:
        card = json.loads(text)
    except ValueError as error:
        raise ValueError(
            f"{path}: metadata field {CARD_FIELD} is not JSON ({error}); export it again"
        ) from error
    needed = ("representation", "feature_shape", "feature_multiple")
    missing = [name for name in needed if not isinstance(card, dict) or name not in card]
    if missing:
        raise ValueError(f"{path}: the card lacks {', '.join(missing)}; export it again")
    return card
