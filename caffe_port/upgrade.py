"""Turns nets of Caffe's older formats (V0, V1) into today's.

Source: `src/caffe/util/upgrade_proto.cpp` of Caffe 1.0, and for the Freiburg fork's RESHAPE its own
`reshape_param`. Messages are dicts as `schema.py` describes them; blobs pass through untouched, whatever
they are.
"""

import copy
import warnings
from typing import Any

from caffe_port.errors import ConversionError

Message = dict[str, Any]

# V0 type (a string) -> V1 type (an enum).
V0_TYPES = {
    "accuracy": "ACCURACY",
    "bnll": "BNLL",
    "concat": "CONCAT",
    "conv": "CONVOLUTION",
    "data": "DATA",
    "dropout": "DROPOUT",
    "euclidean_loss": "EUCLIDEAN_LOSS",
    "flatten": "FLATTEN",
    "hdf5_data": "HDF5_DATA",
    "hdf5_output": "HDF5_OUTPUT",
    "im2col": "IM2COL",
    "images": "IMAGE_DATA",
    "infogain_loss": "INFOGAIN_LOSS",
    "innerproduct": "INNER_PRODUCT",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MULTINOMIAL_LOGISTIC_LOSS",
    "pool": "POOLING",
    "relu": "RELU",
    "sigmoid": "SIGMOID",
    "softmax": "SOFTMAX",
    "softmax_loss": "SOFTMAX_LOSS",
    "split": "SPLIT",
    "tanh": "TANH",
    "window_data": "WINDOW_DATA",
}

# V1 type -> type of today's format (a string). NONE is no layer type at all.
V1_TYPES = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ACCURACY": "Accuracy",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss",
    "CONVOLUTION": "Convolution",
    "DECONVOLUTION": "Deconvolution",
    "DATA": "Data",
    "DROPOUT": "Dropout",
    "DUMMY_DATA": "DummyData",
    "EUCLIDEAN_LOSS": "EuclideanLoss",
    "ELTWISE": "Eltwise",
    "EXP": "Exp",
    "FLATTEN": "Flatten",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "HINGE_LOSS": "HingeLoss",
    "IM2COL": "Im2col",
    "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss",
    "INNER_PRODUCT": "InnerProduct",
    "LRN": "LRN",
    "MEMORY_DATA": "MemoryData",
    "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss",
    "MVN": "MVN",
    "POOLING": "Pooling",
    "POWER": "Power",
    "RELU": "ReLU",
    "RESHAPE": "Reshape",  # the Freiburg fork's
    "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SILENCE": "Silence",
    "SLICE": "Slice",
    "SOFTMAX": "Softmax",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "SPLIT": "Split",
    "TANH": "TanH",
    "THRESHOLD": "Threshold",
    "WINDOW_DATA": "WindowData",
}

# V0 field -> V0 type ("*" for any) -> where V1 keeps it: (parameter message, field).
_CONV_FC = {"conv": "convolution_param", "innerproduct": "inner_product_param"}
_CONV_POOL = {"conv": "convolution_param", "pool": "pooling_param"}
_DATA = {"data": "data_param", "images": "image_data_param"}
_BATCHES = {**_DATA, "hdf5_data": "hdf5_data_param", "window_data": "window_data_param"}
_V0_FIELDS: dict[str, tuple[str, dict[str, str]]] = {
    "num_output": ("num_output", _CONV_FC),
    "biasterm": ("bias_term", _CONV_FC),
    "weight_filler": ("weight_filler", _CONV_FC),
    "bias_filler": ("bias_filler", _CONV_FC),
    "pad": ("pad", _CONV_POOL),
    "kernelsize": ("kernel_size", _CONV_POOL),
    "stride": ("stride", _CONV_POOL),
    "group": ("group", {"conv": "convolution_param"}),
    "pool": ("pool", {"pool": "pooling_param"}),
    "dropout_ratio": ("dropout_ratio", {"dropout": "dropout_param"}),
    "local_size": ("local_size", {"lrn": "lrn_param"}),
    "alpha": ("alpha", {"lrn": "lrn_param"}),
    "beta": ("beta", {"lrn": "lrn_param"}),
    "k": ("k", {"lrn": "lrn_param"}),
    "source": ("source", {**_BATCHES, "infogain_loss": "infogain_loss_param"}),
    "batchsize": ("batch_size", _BATCHES),
    "rand_skip": ("rand_skip", _DATA),
    "shuffle_images": ("shuffle", {"images": "image_data_param"}),
    "new_height": ("new_height", {"images": "image_data_param"}),
    "new_width": ("new_width", {"images": "image_data_param"}),
    "concat_dim": ("concat_dim", {"concat": "concat_param"}),
    "det_fg_threshold": ("fg_threshold", {"window_data": "window_data_param"}),
    "det_bg_threshold": ("bg_threshold", {"window_data": "window_data_param"}),
    "det_fg_fraction": ("fg_fraction", {"window_data": "window_data_param"}),
    "det_context_pad": ("context_pad", {"window_data": "window_data_param"}),
    "det_crop_mode": ("crop_mode", {"window_data": "window_data_param"}),
    "scale": ("scale", {"*": "transform_param"}),
    "meanfile": ("mean_file", {"*": "transform_param"}),
    "cropsize": ("crop_size", {"*": "transform_param"}),
    "mirror": ("mirror", {"*": "transform_param"}),
}
_V0_SAME = ("name", "blobs", "blobs_lr", "weight_decay")
_V1_LISTS = {
    "param": "name",
    "blob_share_mode": "share_mode",
    "blobs_lr": "lr_mult",
    "weight_decay": "decay_mult",
}
_TRANSFORMS = ("scale", "mean_file", "crop_size", "mirror")
_DATA_PARAMS = {"DATA": "data_param", "IMAGE_DATA": "image_data_param", "WINDOW_DATA": "window_data_param"}


def upgrade_net(net: Message, source: str) -> Message:
    """Bring a NetParameter to today's format.

    Parameters
    ----------
    net : dict
        A net in any format; it is left as it is.
    source : str
        Names the net in errors.

    Returns
    -------
    dict
        The net with `layer` only: V0 `padding` folded into the layer that follows, old inputs as an Input
        layer.

    Raises
    ------
    ConversionError
        The net mixes formats, or a V0 or V1 layer has a type or an input that Caffe does not know.
    """
    if net.get("layer") and net.get("layers"):
        name = net["layers"][0].get("name", "")
        mixed = "fields 'layer' and 'layers' in one net; Caffe allows one of the two"
        raise ConversionError(f'{source}: layer {name!r}: {mixed}: write it as layer {{ type: "..." }}')
    result = {name: copy.deepcopy(value) for name, value in net.items() if name not in ("layer", "layers")}
    layers = net.get("layers", [])
    if any("layer" in layer for layer in layers):
        layers = [_from_v0(layer, source) for layer in _fold_padding(net, source)]
    result["layer"] = [_from_v1(layer, source) for layer in layers] + [
        dict(one) for one in net.get("layer", [])
    ]
    _upgrade_inputs(result, source)
    for layer in result["layer"]:
        if layer.get("type") == "BatchNorm" and len(layer.get("param", [])) == 3:
            layer["param"] = [{**spec, "lr_mult": 0.0, "decay_mult": 0.0} for spec in layer["param"]]
    if not result["layer"]:
        del result["layer"]
    return result


def net_format(net: Message) -> str:
    """Format in which a NetParameter is written: "V0", "V1" or "V2"."""
    if not net.get("layers"):
        return "V2"
    return "V0" if any("layer" in layer for layer in net["layers"]) else "V1"


def _fold_padding(net: Message, source: str) -> list[Message]:
    """V0 layers without `padding`: its amount goes to the one convolution or pooling that reads it."""
    layers, kept = net["layers"], []
    producer: dict[str, Message | None] = dict.fromkeys(net.get("input", []))
    for layer in layers:
        if "layer" not in layer:
            raise ConversionError(
                f"{source}: layer {layer.get('name', '')!r} is not in V0 form as others here are"
            )
        inner = layer["layer"]
        folded = {**layer, "bottom": list(layer.get("bottom", [])), "layer": dict(inner)}
        where = f"{source}: layer {inner.get('name', '')!r}"
        for position, bottom in enumerate(folded["bottom"]):
            if bottom not in producer:
                raise ConversionError(f"{where}: bottom {bottom!r} is made by no layer before it")
            padding = producer[bottom]
            if padding is None or padding["layer"].get("type") != "padding":
                continue
            if inner.get("type") not in ("conv", "pool") or len(folded["bottom"]) != 1:
                raise ConversionError(f"{where}: reads padding {bottom!r}; only one-bottom conv and pool may")
            if len(padding.get("bottom", [])) != 1 or len(padding.get("top", [])) != 1:
                raise ConversionError(f"{where}: its padding {bottom!r} must have one bottom and one top")
            folded["layer"]["pad"] = padding["layer"].get("pad", 0)
            folded["bottom"][position] = padding["bottom"][0]
        if inner.get("type") != "padding":
            kept.append(folded)
        producer.update(dict.fromkeys(layer.get("top", []), layer))
    return kept


def _from_v0(layer: Message, source: str) -> Message:
    inner = layer["layer"]
    name, kind = inner.get("name", ""), inner.get("type", "")
    result: Message = {key: list(layer[key]) for key in ("bottom", "top") if layer.get(key)}
    result.update({key: inner[key] for key in _V0_SAME if key in inner})
    if "type" in inner:
        if kind not in V0_TYPES:
            known = ", ".join(V0_TYPES)
            raise ConversionError(f"{source}: layer {name!r} has V0 type {kind!r}; known are {known}")
        result["type"] = V0_TYPES[kind]
    for key in (key for key in inner if key not in ("type", *_V0_SAME)):
        field, owners = _V0_FIELDS.get(key, (key, {"hdf5_output": ""}))
        owner = owners.get(kind, owners.get("*"))
        if owner is None:
            ignored = f"V0 type {kind!r} has no field {key!r}: left out, as Caffe does"
            warnings.warn(f"{source}: layer {name!r}: {ignored}", stacklevel=3)
        elif not owner:
            result[key] = inner[key]
        else:
            repeated = owner == "convolution_param" and field in ("pad", "kernel_size", "stride")
            result.setdefault(owner, {})[field] = [inner[key]] if repeated else inner[key]
    return result


def _from_v1(layer: Message, source: str) -> Message:
    where = f"{source}: layer {layer.get('name', '')!r}"
    layer = _move_transforms(layer)
    special = {*_V1_LISTS, "type", "layer", "reshape_param"}
    result = {key: copy.copy(value) for key, value in layer.items() if key not in special}
    if "type" in layer:
        result["type"] = V1_TYPES[layer["type"]]
    specs: list[Message] = [{} for _ in range(max(len(layer.get(key, [])) for key in _V1_LISTS))]
    for key, field in _V1_LISTS.items():
        for spec, value in zip(specs, layer.get(key, []), strict=False):
            spec[field] = value
    if specs:
        result["param"] = specs
    if "reshape_param" in layer:
        sizes = layer["reshape_param"]
        missing = [name for name in ("channels", "height", "width") if not sizes.get(name)]
        if missing:
            raise ConversionError(f"{where}: reshape_param needs {', '.join(missing)} above 0")
        dims = [0, sizes["channels"], sizes["height"], sizes["width"]]  # 0 keeps the batch
        result["reshape_param"] = {"shape": {"dim": dims}}
    return result


def _move_transforms(layer: Message) -> Message:
    """Old data layers: scale, mean, crop and mirror belong to transform_param."""
    owner = _DATA_PARAMS.get(layer.get("type", ""), "")
    moved = {key: layer[owner][key] for key in _TRANSFORMS if key in layer.get(owner, {})}
    if not moved:
        return layer
    kept = {key: value for key, value in layer[owner].items() if key not in moved}
    return {**layer, owner: kept, "transform_param": {**layer.get("transform_param", {}), **moved}}


def _upgrade_inputs(net: Message, source: str) -> None:
    """Inputs of the net become an Input layer; inputs without any shape (old caffemodels) are dropped."""
    if not net.get("input"):
        return
    tops, shapes, dims = net.pop("input"), net.pop("input_shape", []), net.pop("input_dim", [])
    if not shapes and not dims:
        return
    if not shapes:
        shapes = [{"dim": dims[at : at + 4]} for at in range(0, len(dims) - 3, 4)]
    if len(shapes) < len(tops):
        raise ConversionError(
            f"{source}: field 'input' names {len(tops)} blobs but there are {len(shapes)} shapes; "
            "give one input_shape, or four input_dim, for each"
        )
    shapes = shapes[: len(tops)]  # Caffe reads no more
    net["layer"].insert(0, {"name": "input", "type": "Input", "top": tops, "input_param": {"shape": shapes}})
