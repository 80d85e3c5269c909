"""Where an array lives, and the GPU as far as the kernels need one.

NumPy arrays, and whatever NumPy makes an array of, stay on the CPU. CuPy arrays, and whatever else has
`__cuda_array_interface__` (a torch CUDA tensor), stay on their GPU; results are CuPy arrays there. Nothing moves from
one to the other unasked. CuPy and numba-cuda are imported when the first GPU array comes in, and not before.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

EXTRA = 'pip install "caffe-port[gpu]"'


class Device(Protocol):
    """A GPU: the arrays on it, and how a compiled kernel takes them."""

    def view(self, array: Any) -> Any:
        """An array that lives there already, as this device's own kind; not copied."""

    def contiguous(self, array: Any) -> Any:
        """The same array in C order; copied only where it must be."""

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        """A new array, not filled."""

    def put(self, array: NDArray) -> Any:
        """A copy of a NumPy array on the device."""

    def get(self, array: Any) -> NDArray:
        """A copy of a device array as a NumPy array, after everything queued before."""

    def argument(self, value: Any) -> Any:
        """A device array, or a number, as a compiled kernel takes it."""

    def stream(self) -> Any:
        """The stream that the caller works on."""

    def holding(self, array: Any) -> AbstractContextManager[Any]:
        """While entered, the GPU that holds this array is the current one."""


def on_gpu(array: object) -> bool:
    """Whether an array lives on a GPU."""
    return hasattr(array, "__cuda_array_interface__")


def array_of(values: ArrayLike) -> Any:
    """Values as a NumPy array, or as a CuPy array where they live on a GPU; not copied if they are an array.

    Raises
    ------
    ValueError
        If some of them are masked.
    """
    if on_gpu(values):
        return device().view(values)
    if np.ma.is_masked(values):
        raise ValueError("the array holds masked values: replace them first, for example by its filled(0)")
    return np.asarray(values)


def contiguous(array: Any) -> Any:
    """An array in C order; on the CPU also aligned and writable, for which alone code is compiled."""
    return device().contiguous(array) if on_gpu(array) else np.require(array, requirements=["C", "A", "W"])


def empty(shape: tuple[int, ...], dtype: DTypeLike, *, beside: Any) -> Any:
    """A new array where another one lives, not filled."""
    with holding(beside):
        return device().empty(shape, dtype) if on_gpu(beside) else np.empty(shape, dtype)


def host(array: Any) -> NDArray:
    """An array as a NumPy array, brought from the GPU where it lives there."""
    return device().get(array) if on_gpu(array) else array


def holding(array: Any) -> AbstractContextManager[Any]:
    """While entered, the GPU that holds this array is the current one; on the CPU, nothing."""
    return device().holding(array) if on_gpu(array) else nullcontext()


@cache
def device() -> Device:
    """The GPU by way of CuPy.

    Raises
    ------
    ValueError
        If CuPy or numba-cuda is not installed; names the extra that brings both.
    """
    missing = [name for name in ("cupy", "numba_cuda") if find_spec(name) is None]
    if missing:
        raise ValueError(f"the array is on a GPU, but {' and '.join(missing)} are not installed: {EXTRA}")
    return CupyDevice()


class CupyDevice:
    """The GPU that holds an array; memory comes from CuPy's pool, work goes to CuPy's current stream."""

    def __init__(self) -> None:
        import cupy
        from numba import cuda

        self._cupy, self._cuda = cupy, cuda

    def view(self, array: Any) -> Any:
        """By DLPack where the array speaks it, which orders the two streams; by the array interface otherwise."""
        if isinstance(array, self._cupy.ndarray):
            return array
        return self._cupy.from_dlpack(array) if hasattr(array, "__dlpack__") else self._cupy.asarray(array)

    def contiguous(self, array: Any) -> Any:
        """The same array in C order."""
        with self.holding(array):
            return self._cupy.ascontiguousarray(array)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        """A new array, not filled."""
        return self._cupy.empty(shape, dtype)

    def put(self, array: NDArray) -> Any:
        """A copy of a NumPy array on the device."""
        return self._cupy.array(array)

    def get(self, array: Any) -> NDArray:
        """A copy of a device array as a NumPy array."""
        return self._cupy.asnumpy(array)

    def argument(self, value: Any) -> Any:
        """Without waiting for the array's stream: kernels are queued on it."""
        return self._cuda.as_cuda_array(value, sync=False) if on_gpu(value) else value

    def stream(self) -> Any:
        """CuPy's current stream."""
        pointer = self._cupy.cuda.get_current_stream().ptr
        return self._cuda.external_stream(pointer) if pointer else self._cuda.default_stream()

    def holding(self, array: Any) -> AbstractContextManager[Any]:
        """While entered, the GPU that holds this array is the current one."""
        return array.device
