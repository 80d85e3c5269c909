"""A prototxt and a caffemodel become one `.safetensors` file, with preprocessing, labels and origin.

Which file wins: the prototxt alone says what the net is; the caffemodel gives numbers by layer name, and
the definition stored in it is not used, as in Caffe. Every parameter is accounted for.
"""

import hashlib
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from caffe_port import load
from caffe_port.converted import MAX_SIDE, Converted, write_converted
from caffe_port.errors import ConversionError
from caffe_port.means import read_mean
from caffe_port.net import CaffeNet
from caffe_port.preprocess import Recipe, Size
from caffe_port.shapes import show
from caffe_port.spec import listed, quote
from caffe_port.text import read_text
from caffe_port.upgrade import upgrade_net
from caffe_port.versions import versions

MAX_LABELS = 2**23  # bytes
_TRANSFORMS = ("scale", "mean_file", "mean_value")
PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Pictures:
    """How pictures become the net's input, where the files do not say it.

    Attributes
    ----------
    mean : str or path-like, optional
        A binaryproto, an .npy file, or numbers like "104,117,123", in the net's channel order.
    warp : (H, W), optional
        Size to which whole pictures are stretched; without it the mean image's, or the input's.
    scale : float
        Applied after the mean.
    order : str
        "BGR" or "RGB"; a net with one channel gets grey.
    """

    mean: PathLike | None = None
    warp: Size | None = None
    scale: float = 1.0
    order: str = "BGR"


def convert(
    prototxt: PathLike,
    caffemodel: PathLike | None,
    out: PathLike,
    *,
    mean: PathLike | None = None,
    labels: PathLike | None = None,
    warp: Size | None = None,
    scale: float = 1.0,
    order: str = "BGR",
    random_weights: int | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
) -> Converted:
    """Convert a net.

    Parameters
    ----------
    prototxt, caffemodel, random_weights, input_shapes
        As `caffe_port.load`.
    out : str or path-like
        The `.safetensors` file to write, whole or not at all.
    mean, warp, scale, order
        Preprocessing, as in `Pictures`; it needs a net with one input of shape (N, 1 or 3, H, W).
    labels : str or path-like, optional
        A text file, one class a line.

    Returns
    -------
    Converted
        What was written; `origin` says what became of every parameter.

    Raises
    ------
    ConversionError
        A file cannot be read, or they do not fit each other; the text names file, layer and field.
    OSError
        A file cannot be read or written.
    """
    sources = {
        "prototxt": prototxt,
        "caffemodel": caffemodel,
        "mean": mean if mean is not None and Path(mean).is_file() else None,
    }
    files = {kind: Path(path) for kind, path in {**sources, "labels": labels}.items() if path is not None}
    for path in files.values():
        if path.exists() and Path(out).exists() and path.samefile(out):
            raise ConversionError(f"{out}: is a source of the conversion; name another file with -o")
    net = load(prototxt, caffemodel, random_weights=random_weights, input_shapes=input_shapes)
    if mean is None and scale == 1.0:
        _warn_of_transforms(prototxt, net)
    report = net.weights_report
    origin = {
        "sources": {kind: {"name": path.name, "sha256": sha256(path)} for kind, path in files.items()},
        "definition": "the prototxt's; what the caffemodel says of layers is not used",
        "parameters": {"loaded": report.loaded, "filled": report.kept, "ignored_layers": report.ignored},
        "random_weights": random_weights,
        "versions": versions(),
    }
    converted = Converted(
        net, picture_recipe(net, Pictures(mean, warp, scale, order)), _read_labels(labels, net), origin
    )
    write_converted(out, converted)
    return converted


def _warn_of_transforms(prototxt: PathLike, net: CaffeNet) -> None:
    """Say which layer would subtract a mean or scale; a converted net has that in its recipe."""
    inputs = {layer.name for layer in net.spec.layers if layer.type == "Input"}
    for layer in upgrade_net(read_text(prototxt), str(prototxt)).get("layer", []):
        wanted = [name for name in _TRANSFORMS if name in layer.get("transform_param", {})]
        if wanted and layer.get("name") in inputs:
            warnings.warn(
                f"{prototxt}: layer {quote(layer['name'])}: transform_param ({', '.join(wanted)}) is not "
                "used; say it with --mean and --scale",
                stacklevel=3,
            )
            return


def sha256(path: PathLike) -> str:
    """SHA-256 of a file, hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def picture_recipe(net: CaffeNet, pictures: Pictures) -> Recipe | None:
    """The recipe for a net with one picture as its input, None for others."""
    shapes = list(net.inputs.values())
    source = net.spec.source
    fits = len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][1] in (1, 3)
    if not fits or max(shapes[0][2:]) > MAX_SIDE:
        if pictures.mean is not None:
            found = ", ".join(f"{name} {show(shape)}" for name, shape in net.inputs.items()) or "none"
            raise ConversionError(
                f"{source}: a mean needs one input of shape N x 1 or 3 x H x W; inputs: {found}"
            )
        return None
    channels, crop = shapes[0][1], (shapes[0][2], shapes[0][3])
    mean = np.zeros(channels, np.float32) if pictures.mean is None else read_mean(pictures.mean)
    if len(mean) == 1:
        mean = np.repeat(mean, channels, 0)
    if len(mean) != channels:
        raise ConversionError(f"{pictures.mean}: a mean of {len(mean)} channels; the input has {channels}")
    warp = pictures.warp or ((mean.shape[1], mean.shape[2]) if mean.ndim == 3 else crop)
    if warp[0] < crop[0] or warp[1] < crop[1] or max(warp) > MAX_SIDE:
        raise ConversionError(
            f"{source}: pictures of {warp[0]} x {warp[1]} for an input of {crop[0]} x {crop[1]}; the mean or "
            f"--warp must be as large, and at most {MAX_SIDE}"
        )
    if mean.ndim == 3 and mean.shape[1:] != warp and mean.shape[1:] != crop:
        raise ConversionError(
            f"{pictures.mean}: a mean of {mean.shape[1]} x {mean.shape[2]}; allowed are the warped picture's "
            f"{warp[0]} x {warp[1]} and the input's {crop[0]} x {crop[1]}"
        )
    return Recipe(warp, crop, mean, "GREY" if channels == 1 else pictures.order, float(pictures.scale))


def _read_labels(path: PathLike | None, net: CaffeNet) -> tuple[str, ...]:
    """Labels, as many as one of the net's outputs has channels."""
    if path is None:
        return ()
    with Path(path).open("rb") as file:
        raw = file.read(MAX_LABELS + 1)
    if len(raw) > MAX_LABELS:
        raise ConversionError(f"{path}: labels of more than {MAX_LABELS >> 20} MiB")
    try:
        labels = tuple(raw.decode("utf-8-sig").splitlines())
    except UnicodeDecodeError as error:
        raise ConversionError(f"{path}: labels must be text in UTF-8, one a line ({error})") from error
    tops = {
        top: shape
        for step in net.plan.steps
        for top, shape in zip(step.layer.tops, step.top_shapes, strict=True)
    }
    classes = {name: tops[name][1] for name in net.outputs if len(tops[name]) > 1}
    if len(labels) not in classes.values():
        found = ", ".join(f"{name} has {count}" for name, count in classes.items()) or "none has classes"
        raise ConversionError(f"{path}: {len(labels)} labels; of the outputs {found}")
    return labels


def read_size(text: str | None) -> Size | None:
    """A size as it is typed: 256, or 240x320 (height x width)."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and len(part) < 6 for part in parts):
        raise ConversionError(f"{text[:80]!r} is no size; write 256 or 240x320 (height x width)")
    return int(parts[0]), int(parts[-1])


def read_shapes(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Shapes of inputs as they are typed: data=1,3,227,227."""
    shapes = {}
    for text in texts:
        blob, _, sizes = text.rpartition("=")
        if not blob or not all(size.isdecimal() and len(size) < 10 for size in sizes.split(",")):
            raise ConversionError(f"{text[:80]!r} is no shape of an input; write data=1,3,227,227")
        shapes[blob] = tuple(int(size) for size in sizes.split(","))
    return shapes


def as_text(converted: Converted, out: PathLike) -> str:
    """What was converted, for reading: which file gave what, and every parameter's fate."""
    origin: Mapping[str, Any] = converted.origin
    parameters = origin["parameters"]
    lines = [
        f"{kind:12}{source['name']}  sha256 {source['sha256']}" for kind, source in origin["sources"].items()
    ]
    lines += [
        "definition  the prototxt's; what the caffemodel says of layers is not used",
        f"parameters  {len(parameters['loaded'])} blobs loaded",
    ]
    if parameters["filled"]:
        lines.append(
            f"filled      {listed(parameters['filled'])}: not in the caffemodel, the net's own fillers"
        )
    if parameters["ignored_layers"]:
        ignored = listed(parameters["ignored_layers"])
        lines.append(f"ignored     layers of the caffemodel that the net has not: {ignored}")
    recipe = converted.recipe
    if recipe is not None:
        warp, crop = recipe.warp or (0, 0), recipe.crop or (0, 0)
        mean = ", ".join(f"{value:.6g}" for value in recipe.mean.reshape(len(recipe.mean), -1).mean(1))
        kind = "values" if recipe.mean.ndim == 1 else f"image of {show(recipe.mean.shape)}, on average"
        lines.append(
            f"pictures    {recipe.order}, warped to {warp[0]} x {warp[1]}, centre {crop[0]} x {crop[1]}, "
            f"mean {kind} {mean}, scale {recipe.scale:g}"
        )
    lines.append(f"labels      {len(converted.labels)}")
    return "\n".join([*lines, str(out)])
