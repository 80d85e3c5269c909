"""Published nets as data: definition, weights, where to get them, preprocessing, the paper's layer names.

Sources: BVLC/caffe 9b89154, models/*/readme.md (URLs, SHA-1, licence) and data/ilsvrc12/get_ilsvrc_aux.sh;
the numbers of the ILSVRC mean are those of its python/caffe/imagenet/ilsvrc_2012_mean.npy. Blobs by layer
are where Dosovitskiy & Brox (CVPR 2016, section 5) take CONV1 ... FC8: after a layer's last step, FC8
before the softmax.
"""

from dataclasses import dataclass
from pathlib import Path

from caffe_port.errors import ConversionError

MIRROR = "https://download.openmmlab.com/mmclassification/datasets/imagenet/meta/"
BERKELEY = "http://dl.caffe.berkeleyvision.org/"


@dataclass(frozen=True)
class Download:
    """A file to fetch.

    Attributes
    ----------
    name : str
        File name, the same at every source.
    sources : tuple of str
        Folders on the web, tried in order.
    size : int
        Bytes, about; progress is shown against it and nothing over twice as much is taken.
    sha1 : str or None
        None where nobody published one; then the contents are checked.
    """

    name: str
    sources: tuple[str, ...]
    size: int
    sha1: str | None = None


@dataclass(frozen=True)
class Net:
    """A published net. `weights` is a Download, or the name of a file that ships in `folder`."""

    name: str
    title: str
    definition: str
    weights: Download | str
    licence: str
    mean: str | tuple[float, ...]
    labels: str
    warp: tuple[int, int]
    crop: tuple[int, int] | None
    blobs: dict[str, str]
    extras: Download | None = None

    @property
    def deploy(self) -> Path:
        """The net's definition, a file of this package."""
        return FOLDER / self.definition

    @property
    def folder(self) -> Path:
        """Where the definition and what ships with it lie."""
        return self.deploy.parent

    @property
    def weights_name(self) -> str:
        """The weights' file name."""
        return self.weights if isinstance(self.weights, str) else self.weights.name

    @property
    def ships(self) -> bool:
        """Whether the weights are part of this package."""
        return isinstance(self.weights, str)


FOLDER = Path(__file__).parent / "nets"

ILSVRC12 = Download("caffe_ilsvrc12.tar.gz", (BERKELEY, MIRROR), 17_858_008)
MEAN_SHA1 = "0996b88eea52836e036416099ee232e72887c9b6"  # of imagenet_mean's 3 x 256 x 256 float32 numbers

_POOLED_FIRST = {"CONV1": "norm1", "CONV2": "norm2"}
_NORMALISED_FIRST = {"CONV1": "pool1", "CONV2": "pool2"}
_REST = {"CONV3": "conv3", "CONV4": "conv4", "CONV5": "pool5", "FC6": "fc6", "FC7": "fc7", "FC8": "fc8"}


def _bvlc(name: str, title: str, file: str, size: int, sha1: str, first: dict[str, str]) -> Net:
    return Net(
        name=name,
        title=title,
        definition=f"{name}.prototxt",
        weights=Download(file, (BERKELEY,), size, sha1),
        licence="unrestricted",
        mean="imagenet_mean.binaryproto",
        labels="synset_words.txt",
        warp=(256, 256),
        crop=(227, 227),
        blobs={**first, **_REST},
        extras=ILSVRC12,
    )


NETS: dict[str, Net] = {
    net.name: net
    for net in (
        _bvlc(
            "caffenet",
            "BVLC CaffeNet, iteration 310,000: 57.4 % top-1, 80.4 % top-5",
            "bvlc_reference_caffenet.caffemodel",
            243_862_414,
            "4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46",
            _POOLED_FIRST,
        ),
        _bvlc(
            "alexnet",
            "BVLC AlexNet, iteration 360,000: 57.1 % top-1, 80.2 % top-5",
            "bvlc_alexnet.caffemodel",
            243_862_418,
            "9116a64c0fbe4459d18f4bb6b56d647b63920377",
            _NORMALISED_FIRST,
        ),
        Net(
            name="caffenet-mini",
            title="CaffeNet's layers at 64 x 64 for Tiny ImageNet's 200 classes: 37.6 % top-1, 65.1 % top-5",
            definition="caffenet-mini/deploy.prototxt",
            weights="caffenet-mini.caffemodel",
            licence="may be redistributed with this package",
            mean=(104.0, 117.0, 123.0),
            labels="labels.txt",
            warp=(64, 64),
            crop=None,
            blobs={**_POOLED_FIRST, **_REST},
        ),
    )
}


def find(name: str) -> Net:
    """The net of that name; ConversionError lists those that there are."""
    if name not in NETS:
        raise ConversionError(f"no net {name!r} is published here; known are {', '.join(NETS)}")
    return NETS[name]
