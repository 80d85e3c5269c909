"""`CaffeNet`: a Caffe net as a torch module that knows every blob by Caffe's name.

Source: `src/caffe/net.cpp` of Caffe 1.0 (ForwardFromTo). Parameters are named `layer/position`, as in
Caffe's HDF5 weights, and have Caffe's layouts; dots of a layer's name become %2E. Blobs are what one whole
forward leaves: a blob that an in-place layer or an alias writes over has the later numbers.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from caffe_port.errors import ConversionError
from caffe_port.plan import BlobPlace, Step, infer, make_plan
from caffe_port.shapes import show
from caffe_port.spec import NetSpec, Shape, listed, quote
from caffe_port.wiring import naming

_MAX_SHAPES = 4096  # remembered shapes of layers, for nets that see ever new sizes


def attribute(key: str) -> str:
    """Name under which a module may hold the parameter `key`."""
    return key.replace("%", "%25").replace(".", "%2E")


class _Route(NamedTuple):
    """What some blobs take: steps, each with the memories that nothing needs after it, and inputs."""

    steps: tuple[tuple[Step, tuple[int, ...]], ...]
    inputs: tuple[str, ...]


class CaffeNet(nn.Module):
    """A net that computes what Caffe computes in the TEST phase.

    The parameters have shapes and no numbers until `weights.load_weights`, `weights.fill` or
    `load_state_dict(..., assign=True)` gives them; `caffe_port.load` does it all. On a GPU torch convolves in
    TF32, good to three digits, unless `torch.backends.cudnn.allow_tf32` is False.

    Parameters
    ----------
    spec : NetSpec
        The net, as `wiring.read_net` makes it.

    Attributes
    ----------
    spec : NetSpec
    plan : Plan
        Its layers in order with shapes and memories.
    inputs : dict of str to shape
        Input blobs and their shapes in the file; batch and size may differ in a call.
    outputs : tuple of str
        Blobs that no layer reads.

    Raises
    ------
    ConversionError
        Shapes or shared parameters do not fit; the text names layer and field.
    """

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        self.spec = spec
        self.plan = make_plan(spec)
        self.inputs: dict[str, Shape] = dict(spec.inputs)
        self.outputs = self.plan.outputs
        self._known_shapes: dict[tuple[int, tuple[Shape, ...]], list[Shape]] = {}
        self._routes: dict[tuple[str, ...], _Route] = {}
        for place in self.places():
            empty = torch.empty(place.spec.shape, device="meta")
            if place.spec.trainable:
                self.register_parameter(attribute(place.key), nn.Parameter(empty))
            else:
                self.register_buffer(attribute(place.key), empty, persistent=place.spec.stored)
        self.eval()

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles hold: the plan is made again from the spec."""
        made = ("plan", "_known_shapes", "_routes")
        return {name: value for name, value in self.__dict__.items() if name not in made}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.plan = make_plan(self.spec)
        self._known_shapes = {}
        self._routes = {}

    def places(self) -> Iterable[BlobPlace]:
        """Parameter blobs that no other layer owns, in the order of the layers."""
        return (place for step in self.plan.steps for place in step.blobs if place.is_owner)

    @property
    def params(self) -> dict[str, list[torch.Tensor]]:
        """Parameter blobs by layer, in Caffe's order; layers without any are left out."""
        return {
            step.layer.name: [self.blob_tensor(place) for place in step.blobs if place.spec.stored]
            for step in self.plan.steps
            if any(place.spec.stored for place in step.blobs)
        }

    def blob_tensor(self, place: BlobPlace) -> torch.Tensor:
        """The tensor of a parameter blob, in the shape that its layer wants."""
        name = attribute(place.key)
        tensor = self._parameters.get(name)
        if tensor is None:
            tensor = self._buffers[name]
        assert tensor is not None
        return tensor if tensor.shape == place.spec.shape else tensor.reshape(place.spec.shape)

    def forward(self, data: Any = None, /, **inputs: Any) -> dict[str, torch.Tensor]:
        """Compute the output blobs.

        Parameters
        ----------
        data : torch.Tensor or numpy.ndarray, optional
            The first input that is not given by name, usually (N, 3, H, W) float32, BGR, mean subtracted.
            N, H and W may differ from the file's as far as the layers allow.
        **inputs
            Further inputs by blob name.

        Returns
        -------
        dict of str to torch.Tensor
            Output blobs by name.

        Raises
        ------
        TypeError
            An input is no array.
        ValueError
            An input is missing, unknown, or does not fit; the text names it, or the layer that refuses it.
        """
        return self._run(self.outputs, data, inputs)

    def blobs(self, data: Any = None, /, **inputs: Any) -> dict[str, torch.Tensor]:
        """Compute every blob, by Caffe's name, as one whole forward leaves it. See `forward`."""
        return self._run(tuple(self.plan.memory), data, inputs)

    def features(self, data: Any, /, blob: str, **inputs: Any) -> torch.Tensor:
        """Compute one blob, as one whole forward leaves it, and no layer that it does not need. See
        `forward`.
        """
        return self._run((blob,), data, inputs)[blob]

    def _route(self, names: tuple[str, ...]) -> "_Route":
        """What the named blobs need."""
        if names not in self._routes:
            if unknown := [name for name in names if name not in self.plan.memory]:
                raise ValueError(
                    f"{self.spec.source}: blob {quote(unknown[0])} is not in the net; blobs are "
                    f"{listed(self.plan.memory)}"
                )
            kept = {self.plan.memory[name] for name in names}
            read = set(kept)
            steps = []
            for step in reversed(self.plan.needed(names)):
                done = {*step.reads, *step.writes} - kept
                kept |= done
                read.update(step.reads)
                steps.append((step, tuple(done)))
            inputs = tuple(name for name in self.inputs if self.plan.memory[name] in read)
            self._routes[names] = _Route(tuple(reversed(steps)), inputs)
        return self._routes[names]

    def _run(self, names: tuple[str, ...], data: Any, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        route = self._route(names)
        given = self._given(data, inputs, route.inputs)
        values = {self.plan.memory[name]: value for name, value in given.items()}
        shapes: dict[str, Shape] = {name: tuple(value.shape) for name, value in given.items()}

        def view(name: str, memory: int) -> torch.Tensor:
            value, shape = values[memory], shapes[name]
            return value if value.shape == shape else value.reshape(shape)

        for step, done in route.steps:
            layer = step.layer
            if layer.type != "Input":
                bottoms = [view(*pair) for pair in zip(layer.bottoms, step.reads, strict=True)]
                tops = self._step(step, bottoms)
                for top, memory, value in zip(layer.tops, step.writes, tops, strict=True):
                    shapes[top] = tuple(value.shape)
                    if not step.is_alias:
                        values[memory] = value
            for memory in done:
                values.pop(memory, None)
        found = {name: view(name, self.plan.memory[name]) for name in names}
        if all(value.is_contiguous() for value in given.values()):
            return {name: value.contiguous() for name, value in found.items()}
        return found

    def _step(self, step: Step, bottoms: list[torch.Tensor]) -> list[torch.Tensor]:
        row, params = step.row, step.layer.params
        shapes = self._shapes(step, bottoms)
        blobs = [self.blob_tensor(place) for place in step.blobs]
        if step.may_overwrite and row.overwrite is not None and not bottoms[0].requires_grad:
            return [row.overwrite(params, bottoms[0], blobs)]
        try:
            return row.run(params, bottoms, blobs, shapes)
        except ConversionError as error:
            raise ConversionError(f"{self.spec.source}: {step.layer}: {error}") from error

    def _shapes(self, step: Step, bottoms: list[torch.Tensor]) -> list[Shape]:
        """The tops' shapes for these bottoms, which must fit the parameters."""
        found = tuple(tuple(bottom.shape) for bottom in bottoms)
        if torch.compiler.is_compiling():  # sizes may be symbols, which a comparison would fix
            return step.row.shape(step.layer.params, found, len(step.layer.tops))
        if found == step.bottom_shapes:
            return list(step.top_shapes)
        key = (id(step), found)
        if key in self._known_shapes:
            return self._known_shapes[key]
        with naming(self.spec.source, step.layer):
            shapes, blobs = infer(step.layer, step.row, found)
            for position, (place, blob) in enumerate(zip(step.blobs, blobs, strict=True)):
                if blob.stored and blob.shape != place.spec.shape:
                    raise ConversionError(
                        f"field 'bottom': shape {show(found[0])} needs parameter blob {position} of shape "
                        f"{show(blob.shape)}; the net has {show(place.spec.shape)}"
                    )
        if len(self._known_shapes) >= _MAX_SHAPES:
            self._known_shapes.clear()
        self._known_shapes[key] = shapes
        return shapes

    def _given(self, data: Any, inputs: Mapping[str, Any], wanted: Iterable[str]) -> dict[str, torch.Tensor]:
        """The wanted inputs as tensors of the net's type and place."""
        given = dict(inputs)
        if data is not None:
            rest = [name for name in self.inputs if name not in given]
            if not rest:
                raise ValueError(f"{self.spec.source}: an input too many; inputs are {listed(self.inputs)}")
            given[rest[0]] = data
        if unknown := [name for name in given if name not in self.inputs]:
            raise ValueError(
                f"{self.spec.source}: input {quote(unknown[0])} is not in the net; inputs are "
                f"{listed(self.inputs)}"
            )
        missing = [name for name in wanted if name not in given]
        if missing:
            raise ValueError(
                f"{self.spec.source}: input {quote(missing[0])} is missing; pass {missing[0]}=array of shape "
                f"{self.inputs[missing[0]]}, or ask for blobs that do not need it with features()"
            )
        return {name: self._tensor(name, given[name]) for name in wanted}

    def _tensor(self, name: str, value: Any) -> torch.Tensor:
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(np.ascontiguousarray(value))
        if not isinstance(value, torch.Tensor):
            raise TypeError(
                f"input {quote(name)} is a {type(value).__name__}; a tensor or a NumPy array is needed"
            )
        declared = self.inputs[name]
        if value.dim() != len(declared):
            raise ValueError(
                f"{self.spec.source}: input {quote(name)} has shape {tuple(value.shape)}; the net "
                f"declares {declared}"
            )
        like = next((tensor for tensor in (*self._parameters.values(), *self._buffers.values())), None)
        if like is None:
            return value if value.is_floating_point() else value.float()
        if like.is_meta and not value.is_meta:
            raise ValueError(
                f"{self.spec.source}: the net's parameters have no numbers yet; load weights into it"
            )
        if value.device != like.device:
            raise ValueError(
                f"{self.spec.source}: input {quote(name)} is on {value.device}, the net on {like.device}; "
                "move one"
            )
        return value.to(like.dtype)

    def extra_repr(self) -> str:
        """One line a layer: name, type, blobs, shapes."""
        return "\n".join(
            f"{step.layer.name} ({step.layer.type}): {', '.join(step.layer.bottoms)} -> "
            + ", ".join(
                f"{top} [{show(shape)}]" for top, shape in zip(step.layer.tops, step.top_shapes, strict=True)
            )
            for step in self.plan.steps
        )
