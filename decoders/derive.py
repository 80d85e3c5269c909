"""Decoders for features that the paper has no table of, by its recipe (CVPR 2016, section 3 and Table 1).

Maps pass three 3x3 convolutions of 256 maps and then 5x5 up-convolutions, as many as bring the picture nearest to
the net's input size (in ratio; the mean over height and width), of 3, 32, 64, 128, 256, 256 ... maps counted from the
last one backwards. Where none is needed, the third convolution predicts the picture.

Vectors pass three fully connected layers, become 256 maps of the net's input size / 32 (rounded, at least 1), and pass
five up-convolutions of 256, 128, 64, 32 and 3 maps. The third layer has as many units as those maps have values; the
first two have as many too, but at most Table 1's 4096.
"""

import math

from decoders.rows import DecoderSpec, Row, Size, conv, fc, reshape, upconv
from decoders.specs import DECODERS

_MAPS = 256
_UNITS = 4096
_DOUBLINGS = 5  # of vectors' maps
_LAST_MAPS = (3, 32, 64, 128)
_PROVENANCE = "derived by the paper's recipe for"


def decoder_for(representation: str, features: Size, image_size: tuple[int, int]) -> DecoderSpec:
    """The paper's table where it has one for features of this name and size, else a derived one.

    Parameters
    ----------
    representation : as users type it.
    features : (height, width, channels) of the features of one picture; (1, 1, C) for a vector.
    image_size : (height, width) of the pictures that the features are of.

    Raises
    ------
    ValueError : if a size is not positive.
    """
    table = DECODERS.get(representation)
    if table is not None and table.features == features:
        return table
    return derive(representation, features, image_size)


def derive(representation: str, features: Size, image_size: tuple[int, int]) -> DecoderSpec:
    """A decoder by the recipe alone; see `decoder_for`."""
    height, width, channels = features
    if min(*features, *image_size) < 1:
        raise ValueError(
            f"{representation}: features of {height}x{width}x{channels} and pictures of "
            f"{image_size[0]}x{image_size[1]}; all sizes must be at least 1"
        )
    rows, multiple = _for_vectors(image_size) if height == width == 1 else _for_maps(features, image_size)
    provenance = (
        f"{_PROVENANCE} {'x'.join(map(str, features))} features of {image_size[0]}x{image_size[1]} pictures"
    )
    return DecoderSpec(representation, features, rows, provenance, multiple, input_name=representation)


def _for_maps(features: Size, image_size: tuple[int, int]) -> tuple[tuple[Row, ...], int]:
    sides = features[:2]
    doublings = round(sum(math.log2(image / side) for image, side in zip(image_size, sides, strict=True)) / 2)
    doublings = max(0, doublings)
    rows = [
        conv("conv1", "features", 3, 1, sides, _MAPS),
        conv("conv2", "conv1", 3, 1, sides, _MAPS),
        conv("conv3", "conv2", 3, 1, sides, _MAPS if doublings else 3),
    ]
    return tuple(rows + _upconvolutions("conv3", sides, doublings)), 2**doublings


def _for_vectors(image_size: tuple[int, int]) -> tuple[tuple[Row, ...], int]:
    height, width = (max(1, round(side / 2**_DOUBLINGS)) for side in image_size)
    values = height * width * _MAPS
    units = min(_UNITS, values)
    rows = [
        fc("fc1", "features", units),
        fc("fc2", "fc1", units),
        fc("fc3", "fc2", values),
        reshape("reshape", "fc3", (height, width), _MAPS),
    ]
    return tuple(rows + _upconvolutions("reshape", (height, width), _DOUBLINGS)), 0


def _upconvolutions(before: str, sides: tuple[int, int], count: int) -> list[Row]:
    rows: list[Row] = []
    for number in range(1, count + 1):
        maps = _LAST_MAPS[count - number] if count - number < len(_LAST_MAPS) else _MAPS
        enlarged = sides[0] * 2**number, sides[1] * 2**number
        rows.append(upconv(f"upconv{number}", rows[-1].name if rows else before, 5, enlarged, maps))
    return rows
