"""Grey values on the GPU, bit for bit the CPU's.

Roofline: a float32 pixel is 12 bytes read and 4 written for 6 operations, so memory is the limit, and nothing is moved
twice.
"""

from typing import Any

from numba import cuda

from kernels import launch
from kernels.gray import scalar

_luminance = launch.device(scalar.luminance)


@launch.kernel
def weigh(pixels: Any, offset: float, grays: Any) -> None:
    """Luminances of pixels (P, 3) into grays (P,), one thread a pixel: 16 bytes and 6 operations."""
    i, y = cuda.grid(2)
    if i < grays.size and y == 0:
        grays[i] = _luminance(pixels[i, 0], pixels[i, 1], pixels[i, 2], offset)


def compute(pixels: Any, offset: float, grays: Any) -> None:
    """Fill grays (P,) from pixels (P, 3) on the GPU."""
    launch.launch_threads(weigh, (1, 1, grays.size), pixels, offset, grays)
