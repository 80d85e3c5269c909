"""Where ONNX Runtime runs: what was asked for, what there is, and why it was chosen."""

import dataclasses
import warnings
from collections.abc import Iterable
from pathlib import Path

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from export.model_file import CPU_OPERATORS

_CPU = "CPUExecutionProvider"
PROVIDERS = {"cpu": _CPU, "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
AUTO = (
    "cuda",
    "cpu",
)  # TensorRT takes minutes to build its engine, so that it runs only where it is asked for

REFUSALS = (
    errors.Fail,
    errors.InvalidArgument,
    errors.InvalidGraph,
    errors.InvalidProtobuf,
    errors.NoSuchFile,
    errors.NotImplemented,
    errors.RuntimeException,
    RuntimeError,  # what a run with bound arrays raises
)


@dataclasses.dataclass(frozen=True)
class Provider:
    """Where a session runs: ``asked`` for, ``got``, and ``why``."""

    asked: str
    got: str
    why: str


def open_session(
    path: Path, data: bytes, device: str, strict_device: bool, threads: int, operators: Iterable[str]
) -> tuple[onnxruntime.InferenceSession, Provider]:
    """Open a session where it was asked for, or else say why not; see `session.load`.

    Parameters
    ----------
    operators : of the file; some have no other provider than the CPU's.
    """
    cpu_only = not CPU_OPERATORS.isdisjoint(operators)
    present = [_CPU] if cpu_only else onnxruntime.get_available_providers()
    wanted = next(name for name in AUTO if PROVIDERS[name] in present) if device == "auto" else device
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    providers = [p for p in dict.fromkeys((PROVIDERS[wanted], _CPU)) if p in present]
    try:
        session = onnxruntime.InferenceSession(data, options, providers=providers)
    except REFUSALS as error:
        raise ValueError(f"{path}: not an ONNX model that runs here ({one_line(error)})") from error
    session.disable_fallback()
    if PROVIDERS[wanted] in session.get_providers():
        return session, Provider(device, wanted, _reason(device, wanted, present, cpu_only))
    why = _IN_BYTES if cpu_only else _missing(wanted, present)
    if strict_device:
        raise ValueError(f"device is {device!r}, but {why}")
    warnings.warn(f"{path}: runs on the CPU instead of {device}: {why}", RuntimeWarning, stacklevel=4)
    return session, Provider(device, "cpu", why)


_IN_BYTES = "its maps are bytes, which only the CPU's provider computes; for a GPU export it as fp16"


def _missing(wanted: str, present: list[str]) -> str:
    missing = "could not start" if PROVIDERS[wanted] in present else "has no"
    return f"this ONNX Runtime {missing} {PROVIDERS[wanted]}; install caffe-port[gpu] on a machine with a GPU"


def _reason(device: str, got: str, present: list[str], cpu_only: bool) -> str:
    if device != "auto":
        return "as asked"
    if cpu_only:
        return _IN_BYTES
    return f"the first of {', '.join(AUTO)} among this ONNX Runtime's providers: {', '.join(present)}"


def one_line(error: Exception) -> str:
    """An error of ONNX Runtime in one line, cut short."""
    return " ".join(str(error).split())[:200]
