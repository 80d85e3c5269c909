"""The converted net, one `.safetensors` file: parameters, definition, preprocessing, labels, origin.

Tensors are named `layer/position` as in `net.py`, and `preprocessing/mean`. They are float32; what training may
change may be stored as float16, which is half as large, and is float32 once it is read. The header's metadata
are texts: `format`; `prototxt`, the net in Caffe's text form, V2, TEST phase; `preprocessing`, `labels` and
`origin` in JSON. Source of the container: the safetensors format (eight bytes of length, a JSON header,
numbers, little-endian).
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from caffe_port.errors import ConversionError
from caffe_port.files import replacing
from caffe_port.net import CaffeNet
from caffe_port.preprocess import ORDERS, Recipe, Size, crop_mean
from caffe_port.shapes import show
from caffe_port.text import format_text, parse_text
from caffe_port.weights import WeightReport, give
from caffe_port.wiring import read_net

SUFFIX = ".safetensors"
FORMAT = "caffe_port 1"
MAX_HEADER = 2**25
MAX_SIDE = 4096  # of a picture, once warped
MEAN = "preprocessing/mean"


@dataclass(frozen=True)
class Converted:
    """A net with what it takes to use it on pictures.

    Attributes
    ----------
    net : CaffeNet
    recipe : Recipe or None
        How the net wants its pictures; None for a net whose input is no picture.
    labels : tuple of str
        One a class, or none.
    origin : mapping
        Source files with their SHA-256, what became of every parameter, versions; ready for JSON.
    """

    net: CaffeNet
    recipe: Recipe | None
    labels: tuple[str, ...] = ()
    origin: Mapping[str, Any] = field(default_factory=dict)


def write_converted(path: str | os.PathLike[str], converted: Converted) -> None:
    """Write a converted net; the file is replaced whole or not at all. OSError if it cannot be written."""
    with replacing(path) as file:
        write_open(file, converted, path)


def write_open(
    file: BinaryIO, converted: Converted, path: str | os.PathLike[str], *, half: bool = False
) -> None:
    """Write a converted net into an open binary file.

    Parameters
    ----------
    file, converted
        The file, at its beginning, and the net.
    path : str or path-like
        Names the file in errors.
    half : bool
        Store what training may change as float16, rounded to nearest. Statistics, as of BatchNorm, and the mean stay
        float32.

    Raises
    ------
    ConversionError
        The header is too large, or float16 does not hold a number; the text names the tensor.
    """
    net, recipe = converted.net, converted.recipe
    tensors = {place.key: net.blob_tensor(place).detach().numpy() for place in net.places()}
    if half:
        learned = {place.key for place in net.places() if place.spec.trainable}
        tensors = {key: _halved(key, a, path) if key in learned else a for key, a in tensors.items()}
    metadata = {
        "format": FORMAT,
        "prototxt": format_text(dict(net.spec.message)),
        "preprocessing": json.dumps(recipe and _settings(recipe)),
        "labels": json.dumps(converted.labels),
        "origin": json.dumps(converted.origin),
    }
    if recipe is not None:
        tensors[MEAN] = recipe.mean
    _write_safetensors(file, tensors, metadata, path)


def _halved(key: str, array: np.ndarray, path: str | os.PathLike[str]) -> np.ndarray:
    if not np.abs(array).max(initial=0) <= np.finfo(np.float16).max:
        raise ConversionError(f"{path}: float16 does not hold the numbers of tensor {key[:80]!r}")
    return array.astype("<f2")


def _settings(recipe: Recipe) -> dict[str, Any]:
    return {"order": recipe.order, "warp": recipe.warp, "crop": recipe.crop, "scale": recipe.scale}


def _write_safetensors(
    file: BinaryIO,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    path: str | os.PathLike[str],
) -> None:
    """Write the container array by array; the library's writer would copy all of them first."""
    header: dict[str, Any] = {"__metadata__": metadata}
    at = 0
    for name, array in tensors.items():
        kind = "F16" if array.dtype == np.float16 else "F32"
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    encoded = json.dumps(header, ensure_ascii=False).encode()
    encoded += b" " * (-len(encoded) % 8)
    if len(encoded) > MAX_HEADER:
        raise ConversionError(
            f"{path}: definition, labels and names make {len(encoded)} bytes; at most {MAX_HEADER} are kept"
        )
    file.write(len(encoded).to_bytes(8, "little") + encoded)
    for array in tensors.values():
        kind = "<f2" if array.dtype == np.float16 else "<f4"
        file.write(np.ascontiguousarray(array, kind).data.cast("B") if array.size else b"")


def read_converted(path: str | os.PathLike[str]) -> Converted:
    """Read a converted net.

    Parameters
    ----------
    path : str or path-like
        A `.safetensors` file that `caffe_port convert` wrote.

    Returns
    -------
    Converted
        The net has all its parameters, in memory of their own.

    Raises
    ------
    ConversionError
        The file is damaged, was not written by `caffe_port convert`, or does not hold exactly the parameters
        of its net; the text names the file and the part.
    OSError
        The file cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    _check_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                found = metadata.get("format", "")[:40]
                raise ConversionError(
                    f"{path}: field 'format' is {found!r}; a file of `caffe_port convert` has {FORMAT!r}"
                )
            text = metadata.get("prototxt", "")
            net = CaffeNet(read_net(parse_text(text, source=f"{path}: prototxt"), str(path)))
            names = set(file.keys())
            _load_tensors(net, file, names - {MEAN}, path)
            mean = np.array(_tensor(file, MEAN, path, ("F32",))) if MEAN in names else None
    except SafetensorError as error:
        raise ConversionError(f"{path}: damaged, or no .safetensors file ({error})") from error
    labels = _json(metadata, "labels", list, path)
    if not all(isinstance(label, str) for label in labels):
        raise ConversionError(f"{path}: field 'labels' is not a list of texts")
    recipe = None if mean is None else _recipe(_json(metadata, "preprocessing", dict, path), mean, path)
    net.weights_report = WeightReport(tuple(place.key for place in net.places() if place.spec.stored))
    return Converted(net, recipe, tuple(labels), _origin(_json(metadata, "origin", dict, path), path))


def _check_header(path: str | os.PathLike[str]) -> None:
    with Path(path).open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        held = file.seek(0, os.SEEK_END) - 8
    if not 0 < size <= min(held, MAX_HEADER):
        raise ConversionError(
            f"{path}: damaged, or no .safetensors file (a header of {size} bytes; at most "
            f"{max(0, min(held, MAX_HEADER))} are possible)"
        )


def _tensor(
    file: Any, name: str, path: str | os.PathLike[str], kinds: tuple[str, ...] = ("F32", "F16")
) -> np.ndarray:
    """A view of the mapped file."""
    found = file.get_slice(name).get_dtype()
    if found not in kinds:
        raise ConversionError(
            f"{path}: tensor {name[:80]!r} has type {found}; {' or '.join(kinds)} is needed"
        )
    return np.asarray(file.get_tensor(name))


def _load_tensors(net: CaffeNet, file: Any, names: set[str], path: str | os.PathLike[str]) -> None:
    """Give the net all its parameters; the file must hold these and no others."""
    places = {place.key: place for place in net.places()}
    for what, keys in (("lacks", places.keys() - names), ("has a needless", names - places.keys())):
        if keys:
            raise ConversionError(f"{path}: the file {what} tensor {min(keys)[:80]!r}")
    for key, place in places.items():
        shape = tuple(file.get_slice(key).get_shape())
        if shape != place.spec.shape:
            raise ConversionError(
                f"{path}: tensor {key[:80]!r} has shape {show(shape)}; the net needs {show(place.spec.shape)}"
            )
        give(net, place, _tensor(file, key, path))


def _json(metadata: Mapping[str, str], name: str, kind: type, path: str | os.PathLike[str]) -> Any:
    try:
        value = json.loads(metadata.get(name, "null"))
    except (ValueError, RecursionError) as error:
        raise ConversionError(f"{path}: field {name!r} is no JSON ({error})") from error
    if not isinstance(value, kind):
        raise ConversionError(f"{path}: field {name!r} is missing or of another kind")
    return value


def _origin(origin: dict[str, Any], path: str | os.PathLike[str]) -> dict[str, Any]:
    """The origin, whose sources and parameters are shown to readers and must be what they are said to be."""
    sources, parameters = origin.get("sources"), origin.get("parameters")
    fits = (
        isinstance(sources, dict)
        and isinstance(parameters, dict)
        and all(isinstance(source, dict) for source in sources.values())
        and all(isinstance(s.get(key), str) for s in sources.values() for key in ("name", "sha256"))
        and all(isinstance(names, list) for names in parameters.values())
        and all(isinstance(name, str) for names in parameters.values() for name in names)
    )
    if not fits:
        raise ConversionError(f"{path}: field 'origin' does not say sources and parameters as it must")
    return origin


def _recipe(settings: Mapping[str, Any], mean: np.ndarray, path: str | os.PathLike[str]) -> Recipe:
    order, scale = settings.get("order"), settings.get("scale")
    channels = {**dict.fromkeys(ORDERS, 3), "GREY": 1}
    if order not in channels or not isinstance(scale, float) or not math.isfinite(scale):
        raise ConversionError(f"{path}: field 'preprocessing': order {order!r} with scale {scale!r}"[:300])
    warp, crop = (_size(settings.get(name), name, path) for name in ("warp", "crop"))
    if mean.ndim not in (1, 3) or mean.shape[0] != channels[order]:
        raise ConversionError(f"{path}: tensor {MEAN!r} has shape {show(mean.shape)}; the order is {order}")
    if warp and crop and (crop[0] > warp[0] or crop[1] > warp[1]):
        raise ConversionError(f"{path}: field 'preprocessing': a crop of {crop} from a warp of {warp}")
    recipe = Recipe(warp, crop, mean, order, scale)
    if size := crop or warp:
        crop_mean(mean, size)
    return recipe


def _size(value: Any, name: str, path: str | os.PathLike[str]) -> Size | None:
    if value is None:
        return None
    is_pair = isinstance(value, list) and len(value) == 2 and all(type(side) is int for side in value)
    if not is_pair or not all(1 <= side <= MAX_SIDE for side in value):
        raise ConversionError(
            f"{path}: field 'preprocessing.{name}' is not two sizes of 1 to {MAX_SIDE}: {str(value)[:80]}"
        )
    return value[0], value[1]
