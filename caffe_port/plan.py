"""How a net is run: which memory each blob is, which layers a blob needs, what shape everything has.

Source: `Net::Init` and `Net::AppendParam` of Caffe 1.0's `net.cpp`, and the layers that call
`Blob::ShareData`. Several blobs can be one memory: an in-place layer's top is its bottom's, and the tops of
Split, Flatten and Reshape are their bottom's, so that a layer which writes over one of them changes all.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from caffe_port.errors import ConversionError
from caffe_port.layers import LAYERS
from caffe_port.layers.row import Row
from caffe_port.shapes import MAX_COUNT, count, show
from caffe_port.spec import BlobSpec, LayerSpec, NetSpec, ParamSpec, Shape, quote
from caffe_port.wiring import naming


@dataclass(frozen=True)
class BlobPlace:
    """One parameter blob of a layer: `key` names the tensor that holds it, perhaps another layer's."""

    key: str
    spec: BlobSpec
    is_owner: bool


@dataclass(frozen=True)
class Step:
    """One layer with the memories that it reads and writes, and its shapes for the net's own input shapes."""

    layer: LayerSpec
    row: Row
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    is_alias: bool
    may_overwrite: bool
    bottom_shapes: tuple[Shape, ...]
    top_shapes: tuple[Shape, ...]
    blobs: tuple[BlobPlace, ...]


@dataclass(frozen=True)
class Plan:
    """A net's steps in order, the memory of each blob, and the names of its outputs."""

    steps: tuple[Step, ...]
    memory: dict[str, int]
    outputs: tuple[str, ...]

    def needed(self, names: Iterable[str]) -> tuple[Step, ...]:
        """The steps that make the named blobs what they are after one whole forward, in order."""
        wanted = {self.memory[name] for name in names}
        chosen = []
        for step in reversed(self.steps):
            if wanted.intersection(step.writes):
                chosen.append(step)
                wanted.difference_update(set(step.writes) - set(step.reads))
                wanted.update(step.reads)
        return tuple(reversed(chosen))


def infer(step_layer: LayerSpec, row: Row, bottoms: Sequence[Shape]) -> tuple[list[Shape], list[BlobSpec]]:
    """Shapes of a layer's tops and parameter blobs, none larger than Caffe can count."""
    tops = row.shape(step_layer.params, bottoms, len(step_layer.tops))
    blobs = row.blobs(step_layer.params, bottoms)
    for shape in (*tops, *(blob.shape for blob in blobs)):
        if count(shape) > MAX_COUNT:
            raise ConversionError(f"a blob of shape {show(shape)} holds more than {MAX_COUNT} numbers")
    return tops, blobs


def make_plan(spec: NetSpec) -> Plan:
    """Plan a net.

    Raises
    ------
    ConversionError
        Shapes that do not fit, or parameters that cannot be shared; the text names layer and field.
    """
    steps: list[Step] = []
    memory: dict[str, int] = {}
    shapes: dict[str, Shape] = {}
    last: dict[int, Step] = {}  # the step that wrote a memory, while no other has read it
    params, fresh = _Parameters(), itertools.count()
    for layer in spec.layers:
        row = LAYERS[layer.type]
        with naming(spec.source, layer):
            bottoms = tuple(shapes[name] for name in layer.bottoms)
            tops, blobs = infer(layer, row, bottoms)
            places = tuple(params.places(layer, blobs))
        reads = tuple(memory[name] for name in layer.bottoms)
        is_alias = bool(reads) and row.aliases(len(layer.bottoms), len(layer.tops))
        writes = (reads[:1] * len(layer.tops)) if is_alias else _writes(layer, reads, fresh)
        may_overwrite = writes == reads and row.overwrite is not None and _is_own(last.get(reads[0]))
        step = Step(layer, row, reads, writes, is_alias, may_overwrite, bottoms, tuple(tops), places)
        for read in reads:
            last.pop(read, None)
        if not is_alias:
            last.update(dict.fromkeys(writes, step))
        memory.update(zip(layer.tops, writes, strict=True))
        shapes.update(zip(layer.tops, tops, strict=True))
        steps.append(step)
    return Plan(tuple(steps), memory, _outputs(spec.layers))


def _writes(layer: LayerSpec, reads: tuple[int, ...], fresh: Iterator[int]) -> tuple[int, ...]:
    """The memory of each top: its bottom's where the layer works in place, else a new one."""
    return tuple(
        reads[position] if layer.bottoms[position : position + 1] == (top,) else next(fresh)
        for position, top in enumerate(layer.tops)
    )


def _is_own(writer: Step | None) -> bool:
    """Whether what a step wrote, and no other has read, is memory of the net's own."""
    return writer is not None and (writer.row.fresh or writer.may_overwrite)


def _outputs(layers: Sequence[LayerSpec]) -> tuple[str, ...]:
    """Blobs that no layer reads, by name, as Caffe orders them."""
    waiting: set[str] = set()
    for layer in layers:
        waiting.difference_update(layer.bottoms)
        waiting.update(layer.tops)
    return tuple(sorted(name for name in waiting if name != "(automatic)"))


class _Parameters:
    """Keys of parameter blobs, `layer/position`, and who owns a shared one."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.owners: dict[str, tuple[BlobPlace, LayerSpec, ParamSpec]] = {}

    def places(self, layer: LayerSpec, blobs: Sequence[BlobSpec]) -> list[BlobPlace]:
        if len(layer.blob_params) > sum(blob.stored for blob in blobs):
            raise ConversionError(
                f"field 'param' is set {len(layer.blob_params)} times; the layer has {len(blobs)} "
                "parameter blobs"
            )
        rules = [*layer.blob_params, *(ParamSpec("", "STRICT"),) * (len(blobs) - len(layer.blob_params))]
        return [
            self.place(layer, position, blob, rule)
            for position, (blob, rule) in enumerate(zip(blobs, rules, strict=True))
        ]

    def place(self, layer: LayerSpec, position: int, blob: BlobSpec, rule: ParamSpec) -> BlobPlace:
        if rule.name in self.owners and rule.name:
            owner, owner_layer, owner_rule = self.owners[rule.name]
            _check_share(owner, f"{owner_layer}", owner_rule, blob, rule)
            if owner_rule.lr_mult is None or owner_rule.decay_mult is None:
                lr_mult = rule.lr_mult if owner_rule.lr_mult is None else owner_rule.lr_mult
                decay = rule.decay_mult if owner_rule.decay_mult is None else owner_rule.decay_mult
                merged = replace(owner_rule, lr_mult=lr_mult, decay_mult=decay)
                self.owners[rule.name] = owner, owner_layer, merged
            return BlobPlace(owner.key, blob, False)
        key = f"{layer.name}/{position}"
        copy = 2
        while key in self.keys:  # Caffe allows two layers of one name
            key, copy = f"{layer.name}#{copy}/{position}", copy + 1
        self.keys.add(key)
        place = BlobPlace(key, blob, True)
        if rule.name:
            self.owners[rule.name] = place, layer, rule
        return place


def _check_share(
    owner: BlobPlace, layer: str, owner_rule: ParamSpec, blob: BlobSpec, rule: ParamSpec
) -> None:
    """A shared blob has the owner's shape, or with PERMISSIVE its count, and the same multipliers."""
    permissive = rule.share_mode == "PERMISSIVE"
    fits = count(owner.spec.shape) == count(blob.shape) if permissive else owner.spec.shape == blob.shape
    if not fits:
        raise ConversionError(
            f"field 'param.name': {quote(rule.name)} has shape {show(owner.spec.shape)} in {layer} and "
            "cannot be shared "
            f"as {show(blob.shape)}; " + ("counts" if permissive else "shapes") + " must be equal"
        )
    for field in ("lr_mult", "decay_mult"):
        mine, theirs = getattr(rule, field), getattr(owner_rule, field)
        if mine is not None and theirs is not None and mine != theirs:
            raise ConversionError(
                f"field 'param.{field}' of shared {quote(rule.name)} is {mine:g}, but {theirs:g} in {layer}"
            )
