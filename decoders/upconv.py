"""Up-convolution: enlarge a map by zero-insertion, then convolve (CVPR 2016, section 3).

Each value becomes the top left of a 2x2 block whose other three entries are zero; a K x K convolution
follows. Its pads on the 2H x 2W map are K // 2 left and top and (K - 1) // 2 right and bottom: 2 and 2 for
K = 5, 2 and 1 for K = 4, so that the output is 2H x 2W. That is the transposed convolution with stride 2,
padding (K - 1) // 2 and the kernel flipped (plus one row and column of output padding where K is odd), which is
how the authors' Caffe fork computes it: `UPCONVS` offers both, with the same parameters.
"""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import nn
from torch.nn import functional


def insert_zeros(maps: torch.Tensor) -> torch.Tensor:
    """Double height and width: each value top left in its 2x2 block, zeros elsewhere.

    Parameters
    ----------
    maps : (N, C, H, W) of any floating dtype.

    Returns
    -------
    (N, C, 2H, 2W), same dtype.
    """
    n, channels, height, width = maps.shape
    blocks = maps.reshape(n, channels, height, 1, width, 1)
    blocks = functional.pad(blocks, (0, 1, 0, 0, 0, 1))  # (N, C, H, 2, W, 2)
    return blocks.reshape(n, channels, 2 * height, 2 * width)


class UpConvolution(nn.Module):
    """The up-convolution as the paper writes it: zeros are inserted and multiplied.

    Parameters
    ----------
    maps_in, maps_out : channels in and out.
    kernel : K, at least 2.

    Attributes
    ----------
    weight : (maps_out, maps_in, K, K), of the convolution (cross-correlation) on the enlarged map.
    bias : (maps_out,).
    """

    def __init__(self, maps_in: int, maps_out: int, kernel: int) -> None:
        super().__init__()
        if kernel < 2:
            raise ValueError(f"up-convolution: kernel is {kernel}; a 2x enlargement needs at least 2")
        self.kernel = kernel
        self.weight = nn.Parameter(torch.empty(maps_out, maps_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(maps_out))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, maps_in, H, W) -> (N, maps_out, 2H, 2W)."""
        before, after = self.kernel // 2, (self.kernel - 1) // 2
        enlarged = functional.pad(insert_zeros(maps), (before, after, before, after))
        return functional.conv2d(enlarged, self.weight, self.bias)


class FusedUpConvolution(UpConvolution):
    """The same map from the same parameters without a multiplication by an inserted zero.

    A K x K up-convolution of one value needs K * K products; on the enlarged map it is given 4 * K * K.
    """

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, maps_in, H, W) -> (N, maps_out, 2H, 2W)."""
        return functional.conv_transpose2d(
            maps,
            self.weight.transpose(0, 1).flip(2, 3),
            self.bias,
            stride=2,
            padding=(self.kernel - 1) // 2,
            output_padding=self.kernel % 2,
        )


UPCONVS: Mapping[str, type[UpConvolution]] = MappingProxyType(
    {"literal": UpConvolution, "fused": FusedUpConvolution}
)
