"""Subjects for tests, whose decoders are simple enough to know by heart."""

import dataclasses

import numpy as np

from decoders.experiments.subjects import Subject
from decoders.images import to_batch
from decoders.representations import KERNELS
from tests.photos import draw


def identity(count: int = 4, *, side: int = 8, autoencoder: bool = False) -> Subject:
    """Features are the pixels and the decoder gives them back."""
    pictures = np.stack([draw(seed, side, side) for seed in range(count)])
    names = tuple(f"picture {number}" for number in range(count))
    row = dataclasses.replace(KERNELS["hog"], shape=(3, side, side), image_size=(side, side))
    return Subject(
        "runs/identity", lambda features: features, row, to_batch(pictures), names, pictures, autoencoder
    )
