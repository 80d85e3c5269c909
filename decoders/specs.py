"""The paper's decoder tables, row by row, each with its standing.

Sources: Dosovitskiy & Brox, CVPR 2016 (arXiv 1506.02753), Table 1 and the supplementary tables.
Sizes are (height, width, maps); the paper prints width x height x maps, and all its maps are square.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

# The ImageNet mean of Caffe's ilsvrc_2012_mean.npy over its 256x256 pixels, RGB, 0..255.
ILSVRC_MEAN_RGB = (122.67891, 116.66877, 104.00699)
LEAKY_SLOPE = 0.2  # CVPR 2016, section 3: "leaky ReLU with the negative slope 0.2"

Size = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a decoder table.

    Attributes
    ----------
    name : the paper's name of the layer, e.g. ``upconvA1``.
    op : ``conv`` or ``upconv``; a convolution pads (kernel - 1) / 2, an up-convolution doubles the map.
    inputs : names of the rows whose maps are concatenated; ``features`` is the decoder's input.
    kernel, stride : of the convolution; an up-convolution's stride is the factor 2 by which it enlarges.
    out : (height, width, maps) at the table's own input size; the builder checks it.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    kernel: int
    stride: int
    out: Size


@dataclasses.dataclass(frozen=True)
class DecoderSpec:
    """A decoder as a table: frozen, readable without weights.

    Attributes
    ----------
    representation : name of the features that go in.
    features : (height, width, channels) of the features of one image of the table's size.
    rows : the layers in the order in which they are computed; the last one is the picture.
    provenance : where the table comes from and how sure it is.
    multiple : images whose sides are multiples of this fit the net (its contraction).
    feature_scale : features are multiplied by this before the first layer, to be near unit range.
    pixel_scale : the last layer predicts (pixel - mean) / pixel_scale. The paper does not say how its
        initialisation reached pixel range; a fixed unit changes the parametrisation, not the net.
    width : factor applied to the map counts, 1 for the paper's own table.
    """

    representation: str
    features: Size
    rows: tuple[Row, ...]
    provenance: str
    multiple: int
    feature_scale: float = 1.0
    pixel_scale: float = 64.0
    width: float = 1.0

    def scaled(self, width: float) -> "DecoderSpec":
        """The same table with every map count but the picture's three multiplied by ``width``.

        Counts are rounded to the nearest integer, and are at least 1.

        Raises
        ------
        ValueError : if this table is already scaled, or ``width`` is not in (0, 4].
        """
        if self.width != 1.0:
            raise ValueError(
                f"decoder {self.representation}: width is already {self.width}; scale the paper's table"
            )
        if not 0 < width <= 4:
            raise ValueError(
                f"decoder {self.representation}: width is {width}; it must be over 0 and at most 4"
            )
        *hidden, picture = self.rows
        narrowed = [
            dataclasses.replace(row, out=(*row.out[:2], max(1, round(row.out[2] * width)))) for row in hidden
        ]
        return dataclasses.replace(self, rows=(*narrowed, picture), width=width)

    def maps_in(self, row: Row) -> int:
        """Number of maps that ``row`` reads: the sum over its concatenated inputs."""
        return sum(self.size_of(name)[2] for name in row.inputs)

    def size_of(self, name: str) -> Size:
        """(height, width, maps) of the row called ``name``, or of the features."""
        if name == "features":
            return self.features
        return next(row.out for row in self.rows if row.name == name)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the predicted picture at the table's own input size."""
        return self.rows[-1].out[:2]

    def table(self) -> str:
        """The table as the paper prints it: layer, input, in-size, kernel, stride, out-size."""
        lines = [("Layer", "Input", "InSize", "K", "S", "OutSize")]
        for row in self.rows:
            height, width, _ = self.size_of(row.inputs[0])
            source = row.inputs[0] if len(row.inputs) == 1 else "{" + ", ".join(row.inputs) + "}"
            in_size = _by((height, width, self.maps_in(row)))
            lines.append((row.name, source, in_size, str(row.kernel), str(row.stride), _by(row.out)))
        widths = [max(len(line[i]) for line in lines) for i in range(6)]
        return "\n".join(
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
        )


def _by(size: Size) -> str:
    height, width, maps = size
    return f"{width}×{height}×{maps}"


def _conv(name: str, inputs: str, kernel: int, stride: int, side: int, maps: int) -> Row:
    return Row(name, "conv", tuple(inputs.split()), kernel, stride, (side, side, maps))


def _upconv(name: str, inputs: str, kernel: int, side: int, maps: int) -> Row:
    return Row(name, "upconv", (inputs,), kernel, 2, (side, side, maps))


HOG = DecoderSpec(
    representation="hog",
    features=(32, 32, 31),
    rows=(
        _conv("convA1", "features", 5, 2, 16, 256),
        _conv("convA2", "convA1", 5, 2, 8, 512),
        _conv("convA3", "convA2", 3, 2, 4, 1024),
        _upconv("upconvA1", "convA3", 4, 8, 512),
        _upconv("upconvA2", "upconvA1", 4, 16, 256),
        _upconv("upconvA3", "upconvA2", 4, 32, 128),
        _conv("convB1", "features", 5, 1, 32, 128),
        _conv("convB2", "convB1", 3, 1, 32, 128),
        _conv("convJ1", "upconvA3 convB2", 3, 1, 32, 256),
        _conv("convJ2", "convJ1", 3, 1, 32, 128),
        _upconv("upconvJ4", "convJ2", 4, 64, 64),
        _upconv("upconvJ5", "upconvJ4", 4, 128, 32),
        _upconv("upconvJ6", "upconvJ5", 4, 256, 3),
    ),
    provenance="supplementary of arXiv 1506.02753, table of the HOG network, from memory (high confidence)",
    multiple=64,
    feature_scale=8.0,  # UoCTTI values are at most 0.4 and about 0.1 in the mean
)

DECODERS: Mapping[str, DecoderSpec] = MappingProxyType({spec.representation: spec for spec in (HOG,)})
