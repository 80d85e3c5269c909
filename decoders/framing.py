"""From pictures of any size to the equal squares that features are of: for evaluation in one way, for training drawn.

Pictures are (H, W, 3) uint8, RGB. For training each is prepared once (`prepare`, which may be kept in memory) and cut
anew every time (`draw`).
"""

import dataclasses
from typing import Protocol

import cv2
import numpy as np

from decoders.images import centre_crop, cover, random_crop

Size = tuple[int, int]


class Framing(Protocol):
    """How pictures are cut.

    Attributes
    ----------
    size : (height, width) of what is evaluated.
    drawn : (height, width) of what is trained on.
    least : (height, width) that a picture may be decoded down to without loss to what is drawn.
    """

    @property
    def size(self) -> Size: ...
    @property
    def drawn(self) -> Size: ...
    @property
    def least(self) -> Size: ...

    def centre(self, picture: np.ndarray) -> np.ndarray:
        """The part that is evaluated, ``size``."""
        ...

    def prepare(self, picture: np.ndarray) -> np.ndarray:
        """The picture scaled for `draw`."""
        ...

    def draw(self, prepared: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A random part of a prepared picture, ``drawn``, mirrored half of the time."""
        ...

    def sized(self, size: Size) -> "Framing":
        """The same for the evaluation of pictures of another size."""
        ...

    def for_training(self, crop_size: int | None, zoom: float) -> "Framing":
        """The same with random squares of another size, or cut up to ``zoom`` times larger and scaled down.

        Raises
        ------
        ValueError : if such squares cannot be had.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Cover:
    """The picture scaled so that it covers ``size``, in its proportions, and cropped; see `Framing`."""

    size: Size
    crop_size: int | None = None
    zoom: float = 1.0

    @property
    def drawn(self) -> Size:
        return (self.crop_size, self.crop_size) if self.crop_size else self.size

    @property
    def least(self) -> Size:
        return self.size

    def centre(self, picture: np.ndarray) -> np.ndarray:
        return centre_crop(picture, self.size)

    def prepare(self, picture: np.ndarray) -> np.ndarray:
        return cover(picture, self.size)

    def draw(self, prepared: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return random_crop(prepared, self.drawn, rng, zoom=self.zoom)

    def sized(self, size: Size) -> "Cover":
        return dataclasses.replace(self, size=size)

    def for_training(self, crop_size: int | None, zoom: float) -> "Cover":
        return dataclasses.replace(self, crop_size=crop_size, zoom=zoom)


@dataclasses.dataclass(frozen=True)
class Warp:
    """Caffe's way for ImageNet: the whole picture stretched to ``warp``, bilinearly, and cropped to ``size``.

    Source: `tools/convert_imageset.cpp` (resize) and `src/caffe/data_transformer.cpp` (random crop and mirror in
    training, centre crop else). Where ``warp`` is ``size`` nothing is cropped.
    """

    warp: Size
    size: Size

    @property
    def drawn(self) -> Size:
        return self.size

    @property
    def least(self) -> Size:
        return self.warp

    def centre(self, picture: np.ndarray) -> np.ndarray:
        top, left = ((outer - inner) // 2 for outer, inner in zip(self.warp, self.size, strict=True))
        return self.prepare(picture)[top : top + self.size[0], left : left + self.size[1]]

    def prepare(self, picture: np.ndarray) -> np.ndarray:
        if picture.shape[:2] == self.warp:
            return picture
        return cv2.resize(picture, self.warp[::-1], interpolation=cv2.INTER_LINEAR)

    def draw(self, prepared: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return random_crop(prepared, self.size, rng)

    def sized(self, size: Size) -> "Warp":
        height, width = (
            round(outer * new / old) for outer, new, old in zip(self.warp, size, self.size, strict=True)
        )
        return Warp((height, width), size)

    def for_training(self, crop_size: int | None, zoom: float) -> "Warp":
        if zoom != 1 or (crop_size is not None and (crop_size, crop_size) != self.size):
            raise ValueError(
                f"image_size and zoom are set; the net takes pictures of {self.size[0]}x{self.size[1]}, warped and cut "
                "as Caffe does: leave both out"
            )
        return self
