"""A decoder as a torch module, built from its table (CVPR 2016, section 3).

Leaky ReLU with slope 0.2 follows every layer with weights but the last, which is linear (the released nets feed it
to the loss directly). Weights start He-normal with the leaky gain, fan-in counted without inserted zeros; biases
at 0. Inside, pixels are (RGB - mean) / pixel_scale; `decode` gives RGB 0..255.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from decoders.rows import DecoderSpec, Row, Size
from decoders.specs import ILSVRC_MEAN_RGB, LEAKY_SLOPE
from decoders.upconv import UPCONVS, UpConvolution


class Decoder(nn.Module):
    """The network of one decoder table.

    Parameters
    ----------
    spec : the table, scaled or not.
    upconv : ``fused`` (no products with inserted zeros) or ``literal`` (as the paper writes it); same parameters.
    seed : of the initial weights.

    Raises
    ------
    ValueError : if ``upconv`` is unknown or a row's computed size differs from the table's.
    """

    def __init__(self, spec: DecoderSpec, *, upconv: str = "fused", seed: int = 0) -> None:
        super().__init__()
        if upconv not in UPCONVS:
            raise ValueError(f"upconv is {upconv!r}; it must be one of {', '.join(UPCONVS)}")
        self.spec = spec
        self.rows = nn.ModuleDict({row.name: _build(spec, row, UPCONVS[upconv]) for row in spec.rows})
        mean = torch.tensor(ILSVRC_MEAN_RGB).reshape(1, 3, 1, 1)
        self.register_buffer("pixel_mean", mean, persistent=False)
        _initialise(self.rows, seed)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Predict mean-subtracted pixels.

        Parameters
        ----------
        features : (N, C, H, W) or, for vectors, (N, C) float, as the representation extracts them.

        Returns
        -------
        (N, 3, H', W') float: (RGB - mean) / pixel_scale, unclipped.
        """
        return self._maps(features * self.spec.feature_scale)[self.spec.rows[-1].name]

    def decode(self, features: torch.Tensor) -> torch.Tensor:
        """Predict the picture: (N, ...) features -> (N, 3, H', W') RGB, clipped to 0..255."""
        return (self(features) * self.spec.pixel_scale + self.pixel_mean).clamp(0, 255)

    @torch.inference_mode()
    def decode_numpy(self, features: np.ndarray) -> np.ndarray:
        """`decode` for arrays: (N, ...) float32 -> (N, 3, H', W') float32, RGB 0..255."""
        return self.decode(torch.tensor(features, device=self.pixel_mean.device)).cpu().numpy()

    def target(self, images: torch.Tensor) -> torch.Tensor:
        """What `forward` should predict for ``images``, (N, 3, H, W) RGB 0..255: the inverse of `decode`."""
        return (images - self.pixel_mean) / self.spec.pixel_scale

    def _maps(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        maps = {"features": features}
        for row in self.spec.rows:
            inputs = [maps[name] for name in row.inputs]
            out = self.rows[row.name](inputs[0] if len(inputs) == 1 else torch.cat(inputs, dim=1))
            linear = row is self.spec.rows[-1] or row.op == "reshape"
            maps[row.name] = out if linear else functional.leaky_relu(out, LEAKY_SLOPE)
        return maps


@dataclasses.dataclass(frozen=True)
class _Op:
    """What a row's ``op`` means: ``size`` is what it makes of its input's size, ``build`` its module.

    ``build`` takes the row, the number of maps in, and how up-convolutions are computed.
    """

    size: Callable[[Row, Size], Size]
    build: Callable[[Row, int, type[UpConvolution]], nn.Module]


def _convolved(row: Row, size: Size) -> Size:
    height, width = ((side + 2 * _pad(row) - row.kernel) // row.stride + 1 for side in size[:2])
    return height, width, row.out[2]


def _enlarged(row: Row, size: Size) -> Size:
    return row.stride * size[0], row.stride * size[1], row.out[2]


def _connected(row: Row, size: Size) -> Size:
    return *size[:2], row.out[2]


def _reshaped(row: Row, size: Size) -> Size:
    values = math.prod(size)
    return row.out if values == math.prod(row.out) else (1, 1, values)


def _pad(row: Row) -> int:
    return (row.kernel - 1) // 2


_OPS: Mapping[str, _Op] = MappingProxyType(
    {
        "conv": _Op(
            _convolved,
            lambda row, maps, _: nn.Conv2d(
                maps, row.out[2], row.kernel, stride=row.stride, padding=_pad(row)
            ),
        ),
        "upconv": _Op(_enlarged, lambda row, maps, upconv: upconv(maps, row.out[2], row.kernel)),
        "fc": _Op(_connected, lambda row, maps, _: nn.Linear(maps, row.out[2])),
        "reshape": _Op(_reshaped, lambda row, maps, _: nn.Unflatten(1, (row.out[2], *row.out[:2]))),
    }
)


def _build(spec: DecoderSpec, row: Row, upconv: type[UpConvolution]) -> nn.Module:
    _check_size(spec, row)
    return _OPS[row.op].build(row, spec.maps_in(row), upconv)


def _check_size(spec: DecoderSpec, row: Row) -> None:
    """Compare the size that the row computes with the size in the table."""
    places = {spec.size_of(name)[:2] for name in row.inputs}
    if len(places) != 1:
        raise ValueError(
            f"decoder {spec.representation}, row {row.name}: its inputs differ in size: {sorted(places)}"
        )
    computed = _OPS[row.op].size(row, (*places.pop(), spec.maps_in(row)))
    if computed != row.out:
        raise ValueError(
            f"decoder {spec.representation}, row {row.name}: computes {'x'.join(map(str, computed))}, "
            f"but the table says {'x'.join(map(str, row.out))}; correct its kernel, stride or size"
        )


def _initialise(rows: nn.ModuleDict, seed: int) -> None:
    """He-normal weights with the leaky gain, in the table's order from one seeded generator; biases 0."""
    generator = torch.Generator().manual_seed(seed)
    gain = math.sqrt(2 / (1 + LEAKY_SLOPE**2))
    for module in rows.values():
        if not isinstance(module, nn.Conv2d | nn.Linear | UpConvolution):
            continue
        fan_in = module.weight[0].numel()
        if isinstance(module, UpConvolution):
            fan_in = fan_in / 4  # of the K*K inputs under the kernel, a quarter are not inserted zeros
        nn.init.normal_(module.weight, std=gain / math.sqrt(fan_in), generator=generator)
        nn.init.zeros_(module.bias)
