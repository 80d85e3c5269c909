"""What every kernel asks of its grey images and of its settings; one place, one wording."""

from numbers import Real
from operator import index
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kernels.backend import array_of, contiguous, host

PIXEL_TYPES = (np.float32, np.uint8)
SMALL = 16  # sides below which (N, H, 3) may well be a batch


def whole_number(name: str, value: object, least: int) -> int:
    """A setting as an int.

    Raises
    ------
    TypeError
        If `value` is no whole number (a bool is none).
    ValueError
        If it is below `least`.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} is {value!r}: it must be a whole number, {least} or more")
    if index(value) < least:
        raise ValueError(f"{name} is {value}: it must be {least} or more")
    return index(value)


def real_number(name: str, value: object, least: float, most: float) -> float:
    """A setting as a float.

    Raises
    ------
    TypeError
        If `value` is no real number (a bool is none).
    ValueError
        If it is not between `least` and `most`, or is NaN.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r}: it must be a number from {least:g} to {most:g}")
    if not least <= float(value) <= most:
        raise ValueError(f"{name} is {value}: it must be from {least:g} to {most:g}")
    return float(value)


def grey_batch(gray: ArrayLike) -> tuple[Any, bool]:
    """One image or a batch as a contiguous batch, where it lives: NumPy or CuPy; and whether it was one.

    Copied only where it must be; nothing is written into it.

    Parameters
    ----------
    gray : (H, W) or (N, H, W) array, float32 or uint8

    Returns
    -------
    images : (N, H, W) array of the same dtype
    is_batch : bool
        False if `gray` was a single image.

    Raises
    ------
    TypeError
        If `gray` is neither float32 nor uint8.
    ValueError
        If it has another rank, looks like a picture in colours, or is masked.
    """
    images = array_of(gray)
    if images.dtype not in PIXEL_TYPES:
        raise TypeError(f"gray has dtype {images.dtype}: it must be float32 or uint8")
    if images.ndim not in (2, 3):
        raise ValueError(f"gray has shape {images.shape}: it must be (H, W) or (N, H, W)")
    if images.ndim == 3 and images.shape[2] in (3, 4) and min(images.shape[:2]) >= SMALL:
        raise ValueError(f"gray has shape {images.shape}, which is a picture in colours: see `kernels.gray`")
    height, width = images.shape[-2:]
    is_batch = images.ndim == 3
    count = len(images) if is_batch else 1
    return contiguous(images).reshape((count, height, width)), is_batch


def check_room(height: int, width: int, least: int, cell_size: int) -> None:
    """Refuse an image without room for one cell, which needs `least` pixels along each side."""
    if min(height, width) < least:
        raise ValueError(
            f"image of {height} x {width} pixels: cells of {cell_size} need at least {least} x {least}"
        )


def check_finite(images: Any, *, first: int = 0) -> None:
    """Refuse NaN and infinity in (parts of) images (N, H, W), NumPy or CuPy, of which the first has this number.

    Sums tell at the speed of memory; only where one is not finite, which large values may cause too, each pixel is
    looked at.
    """
    if images.dtype != np.float32:
        return
    with np.errstate(over="ignore", invalid="ignore"):
        totals = host(images.sum(axis=(1, 2)))
    for n in np.flatnonzero(~np.isfinite(totals)):
        if not np.isfinite(images[n]).all():
            raise ValueError(f"gray: image {first + n} holds NaN or infinity; allowed are finite values")


def check_range(images: Any, largest: float, *, first: int = 0) -> None:
    """Refuse NaN, infinity and values above `largest`, positive or negative, in images as `check_finite` takes them."""
    if images.dtype != np.float32:
        return
    lowest, highest = host(images.min(axis=(1, 2))), host(images.max(axis=(1, 2)))
    for n in np.flatnonzero(~((-largest <= lowest) & (highest <= largest))):  # NaN is in no range
        fault = "values too large" if np.isfinite(images[n]).all() else "NaN or infinity"
        raise ValueError(
            f"gray: image {first + n} holds {fault}; allowed are finite values, up to {largest:g}"
        )
