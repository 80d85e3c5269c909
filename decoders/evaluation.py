"""From pictures to reconstructions and their error: image -> features -> decoder -> image' -> error."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
from tqdm import tqdm

from caffe_port.pictures import BadImage, ImageFile
from decoders.framing import Framing
from decoders.images import to_batch
from decoders.metrics import distances, mean_pairwise_distance
from decoders.representations import Representation

# Features (N, ...) float32 -> pictures (N, 3, H', W') float32, RGB 0..255.
Decode = Callable[[np.ndarray], np.ndarray]

_BATCH = 16


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The normalised reconstruction error over one set of pictures; see `decoders.metrics`.

    Attributes
    ----------
    images : number of pictures compared.
    error : mean distance to the reconstruction over ``normaliser``.
    normaliser : mean distance between two of the pictures, in grey levels.
    image_size : (height, width) at which pictures are compared.
    """

    images: int
    error: float
    normaliser: float
    image_size: tuple[int, int]


def read_squares(
    files: Sequence[ImageFile], framing: Framing, *, quiet: bool = True
) -> tuple[np.ndarray, list[str]]:
    """Read pictures, each as the framing cuts it for evaluation.

    Returns
    -------
    images : (N, H, W, 3) uint8, the readable ones in their order.
    bad : one line for each file that could not be read.
    """
    images = np.empty((len(files), *framing.size, 3), np.uint8)
    count, bad = 0, []
    for file in tqdm(files, desc="reading", unit="picture", disable=True if quiet else None):
        try:
            images[count] = framing.centre(file.read())
            count += 1
        except BadImage as error:
            bad.append(str(error))
    return images[:count], bad


def reconstruct(decode: Decode, representation: Representation, images: np.ndarray) -> Iterator[np.ndarray]:
    """Pass pictures through the representation and the decoder, a few at a time.

    Parameters
    ----------
    images : (N, H, W, 3) uint8, H and W multiples of the representation's ``multiple``.

    Yields
    ------
    (n, 3, H, W) float32, RGB 0..255; decoders that predict a smaller picture are enlarged bilinearly (CVPR 2016,
    section 4).
    """
    height, width = images.shape[1:3]
    for start in range(0, len(images), _BATCH):
        decoded = decode(representation.extract(to_batch(images[start : start + _BATCH])))
        yield decoded if decoded.shape[2:] == (height, width) else enlarge(decoded, height, width)


def enlarge(pictures: np.ndarray, height: int, width: int) -> np.ndarray:
    """(N, 3, H, W) float32 pictures enlarged bilinearly to (N, 3, height, width)."""
    planes = pictures.reshape(-1, *pictures.shape[2:])
    enlarged = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) for plane in planes]
    return np.stack(enlarged).reshape(*pictures.shape[:2], height, width)


def evaluate(
    decode: Decode, representation: Representation, images: np.ndarray, *, quiet: bool = True
) -> Evaluation:
    """Normalised reconstruction error over (N, H, W, 3) uint8 pictures.

    Raises
    ------
    ValueError : if there are fewer than two pictures or all are equal.
    """
    normaliser = mean_pairwise_distance(images)
    if normaliser == 0:
        raise ValueError("all pictures are equal, so the normaliser is 0; give different pictures")
    total, done = 0.0, 0
    with tqdm(total=len(images), desc="decoding", unit="picture", disable=True if quiet else None) as bar:
        for decoded in reconstruct(decode, representation, images):
            originals = to_batch(images[done : done + len(decoded)])
            total += distances(originals, decoded).sum()
            done += len(decoded)
            bar.update(len(decoded))
    return Evaluation(done, float(total / done / normaliser), normaliser, (images.shape[1], images.shape[2]))
