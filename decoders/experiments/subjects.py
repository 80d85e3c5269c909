"""What an experiment is made on: a decoder with the features of some pictures, or with features that came alone."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from caffe_port.pictures import ImageFile
from decoders.evaluation import Decode, enlarge, read_squares
from decoders.images import to_batch, to_pictures
from decoders.metrics import distances, mean_pairwise_distance
from decoders.representations import Representation

_BATCH = 16


@dataclasses.dataclass(frozen=True)
class Subject:
    """A decoder and what it is tried on.

    Attributes
    ----------
    name : of the model, as the user typed it.
    decode : features (N, ...) float32 -> pictures (N, 3, H', W') float32, RGB 0..255.
    representation : whose features they are.
    features : (N, *shape) float32.
    names : of the N pictures, or of the rows of the file of features.
    pictures : (N, H, W, 3) uint8, RGB; None where the features came without.
    autoencoder : whether the net was trained together with the decoder.
    quiet : whether long work shows no progress.
    """

    name: str
    decode: Decode
    representation: Representation
    features: np.ndarray
    names: tuple[str, ...]
    pictures: np.ndarray | None
    autoencoder: bool
    quiet: bool = True

    @property
    def facts(self) -> dict[str, Any]:
        """What every row of figures begins with."""
        return {
            "model": self.name,
            "representation": self.representation.name,
            "autoencoder": self.autoencoder,
            "pictures": len(self.features),
        }

    @property
    def normaliser(self) -> float:
        """Mean distance between two of the pictures; see `decoders.metrics`.

        Raises
        ------
        ValueError : if there are not two different pictures.
        """
        if self.pictures is None:
            raise ValueError(f"{self.name}: features without pictures have no reconstruction error")
        found = mean_pairwise_distance(self.pictures)
        if found == 0:
            raise ValueError("all pictures are equal, so the normaliser is 0; give different pictures")
        return found

    @property
    def file_name(self) -> str:
        """A name for files about it."""
        return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in self.name).strip(
            "-"
        )

    def shown(self, count: int) -> np.ndarray:
        """The first pictures, (n, H, W, 3) uint8; portraits of their features where there are no pictures."""
        if self.pictures is not None:
            return self.pictures[:count]
        return self.representation.portray(self.features[:count])

    def decoded(self, features: np.ndarray) -> Iterator[np.ndarray]:
        """Reconstructions (n, 3, H, W) float32 of any features of this kind, a few at a time.

        They are enlarged bilinearly to the size of the representation's pictures.
        """
        height, width = self.representation.image_size if self.pictures is None else self.pictures.shape[1:3]
        for start in range(0, len(features), _BATCH):
            found = self.decode(np.ascontiguousarray(features[start : start + _BATCH], np.float32))
            yield found if found.shape[2:] == (height, width) else enlarge(found, height, width)

    def reconstruct(self, features: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8: all of `decoded`, as pictures."""
        return np.concatenate([to_pictures(batch) for batch in self.decoded(features)])

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Euclidean distance of each picture to the reconstruction from its row of ``features``: (N,) float64."""
        if self.pictures is None:
            raise ValueError(f"{self.name}: features without pictures have no reconstruction error")
        found, done = [], 0
        for batch in self.decoded(features):
            found.append(distances(to_batch(self.pictures[done : done + len(batch)]), batch))
            done += len(batch)
        return np.concatenate(found)


def of_files(
    name: str,
    decode: Decode,
    representation: Representation,
    card: Mapping[str, Any],
    files: Sequence[ImageFile],
) -> tuple[Subject, list[str]]:
    """A decoder on the features of pictures, cut as the representation cuts them.

    Returns
    -------
    subject : with the pictures that can be read.
    bad : one line for each file that could not be read.

    Raises
    ------
    ValueError : if none can be read.
    """
    pictures, bad = read_squares(files, representation.framing)
    if not len(pictures):
        raise ValueError(f"none of the {len(files)} pictures can be read; {bad[0]}")
    unread = {line.split(": ")[0] for line in bad}
    names = tuple(Path(file.name).stem for file in files if str(file) not in unread)
    batches = [pictures[start : start + _BATCH] for start in range(0, len(pictures), _BATCH)]
    features = np.concatenate([representation.extract(to_batch(batch)) for batch in batches])
    is_autoencoder = bool(card.get("autoencoder"))
    return Subject(name, decode, representation, features, names, pictures, is_autoencoder), bad


def of_features(
    name: str, decode: Decode, representation: Representation, card: Mapping[str, Any], features: np.ndarray
) -> Subject:
    """A decoder on given features, (N, *shape) float32; see `feature_files`."""
    names = tuple(f"row {row}" for row in range(len(features)))
    return Subject(name, decode, representation, features, names, None, bool(card.get("autoencoder")))
