"""Grey values on the CPU."""

from numba import njit
from numpy.typing import NDArray

from kernels.compiling import COMPILE, INLINE
from kernels.gray import scalar

_luminance = njit(**INLINE)(scalar.luminance)


@njit(**COMPILE)
def weigh(pixels: NDArray, offset: float, grays: NDArray) -> None:
    """Luminances of pixels (P, 3) into grays (P,)."""
    for i in range(grays.size):
        grays[i] = _luminance(pixels[i, 0], pixels[i, 1], pixels[i, 2], offset)
