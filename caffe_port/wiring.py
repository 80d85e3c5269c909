"""A NetParameter message -> `NetSpec`: the layers of this phase, what they read, how blobs connect them.

Source: `src/caffe/net.cpp` (FilterNet, StateMeetsRule, AppendBottom, AppendTop),
`src/caffe/util/insert_splits.cpp` and `include/caffe/layer.hpp` (CheckBlobCounts) of Caffe 1.0. The phase
is always TEST. Layers that read data (Data, ImageData, MemoryData, HDF5Data, WindowData) become Input
layers.
"""

import contextlib
import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from caffe_port.errors import ConversionError
from caffe_port.layers import CAFFE_ONLY, DATA_LAYERS, LAYERS
from caffe_port.layers.row import Row
from caffe_port.spec import LayerSpec, NetSpec, ParamSpec, Shape, listed, quote, read_spec, title
from caffe_port.upgrade import upgrade_net

Message = dict[str, Any]
AUTOMATIC = "(automatic)"


@contextlib.contextmanager
def naming(source: str, layer: object) -> Iterator[None]:
    """Put the net's and the layer's name before the text of a refusal raised inside."""
    try:
        yield
    except ConversionError as error:
        raise ConversionError(f"{source}: {layer}: {error}") from error


def read_net(
    net: Message,
    source: str,
    *,
    level: int = 0,
    stages: Sequence[str] = (),
    input_shapes: Mapping[str, Sequence[int]] | None = None,
) -> NetSpec:
    """Turn a net of any format into its spec in the TEST phase.

    Parameters
    ----------
    net : dict
        A NetParameter as `schema.py` describes it; left as it is.
    source : str
        Names the net in errors.
    level : int
        Level of Caffe's NetState.
    stages : sequence of str
        Stages of Caffe's NetState, besides the net's own.
    input_shapes : mapping of str to sequence of int, optional
        Shapes by input blob; needed where the file does not say them (a database), otherwise in their place.

    Raises
    ------
    ConversionError
        Caffe refuses the net, or it has layers that are not known here; the text names layer and field.
    """
    unshaped = set(net.get("input", []))
    upgraded = upgrade_net(net, source)
    state = {"level": level, "stage": [*upgraded.pop("state", {}).get("stage", []), *stages]}
    given = dict(input_shapes or {})
    message = {key: copy.deepcopy(value) for key, value in upgraded.items() if key != "layer"}
    kept = []
    for layer in upgraded.get("layer", []):
        with naming(source, _title(layer)):
            if _included(layer, state):
                slim = {k: v for k, v in layer.items() if k not in ("blobs", "include", "exclude")}
                kept.append(_as_input(copy.deepcopy(slim), given))
    message["layer"] = kept
    if not kept:
        raise ConversionError(f"{source}: field 'layer': the net has no layers in the TEST phase")
    _refuse_types(kept, source)
    layers = tuple(_read_layer(layer, source) for layer in kept)
    _check_wires(layers, source, unshaped)
    inputs: dict[str, Shape] = {}
    for layer in layers:
        if layer.type == "Input":
            inputs.update(zip(layer.tops, layer.params.shapes, strict=True))
    if unknown := sorted(set(given) - set(inputs)):
        raise ConversionError(
            f"{source}: input_shapes: {quote(unknown[0])} is no input; inputs are {listed(inputs)}"
        )
    return NetSpec(message.get("name", ""), layers, inputs, source, message)


def _title(layer: Message) -> str:
    return title(layer.get("name", ""), layer.get("type", ""))


def _included(layer: Message, state: Message) -> bool:
    include, exclude = layer.get("include", []), layer.get("exclude", [])
    if include and exclude:
        raise ConversionError("fields 'include' and 'exclude' are both set; Caffe allows one of the two")
    return any(_meets(rule, state) for rule in include) or not (
        include or any(_meets(rule, state) for rule in exclude)
    )


def _meets(rule: Message, state: Message) -> bool:
    """Whether the net's state (phase TEST) meets a NetStateRule."""
    stages = set(state["stage"])
    return (
        rule.get("phase", "TEST") == "TEST"
        and rule.get("min_level", state["level"]) <= state["level"] <= rule.get("max_level", state["level"])
        and stages.issuperset(rule.get("stage", []))
        and stages.isdisjoint(rule.get("not_stage", []))
    )


def _as_input(layer: Message, given: Mapping[str, Sequence[int]]) -> Message:
    """A layer that reads data as an Input layer; an Input layer with the shapes that the caller gives."""
    kind = layer.get("type", "")
    if kind not in DATA_LAYERS and kind != "Input":
        return layer
    tops = layer.get("top", [])
    found = DATA_LAYERS[kind](layer, len(tops)) if kind in DATA_LAYERS else _input_shapes(layer, len(tops))
    field = "input_param.shape" if kind == "Input" else "top"
    shapes = []
    for top, known in zip(tops, [*found, *(None,) * (len(tops) - len(found))], strict=True):
        shape = tuple(given[top]) if top in given else known
        if shape is None:
            hint = f"pass input_shapes={{{quote(top)}: (N, C, H, W)}}"
            raise ConversionError(f"field '{field}': the file does not say the shape of {quote(top)}; {hint}")
        if any(not isinstance(dim, int) or dim < 1 for dim in shape):
            raise ConversionError(
                f"field '{field}': {quote(top)} has shape {shape}; every size must be positive"
            )
        shapes.append({"dim": list(shape)})
    rest: Message = {key: layer[key] for key in ("name", "top") if key in layer}
    return {**rest, "type": "Input", "input_param": {"shape": shapes}}


def _input_shapes(layer: Message, tops: int) -> list[Shape | None]:
    found = [tuple(shape.get("dim", ())) for shape in layer.get("input_param", {}).get("shape", [])]
    if len(found) not in (0, 1, tops):
        raise ConversionError(
            f"field 'input_param.shape' is set {len(found)} times; set it once, or once for each of {tops} "
            "tops"
        )
    return list(found * tops if len(found) == 1 else found)


def _refuse_types(layers: Sequence[Message], source: str) -> None:
    """Every layer that cannot be run, in one refusal."""
    faults = []
    for layer in layers:
        kind = layer.get("type", "")
        if kind in CAFFE_ONLY:
            faults.append(f"{_title(layer)}: Caffe has this type and this port does not: {CAFFE_ONLY[kind]}")
        elif kind not in LAYERS:
            faults.append(f"{_title(layer)}: field 'type': no such layer type is known")
    if faults:
        known = ", ".join(sorted([*LAYERS, *DATA_LAYERS]))
        more = f"; and {len(faults) - 20} layers more" if len(faults) > 20 else ""
        raise ConversionError(f"{source}: {'; '.join(faults[:20])}{more}; known types are {known}")


def _read_layer(layer: Message, source: str) -> LayerSpec:
    row = LAYERS[layer["type"]]
    with naming(source, _title(layer)):
        bottoms, tops = tuple(layer.get("bottom", [])), tuple(layer.get("top", []))
        tops += (AUTOMATIC,) * (row.tops[0] - len(tops) if row.automatic_top else 0)
        _check_counts(row, bottoms, tops)
        weights = tuple(layer.get("loss_weight", ()))
        if weights and len(weights) != len(tops):
            raise ConversionError(
                f"field 'loss_weight' is set {len(weights)} times; leave it out, or set it once for each of "
                f"{len(tops)} tops"
            )
        rules = [read_spec(ParamSpec, "ParamSpec", rule) for rule in layer.get("param", [])]
        if len(layer.get("propagate_down", [])) not in (0, len(bottoms)):
            raise ConversionError(
                f"field 'propagate_down' must be set once for each of {len(bottoms)} bottoms, or not at all"
            )
        params = row.read(layer)
        return LayerSpec(layer.get("name", ""), layer["type"], bottoms, tops, params, tuple(rules), weights)


def _check_counts(row: Row, bottoms: Sequence[str], tops: Sequence[str]) -> None:
    for field, names, (low, high) in (("bottom", bottoms, row.bottoms), ("top", tops, row.tops)):
        if not low <= len(names) <= (len(names) if high is None else high):
            allowed = str(low) if low == high else f"at least {low}" if high is None else f"{low} to {high}"
            raise ConversionError(f"field '{field}' is set {len(names)} times; the layer takes {allowed}")
    if row.equal_counts and len(bottoms) != len(tops):
        raise ConversionError(
            f"fields 'bottom' and 'top' are set {len(bottoms)} and {len(tops)} times; the layer makes one "
            "top "
            "for each bottom"
        )


def _check_wires(layers: Sequence[LayerSpec], source: str, unshaped: set[str]) -> None:
    """Each bottom is made before it is read, each top once; in-place work only where no one else reads.

    Caffe puts a Split behind a blob that several layers read (a loss weight counts as one); an in-place
    layer behind such a split would make the blob a second time, so Caffe refuses it.
    """
    readers = _readers(layers)
    version: dict[str, tuple[int, int]] = {}
    for index, layer in enumerate(layers):
        with naming(source, layer):
            for name in layer.bottoms:
                if name not in version:
                    hint = f"made by no layer before it; known blobs are {listed(version)}"
                    if name in unshaped:
                        hint = "named by 'input' but has no input_shape or input_dim"
                    raise ConversionError(f"field 'bottom': unknown blob {quote(name)}: {hint}")
            fresh = {name: version[name] for name in layer.bottoms}
            for position, top in enumerate(layer.tops):
                if top == AUTOMATIC:
                    continue
                in_place = position < len(layer.bottoms) and layer.bottoms[position] == top
                if in_place and readers[fresh[top]] > 1:
                    raise ConversionError(
                        f"field 'top': {quote(top)} is produced by multiple sources: the layer works in "
                        "place on a blob "
                        "that other layers read too"
                    )
                if in_place and not LAYERS[layer.type].in_place(layer.params):
                    raise ConversionError(
                        f"field 'top': {quote(top)} is also the bottom; the layer cannot work in place"
                    )
                if not in_place and top in version:
                    raise ConversionError(f"field 'top': {quote(top)} is produced by multiple sources")
                version[top] = (index, position)


def _readers(layers: Sequence[LayerSpec]) -> Counter[tuple[int, int]]:
    """How often each version of a blob, (layer, top), is read."""
    readers: Counter[tuple[int, int]] = Counter()
    version: dict[str, tuple[int, int]] = {}
    for index, layer in enumerate(layers):
        readers.update(version[name] for name in layer.bottoms if name in version)
        for position, top in enumerate(layer.tops):
            version[top] = (index, position)
        readers.update((index, position) for position, weight in enumerate(layer.loss_weights) if weight)
    return readers
