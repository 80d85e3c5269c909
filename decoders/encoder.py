"""The encoder: a Caffe net up to a blob, from pictures to features; and encoder and decoder as one autoencoder.

The net computes as in Caffe's TEST phase, also while it is trained: dropout passes everything, and batch
normalisation keeps its stored statistics.
"""

import numpy as np
import torch
from torch import nn

from caffe_port.net import CaffeNet
from caffe_port.preprocess import Recipe, to_caffe
from decoders.model import Decoder

_GREY = (0.299, 0.587, 0.114)  # OpenCV's RGB2GRAY


class Encoder(nn.Module):
    """Features of RGB batches.

    Parameters
    ----------
    net : ends in ``blob`` and has one input, of pictures.
    recipe : how the net wants its pictures.
    blob : maps (N, C, H, W) or vectors (N, C); maps of one place, (N, C, 1, 1), count as vectors.
    """

    def __init__(self, net: CaffeNet, recipe: Recipe, blob: str) -> None:
        super().__init__()
        self.net = net.requires_grad_(False)
        self.recipe = recipe
        self.blob = blob

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) float RGB, 0..255 -> (N, C, H', W') or (N, C) float.

        The mean image's centre is subtracted, wherever in the picture the images were cut.
        differs from Caffe: in training it subtracts the mean at the random crop's own place; features must not depend
        on where a picture was cut.
        """
        features = self.net.features(self._prepared(images), self.blob)
        return features.flatten(1) if features.shape[2:] == (1, 1) else features

    @torch.no_grad()
    def encode_numpy(self, images: np.ndarray) -> np.ndarray:
        """`forward` for arrays, on the encoder's device."""
        device = next((p.device for p in self.net.parameters()), torch.device("cpu"))
        return self(torch.from_numpy(images).to(device)).cpu().numpy()

    def _prepared(self, images: torch.Tensor) -> torch.Tensor:
        recipe, mean = self.recipe, self.recipe.mean
        if mean.ndim == 3 and (images.shape[2] > mean.shape[1] or images.shape[3] > mean.shape[2]):
            mean = mean.mean(axis=(1, 2))  # of pictures larger than the mean image, its colour
        if recipe.order == "GREY":
            grey = (images * images.new_tensor(_GREY)[:, None, None]).sum(dim=1, keepdim=True)
            return (grey - images.new_tensor(mean.reshape(1, -1, 1, 1).mean())) * recipe.scale
        return to_caffe(images, mean, order=recipe.order, scale=recipe.scale)


class Autoencoder(nn.Module):
    """Encoder and decoder in a row, both trained; the decoder's parameters have the names they have alone.

    Parameters
    ----------
    encoder, decoder : become trainable; they stay usable by themselves, with the same parameters.
    """

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(True)
        self.rows = decoder.rows
        self._decode = decoder.forward

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) float RGB, 0..255 -> (N, 3, H', W'), what `Decoder.forward` predicts of their features."""
        return self._decode(self.encoder(images))
