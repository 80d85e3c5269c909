"""Whether a net computes what Caffe computes: every blob against a judge's arrays.

A judge is Caffe itself (arrays of one whole forward), the float64 reference in `reference/`, or OpenCV's
importer. The measure of a blob is the largest absolute difference over the largest magnitude that the judge
has in that blob (over 1 where all are zero); numbers that are not finite, and Caffe's -FLT_MAX of an empty
pooling window, must be equal and count as no magnitude.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from caffe_port.converted import Converted
from caffe_port.errors import ConversionError
from caffe_port.net import CaffeNet
from caffe_port.preprocess import crop_mean
from caffe_port.reference import forward
from caffe_port.shapes import show
from caffe_port.spec import listed, quote

MEASURE = "largest absolute difference of a blob over the largest magnitude in it"
RTOL = 1e-5
FLT_MAX = float(np.finfo(np.float32).max)
_SPLIT = "_split_"  # in the names of the copies that Caffe makes of blobs with several readers


@dataclass(frozen=True)
class BlobCheck:
    """One blob: the layers that write it, in order; `difference` is infinite where it cannot be compared."""

    blob: str
    layers: tuple[str, ...]
    shape: tuple[int, ...]
    difference: float
    largest: float
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """What one judge says.

    Attributes
    ----------
    judge : str
        Who, with version or SHA-256.
    decides : bool
        Whether a difference fails the net; OpenCV's is only a second opinion.
    rtol : float
    blobs : tuple of BlobCheck
        In the order in which the layers run.
    not_compared : tuple of str
        Blobs of the net for which the judge has no array.
    note : str
        Why there is nothing to compare.
    """

    judge: str
    decides: bool
    rtol: float
    blobs: tuple[BlobCheck, ...]
    not_compared: tuple[str, ...] = ()
    note: str = ""

    @property
    def off(self) -> tuple[BlobCheck, ...]:
        """Blobs that differ by more than `rtol`, in the order in which the layers run."""
        return tuple(check for check in self.blobs if not check.difference <= self.rtol)

    @property
    def worst(self) -> BlobCheck | None:
        """The blob that differs most."""
        return max(self.blobs, key=lambda check: check.difference, default=None)


def relative_difference(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """The measure of one blob, and the largest magnitude in `expected`; both arrays have one shape."""
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    plain = np.isfinite(expected) & (np.abs(expected) < FLT_MAX)
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    largest = float(np.abs(expected[plain]).max(initial=0))
    if not same[~plain].all() or not np.isfinite(found[plain]).all():
        return math.inf, largest
    return float(np.abs(found[plain] - expected[plain]).max(initial=0)) / (largest or 1.0), largest


def writers(net: CaffeNet) -> dict[str, tuple[str, ...]]:
    """The layers that write each blob's memory, in the order in which they run; blobs in that order too."""
    by_memory: dict[int, list[str]] = {}
    order: dict[str, None] = {}
    for step in net.plan.steps:
        for top, memory in zip(step.layer.tops, step.writes, strict=True):
            order[top] = None
            if not step.is_alias:
                by_memory.setdefault(memory, []).append(str(step.layer))
    return {blob: tuple(by_memory[net.plan.memory[blob]]) for blob in order}


def compare(
    net: CaffeNet,
    found: Mapping[str, torch.Tensor],
    expected: Mapping[str, np.ndarray],
    judge: str,
    rtol: float,
) -> Verdict:
    """Compare blobs with a judge's arrays.

    Raises
    ------
    ConversionError
        The judge has arrays that are no blobs of the net, or none that are.
    """
    unknown = [name for name in expected if name not in found and _SPLIT not in name]
    if unknown or not any(name in found for name in expected):
        names = f"{listed(unknown)} are no blobs" if unknown else "no array is a blob"
        raise ConversionError(f"{judge}: {names} of {net.spec.source}; blobs are {listed(found)}")
    checks = []
    for blob, layers in writers(net).items():
        if blob in expected:
            checks.append(_check(blob, layers, found[blob].float().numpy(), expected[blob]))
    missing = tuple(blob for blob in found if blob not in expected)
    return Verdict(judge, True, rtol, tuple(checks), missing)


def _check(blob: str, layers: tuple[str, ...], found: np.ndarray, expected: np.ndarray) -> BlobCheck:
    if found.shape != expected.shape:
        note = f"shape {show(found.shape)}; the judge has {show(expected.shape)}"
        return BlobCheck(blob, layers, found.shape, math.inf, math.nan, note)
    return BlobCheck(blob, layers, found.shape, *relative_difference(found, expected))


def verify(
    converted: Converted,
    inputs: Mapping[str, np.ndarray],
    *,
    against: Mapping[str, np.ndarray] | None = None,
    judge: str = "Caffe's arrays",
    rtol: float = RTOL,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[Verdict, ...]:
    """Compare every blob of a net.

    Parameters
    ----------
    converted : Converted
    inputs : mapping of str to array
        One array an input blob.
    against : mapping of str to array, optional
        Blobs of one whole forward of Caffe. Without it the judges are the float64 reference and, where
        installed, OpenCV 4.
    judge : str
        Names `against`.
    rtol : float
        Largest measure that passes.
    progress : callable
        Wraps the reference's layers, to show them pass.

    Returns
    -------
    tuple of Verdict
        One a judge; the net passes if all that decide have nothing in `off`.

    Raises
    ------
    ConversionError, ValueError
        Inputs or arrays are not the net's.
    """
    net = converted.net
    missing = [name for name in net.inputs if name not in inputs]
    if missing:
        raise ConversionError(
            f"{net.spec.source}: input {quote(missing[0])} is missing; arrays are {listed(inputs)}"
        )
    given = {name: np.array(array, np.float32) for name, array in inputs.items()}
    with torch.inference_mode():
        found = net.blobs(**{name: torch.from_numpy(array) for name, array in given.items()})
    if against is not None:
        return (compare(net, found, against, judge, rtol),)
    from caffe_port.opencv import opencv_verdict

    reference = compare(net, found, reference_blobs(net, given, progress), "float64 reference", rtol)
    second = opencv_verdict(net, found, given, rtol)
    return (reference, *([second] if second is not None else []))


def reference_blobs(
    net: CaffeNet, inputs: Mapping[str, np.ndarray], progress: Callable[[Iterable[Any]], Iterable[Any]] = iter
) -> dict[str, np.ndarray]:
    """Every blob by the float64 reference, rounded to float32 at the end."""
    for step in net.plan.steps:
        fillers = step.layer.params.fillers if step.layer.type == "DummyData" else ()
        if any(filler.type != "constant" for filler in fillers):
            raise ConversionError(
                f"{net.spec.source}: {step.layer}: field 'data_filler' is random; only arrays of Caffe "
                "(--against) could tell"
            )
    layers, params = [], {}
    for number, (layer, step) in enumerate(zip(net.spec.message["layer"], net.plan.steps, strict=True)):
        layers.append({**layer, "name": str(number)})  # Caffe allows two layers of one name
        own = (net.blob_tensor(place) for place in step.blobs if place.spec.stored)
        params[str(number)] = [blob.detach().numpy() for blob in own]
    with np.errstate(all="ignore"):
        blobs = forward({"layer": progress(layers)}, params, inputs)
        return {name: blob.astype(np.float32) for name, blob in blobs.items()}


def random_input(converted: Converted, seed: int) -> dict[str, np.ndarray]:
    """A random picture as the net's input; batch 1.

    Raises
    ------
    ConversionError
        The net's input is no picture.
    """
    net, recipe = converted.net, converted.recipe
    if recipe is None:
        raise ConversionError(f"{net.spec.source}: the inputs are not one picture; give them with --input")
    ((name, shape),) = net.inputs.items()
    pixels = np.random.default_rng(seed).integers(0, 256, (1, *shape[1:])).astype(np.float32)
    mean = crop_mean(recipe.mean, (shape[2], shape[3]))
    return {name: ((pixels - mean) * recipe.scale).astype(np.float32)}
