"""Blobs in weights files: where their numbers lie, and the numbers when asked for.

Source: Blob::FromProto of Caffe 1.0: the four legacy dimensions win over `shape`, `double_data` over `data`;
numbers may be packed or not. A field of another wire type is an error here, as weights depend on it.
"""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from caffe_port.binary import BYTES, NARROW, VARINT, WIDE, Buffer, decode, integer
from caffe_port.errors import ConversionError
from caffe_port.schema import MESSAGES

MAX_AXES = 32  # kMaxBlobAxes of Caffe
MAX_RUNS = 1000  # pieces of one blob; files have one

# A large blob is read in parts by a few threads: most of the time goes into the first touch of fresh memory.
_PART_BYTES = 2**24
_MAX_READERS = 4

_LEGACY = ("num", "channels", "height", "width")
_NUMBERS = {"data": ("float32", NARROW), "double_data": ("float64", WIDE)}
_FIELDS = {MESSAGES["BlobProto"][name].number: name for name in (*_LEGACY, "shape", *_NUMBERS)}


@dataclass(frozen=True, slots=True)
class BlobIndex:
    """Where one blob's numbers lie.

    Attributes
    ----------
    shape : tuple of int
        As the file gives it; num, channels, height, width where `legacy`.
    legacy : bool
        The shape is in the four dimensions of old files.
    dtype : str
        "float32" or "float64".
    count : int
        Numbers that the file holds for the blob.
    source, layer, position
        File, name of the layer and place of the blob in it, for errors.
    """

    shape: tuple[int, ...]
    legacy: bool
    dtype: str
    count: int
    source: str = field(repr=False)
    layer: str = field(repr=False)
    position: int = field(repr=False)
    _buffer: Buffer = field(repr=False)
    _runs: tuple[tuple[int, int, int], ...] = field(repr=False)  # first byte, count, bytes apart
    _span: tuple[int, int] = field(default=(0, 0), repr=False)  # of the whole BlobProto

    @property
    def where(self) -> str:
        """File, layer and position, for errors."""
        layer = f"layer {self.layer[:80]!r}: " if self.layer else ""
        return f"{self.source}: {layer}blob {self.position}"

    @property
    def encoded(self) -> memoryview:
        """The BlobProto as it stands in a caffemodel."""
        return self._buffer.view[slice(*self._span)]

    def check(self) -> None:
        """Raise ConversionError if the shape asks for another count of numbers than the file holds."""
        if any(dim < 0 for dim in self.shape) or math.prod(self.shape) != self.count:
            shape = " x ".join(map(str, self.shape)) or "()"
            wanted = f"shape {shape}, {math.prod(self.shape)} numbers"
            raise ConversionError(f"{self.where} has {wanted}; the file holds {self.count}")

    def array(self) -> np.ndarray:
        """The numbers in the blob's shape: a read-only view of the file if they are packed, else a copy.

        Raises
        ------
        ConversionError
            As `check`.
        """
        self.check()
        dtype = np.dtype(self.dtype).newbyteorder("<")
        parts = [np.ndarray(n, dtype, self._buffer.view, at, (stride,)) for at, n, stride in self._runs]
        if len(parts) == 1 and parts[0].strides == (dtype.itemsize,):
            return parts[0].reshape(self.shape)
        return np.concatenate([np.empty(0, dtype), *parts]).reshape(self.shape)

    def copy_to(self, out: np.ndarray) -> None:
        """Copy the numbers into `out`, an array of their count and any shape.

        Packed numbers of the same type are read straight into a contiguous array, so that the process holds
        them once and not twice.

        Raises
        ------
        ConversionError
            As `check`, or the file has become shorter since it was opened.
        """
        self.check()
        width = np.dtype(self.dtype).itemsize
        is_packed = len(self._runs) == 1 and self._runs[0][2] == width
        is_same = out.dtype == np.dtype(self.dtype).newbyteorder("<") and out.flags.c_contiguous
        if self._buffer.descriptor is None or not (is_packed and is_same):
            np.copyto(out.reshape(self.shape), self.array(), casting="same_kind")
            return
        target = out.reshape(-1).view(np.uint8).data
        parts = [target[begin : begin + _PART_BYTES] for begin in range(0, len(target), _PART_BYTES)]
        places = [self._runs[0][0] + begin for begin in range(0, len(target), _PART_BYTES)]
        with ThreadPoolExecutor(max(1, min(len(parts), os.cpu_count() or 1, _MAX_READERS))) as pool:
            for done in [pool.submit(self._read_part, *part) for part in zip(parts, places, strict=True)]:
                done.result()

    def _read_part(self, target: memoryview, place: int) -> None:
        """Fill `target` from the file at `place`."""
        assert self._buffer.descriptor is not None
        done = 0
        while done < len(target):
            count = os.preadv(self._buffer.descriptor, [target[done:]], place + done)
            if not count:
                raise ConversionError(f"{self.where}: the file became shorter while it was read")
            done += count


def index_blob(
    buffer: Buffer, begin: int = 0, end: int | None = None, layer: str = "", position: int = 0
) -> BlobIndex:
    """Index the BlobProto at [begin, end) of a file; the whole file is one if it is a binaryproto."""
    end = len(buffer.view) if end is None else end
    legacy: dict[str, int] = {}
    dims: list[int] = []
    runs: dict[str, list[tuple[int, int, int]]] = {name: [] for name in _NUMBERS}
    for number, wire, value, start, stop in buffer.fields(begin, end):
        name = _FIELDS.get(number)
        if name is None:
            continue
        if name in _LEGACY and wire == VARINT:
            legacy[name] = integer("int32", value)
        elif name == "shape" and wire == BYTES:
            dims += decode(buffer, start, stop, "BlobShape").get("dim", [])
        elif name in runs and wire in (BYTES, _NUMBERS[name][1]):
            runs[name].append(_run(buffer, name, wire, value, start, stop))
            if len(runs[name]) > MAX_RUNS:
                raise buffer.fail(start, f"field {name!r} in more than {MAX_RUNS} pieces")
        else:
            raise buffer.fail(start, f"field {name!r} of BlobProto has wire type {wire}")
        if len(dims) > MAX_AXES:
            raise buffer.fail(start, f"{len(dims)} axes; a blob may have {MAX_AXES}")
    shape = tuple(legacy.get(name, 0) for name in _LEGACY) if legacy else tuple(dims)
    used = "double_data" if any(count for _, count, _ in runs["double_data"]) else "data"
    kept = tuple(run for run in runs[used] if run[1])
    count = sum(run[1] for run in kept)
    place = buffer.source, layer, position
    return BlobIndex(shape, bool(legacy), _NUMBERS[used][0], count, *place, buffer, kept, (begin, end))


def _run(buffer: Buffer, name: str, wire: int, value: int, start: int, stop: int) -> tuple[int, int, int]:
    width = np.dtype(_NUMBERS[name][0]).itemsize
    if wire != BYTES:
        return start, value, width + 1
    count, rest = divmod(stop - start, width)
    if rest:
        raise buffer.fail(start, f"field {name!r} has {stop - start} bytes, no multiple of {width}")
    return start, count, width
