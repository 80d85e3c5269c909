"""The one image convention, and what is done to pictures before the features and after the decoder.

A picture in memory is (H, W, 3) uint8, RGB, 0..255; a batch for a representation or a decoder is
(N, 3, H, W) float32 of the same values. Files are found and decoded by `caffe_port.pictures`.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from caffe_port.files import replacing
from caffe_port.pictures import ImageFile


def data_hash(images: Iterable[ImageFile]) -> str:
    """SHA-256 (hex) over the sorted names and sizes of a set of pictures; their content is not read."""
    digest = hashlib.sha256()
    for name, size in sorted((image.name, image.size) for image in images):
        digest.update(f"{name}\0{size}\n".encode())
    return digest.hexdigest()


def split_by_hash(
    images: Sequence[ImageFile], fraction: float
) -> tuple[tuple[ImageFile, ...], tuple[ImageFile, ...]]:
    """Split into (training, validation) by the hash of each name: the same picture always falls on the same side."""
    threshold = int(fraction * 2**32)
    held_out = [
        int.from_bytes(hashlib.sha256(image.name.encode()).digest()[:4], "big") < threshold
        for image in images
    ]
    training = tuple(image for image, out in zip(images, held_out, strict=True) if not out)
    validation = tuple(image for image, out in zip(images, held_out, strict=True) if out)
    return training, validation


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (H, W, 3) uint8: area averaging where it shrinks, bilinear where it grows."""
    shrinks = height * width < image.shape[0] * image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def cover(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale a picture, keeping its aspect ratio, so that it just covers (height, width) = ``size``.

    Of pictures over four times longer than ``size``, only the middle part is kept, which bounds the result.
    """
    height, width = size
    image = _cut_centre(image, image.shape[1] * 4 * height // width, image.shape[0] * 4 * width // height)
    scale = max(height / image.shape[0], width / image.shape[1])
    return resize(
        image, max(height, round(image.shape[0] * scale)), max(width, round(image.shape[1] * scale))
    )


def centre_crop(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cut the largest centred part with the aspect ratio of (height, width) = ``size`` and scale it to that."""
    height, width = size
    scale = min(image.shape[0] / height, image.shape[1] / width)
    return resize(_cut_centre(image, round(height * scale), round(width * scale)), height, width)


def _cut_centre(image: np.ndarray, height: int, width: int) -> np.ndarray:
    height, width = (
        min(side, max(1, wanted)) for side, wanted in zip(image.shape[:2], (height, width), strict=True)
    )
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def random_crop(
    image: np.ndarray, size: tuple[int, int], rng: np.random.Generator, *, zoom: float = 1.0
) -> np.ndarray:
    """Cut a random rectangle, scale it down to (height, width) = ``size``, and mirror it half of the time.

    Parameters
    ----------
    image : (H, W, 3) uint8, at least of ``size``.
    zoom : the part is up to this factor larger than ``size``, as far as the picture goes; 1 for no scaling.
    """
    height, width = size
    if zoom > 1:
        largest = min(image.shape[0] / height, image.shape[1] / width, zoom)
        scale = largest ** rng.random()
        height, width = round(height * scale), round(width * scale)
    top = int(rng.integers(image.shape[0] - height + 1))
    left = int(rng.integers(image.shape[1] - width + 1))
    part = image[top : top + height, left : left + width]
    part = part if part.shape[:2] == size else resize(part, *size)
    return np.ascontiguousarray(part[:, ::-1] if rng.random() < 0.5 else part)


def to_batch(images: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Equal-sized (H, W, 3) uint8 pictures -> (N, 3, H, W) float32, 0..255."""
    return np.stack(list(images)).transpose(0, 3, 1, 2).astype(np.float32)


def to_pictures(batch: np.ndarray) -> np.ndarray:
    """(N, 3, H, W) float, 0..255 -> (N, H, W, 3) uint8, rounded and clipped."""
    return np.clip(np.rint(batch), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def save_image(path: Path | str, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB; the format follows the suffix; the file is whole or absent.

    Raises
    ------
    ValueError : if OpenCV cannot write that format.
    OSError : if the folder does not exist or the disk is full.
    """
    try:
        data = encode_image(image, Path(path).suffix)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    with replacing(path) as file:
        file.write(data)


def encode_image(image: np.ndarray, suffix: str) -> bytes:
    """(H, W, 3) uint8 RGB as the bytes of an image file, e.g. of ``.png``.

    Raises
    ------
    ValueError : if OpenCV cannot write that format.
    """
    try:
        written, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error:
        written = False
    if not written:
        raise ValueError(f"cannot be written as {suffix}; use .png, .jpg or .webp")
    return data.tobytes()


def side_by_side(pictures: Sequence[np.ndarray], gap: int = 8) -> np.ndarray:
    """Join equal-height (H, W, 3) uint8 pictures from left to right with white gaps."""
    white = np.full((pictures[0].shape[0], gap, 3), 255, np.uint8)
    strips = [strip for picture in pictures for strip in (white, picture)][1:]
    return np.concatenate(strips, axis=1)


def unique_names(names: list[str]) -> list[str]:
    """The names, with ``-2``, ``-3`` ... appended where one comes again."""
    result: list[str] = []
    counts: dict[str, int] = {}
    taken: set[str] = set()
    for name in names:
        unique = name
        while unique in taken:
            counts[name] = counts.get(name, 1) + 1
            unique = f"{name}-{counts[name]}"
        taken.add(unique)
        result.append(unique)
    return result
