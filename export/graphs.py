"""What can be exported: one row a graph: how it is written, what computes the same in torch, what it is tried on."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx

from decoders.images import to_batch
from decoders.model import Decoder
from decoders.representations import Representation
from export.byte_graph import Ranges, write_byte_decoder
from export.decoder_graph import write_bytes, write_decoder, write_floats
from export.front_ends import write_features
from export.writer import GraphWriter, Size

_SIZES = ((1, 1), (2, 1), (1, 3))  # height and width of the inputs that are tried, in the smallest ones


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is exported: a decoder and the representation that it inverts.

    ``form`` is a name in `upconvolution.FORMS` for all up-convolutions; by default each gets the fastest. With
    ``ranges`` the decoder's maps are bytes.
    """

    decoder: Decoder
    representation: Representation
    form: str = ""
    ranges: Ranges | None = None

    @property
    def feature_multiple(self) -> int:
        """Sides of the feature map are free in multiples of this; 0 where they are fixed."""
        spec = self.decoder.spec
        return spec.multiple * spec.features[0] // spec.image_size[0]

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """(C, H, W), or (C,) for vectors."""
        height, width, channels = self.decoder.spec.features
        return (channels,) if self.decoder.spec.takes_vectors else (channels, height, width)


@dataclasses.dataclass(frozen=True)
class Graph:
    """One kind of ONNX graph.

    Attributes
    ----------
    takes : name of its input; its outputs are ``images`` and ``pictures``, see `session.KINDS`.
    write : the whole graph.
    reference : inputs -> pictures (N, 3, H, W) float32, by torch and the kernels.
    examples : (subject, batch, seed) -> inputs of several sizes, the smallest first.
    inputs : photographs (H, W, 3) uint8 of any size -> batches of inputs, in their order.
    facts : what the session must know: entries of the card.
    """

    takes: str
    write: Callable[[Subject], onnx.ModelProto]
    reference: Callable[[Subject, np.ndarray], np.ndarray]
    examples: Callable[[Subject, int, int], list[np.ndarray]]
    inputs: Callable[[Subject, Sequence[np.ndarray]], list[np.ndarray]]
    facts: Callable[[Subject], dict[str, Any]]


def _write_decoder(subject: Subject) -> onnx.ModelProto:
    shape: list[Size] = ["N", *subject.feature_shape]
    if subject.feature_multiple:
        shape[2:] = [f"{subject.feature_multiple} * {name}" for name in ("rows", "columns")]
    graph = GraphWriter("decoder")
    features = graph.input("features", np.float32, shape)
    _write_pictures(graph, subject, features)
    return graph.model()


def _write_pipeline(subject: Subject) -> onnx.ModelProto:
    graph = GraphWriter("pipeline")
    photographs = graph.input("photographs", np.uint8, ["N", "height", "width", 3])
    _write_pictures(graph, subject, write_features(graph, photographs, subject.representation))
    return graph.model()


def _write_pictures(graph: GraphWriter, subject: Subject, features: str) -> None:
    if subject.ranges is None:
        pictures = write_decoder(graph, subject.decoder, features, form=subject.form)
        images = write_bytes(graph, pictures)
    else:
        images = write_byte_decoder(graph, subject.decoder, features, subject.ranges)
        pictures = write_floats(graph, images)
    sides: tuple[Size, ...] = subject.decoder.spec.image_size
    if subject.feature_multiple:
        sides = ("picture_height", "picture_width")
    graph.output(images, "images", np.uint8, ["N", *sides, 3])
    graph.output(pictures, "pictures", np.float32, ["N", 3, *sides])


def _example_features(subject: Subject, batch: int, seed: int) -> list[np.ndarray]:
    """Random features in the range of the real ones."""
    rng = np.random.default_rng(seed)
    channels, *sides = subject.feature_shape
    step = subject.feature_multiple
    shapes = [[step * high, step * wide] for high, wide in _SIZES] if step else []
    return [
        rng.random((batch, channels, *shape), dtype=np.float32)
        / np.float32(subject.decoder.spec.feature_scale)
        for shape in (*shapes, sides)
    ]


def _example_photographs(subject: Subject, batch: int, seed: int) -> list[np.ndarray]:
    """Noise, coarse and fine, of several sizes."""
    rng = np.random.default_rng(seed)
    step = photograph_multiple(subject)
    shapes = [(step * high, step * wide) for high, wide in _SIZES] if step > 1 else []
    if not shapes:
        shapes = [(57, 31), (300, 211), subject.representation.image_size]
    found = []
    for height, width in shapes:
        coarse = rng.integers(0, 192, (batch, -(-height // 8), -(-width // 8), 3), dtype=np.uint8)
        smooth = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]
        found.append(smooth + rng.integers(0, 64, smooth.shape, dtype=np.uint8))
    return found


def photograph_multiple(subject: Subject) -> int:
    """Sides of photographs are multiples of this: 1 where the graph resizes them."""
    return 1 if subject.representation.encoder is not None else subject.representation.multiple


def _decode(subject: Subject, features: np.ndarray) -> np.ndarray:
    return subject.decoder.decode_numpy(features)


def _reconstruct(subject: Subject, photographs: np.ndarray) -> np.ndarray:
    representation = subject.representation
    if representation.encoder is not None:
        photographs = np.stack([representation.framing.centre(photograph) for photograph in photographs])
    return subject.decoder.decode_numpy(representation.extract(to_batch(photographs)))


def _features_of(subject: Subject, photographs: Sequence[np.ndarray]) -> list[np.ndarray]:
    framed = [subject.representation.framing.centre(photograph) for photograph in photographs]
    return [subject.representation.extract(to_batch([one])) for one in framed]


def _photographs_for(subject: Subject, photographs: Sequence[np.ndarray]) -> list[np.ndarray]:
    if photograph_multiple(subject) == 1:
        return [photograph[None] for photograph in photographs]
    return [subject.representation.framing.centre(photograph)[None] for photograph in photographs]


def _decoder_facts(subject: Subject) -> dict[str, Any]:
    return {"feature_shape": list(subject.feature_shape), "feature_multiple": subject.feature_multiple}


def _pipeline_facts(subject: Subject) -> dict[str, Any]:
    return _decoder_facts(subject) | {
        "photograph_size": list(subject.representation.image_size),
        "photograph_multiple": photograph_multiple(subject),
    }


GRAPHS: Mapping[str, Graph] = MappingProxyType(
    {
        "decoder": Graph(
            "features", _write_decoder, _decode, _example_features, _features_of, _decoder_facts
        ),
        "pipeline": Graph(
            "photographs",
            _write_pipeline,
            _reconstruct,
            _example_photographs,
            _photographs_for,
            _pipeline_facts,
        ),
    }
)
