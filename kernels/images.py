"""What every kernel asks of its grey images and of its settings; one place, one wording."""

from numbers import Real
from operator import index

import numpy as np
from numpy.typing import ArrayLike, NDArray

PIXEL_TYPES = (np.float32, np.uint8)


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
    if not least <= value <= most:
        raise ValueError(f"{name} is {value}: it must be from {least:g} to {most:g}")
    return float(value)


def grey_batch(gray: ArrayLike) -> NDArray:
    """One image or a batch as a contiguous, aligned, writable batch, for which alone code is compiled.

    Copied only where it must be; nothing is written into it.

    Parameters
    ----------
    gray : (H, W) or (N, H, W) array, float32 or uint8

    Returns
    -------
    (N, H, W) array of the same dtype

    Raises
    ------
    TypeError
        If `gray` is neither float32 nor uint8.
    ValueError
        If it has another rank.
    """
    images = np.asarray(gray)
    if images.dtype not in PIXEL_TYPES:
        raise TypeError(f"gray has dtype {images.dtype}: it must be float32 or uint8")
    if images.ndim not in (2, 3):
        raise ValueError(f"gray has shape {images.shape}: it must be (H, W) or (N, H, W)")
    height, width = images.shape[-2:]
    count = 1 if images.ndim == 2 else len(images)
    return np.require(images, requirements=["C", "A", "W"]).reshape((count, height, width))


def check_room(height: int, width: int, least: int, cell_size: int) -> None:
    """Refuse an image without room for one cell, which needs `least` pixels along each side."""
    if min(height, width) < least:
        raise ValueError(
            f"image of {height} x {width} pixels: cells of {cell_size} need at least {least} x {least}"
        )


def check_finite(pixels: NDArray, number: int) -> None:
    """Refuse NaN and infinity in (part of) the image of this number.

    A sum tells at the speed of memory; only where it is not finite, which large values may cause too, each pixel is
    looked at.
    """
    if pixels.dtype != np.float32:
        return
    with np.errstate(over="ignore", invalid="ignore"):
        total = pixels.sum()
    if not np.isfinite(total) and not np.isfinite(pixels).all():
        raise ValueError(f"gray: image {number} holds NaN or infinity; allowed are finite values")


def check_range(pixels: NDArray, number: int, largest: float) -> None:
    """Refuse NaN, infinity and values above `largest`, positive or negative, in the image of this number."""
    if -largest <= pixels.min() and pixels.max() <= largest:  # false for NaN
        return
    fault = "values too large" if np.isfinite(pixels).all() else "NaN or infinity"
    raise ValueError(f"gray: image {number} holds {fault}; allowed are finite values, up to {largest:g}")
