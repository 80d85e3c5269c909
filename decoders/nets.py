"""Where the net behind a representation comes from, what its layers are called in the paper, and which net it was.

A net is one that ships, a `.safetensors` file of `caffe_port convert`, a folder of `caffe_port fetch`, or the name of
a published net, which is looked for where those commands put it.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caffe_port import zoo
from caffe_port.convert import sha256
from caffe_port.converted import SUFFIX, Converted
from caffe_port.net import CaffeNet
from caffe_port.opening import open_net, weights_file
from caffe_port.spec import NetSpec
from caffe_port.text import read_text
from caffe_port.weights import give
from caffe_port.wiring import read_net


@dataclasses.dataclass(frozen=True)
class NetIdentity:
    """Which features a decoder was trained on: the net as it was named, the SHA-256 of its file, the blob."""

    name: str
    sha256: str
    blob: str

    @classmethod
    def of_card(cls, card: Mapping[str, Any], source: str) -> "NetIdentity":
        """The net that a card names. ValueError, with ``source`` and the field, if it names none."""
        recorded = card.get("net")
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(recorded, dict) or not all(isinstance(recorded.get(name), str) for name in names):
            raise ValueError(
                f"{source}: field net of the card lacks one of {', '.join(names)}; export it again"
            )
        return cls(*(recorded[name] for name in names))

    def check(self, recorded: Mapping[str, Any], source: str) -> None:
        """Refuse a net that is not the one of a card.

        Raises
        ------
        ValueError : if file or blob differ; the text names ``source`` and the remedy.
        """
        for field in ("sha256", "blob"):
            here, there = getattr(self, field), recorded.get(field)
            if here != there:
                raise ValueError(
                    f"{source}: made for blob {recorded.get('blob')} of {recorded.get('name')} (SHA-256 "
                    f"{str(recorded.get('sha256'))[:12]}...); {self.name} has {field} {here[:12]}; give the right "
                    "net with --net"
                )


def find_net(name: str) -> tuple[Converted, str]:
    """Open the net called ``name``.

    Returns
    -------
    The net with its recipe, and the SHA-256 (hex) of the file that holds its weights.

    Raises
    ------
    FileNotFoundError : if a published net is not here; the text says how to get it.
    ConversionError : if there is no such net, or its file is refused.
    """
    place = _place(name)
    return open_net(place), sha256(weights_file(place))


def _place(name: str) -> str | Path:
    """Where a net is; a published one that does not ship is looked for where it may have been put."""
    published, path = zoo.NETS.get(name), Path(name)
    if published is None or published.ships or path.is_file():
        return name
    for place in (Path(f"{name}{SUFFIX}"), path):
        if place.exists():
            return place
    raise FileNotFoundError(
        f"{name}: neither {name}{SUFFIX} nor a folder {name} is here; get it with `caffe_port fetch {name}`, or "
        "choose another net with --net (caffenet-mini ships)"
    )


def paper_blob(net: CaffeNet, name: str) -> str:
    """The blob that a representation's name means: the paper's in a published net, else the blob of that name.

    A net is a published one where the names and types of its layers are, whatever its sizes; it may
    end behind the blob.
    """
    layers = _layers(net.spec)
    for published in zoo.NETS.values():
        blob = published.blobs.get(name.upper())
        if blob in net.plan.memory and layers == _published(published.name)[: len(layers)]:
            return blob
    return name


@functools.cache
def _published(name: str) -> list[tuple[str, str]]:
    deploy = zoo.NETS[name].deploy
    return _layers(read_net(read_text(deploy), str(deploy)))


def _layers(spec: NetSpec) -> list[tuple[str, str]]:
    return [(layer.name, layer.type) for layer in spec.layers if layer.type != "Input"]


def up_to(net: CaffeNet, blob: str) -> CaffeNet:
    """A net of only the layers, with only the parameters, that a blob needs; numbers are copied.

    Raises
    ------
    ValueError : if there is no such blob; the text lists those there are.
    """
    known = net.plan.memory
    if blob not in known:
        raise ValueError(f"{net.spec.source}: blob {blob!r} is not in the net; blobs are {', '.join(known)}")
    steps = net.plan.needed((blob,))
    tops = {top for step in steps for top in step.layer.tops}
    inputs = {name: shape for name, shape in net.spec.inputs.items() if name in tops}
    kept = {id(step) for step in steps}
    texts = zip(net.plan.steps, net.spec.message["layer"], strict=True)  # a layer each, in the same order
    message = {**net.spec.message, "layer": [text for step, text in texts if id(step) in kept]}
    layers = tuple(step.layer for step in steps)
    short = CaffeNet(dataclasses.replace(net.spec, layers=layers, inputs=inputs, message=message))
    for old, new in zip(steps, short.plan.steps, strict=True):
        for source, place in zip(old.blobs, new.blobs, strict=True):
            if place.is_owner:
                give(short, place, net.blob_tensor(source).detach().numpy())
    return short
