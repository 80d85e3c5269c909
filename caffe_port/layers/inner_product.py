"""InnerProduct and Embed: matrices over the axes from one axis on, and rows of a table.

Source: `src/caffe/layers/{inner_product,embed}_layer.cpp` of Caffe 1.0. The weight of InnerProduct is (out,
in), or (in, out) with `transpose`; axes from `axis` on are flattened, the axes before stay.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from caffe_port.errors import ConversionError
from caffe_port.layers.row import Message, Row, Tensors
from caffe_port.shapes import axis_of, count, positive
from caffe_port.spec import BlobSpec, EmbedSpec, InnerProductSpec, Shape, read_spec

_MIN_WEIGHT = 2**21  # numbers of a weight that is cut
_MAX_ROWS = 64
_MAX_BLOCKS = 16


def _read(layer: Message) -> InnerProductSpec:
    spec = read_spec(InnerProductSpec, "InnerProductParameter", layer.get("inner_product_param", {}))
    positive(spec.num_output, "field 'inner_product_param.num_output'")
    return spec


def _shape(p: InnerProductSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    axis = axis_of(p.axis, bottoms[0], "inner_product_param.axis")
    return [(*bottoms[0][:axis], p.num_output)]


def _blobs(p: InnerProductSpec, bottoms: Sequence[Shape]) -> list[BlobSpec]:
    inner = count(bottoms[0], axis_of(p.axis, bottoms[0], "inner_product_param.axis"))
    shape = (inner, p.num_output) if p.transpose else (p.num_output, inner)
    return [BlobSpec(shape, p.weight_filler), BlobSpec((p.num_output,), p.bias_filler)][: 1 + p.bias_term]


def _blocks(x: torch.Tensor, weight: torch.Tensor) -> int:
    """Into how many equal blocks of rows to cut the weight; 1 where one product is the faster.

    torch multiplies one row by a matrix on one core, and some rows several times slower than it reads the
    matrix.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.compiler.is_compiling():
        return 1
    if x.dim() != 2 or not 0 < len(x) <= _MAX_ROWS:
        return 1
    if weight.numel() < _MIN_WEIGHT or not weight.is_contiguous():
        return 1
    return next(n for n in range(_MAX_BLOCKS, 0, -1) if weight.shape[0] % n == 0)


def _linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, blocks: int) -> torch.Tensor:
    """`F.linear` of x (N, in), the weight's rows in blocks that are multiplied side by side."""
    rows, inner = weight.shape
    shared = x.expand(blocks, -1, -1)  # (blocks, N, in)
    block = weight.view(blocks, rows // blocks, inner).transpose(1, 2)  # (blocks, in, rows of a block)
    y = shared.bmm(block) if bias is None else torch.baddbmm(bias.view(blocks, 1, -1), shared, block)
    return y.transpose(0, 1).reshape(len(x), rows)


def _run(
    p: InnerProductSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]
) -> list[torch.Tensor]:
    weight = blobs[0].t() if p.transpose else blobs[0]
    x = bottoms[0].flatten(axis_of(p.axis, bottoms[0].shape, "inner_product_param.axis"))
    bias = blobs[1] if p.bias_term else None
    blocks = _blocks(x, weight)
    return [F.linear(x, weight, bias) if blocks == 1 else _linear(x, weight, bias, blocks)]


def _read_embed(layer: Message) -> EmbedSpec:
    spec = read_spec(EmbedSpec, "EmbedParameter", layer.get("embed_param", {}))
    positive(spec.num_output, "field 'embed_param.num_output'")
    positive(spec.input_dim, "field 'embed_param.input_dim'")
    return spec


def _embed_shape(p: EmbedSpec, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    return [(*bottoms[0], p.num_output)]


def _embed_blobs(p: EmbedSpec, bottoms: Sequence[Shape]) -> list[BlobSpec]:
    table = BlobSpec((p.input_dim, p.num_output), p.weight_filler)
    return [table, BlobSpec((p.num_output,), p.bias_filler)][: 1 + p.bias_term]


def _embed(p: EmbedSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    rows = row_numbers(bottoms[0], p.input_dim, "embed_param.input_dim")
    top = F.embedding(rows, blobs[0])
    return [top + blobs[1] if p.bias_term else top]


def row_numbers(values: torch.Tensor, limit: int, field: str) -> torch.Tensor:
    """Numbers of a blob as row numbers below `limit`; fractions are dropped, as a C cast does."""
    rows = values.long()
    if rows.numel() and not 0 <= int(rows.min()) <= int(rows.max()) < limit:
        raise ConversionError(
            f"field '{field}': a bottom holds numbers from {int(rows.min())} to {int(rows.max())}; "
            "allowed are 0 to "
            f"{limit - 1}"
        )
    return rows


ROWS = {
    "InnerProduct": Row(_read, _shape, _run, _blobs, fresh=True),
    "Embed": Row(_read_embed, _embed_shape, _embed, _embed_blobs),
}
