"""The paper's decoder tables, row by row, each with its standing.

Sources: Dosovitskiy & Brox, CVPR 2016 (arXiv 1506.02753), Table 1 and the supplementary tables. The maps of the
paper are square. Decoders for other features are made by its recipe: see `decoders.derive`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from decoders.rows import DecoderSpec, Row, conv, fc, reshape, upconv

# The ImageNet mean of Caffe's ilsvrc_2012_mean.npy over its 256x256 pixels, RGB, 0..255.
ILSVRC_MEAN_RGB = (122.67891, 116.66877, 104.00699)
LEAKY_SLOPE = 0.2  # CVPR 2016, section 3: "leaky ReLU with the negative slope 0.2"


def _conv(name: str, inputs: str, kernel: int, stride: int, side: int, maps: int) -> Row:
    return conv(name, inputs, kernel, stride, (side, side), maps)


def _upconv(name: str, inputs: str, kernel: int, side: int, maps: int) -> Row:
    return upconv(name, inputs, kernel, (side, side), maps)


HOG = DecoderSpec(
    representation="hog",
    input_name="HOG",
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

LBP = DecoderSpec(
    representation="lbp",
    input_name="LBP",
    features=(16, 16, 58),
    rows=(
        _conv("convA1", "features", 5, 2, 8, 256),
        _conv("convA2", "convA1", 5, 2, 4, 512),
        _conv("convA3", "convA2", 3, 1, 4, 1024),
        _upconv("upconvA1", "convA3", 4, 8, 512),
        _upconv("upconvA2", "upconvA1", 4, 16, 256),
        _conv("convB1", "features", 5, 1, 16, 128),
        _conv("convB2", "convB1", 3, 1, 16, 128),
        _conv("convJ1", "upconvA2 convB2", 3, 1, 16, 256),
        _conv("convJ2", "convJ1", 3, 1, 16, 128),
        _upconv("upconvJ3", "convJ2", 4, 32, 128),
        _upconv("upconvJ4", "upconvJ3", 4, 64, 64),
        _upconv("upconvJ5", "upconvJ4", 4, 128, 32),
        _upconv("upconvJ6", "upconvJ5", 4, 256, 3),
    ),
    provenance="supplementary of arXiv 1506.02753, table of the LBP network, from memory (high confidence)",
    multiple=64,
    feature_scale=8.0,  # each cell's 58 values have the Euclidean norm 1
)

SIFT = DecoderSpec(
    representation="sift",
    input_name="SIFT",
    features=(64, 64, 133),
    rows=(
        _conv("conv1", "features", 5, 2, 32, 256),
        _conv("conv2", "conv1", 3, 2, 16, 512),
        _conv("conv3", "conv2", 3, 2, 8, 1024),
        _conv("conv4", "conv3", 3, 2, 4, 2048),
        _conv("conv5", "conv4", 3, 1, 4, 2048),
        _conv("conv6", "conv5", 3, 1, 4, 1024),
        _upconv("upconv1", "conv6", 4, 8, 512),
        _upconv("upconv2", "upconv1", 4, 16, 256),
        _upconv("upconv3", "upconv2", 4, 32, 128),
        _upconv("upconv4", "upconv3", 4, 64, 64),
        _upconv("upconv5", "upconv4", 4, 128, 32),
        _upconv("upconv6", "upconv5", 4, 256, 3),
    ),
    provenance="supplementary of arXiv 1506.02753, table of the SIFT network, from memory (medium confidence; "
    "the map counts of conv4 to conv6 least sure)",
    multiple=64,
    feature_scale=16.0,  # one cell in twenty holds a keypoint, with values of about 0.2
)


def _map_decoder(layer: str, side: int, channels: int, maps: tuple[int, ...], provenance: str) -> DecoderSpec:
    """Three 3x3 convolutions of 256 maps, then 5x5 up-convolutions to ``maps``."""
    rows = [
        _conv("conv1", "features", 3, 1, side, 256),
        _conv("conv2", "conv1", 3, 1, side, 256),
        _conv("conv3", "conv2", 3, 1, side, 256),
    ]
    for number, count in enumerate(maps, start=1):
        rows.append(_upconv(f"upconv{number}", rows[-1].name, 5, side * 2**number, count))
    return DecoderSpec(
        layer,
        (side, side, channels),
        tuple(rows),
        provenance,
        multiple=2 ** len(maps),
        input_name=layer.upper(),
    )


def _vector_decoder(layer: str, units: int) -> DecoderSpec:
    """Table 1: three fully connected layers, 4x4 maps, five up-convolutions."""
    return DecoderSpec(
        layer,
        (1, 1, units),
        (
            fc("fc1", "features", 4096),
            fc("fc2", "fc1", 4096),
            fc("fc3", "fc2", 4096),
            reshape("reshape", "fc3", (4, 4), 256),
            _upconv("upconv1", "reshape", 5, 8, 256),
            _upconv("upconv2", "upconv1", 5, 16, 128),
            _upconv("upconv3", "upconv2", 5, 32, 64),
            _upconv("upconv4", "upconv3", 5, 64, 32),
            _upconv("upconv5", "upconv4", 5, 128, 3),
        ),
        "CVPR 2016, Table 1",
        multiple=0,
        input_name=layer.upper(),
    )


_RELEASED = (
    "the released invert_alexnet_conv1 net (input norm1 27x27x96, output 216x216x3), without its groups and with the "
    "paper's leaky ReLU"
)
_PATTERN = (
    "not published: three 3x3 convolutions and four up-convolutions by the pattern of CONV1 and CONV5; the paper "
    'says "several up-convolutional layers", their number depending on the layer'
)
_CONV5 = "supplementary of arXiv 1506.02753, table of the CONV5 network, from memory; agrees with a third party's net"

CONV1 = _map_decoder("conv1", 27, 96, (64, 32, 3), _RELEASED)
CONV2 = _map_decoder("conv2", 13, 256, (128, 64, 32, 3), _PATTERN)
CONV3 = _map_decoder("conv3", 13, 384, (128, 64, 32, 3), _PATTERN)
CONV4 = _map_decoder("conv4", 13, 384, (128, 64, 32, 3), _PATTERN)
CONV5 = _map_decoder("conv5", 6, 256, (256, 128, 64, 32, 3), _CONV5)
FC6 = _vector_decoder("fc6", 4096)
FC7 = _vector_decoder("fc7", 4096)
FC8 = _vector_decoder("fc8", 1000)

DECODERS: Mapping[str, DecoderSpec] = MappingProxyType(
    {spec.representation: spec for spec in (HOG, LBP, SIFT, CONV1, CONV2, CONV3, CONV4, CONV5, FC6, FC7, FC8)}
)
