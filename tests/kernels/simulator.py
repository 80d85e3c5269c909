"""Run all of `gpu_cases` in numba-cuda's simulator, on arrays of main memory that claim to live on a GPU.

NUMBA_ENABLE_CUDASIM=1 python -m tests.kernels.simulator results.npz
"""

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numba import config
from numpy.typing import DTypeLike, NDArray

from kernels import backend
from tests.kernels.gpu_cases import CASES


class GpuArray(np.ndarray):
    """An array that the kernels take for one on a GPU; what NumPy's functions make of it is one again."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.__array_interface__

    def __array_function__(self, function: Any, kinds: Any, arguments: Any, settings: Any) -> Any:
        result = super().__array_function__(function, kinds, arguments, settings)
        return result.view(GpuArray) if isinstance(result, np.ndarray) else result


class SimulatedDevice:
    """See `kernels.backend.Device`; new arrays hold rubbish, so that reading before writing shows."""

    def view(self, array: Any) -> Any:
        return array

    def contiguous(self, array: Any) -> Any:
        return self.put(np.ascontiguousarray(array))

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        return self.put(np.full(shape, 113, dtype))

    def put(self, array: NDArray) -> Any:
        return np.array(array).view(GpuArray)

    def get(self, array: Any) -> NDArray:
        return np.asarray(array)

    def argument(self, value: Any) -> Any:
        return np.asarray(value) if backend.on_gpu(value) else value

    def stream(self) -> Any:
        return 0

    def holding(self, array: Any) -> AbstractContextManager[Any]:
        return nullcontext()


def main() -> None:
    """Write the arrays of all cases."""
    assert config.ENABLE_CUDASIM
    device = SimulatedDevice()
    backend.device = lambda: device  # type: ignore[assignment, return-value]
    results = {}
    for name, case in CASES.items():
        for part, result in case.compute(device.put(case.array)).items():
            assert backend.on_gpu(result)
            results[f"{name}: {part}"] = np.asarray(result)
    np.savez(sys.argv[1], **results)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
