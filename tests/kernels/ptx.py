"""Compile every GPU kernel without a GPU, and ask ptxas (as nvJitLink holds it) what it takes.

    python -m tests.kernels.ptx

prints registers, shared memory and spilled bytes of each kernel for each architecture.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numba.cuda.dispatcher
from cuda.bindings import nvjitlink
from numba import types
from numba.cuda import compiler

from kernels.gray import cuda as gray
from kernels.hog import cuda as hog
from kernels.lbp import cuda as lbp
from kernels.sift.cuda import describe, detect, orient, scale_space

ARCHITECTURES = ((8, 0), (9, 0))

_BYTES, _LONG, _DOUBLE = types.uint8, types.int64, types.float64
LINE, TABLE, BATCH, CHANNELS, POLAR = (
    types.float32[(*[slice(None)] * rank, slice(None, None, 1))] for rank in range(5)
)
BYTE_TABLE, BYTE_BATCH, MARKS = _BYTES[:, ::1], _BYTES[:, :, ::1], _BYTES[:, :, :, ::1]
STARTS, DOUBLES, ANGLES = _LONG[::1], _DOUBLE[::1], _DOUBLE[:, ::1]
PLACES = types.int32[:, ::1]
NUMBERS = (_DOUBLE,) * 4
_FRAMES = (POLAR, PLACES, TABLE, ANGLES, STARTS, *NUMBERS, DOUBLES, types.boolean, TABLE)

# name: kernel, types of its arguments
KERNELS: dict[str, tuple[Any, tuple[types.Type, ...]]] = {
    "gray": (gray.weigh, (TABLE, _DOUBLE, LINE)),
    "gray, uint8": (gray.weigh, (BYTE_TABLE, _DOUBLE, _BYTES[::1])),
    "hog polar": (hog.polar, (BATCH, BATCH, BYTE_BATCH)),
    "hog polar, uint8": (hog.polar, (BYTE_BATCH, BATCH, BYTE_BATCH)),
    "hog pool": (hog.pool, (BATCH, BYTE_BATCH, STARTS, TABLE, STARTS, TABLE, CHANNELS, BATCH)),
    "hog normalise": (hog.normalise, (BATCH, CHANNELS)),
    "lbp encode": (lbp.encode, (BATCH, BYTE_BATCH)),
    "lbp encode, uint8": (lbp.encode, (BYTE_BATCH, BYTE_BATCH)),
    "lbp cells": (lbp.cells, (BYTE_BATCH, _LONG, _LONG, CHANNELS)),
    "sift sample": (scale_space.sample, (CHANNELS, _LONG, _LONG, CHANNELS)),
    "sift sample, uint8": (scale_space.sample, (MARKS, _LONG, _LONG, CHANNELS)),
    "sift enlarge": (scale_space.enlarge, (CHANNELS, _LONG, CHANNELS)),
    "sift enlarge, uint8": (scale_space.enlarge, (MARKS, _LONG, CHANNELS)),
    "sift smooth columns": (scale_space.smooth_columns, (CHANNELS, _LONG, LINE, BATCH)),
    "sift smooth rows": (scale_space.smooth_rows, (BATCH, LINE, CHANNELS, _LONG)),
    "sift differentiate": (scale_space.differentiate, (CHANNELS, POLAR)),
    "sift mark": (detect.mark, (CHANNELS, _DOUBLE, MARKS)),
    "sift refine": (detect.refine, (CHANNELS, STARTS, *NUMBERS, _BYTES[::1], PLACES, TABLE)),
    "sift orient": (orient.orient, (POLAR, PLACES, TABLE, _DOUBLE, DOUBLES, ANGLES, BYTE_TABLE)),
    "sift describe": (describe.describe, (*_FRAMES, BYTE_TABLE)),
    "sift describe, float": (describe.describe, (*_FRAMES, TABLE)),
}


@dataclass(frozen=True)
class Resources:
    """What one kernel takes on one architecture."""

    registers: int
    shared_bytes: int
    spilled_bytes: int


@contextmanager
def pretended_device(architecture: tuple[int, int]) -> Iterator[None]:
    """numba-cuda asks a device for its architecture when one function calls another, even to write PTX."""
    asked = numba.cuda.dispatcher.get_current_device
    numba.cuda.dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=architecture)
    try:
        yield
    finally:
        numba.cuda.dispatcher.get_current_device = asked


def compile_ptx(name: str) -> dict[tuple[int, int], str]:
    """A kernel's PTX for each architecture; its types are inferred, which takes longest, only once."""
    kernel, arguments = KERNELS[name]
    settings: dict[str, Any] = dict.fromkeys(("debug", "opt", "abi_info", "launch_bounds"))
    settings |= dict.fromkeys(("device", "lineinfo", "fastmath", "forceinline", "lto"), False)
    with pretended_device(ARCHITECTURES[0]):
        library, _ = compiler._compile_pyfunc_with_fixup(
            kernel.py_func, types.void(*arguments), abi="numba", cc=ARCHITECTURES[0], **settings
        )
        return {architecture: library.get_asm_str(cc=architecture) for architecture in ARCHITECTURES}


def resources(text: str, architecture: tuple[int, int]) -> Resources:
    """What ptxas reports when it assembles PTX."""
    major, minor = architecture
    handle = nvjitlink.create(2, [f"-arch=sm_{major}{minor}", "-verbose"])
    try:
        code = text.encode()
        nvjitlink.add_data(handle, nvjitlink.InputType.PTX, code, len(code), "kernel")
        nvjitlink.complete(handle)
        log = bytearray(nvjitlink.get_info_log_size(handle))
        nvjitlink.get_info_log(handle, log)
    finally:
        nvjitlink.destroy(handle)
    report = log.decode()
    used = re.search(r"used (\d+) registers.*?(\d+) bytes smem", report)
    assert used, report
    spilled = re.findall(r"(\d+) bytes spill (?:stores|loads)", report)
    assert spilled, report
    return Resources(int(used[1]), int(used[2]), sum(map(int, spilled)))


def main() -> None:
    """Print the table."""
    print(f"{'kernel':24}{'arch':>6}{'registers':>11}{'shared':>8}{'spilled':>9}")
    for name in KERNELS:
        for architecture, text in compile_ptx(name).items():
            found = resources(text, architecture)
            arch = "sm_{}{}".format(*architecture)
            print(f"{name:24}{arch:>6}{found.registers:11}{found.shared_bytes:8}{found.spilled_bytes:9}")


if __name__ == "__main__":
    main()
