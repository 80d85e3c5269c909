"""Weights files -> parameters: matched by layer name, every blob accounted for.

Source: `Net::CopyTrainedLayersFrom` of Caffe 1.0's `net.cpp` and `Blob::ShapeEquals` of `blob.cpp`. Layer
types in the file are not looked at; layers that the net does not have are left out; layers that the file
does not have keep their filler. Old num/channels/height/width shapes match from the right: 1 1 N K is a
matrix, 1 1 1 N a vector.
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from caffe_port.errors import ConversionError
from caffe_port.fillers import CERTAIN, check, fill
from caffe_port.net import CaffeNet, attribute
from caffe_port.plan import BlobPlace, Step
from caffe_port.shapes import count, show
from caffe_port.spec import Shape, listed, quote
from caffe_port.wire import BlobIndex, CaffeModel
from caffe_port.wiring import naming

MAX_FILLED = 2**28  # numbers that fillers may make: one GiB


@dataclass(frozen=True)
class WeightReport:
    """What became of every blob.

    Attributes
    ----------
    loaded : tuple of str
        Parameters that the file gave, as `layer/position`.
    kept : tuple of str
        Parameters that the file does not have, which keep their filler.
    ignored : tuple of str
        Layers of the file with blobs that the net does not have.
    """

    loaded: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def give(net: CaffeNet, place: BlobPlace, values: np.ndarray) -> None:
    """Set the numbers of a parameter blob; an array of float32 that is no view becomes its memory."""
    name = attribute(place.key)
    held = net.get_parameter(name) if name in net._parameters else net.get_buffer(name)
    # Large NumPy arrays lie in huge pages, torch's own do not: faster to fill, and to read in a product.
    owned = np.require(values, np.float32, ["C", "W", "O"])
    tensor = torch.from_numpy(owned).reshape(held.shape)
    if not held.is_meta:
        with torch.no_grad():
            held.copy_(tensor)
    elif isinstance(held, nn.Parameter):
        net._parameters[name] = nn.Parameter(tensor, requires_grad=held.requires_grad)
    else:
        net._buffers[name] = tensor


def load_weights(net: CaffeNet, model: CaffeModel, *, random_weights: int | None = None) -> WeightReport:
    """Copy the blobs of a weights file into a net.

    Parameters
    ----------
    net : CaffeNet
        The net; its parameters are filled.
    model : CaffeModel
        An open caffemodel or HDF5 file (`wire.open_weights`).
    random_weights : int, optional
        Seed for parameters that the file does not have and whose filler is random; without it such a net is
        refused.

    Returns
    -------
    WeightReport
        What was loaded, kept at its filler, ignored. Kept parameters are also a warning.

    Raises
    ------
    ConversionError
        A layer has another number of blobs or another shape in the file than in the net.
    """
    targets: dict[str, Step] = {}
    for step in net.plan.steps:
        if model.format == "HDF5":  # Caffe finds the last layer of a name in HDF5 files, the first in others
            targets[step.layer.name] = step
        else:
            targets.setdefault(step.layer.name, step)
    loaded: dict[str, None] = {}
    ignored = []
    for layer in model.layers:
        step_or_none = targets.get(layer.name)
        if step_or_none is None:
            ignored += [layer.name] if layer.blobs else []
            continue
        with naming(model.source, step_or_none.layer):
            for place, blob in _pairs(step_or_none, layer.blobs, model.format == "HDF5"):
                values = np.empty(place.spec.shape, np.float32)
                blob.copy_to(values)
                give(net, place, values)
                loaded[place.key] = None
    missing = [place for place in net.places() if place.key not in loaded]
    fill_places(net, missing, random_weights)
    kept = tuple(place.key for place in missing if place.spec.stored)
    if kept:
        warnings.warn(
            f"{net.spec.source}: {model.source} has no layers "
            f"{listed(dict.fromkeys(k.rpartition('/')[0] for k in kept))}:"
            " their parameters keep their fillers",
            stacklevel=3,
        )
    return WeightReport(tuple(loaded), kept, tuple(ignored))


def _pairs(
    step: Step, blobs: tuple[BlobIndex | None, ...], may_miss: bool
) -> Iterable[tuple[BlobPlace, BlobIndex]]:
    """Places and blobs of one layer, in order; only HDF5 leaves out what another layer owns."""
    places = [place for place in step.blobs if place.spec.stored]
    found = [*blobs, *(None,) * (len(places) - len(blobs) if may_miss else 0)]
    if len(found) != len(places):
        raise ConversionError(
            f"field 'blobs': the file has {len(blobs)} parameter blobs; the net needs {len(places)}"
        )
    for position, (place, blob) in enumerate(zip(places, found, strict=True)):
        if blob is None:
            if place.is_owner:
                raise ConversionError(
                    f"field 'blobs': the file has no blob {position}; the net needs {len(places)}"
                )
            continue
        if not same_shape(blob.shape, blob.legacy, place.spec.shape):
            raise ConversionError(
                f"field 'blobs': blob {position} has shape {show(blob.shape)} in the file; the net needs "
                f"{show(place.spec.shape)}"
            )
        yield place, blob


def same_shape(shape: Shape, legacy: bool, wanted: Shape) -> bool:
    """Whether a blob of a file fits: equal, or for the four legacy sizes equal from the right with ones
    before.
    """
    if not legacy:
        return shape == wanted
    return len(wanted) <= 4 and shape == (1,) * (4 - len(wanted)) + wanted


def fill_net(net: CaffeNet, random_weights: int | None) -> WeightReport:
    """Fill a net without a weights file.

    Raises
    ------
    ConversionError
        The net has learned parameters and there is no seed.
    """
    places = list(net.places())
    kept = tuple(place.key for place in places if place.spec.stored)
    if kept and random_weights is None:
        raise ConversionError(
            f"{net.spec.source}: layer {quote(kept[0].rpartition('/')[0])} and others have {len(kept)} "
            "parameter blobs "
            "and there are no weights; give a caffemodel, or random_weights=SEED for the net's fillers"
        )
    fill_places(net, places, random_weights)
    return WeightReport(kept=kept)


def fill_places(net: CaffeNet, places: Iterable[BlobPlace], seed: int | None) -> None:
    """Run the fillers of some parameters, in order, from one generator."""
    wanted = {place.key for place in places}
    rng = np.random.default_rng(0 if seed is None else seed)
    total = 0
    for step in net.plan.steps:
        with naming(net.spec.source, step.layer):
            for place in step.blobs:
                if not place.is_owner or place.key not in wanted:
                    continue
                filler = place.spec.filler
                check(filler)
                if filler.type not in CERTAIN and seed is None and place.spec.stored:
                    raise ConversionError(
                        f"field 'filler.type' is '{filler.type}' and the weights file lacks the layer; "
                        "its numbers "
                        "would be random: pass random_weights=SEED"
                    )
                total += count(place.spec.shape)
                if total > MAX_FILLED:
                    raise ConversionError(f"fillers would have to make more than {MAX_FILLED} numbers")
                give(net, place, fill(filler, place.spec.shape, rng))
