"""Pictures to net inputs and back: colour order, resizing, crop, mean and scale, as Caffe did them.

Three ways in: `Recipe`, what ImageNet nets were trained with (warp, centre crop, BGR, minus mean, scale;
source: `tools/convert_imageset.cpp`, `src/caffe/data_transformer.cpp`); `to_caffe`, for batches that have
the right size; `Transformer`, the order and the resizing of `caffe.io.Transformer`. Here a picture is (H,
W, 3), RGB, 0..255, and a batch is (N, 3, H, W); means (read by `means.py`) are in the net's own channel
order, (C,) or (C, H, W).
"""

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from caffe_port.errors import ConversionError

Batch = TypeVar("Batch", np.ndarray, Any)
Size = tuple[int, int]

ORDERS = {"BGR": (2, 1, 0), "RGB": (0, 1, 2)}


def crop_mean(mean: np.ndarray, size: Size) -> np.ndarray:
    """What a centre crop of `size` (H, W) is reduced by: the mean's own centre, or values as (C, 1, 1)."""
    if mean.ndim == 1:
        return mean[:, None, None]
    top, left = (mean.shape[1] - size[0]) // 2, (mean.shape[2] - size[1]) // 2
    if top < 0 or left < 0:
        raise ConversionError(
            f"a mean of {mean.shape[1]} x {mean.shape[2]} is smaller than {size[0]} x {size[1]}"
        )
    return mean[:, top : top + size[0], left : left + size[1]]


def to_caffe(images: Batch, mean: np.ndarray, *, order: str = "BGR", scale: float = 1.0) -> Batch:
    """Turn RGB batches into net inputs.

    Parameters
    ----------
    images : (N, 3, H, W) ndarray or torch.Tensor of floats, RGB, 0..255
    mean : (3,) or (3, H', W') ndarray
        In the net's channel order; the centre of an image that is larger than (H, W) is used.
    order : {"BGR", "RGB"}
    scale : float
        Applied after the mean.

    Returns
    -------
    same kind as `images`
        (channel order - mean) * scale; gradients flow through tensors.
    """
    return (images[:, list(ORDERS[order])] - _like(images, mean)) * scale


def from_caffe(blob: Batch, mean: np.ndarray, *, order: str = "BGR", scale: float = 1.0) -> Batch:
    """Turn net inputs (N, 3, H, W) back into RGB batches, 0..255; the inverse of `to_caffe`, not clipped."""
    return (blob / scale + _like(blob, mean))[:, list(np.argsort(ORDERS[order]))]


def _like(images: Any, mean: np.ndarray) -> Any:
    cropped = crop_mean(np.asarray(mean, np.float32), tuple(images.shape[2:]))
    return images.new_tensor(cropped) if hasattr(images, "new_tensor") else cropped.astype(images.dtype)


@dataclass(frozen=True)
class Recipe:
    """How a net wants its pictures.

    Attributes
    ----------
    warp : (H, W) or None
        Size to which the whole picture is stretched, ignoring its proportions; bilinear, as OpenCV does it.
    crop : (H, W) or None
        Size of the centre crop taken after that.
    mean : ndarray
        (C,) or (C, H, W), in `order`.
    order : {"BGR", "RGB", "GREY"}
    scale : float
        Applied after the mean.
    """

    warp: Size | None
    crop: Size | None
    mean: np.ndarray
    order: str = "BGR"
    scale: float = 1.0

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """Prepare one picture.

        Parameters
        ----------
        picture : (H, W, 3) uint8, RGB

        Returns
        -------
        (C, H, W) float32

        Raises
        ------
        ConversionError
            The crop or the mean does not fit.
        """
        import cv2

        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ConversionError(
                f"a picture of {picture.dtype} {picture.shape}; expected uint8 (H, W, 3), RGB"
            )
        if self.order == "GREY":
            picture = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        if self.warp is not None and picture.shape[:2] != self.warp:
            picture = cv2.resize(picture, self.warp[::-1], interpolation=cv2.INTER_LINEAR)
        size = self.crop or (picture.shape[0], picture.shape[1])
        top, left = (picture.shape[0] - size[0]) // 2, (picture.shape[1] - size[1]) // 2
        if top < 0 or left < 0:
            raise ConversionError(
                f"a crop of {size[0]} x {size[1]} from {picture.shape[0]} x {picture.shape[1]}"
            )
        cropped = picture[top : top + size[0], left : left + size[1]].astype(np.float32)
        planes = (
            cropped[None] if self.order == "GREY" else cropped.transpose(2, 0, 1)[list(ORDERS[self.order])]
        )
        return np.ascontiguousarray(
            (planes - crop_mean(self.mean, size)) * np.float32(self.scale), np.float32
        )


def imagenet_recipe(mean: np.ndarray) -> Recipe:
    """What CaffeNet and AlexNet were trained with: warped to 256 x 256, its 227 x 227 centre, BGR."""
    return Recipe((256, 256), (227, 227), mean)


@dataclass(frozen=True)
class Transformer:
    """`caffe.io.Transformer` for one input, without anti-aliasing, as when Caffe was current.

    The order is: float32, resize, transpose, channel swap, raw scale, minus mean, input scale.

    Attributes
    ----------
    size : (H, W)
    transpose, channel_swap : tuple of int or None
        (2, 0, 1) brings channels first; (2, 1, 0) is RGB to BGR.
    raw_scale, input_scale : float or None
        Before and after the mean.
    mean : ndarray or None
        (C,) or (C, H, W); an image of another size is resized.
    """

    size: Size
    transpose: tuple[int, int, int] | None = (2, 0, 1)
    channel_swap: tuple[int, ...] | None = None
    raw_scale: float | None = None
    mean: np.ndarray | None = None
    input_scale: float | None = None

    def _mean(self) -> np.ndarray | None:
        mean = self.mean
        if mean is None or mean.ndim == 1:
            return mean if mean is None else mean[:, None, None]
        if mean.shape[1:] == self.size:
            return mean
        low, high = mean.min(), mean.max()
        spread = (high - low) or 1.0  # differs from Caffe: a constant mean image gives NaN there
        return resize(((mean - low) / spread).transpose(1, 2, 0), self.size).transpose(2, 0, 1) * spread + low

    def preprocess(self, picture: np.ndarray) -> np.ndarray:
        """Prepare one (H, W, C) picture of any range; returns float32, (C, H, W) after `transpose`."""
        data = np.array(picture, np.float32)
        if data.shape[:2] != self.size:
            data = resize(data, self.size)
        if self.transpose is not None:
            data = data.transpose(self.transpose)
        if self.channel_swap is not None:
            data = data[list(self.channel_swap)]
        mean = self._mean()
        data = np.array(data)
        if self.raw_scale is not None:
            data *= self.raw_scale
        if mean is not None:
            data -= mean
        if self.input_scale is not None:
            data *= self.input_scale
        return data

    def deprocess(self, data: np.ndarray) -> np.ndarray:
        """Undo `preprocess`, but for the size: (C, H, W) or (1, C, H, W) to a picture."""
        data = np.array(data).squeeze()
        mean = self._mean()
        if self.input_scale is not None:
            data /= self.input_scale
        if mean is not None:
            data += mean
        if self.raw_scale is not None:
            data /= self.raw_scale
        if self.channel_swap is not None:
            data = data[np.argsort(self.channel_swap)]
        return data if self.transpose is None else data.transpose(np.argsort(self.transpose))


def resize(picture: np.ndarray, size: Size) -> np.ndarray:
    """Resize as `caffe.io.resize_image` did: bilinear, no anti-aliasing.

    Parameters
    ----------
    picture : (H, W, C) ndarray
        With 1 or 3 channels samples lie at pixel centres and the outside is the picture's minimum
        (scikit-image before 0.15); with other counts corners map to corners (scipy's zoom).
    size : (H, W)

    Returns
    -------
    (H, W, C) float32
    """
    by_centres = picture.shape[2] in (1, 3)
    low, high = (picture.min(), picture.max()) if by_centres else (0.0, 1.0)
    if low == high:
        return np.full((*size, picture.shape[2]), low, np.float32)
    unit = ((picture - low) / (high - low)).astype(np.float64)
    for axis, count in enumerate(size):
        unit = _interpolate(unit, axis, count, by_centres)
    return (unit * (high - low) + low).astype(np.float32)


def _interpolate(data: np.ndarray, axis: int, count: int, by_centres: bool) -> np.ndarray:
    old = data.shape[axis]
    if by_centres:
        places = (np.arange(count) + 0.5) * old / count - 0.5
    else:
        places = np.arange(count) * ((old - 1) / max(count - 1, 1))
    first = np.floor(places).astype(int)
    weight = (places - first).reshape([-1 if axis == a else 1 for a in range(data.ndim)])
    padded = np.pad(data, [(1, 1) if axis == a else (0, 0) for a in range(data.ndim)])
    return padded.take(first + 1, axis) * (1 - weight) + padded.take(first + 2, axis) * weight
