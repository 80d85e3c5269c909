"""Losses and Accuracy, as numbers at test time.

Source: `src/caffe/layers/{softmax_loss,sigmoid_cross_entropy_loss,euclidean_loss,hinge_loss,infogain_loss,
multinomial_logistic_loss,contrastive_loss,accuracy}_layer.cpp` of Caffe 1.0. The top is a scalar, not
multiplied by `loss_weight`. Labels are numbers whose fractions a C cast drops. Labels that are out of
range, on which Caffe reads beyond its memory, are refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from caffe_port.errors import ConversionError
from caffe_port.layers.row import Message, Row, Tensors, nothing, reader
from caffe_port.shapes import axis_of, count, legacy, show
from caffe_port.spec import LossSpec, Shape, value_of

LOG_THRESHOLD = 1e-20  # kLOG_THRESHOLD
FLT_MIN = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class HingeSpec:
    norm: str


@dataclass(frozen=True)
class ContrastiveSpec:
    margin: float
    legacy_version: bool


@dataclass(frozen=True)
class AccuracySpec:
    top_k: int
    axis: int
    ignore_label: int | None = None


def _read_loss(layer: Message, default: str, axis: int) -> LossSpec:
    """`default` is the normalization when neither `normalization` nor the older `normalize` is set."""
    values = layer.get("loss_param", {})
    older = {True: "VALID", False: "BATCH_SIZE", None: default}[values.get("normalize")]
    return LossSpec(axis, values.get("ignore_label"), values.get("normalization", older))


def _read_softmax(layer: Message) -> LossSpec:
    return _read_loss(layer, "VALID", value_of("SoftmaxParameter", "axis", layer.get("softmax_param", {})))


def _read_infogain(layer: Message) -> LossSpec:
    if "normalize" in layer.get("loss_param", {}):
        raise ConversionError(
            "field 'loss_param.normalize' is set; InfogainLoss takes 'normalization' instead"
        )
    if len(layer.get("bottom", [])) < 3:
        # differs from Caffe: which opens any file that the net names.
        raise ConversionError(
            "field 'infogain_loss_param.source': the matrix is not read from a file; give it as a third "
            "bottom"
        )
    return _read_loss(
        layer, "VALID", value_of("InfogainLossParameter", "axis", layer.get("infogain_loss_param", {}))
    )


def _same_items(bottoms: Sequence[Shape]) -> None:
    first, second = bottoms[:2]
    if first[:1] != second[:1] or not first:
        raise ConversionError(
            f"field 'bottom': shapes {show(first)} and {show(second)} differ in the number of items"
        )


def _scalar(p: object, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    _same_items(bottoms)
    return [()]


def _check_labels(shape: Shape, labels: Shape, axis: int) -> None:
    if count(shape, 0, axis) * count(shape, axis + 1) != count(labels):
        raise ConversionError(
            f"field 'bottom': {count(labels)} labels do not fit predictions of shape {show(shape)} along "
            f"axis {axis}"
        )


def _per_label_shape(field: str, p: LossSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    _same_items(bottoms)
    axis = axis_of(p.axis, bottoms[0], f"{field}.axis")
    _check_labels(bottoms[0], bottoms[1], axis)
    if len(bottoms) > 2 and count(bottoms[2]) != bottoms[0][axis] ** 2:
        raise ConversionError(
            f"field 'bottom': a matrix of shape {show(bottoms[2])} for {bottoms[0][axis]} labels"
        )
    return [(), bottoms[0]][:tops]


def _labels(values: torch.Tensor, classes: int, ignore: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels as row numbers, 0 where ignored, and a mask of those that count."""
    labels = values.flatten().long()
    valid = torch.ones_like(labels, dtype=torch.bool) if ignore is None else labels != ignore
    labels = torch.where(valid, labels, 0)
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ConversionError(
            f"field 'bottom': labels go from {int(labels.min())} to {int(labels.max())}; allowed are 0 to "
            f"{classes - 1}"
        )
    return labels, valid


def _columns(x: torch.Tensor, axis: int) -> torch.Tensor:
    """One row a label: (outer * inner, classes)."""
    return x.movedim(axis, -1).flatten(0, -2) if x.dim() > 1 else x.unsqueeze(0)


def _mean(p: LossSpec, loss: torch.Tensor, valid: torch.Tensor, items: int) -> torch.Tensor:
    """The sum over what counts, divided as `normalization` says, by 1 at least."""
    counts = {"FULL": valid.numel(), "BATCH_SIZE": items, "NONE": 1}
    total = torch.where(valid, loss, torch.zeros_like(loss)).sum()
    return total / (counts[p.normalization] if p.normalization in counts else valid.sum().clamp(min=1))


def _softmax_loss(
    p: LossSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]
) -> list[torch.Tensor]:
    axis = axis_of(p.axis, bottoms[0].shape, "softmax_param.axis")
    prob = torch.softmax(bottoms[0], axis)
    rows = _columns(prob, axis)
    labels, valid = _labels(bottoms[1], rows.shape[1], p.ignore_label)
    loss = -rows.gather(1, labels[:, None])[:, 0].clamp(min=FLT_MIN).log()
    return [_mean(p, loss, valid, count(bottoms[0].shape, 0, axis)), prob][: len(shapes)]


def _infogain(p: LossSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    axis = axis_of(p.axis, bottoms[0].shape, "infogain_loss_param.axis")
    prob = torch.softmax(bottoms[0], axis)
    rows = _columns(prob, axis)
    labels, valid = _labels(bottoms[1], rows.shape[1], p.ignore_label)
    gain = bottoms[2].reshape(rows.shape[1], rows.shape[1])
    loss = -(gain[labels] * rows.clamp(min=LOG_THRESHOLD).log()).sum(1)
    return [_mean(p, loss, valid, count(bottoms[0].shape, 0, axis)), prob][: len(shapes)]


def _sigmoid_shape(p: LossSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    _same_items(bottoms)
    if count(bottoms[0]) != count(bottoms[1]):
        raise ConversionError(
            f"field 'bottom': shapes {show(bottoms[0])} and {show(bottoms[1])} differ in count"
        )
    return [()]


def _sigmoid_loss(
    p: LossSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]
) -> list[torch.Tensor]:
    x, target = bottoms[0].flatten(), bottoms[1].flatten()
    valid = (
        torch.ones_like(x, dtype=torch.bool) if p.ignore_label is None else target.trunc() != p.ignore_label
    )
    loss = F.binary_cross_entropy_with_logits(x, target, reduction="none")
    return [_mean(p, loss, valid, bottoms[0].shape[0])]


def _euclidean_shape(p: None, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    _same_items(bottoms)
    if count(bottoms[0], 1) != count(bottoms[1], 1):
        raise ConversionError(
            f"field 'bottom': shapes {show(bottoms[0])} and {show(bottoms[1])} differ in size"
        )
    return [()]


def _euclidean(p: None, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    difference = bottoms[0].flatten() - bottoms[1].flatten()
    return [(difference * difference).sum() / bottoms[0].shape[0] / 2]


def _rows(bottoms: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions as (items, rest), and one label an item."""
    rows = bottoms[0].reshape(bottoms[0].shape[0], -1)
    labels, _ = _labels(bottoms[1].flatten()[: len(rows)], rows.shape[1], None)
    return rows, labels


def _hinge(p: HingeSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    rows, labels = _rows(bottoms)
    sign = 1 - 2 * F.one_hot(labels, rows.shape[1]).to(rows.dtype)
    margin = (1 + sign * rows).clamp(min=0)
    return [(margin if p.norm == "L1" else margin * margin).sum() / len(rows)]


def _multinomial_shape(p: None, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    _same_items(bottoms)
    if legacy(bottoms[1])[1:] != (1, 1, 1):
        raise ConversionError(
            f"field 'bottom': labels of shape {show(bottoms[1])} must be one number an item"
        )
    return [()]


def _multinomial(p: None, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    rows, labels = _rows(bottoms)
    return [-rows.gather(1, labels[:, None]).clamp(min=LOG_THRESHOLD).log().sum() / len(rows)]


def _contrastive_shape(p: ContrastiveSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    a, b, label = (legacy(shape) for shape in bottoms)
    if a != b or a[2:] != (1, 1) or label != (a[0], 1, 1, 1):
        raise ConversionError(
            f"field 'bottom': shapes {', '.join(show(shape) for shape in bottoms)}; two of (N, C) and one "
            "of (N) are "
            "needed"
        )
    return [()]


def _contrastive(
    p: ContrastiveSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]
) -> list[torch.Tensor]:
    items = bottoms[0].shape[0]
    squares = ((bottoms[0] - bottoms[1]).reshape(items, -1) ** 2).sum(1)
    if p.legacy_version:
        apart = (p.margin - squares).clamp(min=0)
    else:
        apart = (p.margin - squares.sqrt()).clamp(min=0) ** 2
    alike = bottoms[2].flatten().trunc() != 0
    return [torch.where(alike, squares, apart).sum() / items / 2]


def _accuracy_shape(p: AccuracySpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    axis = axis_of(p.axis, bottoms[0], "accuracy_param.axis")
    _check_labels(bottoms[0], bottoms[1], axis)
    if p.top_k > bottoms[0][axis]:
        raise ConversionError(
            f"field 'accuracy_param.top_k' is {p.top_k}; there are {bottoms[0][axis]} classes"
        )
    return [(), (bottoms[0][axis],)][:tops]


def _accuracy(
    p: AccuracySpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]
) -> list[torch.Tensor]:
    """Right is a label with fewer than `top_k` other classes at least as likely; second top: the same by
    class.
    """
    rows = _columns(bottoms[0], axis_of(p.axis, bottoms[0].shape, "accuracy_param.axis"))
    labels, valid = _labels(bottoms[1], rows.shape[1], p.ignore_label)
    own = rows.gather(1, labels[:, None])
    right = ((rows >= own).sum(1) - 1 < p.top_k) & valid
    hits = torch.zeros(2, rows.shape[1], dtype=rows.dtype, device=rows.device)
    hits.index_add_(1, labels, torch.stack([right, valid]).to(rows.dtype))
    total = hits.sum(1)
    return [total[0] / total[1].clamp(min=1), hits[0] / hits[1].clamp(min=1)][: len(shapes)]


_loss = partial(Row, bottoms=(2, 2), automatic_top=True)
_read_sigmoid: Any = partial(_read_loss, default="BATCH_SIZE", axis=1)

ROWS = {
    "SoftmaxWithLoss": _loss(
        _read_softmax, partial(_per_label_shape, "softmax_param"), _softmax_loss, tops=(1, 2)
    ),
    "InfogainLoss": _loss(
        _read_infogain,
        partial(_per_label_shape, "infogain_loss_param"),
        _infogain,
        bottoms=(2, 3),
        tops=(1, 2),
    ),
    "SigmoidCrossEntropyLoss": _loss(_read_sigmoid, _sigmoid_shape, _sigmoid_loss),
    "EuclideanLoss": _loss(nothing, _euclidean_shape, _euclidean),
    "HingeLoss": _loss(reader(HingeSpec, "hinge_loss_param", "HingeLossParameter"), _scalar, _hinge),
    "MultinomialLogisticLoss": _loss(nothing, _multinomial_shape, _multinomial),
    "ContrastiveLoss": _loss(
        reader(ContrastiveSpec, "contrastive_loss_param", "ContrastiveLossParameter"),
        _contrastive_shape,
        _contrastive,
        bottoms=(3, 3),
    ),
    "Accuracy": Row(
        reader(AccuracySpec, "accuracy_param", "AccuracyParameter"),
        _accuracy_shape,
        _accuracy,
        bottoms=(2, 2),
        tops=(1, 2),
    ),
}
