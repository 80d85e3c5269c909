"""What can be inverted: each representation as one row that is readable without weights or GPU."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from caffe_port import zoo
from decoders.specs import DECODERS

if TYPE_CHECKING:
    from decoders.encoder import Encoder
    from decoders.framing import Framing
    from decoders.nets import NetIdentity

DEFAULT_NET = "caffenet"


class Representation(Protocol):
    """Features of an image: what a decoder is trained on.

    Attributes
    ----------
    name : as users type it.
    shape : of the features of one image of ``image_size``: (channels, height, width), or (channels,) for a vector.
    image_size : (height, width) of the pictures it is evaluated on.
    multiple : picture sides must be multiples of this; 0 where only ``image_size`` will do.
    preprocessing : what happens to RGB 0..255 pixels before the features, in words, for the card.
    framing : how pictures of any size become ``image_size``.
    encoder : computes the features of batches on a device, for nets; None where arrays are computed with.
    net : which net and blob, for nets; else None.
    """

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def image_size(self) -> tuple[int, int]: ...
    @property
    def multiple(self) -> int: ...
    @property
    def preprocessing(self) -> str: ...
    @property
    def framing(self) -> "Framing": ...
    @property
    def encoder(self) -> "Encoder | None": ...
    @property
    def net(self) -> "NetIdentity | None": ...

    def extract(self, images: np.ndarray) -> np.ndarray:
        """(N, 3, H, W) float32 RGB 0..255 -> (N, *shape) float32 features."""
        ...

    def portray(self, features: np.ndarray) -> np.ndarray:
        """(N, *shape) features -> (N, *image_size, 3) uint8 RGB: a picture of them for people."""
        ...

    def sized(self, side: int) -> "Representation":
        """The same for square pictures of another size.

        Raises
        ------
        ValueError : if its features are of one size only, or the side is no multiple of ``multiple``.
        """
        ...


@dataclasses.dataclass(frozen=True)
class KernelRepresentation:
    """A hand-made feature of the grey picture, computed by one of our kernels; see `Representation`.

    ``features_of`` maps (N, H, W, 3) float32 RGB 0..255 to (N, C, H', W') float32; ``portrait`` maps the features
    of one picture to a grey image of any size, float, brighter for more.
    """

    name: str
    shape: tuple[int, ...]
    image_size: tuple[int, int]
    multiple: int
    preprocessing: str
    features_of: Callable[[np.ndarray], np.ndarray]
    portrait: Callable[[np.ndarray], np.ndarray]
    encoder: None = None
    net: None = None

    @property
    def framing(self) -> "Framing":
        """The picture covers the square and is cropped."""
        from decoders.framing import Cover

        return Cover(self.image_size)

    def extract(self, images: np.ndarray) -> np.ndarray:
        """(N, 3, H, W) float32 RGB 0..255 -> (N, C, H', W') float32 features."""
        return self.features_of(np.ascontiguousarray(images.transpose(0, 2, 3, 1)))

    def portray(self, features: np.ndarray) -> np.ndarray:
        """(N, C, H', W') features -> (N, *image_size, 3) uint8: the portraits, from black to white."""
        return portray(self.portrait, features, self.image_size)

    def sized(self, side: int) -> "KernelRepresentation":
        """See `Representation`."""
        check_side(self, side)
        channels, *cells = self.shape
        larger = (cell * side // whole for cell, whole in zip(cells, self.image_size, strict=True))
        return dataclasses.replace(self, shape=(channels, *larger), image_size=(side, side))


@dataclasses.dataclass(frozen=True)
class NetRow:
    """A layer of the paper's net: what is known of it before a net is opened.

    `representation` opens the net; ``image_size`` and ``shape`` are CaffeNet's.
    """

    name: str
    shape: tuple[int, ...]
    image_size: tuple[int, int]
    preprocessing: str


def portray(
    portrait: Callable[[np.ndarray], np.ndarray], features: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Grey portraits of the features of several pictures as (N, *size, 3) uint8, each from black to white."""
    import cv2

    height, width = size
    drawn = [cv2.resize(portrait(one), (width, height), interpolation=cv2.INTER_AREA) for one in features]
    scaled = [255 * grey / max(float(grey.max()), 1e-6) for grey in drawn]
    return np.clip(np.stack(scaled), 0, 255).astype(np.uint8)[..., None].repeat(3, axis=-1)  # (N, H, W, 3)


def check_side(row: Representation, side: int) -> None:
    """Refuse a picture size that a representation cannot have; see `Representation.sized`."""
    if not row.multiple:
        raise ValueError(
            f"image_size is {side}; {row.name} is of pictures of {row.image_size[0]}x{row.image_size[1]} only"
        )
    if side < row.multiple or side % row.multiple:
        raise ValueError(f"image_size is {side}; {row.name} needs a multiple of {row.multiple}")


def _hog(pictures: np.ndarray) -> np.ndarray:
    import kernels

    return kernels.hog(kernels.gray(pictures) / np.float32(255))


def _hog_glyphs(features: np.ndarray) -> np.ndarray:
    import kernels

    return kernels.hog_glyphs(features)


def _rounded_grey(pictures: np.ndarray) -> np.ndarray:
    """Grey as MATLAB's rgb2gray gives it of uint8 pictures: (N, H, W) uint8."""
    import kernels

    return kernels.gray(np.clip(np.rint(pictures), 0, 255).astype(np.uint8))


def _lbp(pictures: np.ndarray) -> np.ndarray:
    import kernels

    return kernels.lbp(_rounded_grey(pictures))


def _sift(pictures: np.ndarray) -> np.ndarray:
    from decoders.sift_map import sift_map
    from kernels.sift import sift

    greys = _rounded_grey(pictures).astype(np.float32)
    size = greys.shape[1], greys.shape[2]
    found: Any = sift(greys, threads=1)  # of each picture
    return np.stack(
        [sift_map(frames, descriptors, size, np.random.default_rng(0)) for frames, descriptors in found]
    )


def _tiles(features: np.ndarray) -> np.ndarray:
    from decoders.portraits import tiles

    return tiles(features)


def _strength(features: np.ndarray) -> np.ndarray:
    """Where keypoints are: the norm of each cell's numbers."""
    return np.sqrt(np.square(features).sum(axis=0))


HOG = KernelRepresentation(
    name="hog",
    shape=(31, 32, 32),
    image_size=(256, 256),
    multiple=64,
    preprocessing="grey by MATLAB's rgb2gray, divided by 255; VLFeat 0.9.21 UoCTTI HOG, 9 orientations, cell size 8",
    features_of=_hog,
    portrait=_hog_glyphs,
)

LBP = KernelRepresentation(
    name="lbp",
    shape=(58, 16, 16),
    image_size=(256, 256),
    multiple=64,
    preprocessing="grey by MATLAB's rgb2gray, rounded, 0..255; VLFeat 0.9.21 uniform LBP, cell size 16",
    features_of=_lbp,
    portrait=_tiles,
)

SIFT = KernelRepresentation(
    name="sift",
    shape=(133, 64, 64),
    image_size=(256, 256),
    multiple=64,
    preprocessing="grey by MATLAB's rgb2gray, rounded, 0..255; VLFeat 0.9.21 SIFT with the defaults of its MATLAB "
    "command; cells of 4x4 pixels hold descriptor / 255, offsets / 4, sine and cosine of the orientation and log of "
    "the scale / 4 of one keypoint, drawn by a generator that each picture seeds anew",
    features_of=_sift,
    portrait=_strength,
)


def _net_row(layer: str) -> NetRow:
    spec, net = DECODERS[layer.lower()], zoo.NETS[DEFAULT_NET]
    size = net.crop or net.warp
    text = (
        f"warped to {net.warp[0]}x{net.warp[1]}, cut to {size[0]}x{size[1]}, BGR minus the net's mean; blob "
        f"{net.blobs[layer]} of {DEFAULT_NET} or of the net that --net names"
    )
    return NetRow(layer.lower(), spec.feature_shape, size, text)


KERNELS: Mapping[str, KernelRepresentation] = MappingProxyType({row.name: row for row in (HOG, LBP, SIFT)})
NET_ROWS: Mapping[str, NetRow] = MappingProxyType(
    {layer.lower(): _net_row(layer) for layer in zoo.NETS[DEFAULT_NET].blobs}
)
REPRESENTATIONS: Mapping[str, KernelRepresentation | NetRow] = MappingProxyType({**KERNELS, **NET_ROWS})


def representation(name: str, net: str = "") -> Representation:
    """Open a representation.

    Parameters
    ----------
    name : of a row of `REPRESENTATIONS`, or of a blob of ``net``.
    net : what `decoders.nets.find_net` takes; without it, the paper's layers are CaffeNet's.

    Raises
    ------
    ValueError, FileNotFoundError : if there is none of that name, or the net cannot be had; the text lists what
        there is, or says how to get it.
    """
    check_name(name, net)
    if name in KERNELS:
        return KERNELS[name]
    from decoders.net_representation import open_blob

    return open_blob(name, net or DEFAULT_NET)


def check_name(name: str, net: str) -> None:
    """Refuse names that no net could make sense of; opens none.

    Raises
    ------
    ValueError : if the name is unknown, or the representation has no net.
    """
    if name in KERNELS and net:
        raise ValueError(f"net is {net!r}; {name} is computed without a net: leave --net out")
    if name not in REPRESENTATIONS and not net:
        raise ValueError(
            f"representation {name!r} is unknown; choose one of {', '.join(REPRESENTATIONS)}, or a blob of a net "
            "given with --net"
        )
