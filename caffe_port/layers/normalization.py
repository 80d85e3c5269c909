"""BatchNorm, MVN, Scale, Bias, Softmax, and SSD's Normalize.

Source: `src/caffe/layers/{batch_norm,mvn,scale,bias,softmax}_layer.cpp` of Caffe 1.0, TEST phase; Normalize
from `normalize_layer.cpp` of weiliu89/caffe (SSD). BatchNorm divides its stored sums by its third blob, 0
there meaning mean and variance 0, and adds eps to the variance; MVN adds eps to the standard deviation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from caffe_port.errors import ConversionError
from caffe_port.layers.row import Message, Row, Tensors, always, reader
from caffe_port.shapes import axis_of, broadcast_axis, broadcast_shape, legacy, show
from caffe_port.spec import BatchNormSpec, BlobSpec, FillerSpec, ScaleSpec, Shape, read_spec, value_of


@dataclass(frozen=True)
class MvnSpec:
    normalize_variance: bool
    across_channels: bool
    eps: float


@dataclass(frozen=True)
class SoftmaxSpec:
    axis: int


ONE = FillerSpec(value=1.0)


@dataclass(frozen=True)
class NormalizeSpec:
    across_spatial: bool
    channel_shared: bool
    eps: float
    scale_filler: FillerSpec = ONE


def _read_batch_norm(layer: Message) -> BatchNormSpec:
    rules = layer.get("param", [])
    if any(value_of("ParamSpec", "lr_mult", rule) for rule in rules):
        raise ConversionError("field 'param.lr_mult' is not 0; the statistics of BatchNorm cannot be learned")
    values = layer.get("batch_norm_param", {})
    stored = values.get("use_global_stats", layer.get("phase", "TEST") == "TEST")
    return BatchNormSpec(stored, value_of("BatchNormParameter", "eps", values))


def _batch_norm_shape(p: BatchNormSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    if len(bottoms[0]) < 2:
        raise ConversionError(
            f"field 'bottom': shape {show(bottoms[0])} has no channel axis; 2 axes are needed"
        )
    return [bottoms[0]]


def _batch_norm_blobs(p: BatchNormSpec, bottoms: Sequence[Shape]) -> list[BlobSpec]:
    channels = bottoms[0][1]
    return [BlobSpec((size,), trainable=False) for size in (channels, channels, 1)]


def _batch_norm(
    p: BatchNormSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]
) -> list[torch.Tensor]:
    x = bottoms[0]
    form = (1, -1) + (1,) * (x.dim() - 2)
    if p.use_global_stats:
        factor = torch.where(blobs[2] == 0, blobs[2], 1 / blobs[2])
        mean, variance = (blobs[0] * factor).reshape(form), (blobs[1] * factor).reshape(form)
    else:
        # differs from Caffe: the stored statistics stay as they are; Caffe moves them towards this batch's.
        axes = [axis for axis in range(x.dim()) if axis != 1]
        mean, variance = x.mean(axes, keepdim=True), x.var(axes, correction=0, keepdim=True)
    return [(x - mean) / (variance + p.eps).sqrt()]


def _mvn_shape(p: MvnSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    return [legacy(bottoms[0])]


def _mvn(p: MvnSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    x = bottoms[0].reshape(shapes[0])
    axes = (1, 2, 3) if p.across_channels else (2, 3)
    y = x - x.mean(axes, keepdim=True)
    if p.normalize_variance:
        y = y / ((y * y).mean(axes, keepdim=True).sqrt() + p.eps)
    return [y]


def _read_scale(layer: Message) -> ScaleSpec:
    values = layer.get("scale_param", {})
    given = {} if "filler" in values else {"filler": ONE}
    return read_spec(ScaleSpec, "ScaleParameter", values, **given)


def _read_bias(layer: Message) -> ScaleSpec:
    """Bias as a Scale that only adds."""
    values = layer.get("bias_param", {})
    filler = value_of("BiasParameter", "filler", values)
    axis, num_axes = (value_of("BiasParameter", field, values) for field in ("axis", "num_axes"))
    return ScaleSpec(axis, num_axes, filler, False, filler)


def _broadcast(field: str) -> Row:
    """Row of Scale or Bias: a factor or a term over some axes, from a blob or from the second bottom."""
    adds = field == "bias_param"

    def blobs_of(p: ScaleSpec, bottoms: Sequence[Shape]) -> list[BlobSpec]:
        if len(bottoms) == 1:
            shape = broadcast_shape(bottoms[0], p.axis, p.num_axes, field)
            return [BlobSpec(shape, p.filler), BlobSpec(shape, p.bias_filler)][: 1 + p.bias_term]
        if not p.bias_term:
            return []
        return [BlobSpec(broadcast_shape(bottoms[0], p.axis, len(bottoms[1]), field), p.bias_filler)]

    def shape(p: ScaleSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
        blob = bottoms[1] if len(bottoms) > 1 else blobs_of(p, bottoms)[0].shape
        broadcast_axis(bottoms[0], blob, p.axis, field)
        return [bottoms[0]]

    def run(p: ScaleSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
        x = bottoms[0]

        def form(blob: torch.Tensor) -> torch.Tensor:
            axis = broadcast_axis(tuple(x.shape), tuple(blob.shape), p.axis, field)
            return blob.reshape(*blob.shape, *(1,) * (x.dim() - axis - blob.dim()))

        first = form(bottoms[1] if len(bottoms) > 1 else blobs[0])
        y = x + first if adds else x * first
        return [y + form(blobs[-1]) if p.bias_term else y]

    return Row(
        _read_bias if adds else _read_scale, shape, run, blobs_of, bottoms=(1, 2), in_place=always, fresh=True
    )


def _softmax_shape(p: SoftmaxSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    axis_of(p.axis, bottoms[0], "softmax_param.axis")
    return [bottoms[0]]


def _softmax(p: SoftmaxSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    return [torch.softmax(bottoms[0], p.axis)]


def _read_normalize(layer: Message) -> NormalizeSpec:
    if "norm_param" not in layer:
        raise ConversionError(
            "field 'norm_param' is not set; Caffe 1.0 has no type Normalize, and SSD's needs norm_param"
        )
    return read_spec(NormalizeSpec, "NormalizeParameter", layer["norm_param"])


def _normalize_shape(p: NormalizeSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    if not 2 <= len(bottoms[0]) <= 4:
        raise ConversionError(f"field 'bottom': shape {show(bottoms[0])} must have 2 to 4 axes")
    return [bottoms[0]]


def _normalize_blobs(p: NormalizeSpec, bottoms: Sequence[Shape]) -> list[BlobSpec]:
    return [BlobSpec(() if p.channel_shared else (bottoms[0][1],), p.scale_filler)]


def _normalize(
    p: NormalizeSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]
) -> list[torch.Tensor]:
    x = bottoms[0]
    axes = list(range(1, x.dim())) if p.across_spatial else [1]
    norm = ((x * x).sum(axes, keepdim=True) + p.eps).sqrt()
    return [x / norm * blobs[0].reshape(-1, *(1,) * (x.dim() - 2))]


ROWS = {
    "BatchNorm": Row(
        _read_batch_norm, _batch_norm_shape, _batch_norm, _batch_norm_blobs, in_place=always, fresh=True
    ),
    "MVN": Row(reader(MvnSpec, "mvn_param", "MVNParameter"), _mvn_shape, _mvn, in_place=always),
    "Scale": _broadcast("scale_param"),
    "Bias": _broadcast("bias_param"),
    "Softmax": Row(
        reader(SoftmaxSpec, "softmax_param", "SoftmaxParameter"), _softmax_shape, _softmax, in_place=always
    ),
    "Normalize": Row(
        _read_normalize,
        _normalize_shape,
        _normalize,
        _normalize_blobs,
        in_place=always,
        source="SSD (weiliu89/caffe)",
    ),
}
