"""Representations that are blobs of a Caffe net, or of one that was trained with its decoder."""

import dataclasses

import numpy as np

from caffe_port.converted import Converted
from caffe_port.features import recipe_of
from caffe_port.preprocess import Recipe
from caffe_port.shapes import show
from decoders.encoder import Encoder
from decoders.framing import Warp
from decoders.nets import NetIdentity, find_net, paper_blob, up_to
from decoders.portraits import portrait
from decoders.representations import Representation, check_side, portray


@dataclasses.dataclass(frozen=True)
class NetRepresentation:
    """A blob of a net; see `Representation`."""

    name: str
    shape: tuple[int, ...]
    framing: Warp
    preprocessing: str
    encoder: Encoder
    net: NetIdentity

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the net's input, or of the size asked for by `sized`."""
        return self.framing.size

    @property
    def multiple(self) -> int:
        """Maps grow with the picture, whatever its sides; vectors do not."""
        return 1 if len(self.shape) == 3 else 0

    def extract(self, images: np.ndarray) -> np.ndarray:
        """(N, 3, H, W) float32 RGB 0..255 -> (N, *shape) float32 features."""
        return self.encoder.encode_numpy(images)

    def portray(self, features: np.ndarray) -> np.ndarray:
        """(N, *shape) features -> (N, *image_size, 3) uint8: maps side by side, or a vector's bars."""
        return portray(portrait, features, self.image_size)

    def sized(self, side: int) -> "NetRepresentation":
        """See `Representation`."""
        check_side(self, side)
        framing = self.framing.sized((side, side))
        return dataclasses.replace(self, framing=framing, shape=_shape(self.encoder, framing.size))


def open_blob(name: str, net: str) -> Representation:
    """Open a net and name one of its blobs; see `decoders.representations.representation`."""
    converted, digest = find_net(net)
    return represent(name, converted, NetIdentity(net, digest, paper_blob(converted.net, name)))


def represent(name: str, converted: Converted, identity: NetIdentity) -> NetRepresentation:
    """A blob of a net that is open.

    Parameters
    ----------
    name : of the representation.
    converted : the net itself, or what became of it in training.
    identity : of the net, or of the one that training began with; its blob is the representation's.

    Raises
    ------
    ValueError : if there is no such blob, or it is neither maps nor a vector of each picture.
    """
    recipe = recipe_of(converted)
    encoder = Encoder(up_to(converted.net, identity.blob), recipe, identity.blob)
    (inputs,) = converted.net.inputs.values()  # a net with a recipe has one input
    size = recipe.crop or recipe.warp or (inputs[2], inputs[3])
    framing = Warp(recipe.warp or size, size)
    return NetRepresentation(
        name, _shape(encoder, size), framing, _preprocessing(recipe, framing, identity), encoder, identity
    )


def _shape(encoder: Encoder, size: tuple[int, int]) -> tuple[int, ...]:
    """Shape of the features of one picture.

    Raises
    ------
    ValueError : if they are neither maps nor a vector of each picture.
    """
    found = tuple(encoder.encode_numpy(np.zeros((2, 3, *size), np.float32)).shape)
    if found[0] != 2 or len(found) not in (2, 4):
        raise ValueError(
            f"blob {encoder.blob!r} has shape {show(found)} for two pictures; decoders invert maps (N, C, H, W) and "
            "vectors (N, C)"
        )
    return found[1:]


def _preprocessing(recipe: Recipe, framing: Warp, net: NetIdentity) -> str:
    warp, size = ("x".join(map(str, sides)) for sides in (framing.warp, framing.size))
    cut = "" if warp == size else f", cut to {size}"
    scale = "" if recipe.scale == 1 else f", times {recipe.scale:g}"
    mean = ", ".join(f"{value:g}" for value in recipe.mean.reshape(len(recipe.mean), -1).mean(axis=1))
    kind = "" if recipe.mean.ndim == 1 else "the mean picture, on average "
    return f"warped to {warp}{cut}, {recipe.order} minus {kind}({mean}){scale}; blob {net.blob} of {net.name}"
