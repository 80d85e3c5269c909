"""LSTM, RNN and one LSTM step.

Source: `src/caffe/layers/{recurrent,lstm,lstm_unit,rnn}_layer.cpp` of Caffe 1.0. Bottoms: x (T, N, ...),
cont (T, N), 0 where a sequence begins, then, where given, a static input (N, ...) and, with
`expose_hidden`, the first hidden states (1, N, D). Gates come in the order i, f, o, g. Blobs: W_x, b,
[W_static], W_h, and for RNN W_o, b_o.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from caffe_port.errors import ConversionError
from caffe_port.layers.row import Message, Row, Tensors, nothing
from caffe_port.shapes import count, need_axes, show
from caffe_port.spec import BlobSpec, RecurrentSpec, Shape, read_spec


def _read(states: int, layer: Message) -> RecurrentSpec:
    spec = read_spec(RecurrentSpec, "RecurrentParameter", layer.get("recurrent_param", {}))
    if spec.num_output < 1:
        raise ConversionError(
            f"field 'recurrent_param.num_output' is {spec.num_output}; it must be at least 1"
        )
    exposed = states * spec.expose_hidden
    for field, least, most in (("bottom", 2 + exposed, 3 + exposed), ("top", 1 + exposed, 1 + exposed)):
        found = len(layer.get(field, []))
        if not least <= found <= most:
            raise ConversionError(
                f"field '{field}' is set {found} times; with expose_hidden "
                f"{str(spec.expose_hidden).lower()} the layer "
                f"takes {least}" + (f" or {most}" if most > least else "")
            )
    return spec


def _static(p: RecurrentSpec, bottoms: Sequence[object], states: int) -> bool:
    return len(bottoms) > 2 + states * p.expose_hidden


def _shape(p: RecurrentSpec, bottoms: Sequence[Shape], states: int) -> list[Shape]:
    x, cont, *rest = bottoms
    if len(x) < 3 or cont != x[:2]:
        raise ConversionError(
            f"field 'bottom': x of shape {show(x)} must be (T, N, ...) and cont of shape {show(cont)} "
            "must be (T, N)"
        )
    if _static(p, bottoms, states):
        static, *rest = rest
        if len(static) < 2 or static[0] != x[1]:
            raise ConversionError(f"field 'bottom': the static input {show(static)} must be ({x[1]}, ...)")
    hidden = (1, x[1], p.num_output)
    for state in rest:
        if state != hidden:
            raise ConversionError(
                f"field 'bottom': a hidden state has shape {show(state)}; it must be {show(hidden)}"
            )
    return [(*x[:2], p.num_output)] + [hidden] * (states * p.expose_hidden)


def _blobs(p: RecurrentSpec, bottoms: Sequence[Shape], states: int, gates: int) -> list[BlobSpec]:
    rows = gates * p.num_output
    blobs = [BlobSpec((rows, count(bottoms[0], 2)), p.weight_filler), BlobSpec((rows,), p.bias_filler)]
    if _static(p, bottoms, states):
        blobs.append(BlobSpec((rows, count(bottoms[2], 1)), p.weight_filler))
    return [*blobs, BlobSpec((rows, p.num_output), p.weight_filler)]


def _inputs(
    p: RecurrentSpec, bottoms: Tensors, blobs: Tensors, states: int
) -> tuple[torch.Tensor, Tensors, Tensors]:
    """What x and the static input give to every step; the first hidden states; the blobs that are left."""
    drive = F.linear(bottoms[0].flatten(2), blobs[0], blobs[1])  # (T, N, rows)
    rest, left = list(bottoms[2:]), list(blobs[2:])
    if _static(p, bottoms, states):
        drive = drive + F.linear(rest.pop(0).flatten(1), left.pop(0))
    # differs from Caffe: without exposed states every call starts from zero; Caffe goes on from the call
    # before.
    first = [state[0] for state in rest] or [drive.new_zeros(drive.shape[1], p.num_output)] * states
    return drive, first, left


def _unit(cell: torch.Tensor, gates: torch.Tensor, cont: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One LSTM step: the cell and the hidden state."""
    i, f, o, g = gates.chunk(4, -1)
    cell = cont * torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    return cell, torch.sigmoid(o) * torch.tanh(cell)


def _lstm(p: RecurrentSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    drive, (hidden, cell), (weight,) = _inputs(p, bottoms, blobs, 2)
    outputs = []
    for step, cont in zip(drive, bottoms[1].unsqueeze(-1), strict=True):
        cell, hidden = _unit(cell, F.linear(cont * hidden, weight) + step, cont)
        outputs.append(hidden)
    return [torch.stack(outputs), hidden[None], cell[None]][: len(shapes)]


def _rnn(p: RecurrentSpec, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    drive, (hidden,), (weight, out_weight, out_bias) = _inputs(p, bottoms, blobs, 1)
    outputs = []
    for step, cont in zip(drive, bottoms[1].unsqueeze(-1), strict=True):
        hidden = torch.tanh(F.linear(cont * hidden, weight) + step)
        outputs.append(torch.tanh(F.linear(hidden, out_weight, out_bias)))
    return [torch.stack(outputs), hidden[None]][: len(shapes)]


def _rnn_blobs(p: RecurrentSpec, bottoms: Sequence[Shape]) -> list[BlobSpec]:
    output = [
        BlobSpec((p.num_output, p.num_output), p.weight_filler),
        BlobSpec((p.num_output,), p.bias_filler),
    ]
    return _blobs(p, bottoms, 1, 1) + output


def _unit_shape(p: None, bottoms: Sequence[Shape], tops: int) -> list[Shape]:
    cell, gates, cont = bottoms
    need_axes(cell, 3)
    if cell[0] != 1 or gates != (1, cell[1], 4 * cell[2]) or cont != (1, cell[1]):
        raise ConversionError(
            f"field 'bottom': shapes {', '.join(show(shape) for shape in bottoms)}; (1, N, D), (1, N, 4 "
            "D) and (1, N) "
            "are needed"
        )
    return [cell, cell]


def _run_unit(p: None, bottoms: Tensors, blobs: Tensors, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    return list(_unit(bottoms[0], bottoms[1], bottoms[2].unsqueeze(-1)))


ROWS = {
    "LSTM": Row(
        lambda layer: _read(2, layer),
        lambda p, bottoms, tops: _shape(p, bottoms, 2),
        _lstm,
        lambda p, bottoms: _blobs(p, bottoms, 2, 4),
        bottoms=(2, 5),
        tops=(1, 3),
    ),
    "RNN": Row(
        lambda layer: _read(1, layer),
        lambda p, bottoms, tops: _shape(p, bottoms, 1),
        _rnn,
        _rnn_blobs,
        bottoms=(2, 4),
        tops=(1, 2),
    ),
    "LSTMUnit": Row(nothing, _unit_shape, _run_unit, bottoms=(3, 3), tops=(2, 2)),
}
