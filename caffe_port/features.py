"""Pictures through a converted net: features of any blob into an .npz file, and the best classes.

Pictures are decoded, prepared by the net's recipe and run in batches; features go to disk as they come, so
memory holds one batch whatever the number of pictures.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caffe_port.arrays import write_npz
from caffe_port.converted import Converted
from caffe_port.errors import ConversionError
from caffe_port.files import replacing
from caffe_port.net import CaffeNet
from caffe_port.pictures import ImageFile, read_images
from caffe_port.preprocess import Recipe
from caffe_port.shapes import show
from caffe_port.spec import listed


@dataclass(frozen=True)
class Extraction:
    """What `extract` wrote: how many pictures, the shape of one's features, and the pictures skipped."""

    images: int
    shape: tuple[int, ...]
    bad: tuple[str, ...]


@dataclass(frozen=True)
class Guess:
    """One class of a picture: index, label ("" without labels) and the net's number for it."""

    index: int
    label: str
    score: float


def recipe_of(converted: Converted) -> Recipe:
    """The net's recipe, or ConversionError if it takes no pictures."""
    if converted.recipe is None:
        inputs = ", ".join(f"{name} {show(shape)}" for name, shape in converted.net.inputs.items())
        raise ConversionError(
            f"{converted.net.spec.source}: takes no pictures; inputs are {inputs or 'none'}, and one of "
            "N x 1 or 3 x H x W is needed"
        )
    return converted.recipe


def run_pictures(
    converted: Converted, blob: str, pictures: Iterable[tuple[str, np.ndarray]], batch: int
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Compute a blob for named pictures, (H, W, 3) uint8 RGB; yields the names and features of each batch.

    Raises
    ------
    ConversionError, ValueError
        The net takes no pictures, has no such blob, or the blob does not hold one row a picture.
    """
    recipe, net = recipe_of(converted), converted.net
    prepared = ((name, recipe(picture)) for name, picture in pictures)
    for group in _groups(prepared, batch):
        with torch.inference_mode():
            data = torch.from_numpy(np.stack([data for _, data in group]))
            values = net.features(data, blob).float().numpy()
        if values.shape[:1] != (len(group),):
            raise ConversionError(
                f"{net.spec.source}: blob {blob!r} has shape {show(values.shape)} for {len(group)} pictures; "
                "one row a picture is needed"
            )
        yield [name for name, _ in group], values


def _groups(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    group = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def extract(
    converted: Converted,
    files: Iterable[ImageFile],
    blob: str,
    out: str | os.PathLike[str],
    *,
    batch: int = 16,
    strict: bool = False,
) -> Extraction:
    """Write a blob of many pictures to an .npz file.

    Parameters
    ----------
    converted : Converted
    files : iterable of ImageFile
    blob : str
    out : str or path-like
        Gets `names` (N,) text, `features` (N, ...) float32 and `blob` () text; written whole or not at all.
    batch : int
        Pictures at a time.
    strict : bool
        Refuse unreadable pictures instead of skipping them.

    Raises
    ------
    ConversionError, ValueError
        No picture can be read, or the net does not suit; see `run_pictures`.
    OSError
        The file cannot be written.
    """
    bad: list[str] = []
    names: list[str] = []
    shape: tuple[int, ...] = ()
    with tempfile.TemporaryFile(dir=Path(out).parent) as rows:
        for group, values in run_pictures(converted, blob, read_images(files, bad, strict=strict), batch):
            if names and values.shape[1:] != shape:
                raise ConversionError(f"{group[0]}: features of {show(values.shape[1:])} after {show(shape)}")
            shape = values.shape[1:]
            names += group
            rows.write(np.ascontiguousarray(values, "<f4").data.cast("B"))
        _refuse_none(names, bad)
        with replacing(out) as file:
            arrays = {"names": np.array(names), "blob": np.array(blob)}
            write_npz(file, arrays, "features", (len(names), *shape), rows)
    return Extraction(len(names), shape, tuple(bad))


def _refuse_none(names: Sequence[str], bad: Sequence[str]) -> None:
    if not names:
        raise ConversionError(f"none of {len(bad)} pictures can be read; {bad[0] if bad else 'none given'}")


def score_blob(net: CaffeNet) -> str:
    """The output that holds the classes: the only output, or else the only one that a Softmax makes.

    Raises
    ------
    ConversionError
        There is no such output; the text lists them.
    """
    softmax = {top for step in net.plan.steps if step.layer.type == "Softmax" for top in step.layer.tops}
    for candidates in (net.outputs, [name for name in net.outputs if name in softmax]):
        if len(candidates) == 1:
            return candidates[0]
    raise ConversionError(
        f"{net.spec.source}: which output holds the classes? name it with --blob: {listed(net.outputs)}"
    )


def classify(
    converted: Converted,
    files: Iterable[ImageFile],
    bad: list[str],
    *,
    top: int = 5,
    blob: str | None = None,
    batch: int = 16,
    strict: bool = False,
) -> Iterator[tuple[str, list[Guess]]]:
    """Name the best classes of pictures.

    Parameters
    ----------
    converted : Converted
    files : iterable of ImageFile
    bad : list of str
        One line is added for each picture that was skipped.
    top : int
        How many classes, the best first; of equal numbers the smaller index.
    blob : str, optional
        The blob of classes, (N, classes) or (N, classes, 1, 1); by default `score_blob`.
    batch, strict
        As `extract`.

    Yields
    ------
    name : str
    guesses : list of Guess

    Raises
    ------
    ConversionError, ValueError
        No picture can be read, the blob is no list of classes, or the labels are of another number.
    """
    blob = blob or score_blob(converted.net)
    labels, seen = converted.labels, []
    for names, values in run_pictures(converted, blob, read_images(files, bad, strict=strict), batch):
        seen += names
        scores = values.reshape(len(values), -1)
        if values.ndim < 2 or scores.shape[1] != values.shape[1]:
            raise ConversionError(
                f"{converted.net.spec.source}: blob {blob!r} has shape {show(values.shape)}; "
                "one number a class is needed"
            )
        if labels and len(labels) != scores.shape[1]:
            raise ConversionError(
                f"{converted.net.spec.source}: {len(labels)} labels for the {scores.shape[1]} numbers of "
                f"blob {blob!r}"
            )
        for name, row in zip(names, scores, strict=True):
            best = np.argsort(-row, kind="stable")[:top]
            yield name, [Guess(int(i), labels[i] if labels else "", float(row[i])) for i in best]
    _refuse_none(seen, bad)
