"""What can be inverted: each representation as one row that is readable without weights or GPU."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

import numpy as np


class Representation(Protocol):
    """Features of an image: what a decoder is trained on.

    Attributes
    ----------
    name : as users type it.
    shape : (channels, height, width) of the features of one image of ``image_size``.
    image_size : (height, width) of the pictures it is evaluated on.
    multiple : picture sides must be multiples of this.
    preprocessing : what happens to RGB 0..255 pixels before the features, in words, for the card.
    """

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, int, int]: ...
    @property
    def image_size(self) -> tuple[int, int]: ...
    @property
    def multiple(self) -> int: ...
    @property
    def preprocessing(self) -> str: ...

    def extract(self, images: np.ndarray) -> np.ndarray:
        """(N, 3, H, W) float32 RGB 0..255 -> (N, *shape) float32 features."""
        ...

    def portray(self, features: np.ndarray) -> np.ndarray:
        """(N, *shape) features -> (N, *image_size, 3) uint8 RGB: a picture of them for people."""
        ...


@dataclasses.dataclass(frozen=True)
class KernelRepresentation:
    """A hand-made feature of the grey picture, computed by one of our kernels; see `Representation`.

    ``features_of_grey`` maps (N, H, W) float32 grey 0..255 to (N, C, H', W') float32; ``portrait`` maps the features
    of one picture to a grey image of any size, float, brighter for more.
    """

    name: str
    shape: tuple[int, int, int]
    image_size: tuple[int, int]
    multiple: int
    preprocessing: str
    features_of_grey: Callable[[np.ndarray], np.ndarray]
    portrait: Callable[[np.ndarray], np.ndarray]

    def extract(self, images: np.ndarray) -> np.ndarray:
        """(N, 3, H, W) float32 RGB 0..255 -> (N, C, H', W') float32 features."""
        import kernels

        return self.features_of_grey(kernels.gray(np.ascontiguousarray(images.transpose(0, 2, 3, 1))))

    def portray(self, features: np.ndarray) -> np.ndarray:
        """(N, C, H', W') features -> (N, *image_size, 3) uint8: the portraits, from black to white."""
        import cv2

        height, width = self.image_size
        portraits = [
            cv2.resize(self.portrait(one), (width, height), interpolation=cv2.INTER_AREA) for one in features
        ]
        scaled = [255 * portrait / max(float(portrait.max()), 1e-6) for portrait in portraits]
        return (
            np.clip(np.stack(scaled), 0, 255).astype(np.uint8)[..., None].repeat(3, axis=-1)
        )  # (N, H, W, 3)


def _hog(grey: np.ndarray) -> np.ndarray:
    import kernels

    return kernels.hog(grey / np.float32(255))


def _hog_glyphs(features: np.ndarray) -> np.ndarray:
    import kernels

    return kernels.hog_glyphs(features)


HOG = KernelRepresentation(
    name="hog",
    shape=(31, 32, 32),
    image_size=(256, 256),
    multiple=64,
    preprocessing="grey by MATLAB's rgb2gray, divided by 255; VLFeat 0.9.21 UoCTTI HOG, 9 orientations, cell size 8",
    features_of_grey=_hog,
    portrait=_hog_glyphs,
)

REPRESENTATIONS: Mapping[str, Representation] = MappingProxyType({HOG.name: HOG})


def representation(name: str) -> Representation:
    """Look a representation up by name.

    Raises
    ------
    ValueError : if there is none of that name; the text lists those there are.
    """
    if name not in REPRESENTATIONS:
        raise ValueError(f"representation {name!r} is unknown; choose one of {', '.join(REPRESENTATIONS)}")
    return REPRESENTATIONS[name]
