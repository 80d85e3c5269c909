"""Caffe's losses, Accuracy and recurrent layers in plain float64: slow and obvious.

Written from `src/caffe/layers/` of Caffe 1.0 and nothing else. See `windows` for the conventions.
"""

import math
from collections.abc import Iterator

import numpy as np

from caffe_port.reference.pointwise import softmax_rows
from caffe_port.reference.windows import Arrays, Layer, Run, axis_number

FLT_MIN = float(np.finfo(np.float32).tiny)
LOG_THRESHOLD = 1e-20


def normalizer(layer: Layer, default: str, outer: int, inner: int, valid: int) -> float:
    param = layer.get("loss_param", {})
    mode = default
    if "normalization" in param:
        mode = param["normalization"]
    elif "normalize" in param:
        mode = "VALID" if param["normalize"] else "BATCH_SIZE"
    return max(1.0, {"FULL": outer * inner, "VALID": valid, "BATCH_SIZE": outer, "NONE": 1}[mode])


def labels_of(x: np.ndarray, axis: int, labels: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(outer, inner, label) of every prediction, in Caffe's order."""
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    flat = labels.ravel()
    for i in range(outer):
        for j in range(inner):
            yield i, j, int(flat[i * inner + j])


def softmax_loss(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    x, labels = bottoms[:2]
    axis = axis_number(layer.get("softmax_param", {}).get("axis", 1), x)
    prob = softmax_rows(x, axis)
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    table = prob.reshape(outer, x.shape[axis], inner)
    ignore, loss, valid = layer.get("loss_param", {}).get("ignore_label"), 0.0, 0
    for i, j, label in labels_of(x, axis, labels):
        if label != ignore:
            loss -= math.log(max(table[i, label, j], FLT_MIN))
            valid += 1
    return [np.array(loss / normalizer(layer, "VALID", outer, inner, valid)), prob][: len(layer["top"])]


def infogain_loss(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    x, labels, gain = bottoms
    axis = axis_number(layer.get("infogain_loss_param", {}).get("axis", 1), x)
    prob = softmax_rows(x, axis)
    classes = x.shape[axis]
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    table, matrix = prob.reshape(outer, classes, inner), gain.reshape(classes, classes)
    ignore, loss, valid = layer.get("loss_param", {}).get("ignore_label"), 0.0, 0
    for i, j, label in labels_of(x, axis, labels):
        if label != ignore:
            for other in range(classes):
                loss -= matrix[label, other] * math.log(max(table[i, other, j], LOG_THRESHOLD))
            valid += 1
    return [np.array(loss / normalizer(layer, "VALID", outer, inner, valid)), prob][: len(layer["top"])]


def sigmoid_loss(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    x, target = bottoms
    ignore, loss, valid = layer.get("loss_param", {}).get("ignore_label"), 0.0, 0
    for value, wanted in zip(x.ravel(), target.ravel(), strict=True):
        if int(wanted) != ignore:
            positive = float(value >= 0)
            loss -= value * (wanted - positive) - math.log(1 + math.exp(value - 2 * value * positive))
            valid += 1
    return [np.array(loss / normalizer(layer, "BATCH_SIZE", len(x), x.size // len(x), valid))]


def euclidean_loss(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    pairs = zip(bottoms[0].ravel(), bottoms[1].ravel(), strict=True)
    return [np.array(sum((a - b) ** 2 for a, b in pairs) / len(bottoms[0]) / 2)]


def hinge_loss(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    rows = bottoms[0].reshape(len(bottoms[0]), -1)
    loss = 0.0
    for row, label in zip(rows, bottoms[1].ravel(), strict=False):
        for j, value in enumerate(row):
            margin = max(0.0, 1 + (-value if j == int(label) else value))
            loss += margin if layer.get("hinge_loss_param", {}).get("norm", "L1") == "L1" else margin**2
    return [np.array(loss / len(rows))]


def multinomial_loss(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    rows = bottoms[0].reshape(len(bottoms[0]), -1)
    total = sum(
        -math.log(max(row[int(label)], LOG_THRESHOLD))
        for row, label in zip(rows, bottoms[1].ravel(), strict=True)
    )
    return [np.array(total / len(rows))]


def contrastive_loss(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    param, (a, b, alike) = layer.get("contrastive_loss_param", {}), bottoms
    margin, loss = param.get("margin", 1.0), 0.0
    for n in range(len(a)):
        square = sum((x - y) ** 2 for x, y in zip(a[n].ravel(), b[n].ravel(), strict=True))
        if int(alike.ravel()[n]):
            loss += square
        elif param.get("legacy_version", False):
            loss += max(margin - square, 0.0)
        else:
            loss += max(margin - math.sqrt(square), 0.0) ** 2
    return [np.array(loss / len(a) / 2)]


def accuracy(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    param, (x, labels) = layer.get("accuracy_param", {}), bottoms
    axis = axis_number(param.get("axis", 1), x)
    classes = x.shape[axis]
    table = x.reshape(math.prod(x.shape[:axis]), classes, -1)
    right, seen = np.zeros(classes), np.zeros(classes)
    for i, j, label in labels_of(x, axis, labels):
        if label == param.get("ignore_label"):
            continue
        better = sum(table[i, k, j] >= table[i, label, j] for k in range(classes)) - 1
        seen[label] += 1
        right[label] += better < param.get("top_k", 1)
    each = np.array([r / s if s else 0.0 for r, s in zip(right, seen, strict=True)])
    return [np.array(right.sum() / seen.sum() if seen.sum() else 0.0), each][: len(layer["top"])]


def logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def lstm_unit(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
    cell, gates, cont = bottoms
    size = cell.shape[2]
    new_cell, hidden = np.zeros_like(cell), np.zeros_like(cell)
    for n in range(cell.shape[1]):
        for d in range(size):
            i, f, o, g = (gates[0, n, part * size + d] for part in range(4))
            keep = cont[0, n] * logistic(f) if cont[0, n] != 0 else 0.0
            new_cell[0, n, d] = keep * cell[0, n, d] + logistic(i) * math.tanh(g)
            hidden[0, n, d] = logistic(o) * math.tanh(new_cell[0, n, d])
    return [new_cell, hidden]


def recurrent(states: int) -> Run:
    """LSTM (2 states) or RNN (1), from zero unless the states are exposed."""

    def run(layer: Layer, bottoms: Arrays, blobs: Arrays) -> list[np.ndarray]:
        param, (x, cont, *rest), blobs = layer["recurrent_param"], bottoms, list(blobs)
        outputs, exposed = param["num_output"], param.get("expose_hidden", False)
        steps, streams = x.shape[:2]
        weight_x, bias = blobs.pop(0), blobs.pop(0)
        static = np.zeros((streams, len(bias)))
        if len(rest) > states * exposed:
            static = rest.pop(0).reshape(streams, -1) @ blobs.pop(0).T
        weight_h = blobs.pop(0)
        hidden, *cells = (state[0] for state in rest) if exposed else np.zeros((states, streams, outputs))
        tops = []
        for t in range(steps):
            entry = x[t].reshape(streams, -1) @ weight_x.T + bias + static
            entry = entry + (cont[t][:, None] * hidden) @ weight_h.T
            if states == 2:
                cell, top = lstm_unit({}, [cells[0][None], entry[None], cont[t][None]], [])
                cells, hidden = [cell[0]], top[0]
                tops.append(hidden)
            else:
                hidden = np.tanh(entry)
                tops.append(np.tanh(hidden @ blobs[0].T + blobs[1]))
        return [np.array(tops), *([hidden[None], *(cell[None] for cell in cells)] if exposed else [])]

    return run


LAYERS = {
    "SoftmaxWithLoss": softmax_loss,
    "InfogainLoss": infogain_loss,
    "SigmoidCrossEntropyLoss": sigmoid_loss,
    "EuclideanLoss": euclidean_loss,
    "HingeLoss": hinge_loss,
    "MultinomialLogisticLoss": multinomial_loss,
    "ContrastiveLoss": contrastive_loss,
    "Accuracy": accuracy,
    "LSTMUnit": lstm_unit,
    "LSTM": recurrent(2),
    "RNN": recurrent(1),
}
