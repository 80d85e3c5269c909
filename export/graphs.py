"""What can be exported: one row a graph, with its names, free axes and opset."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from decoders.model import Decoder


@dataclasses.dataclass(frozen=True)
class Graph:
    """One kind of ONNX graph.

    Attributes
    ----------
    module : what is traced, from the trained decoder.
    input, output : names in the ONNX file.
    opset : ONNX operator set.
    feature_multiple : sides of the feature map are free in multiples of this, or 0 where they are fixed.
    """

    module: Callable[[Decoder], nn.Module]
    input: str
    output: str
    opset: int
    feature_multiple: Callable[[Decoder], int]

    def example(self, decoder: Decoder, *, batch: int, scale: int = 1, seed: int = 0) -> torch.Tensor:
        """Random features in the range of the real ones, (batch, C, scale * H, W) float32; seeded."""
        height, width, channels = decoder.spec.features
        generator = torch.Generator().manual_seed(seed)
        return (
            torch.rand(batch, channels, scale * height, width, generator=generator)
            / decoder.spec.feature_scale
        )

    def axes(self, decoder: Decoder) -> tuple[dict[int, Any], ...]:
        """The free axes of the input, as torch's exporter wants them."""
        step = self.feature_multiple(decoder)
        batch = {0: torch.export.Dim("N")}
        return (
            batch | {2: step * torch.export.Dim("rows"), 3: step * torch.export.Dim("columns")}
            if step
            else batch,
        )


class _Decode(nn.Module):
    """A decoder's `decode` as a forward pass: features -> RGB 0..255."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.decoder.decode(features)


def _cells(decoder: Decoder) -> int:
    """How many feature cells ``multiple`` pixels of the picture are."""
    return decoder.spec.multiple * decoder.spec.features[0] // decoder.spec.image_size[0]


GRAPHS: Mapping[str, Graph] = MappingProxyType(
    {"decoder": Graph(module=_Decode, input="features", output="pictures", opset=20, feature_multiple=_cells)}
)
