"""Random single layers that Caffe accepts, continued: arrangement, reduction, losses, recurrence. See
`caffe_cases`.
"""

from typing import Any

import numpy as np

from tests.oracles.caffe_cases import Case, Rng, normal, pick, shape_of, some


def concat(rng: Rng) -> Case:
    shape = list(shape_of(rng, int(rng.integers(1, 5))))
    axis = int(rng.integers(0, len(shape)))
    bottoms = []
    for _ in range(int(rng.integers(1, 4))):
        shape[axis] = int(rng.integers(1, 4))
        bottoms.append(normal(rng, *shape))
    return {
        "concat_param": pick(rng, {"axis": axis}, {"axis": axis - len(shape)}, {"concat_dim": axis})
    }, bottoms


def slice_layer(rng: Rng) -> Case:
    shape = list(shape_of(rng, int(rng.integers(1, 5))))
    axis, tops = int(rng.integers(0, len(shape))), int(rng.integers(1, 4))
    param: dict[str, Any] = pick(rng, {"axis": axis}, {"axis": axis - len(shape)}, {"slice_dim": axis})
    if tops > 1 and rng.random() < 0.6:
        shape[axis] = tops + int(rng.integers(0, 4))
        param["slice_point"] = sorted(rng.choice(np.arange(1, shape[axis]), tops - 1, replace=False).tolist())
    else:
        shape[axis] *= tops
    return {"slice_param": param, "top": [f"y{i}" for i in range(tops)]}, [normal(rng, *shape)]


def split(rng: Rng) -> Case:
    return {"top": [f"y{i}" for i in range(int(rng.integers(1, 4)))]}, [normal(rng, *shape_of(rng, 3))]


def flatten(rng: Rng) -> Case:
    x = normal(rng, *shape_of(rng, int(rng.integers(1, 6)), 3))
    first = int(rng.integers(0, x.ndim))
    last = int(rng.integers(first, x.ndim))
    param = {"axis": pick(rng, first, first - x.ndim), "end_axis": pick(rng, last, last - x.ndim)}
    return {"flatten_param": param}, [x]


def reshape(rng: Rng) -> Case:
    """Keep, copy, merge or infer axes of a random range."""
    x = normal(rng, *shape_of(rng, int(rng.integers(1, 5))))
    start = int(rng.integers(0, x.ndim + 1))
    end = int(rng.integers(start, x.ndim + 1))
    old = list(x.shape[start:end])
    dims = pick(rng, [*old, 1], old, [int(np.prod(old))], [1, *old])
    if dims and rng.random() < 0.7:
        dims = list(dims)
        dims[int(rng.integers(len(dims)))] = -1
    dims = [0 if i < len(old) and dim == old[i] and rng.random() < 0.5 else dim for i, dim in enumerate(dims)]
    param: dict[str, Any] = {"shape": {"dim": dims}, "num_axes": end - start}
    param["axis"] = pick(rng, start, start - x.ndim - 1)
    if end == x.ndim and rng.random() < 0.5:
        param["num_axes"] = -1
    return {"reshape_param": param}, [x]


def crop(rng: Rng) -> Case:
    x = normal(rng, *rng.integers(3, 7, int(rng.integers(1, 5))).tolist())
    axis = int(rng.integers(0, x.ndim))
    if axis + 1 < x.ndim and rng.random() < 0.5:
        offsets = [int(rng.integers(0, 3)) for _ in range(x.ndim - axis)]
        used = offsets
    else:
        offsets = [int(rng.integers(0, 3))] if rng.random() < 0.6 else []
        used = (offsets or [0]) * (x.ndim - axis)
    sizes = [int(rng.integers(1, size - o + 1)) for size, o in zip(x.shape[axis:], used, strict=True)]
    param: dict[str, Any] = {"axis": pick(rng, axis, axis - x.ndim)}
    if offsets:
        param["offset"] = offsets
    return {"crop_param": param}, [x, normal(rng, *shape_of(rng, axis), *sizes)]


def tile(rng: Rng) -> Case:
    x = normal(rng, *shape_of(rng, int(rng.integers(2, 5))))
    param = {"tiles": int(rng.integers(1, 4))} | some(rng, axis=int(rng.integers(-x.ndim, x.ndim)))
    return {"tile_param": param}, [x]


def filter_layer(rng: Rng) -> Case:
    items, count = int(rng.integers(1, 5)), int(rng.integers(1, 3))
    selector = rng.choice([0.0, 1.0, -2.0], (items, *(1,) * int(rng.integers(0, 3))))
    data = [normal(rng, items, *shape_of(rng, int(rng.integers(0, 3)))) for _ in range(count)]
    return {"top": [f"y{i}" for i in range(count)]}, [*data, selector]


def batch_reindex(rng: Rng) -> Case:
    x = normal(rng, *shape_of(rng, 3))
    return {}, [x, rng.integers(0, len(x), int(rng.integers(1, 6))).astype(float)]


def reduction(rng: Rng) -> Case:
    x = normal(rng, *shape_of(rng, int(rng.integers(1, 5))))
    param = some(rng, operation=pick(rng, "SUM", "ASUM", "SUMSQ", "MEAN"), coeff=pick(rng, 0.5, -3.0))
    return {"reduction_param": param | some(rng, axis=int(rng.integers(-x.ndim, x.ndim)))}, [x]


def argmax(rng: Rng) -> Case:
    x = np.round(normal(rng, *shape_of(rng, int(rng.integers(1, 5)))) * 2)  # many ties
    param = some(rng, out_max_val=True)
    size = int(np.prod(x.shape[1:]))
    if rng.random() < 0.6:
        param["axis"] = int(rng.integers(-x.ndim, x.ndim))
        size = x.shape[param["axis"]]
    return {"argmax_param": param | some(rng, top_k=int(rng.integers(1, size + 1)))}, [x]


def permute(rng: Rng) -> Case:
    x = normal(rng, *shape_of(rng, int(rng.integers(2, 5))))
    order = rng.permutation(x.ndim)[: int(rng.integers(1, x.ndim + 1))].tolist()
    return {"permute_param": {"order": order}}, [x]


def shuffle(rng: Rng) -> Case:
    group = int(rng.integers(1, 4))
    x = normal(rng, 2, group * int(rng.integers(1, 4)), 2, 3)
    return {"shuffle_channel_param": {"group": group}}, [x]


def interp(rng: Rng) -> Case:
    x = normal(rng, 1, 2, *rng.integers(3, 7, 2).tolist())
    param: dict[str, Any] = some(rng, pad_beg=-1, pad_end=-1)
    how = int(rng.integers(3))
    if how == 0:
        return {"interp_param": param}, [x, normal(rng, 1, 1, *shape_of(rng, 2, 6))]
    if how == 1:
        return {
            "interp_param": param | {"height": int(rng.integers(1, 9)), "width": int(rng.integers(1, 9))}
        }, [x]
    zoom, shrink = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    return {
        "interp_param": param
        | pick(rng, {"zoom_factor": zoom}, {"zoom_factor": zoom, "shrink_factor": shrink})
    }, [x]


def upsample(rng: Rng) -> Case:
    scale = int(rng.integers(1, 4))
    x = normal(rng, 2, 2, *shape_of(rng, 2))
    if rng.random() < 0.5:
        return {"upsample_param": {"scale": scale}}, [x]
    cells = x.shape[2] * x.shape[3] * scale**2
    mask = np.array([rng.permutation(cells)[: x[0, 0].size] for _ in range(4)]).reshape(x.shape)
    return {"upsample_param": {"scale": scale}}, [x, mask.astype(float)]


def predictions(rng: Rng, axis: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels, with sizes after the class axis."""
    x = normal(rng, *rng.integers(2, 5, int(rng.integers(2, 5))).tolist())
    axis = min(axis, x.ndim - 1)
    return x, rng.integers(0, x.shape[axis], (*x.shape[:axis], *x.shape[axis + 1 :])).astype(float)


def loss_param(rng: Rng) -> dict[str, Any]:
    param = some(rng, ignore_label=1)
    return param | pick(rng, {}, {"normalization": pick(rng, "FULL", "VALID", "BATCH_SIZE", "NONE")})


def softmax_loss(rng: Rng) -> Case:
    param = loss_param(rng)
    if "normalization" not in param:
        param |= some(rng, normalize=bool(rng.integers(2)))
    axis = int(rng.integers(1, 3))
    x, labels = predictions(rng, axis)
    axis = min(axis, x.ndim - 1)
    tops = ["y", "prob"] if rng.random() < 0.4 else ["y"]
    return {"loss_param": param, "softmax_param": {"axis": axis}, "top": tops}, [x, labels]


def infogain_loss(rng: Rng) -> Case:
    x, labels = predictions(rng)
    return {"loss_param": loss_param(rng)}, [x, labels, np.abs(normal(rng, x.shape[1], x.shape[1]))]


def sigmoid_loss(rng: Rng) -> Case:
    x = normal(rng, *shape_of(rng, int(rng.integers(1, 4)))) * 3
    param = loss_param(rng)
    if "normalization" not in param:
        param |= some(rng, normalize=bool(rng.integers(2)))
    return {"loss_param": param}, [x, rng.choice([0.0, 1.0, 0.3], x.shape)]


def euclidean_loss(rng: Rng) -> Case:
    shape = shape_of(rng, int(rng.integers(1, 4)))
    return {}, [normal(rng, *shape), normal(rng, shape[0], int(np.prod(shape[1:])))]


def one_label(field: str, **choices: Any) -> Any:
    def case(rng: Rng) -> Case:
        x = normal(rng, *shape_of(rng, int(rng.integers(2, 4))))
        x = np.abs(x) / 4 if field == "none" else x
        labels = rng.integers(0, int(np.prod(x.shape[1:])), len(x)).astype(float)
        return ({field: some(rng, **choices)} if choices else {}), [x, labels]

    return case


def contrastive_loss(rng: Rng) -> Case:
    shape = shape_of(rng, 2)
    param = some(rng, margin=2.5, legacy_version=True)
    return {"contrastive_loss_param": param}, [
        normal(rng, *shape),
        normal(rng, *shape),
        rng.integers(0, 2, shape[0]).astype(float),
    ]


def accuracy(rng: Rng) -> Case:
    x, labels = predictions(rng)
    param = some(rng, top_k=int(rng.integers(1, x.shape[1] + 1)), ignore_label=1, axis=1)
    return {"accuracy_param": param, "top": ["y", "each"] if rng.random() < 0.5 else ["y"]}, [x, labels]


def recurrent(states: int) -> Any:
    def case(rng: Rng) -> Case:
        steps, streams, size = (int(rng.integers(1, 4)) for _ in range(3))
        bottoms = [normal(rng, steps, streams, *shape_of(rng, int(rng.integers(1, 3))))]
        bottoms.append(rng.integers(0, 2, (steps, streams)).astype(float))
        if rng.random() < 0.4:
            bottoms.append(normal(rng, streams, *shape_of(rng, int(rng.integers(1, 3)))))
        param: dict[str, Any] = {"num_output": size}
        tops = ["y"]
        if rng.random() < 0.4:
            param["expose_hidden"] = True
            bottoms += [normal(rng, 1, streams, size) for _ in range(states)]
            tops += [f"state{i}" for i in range(states)]
        return {"recurrent_param": param, "top": tops}, bottoms

    return case


def lstm_unit(rng: Rng) -> Case:
    streams, size = shape_of(rng, 2)
    bottoms = [normal(rng, 1, streams, size), normal(rng, 1, streams, 4 * size)]
    return {"top": ["c", "h"]}, [*bottoms, rng.integers(0, 2, (1, streams)).astype(float)]


CASES_MORE = {
    "Concat": concat,
    "Slice": slice_layer,
    "Split": split,
    "Flatten": flatten,
    "Reshape": reshape,
    "Crop": crop,
    "Tile": tile,
    "Filter": filter_layer,
    "BatchReindex": batch_reindex,
    "Silence": lambda rng: ({"top": []}, [normal(rng, 2, 3)]),
    "Reduction": reduction,
    "ArgMax": argmax,
    "Permute": permute,
    "ShuffleChannel": shuffle,
    "Interp": interp,
    "Upsample": upsample,
    "SoftmaxWithLoss": softmax_loss,
    "InfogainLoss": infogain_loss,
    "SigmoidCrossEntropyLoss": sigmoid_loss,
    "EuclideanLoss": euclidean_loss,
    "HingeLoss": one_label("hinge_loss_param", norm="L2"),
    "MultinomialLogisticLoss": one_label("none"),
    "ContrastiveLoss": contrastive_loss,
    "Accuracy": accuracy,
    "LSTM": recurrent(2),
    "RNN": recurrent(1),
    "LSTMUnit": lstm_unit,
}
