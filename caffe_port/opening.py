"""Open a net by whatever names it: a converted file, a folder of `caffe_port fetch`, or the name of one that ships."""

import os
from pathlib import Path

import numpy as np

from caffe_port import load, zoo
from caffe_port.converted import SUFFIX, Converted, read_converted
from caffe_port.errors import ConversionError
from caffe_port.means import read_mean
from caffe_port.preprocess import Recipe


def open_net(name: str | os.PathLike[str]) -> Converted:
    """Open a net with its preprocessing and, where they are at hand, labels.

    Parameters
    ----------
    name : a `.safetensors` file of `caffe_port convert`; a folder of `caffe_port fetch`, in which a file that `convert`
        wrote under the folder's name goes first; or the name of a net that ships.

    Raises
    ------
    ConversionError
        There is no such net, or its file is refused; see `read_converted`.
    OSError
        A file cannot be read.
    """
    weights, published = _locate(name)
    if published is None:
        return read_converted(weights)
    folder = weights.parent
    deploy = published.deploy if published.ships else folder / f"{published.name}.prototxt"
    if isinstance(published.mean, str):
        mean = read_mean(folder / published.mean)
    else:
        mean = np.array(published.mean, np.float32)
    labels = folder / published.labels
    names = labels.read_text(encoding="utf-8").splitlines() if labels.is_file() else []
    recipe = Recipe(published.warp, published.crop, mean)
    return Converted(load(deploy, weights), recipe, tuple(names), {"published": published.name})


def weights_file(name: str | os.PathLike[str]) -> Path:
    """The file with the weights of a net that is named as for `open_net`; ConversionError if there is none."""
    return _locate(name)[0]


def _locate(name: str | os.PathLike[str]) -> tuple[Path, zoo.Net | None]:
    """The file with the weights and, if it is as published, not converted, which net it is."""
    path = Path(name)
    published = zoo.NETS.get(str(name))
    if published is not None and published.ships:
        return published.folder / published.weights_name, published
    if path.is_dir():
        return _locate_fetched(path)
    if not path.is_file():
        shipped = ", ".join(net.name for net in zoo.NETS.values() if net.ships)
        raise ConversionError(
            f"{name}: no such file; a net is a {SUFFIX} file that `caffe_port convert` wrote, a folder of "
            f"`caffe_port fetch`, or one that ships: {shipped}"
        )
    return path, None


def _locate_fetched(folder: Path) -> tuple[Path, zoo.Net | None]:
    converted = folder / f"{folder.resolve().name}{SUFFIX}"
    if converted.is_file():
        return converted, None
    for net in zoo.NETS.values():
        if (folder / net.weights_name).is_file():
            return folder / net.weights_name, net
    raise ConversionError(
        f"{folder}: holds no net; `caffe_port fetch NET --dir {folder}` brings one of {', '.join(zoo.NETS)}"
    )
