"""The picture made brighter and darker before its features are taken (CVPR 2016, section 4.1).

Pixels are multiplied as floats, not clipped, so that the features alone decide. Of HOG the paper says that the factor
hardly matters; a feature that rounds its pixels or knows their range answers otherwise.
"""

import dataclasses

import numpy as np

from decoders.experiments.outcomes import Outcome, Sheet
from decoders.experiments.subjects import Subject
from decoders.images import to_batch, to_pictures
from decoders.metrics import distances

SHOWN = 4


@dataclasses.dataclass(frozen=True)
class BrightnessSettings:
    """What the pixels are multiplied by."""

    factor: tuple[float, ...] = dataclasses.field(
        default=(10.0, 0.1), metadata={"help": "On the pixels, 0..255."}
    )

    def __post_init__(self) -> None:
        if not all(0 < factor < 1e6 for factor in self.factor):
            raise ValueError(f"factor is {self.factor}; numbers above 0 are needed")


def unfit(subject: Subject) -> str:
    """Nets have a mean that is subtracted; only features of the picture itself take part."""
    if subject.pictures is None:
        return "it is about pictures, and the features came without"
    return (
        "" if subject.representation.net is None else "a net subtracts a mean; brightness is no factor there"
    )


def run(subject: Subject, settings: BrightnessSettings) -> Outcome:
    """A row for each factor: how far the features move, the reconstruction moves, and the error.

    ``feature_change`` is the mean over pictures of |phi(a x) - phi(x)| / |phi(x)|; ``change`` that of the distance
    between the two reconstructions, over the normaliser.
    """
    pictures = subject.shown(len(subject.features))
    originals, normaliser = to_batch(pictures), subject.normaliser
    plain = np.concatenate(list(subject.decoded(subject.features)))
    rows, columns = [], [pictures[:SHOWN], to_pictures(plain[:SHOWN])]
    for factor in settings.factor:
        features = np.concatenate(
            [
                subject.representation.extract(originals[n : n + 1] * np.float32(factor))
                for n in range(len(originals))
            ]
        )
        decoded = np.concatenate(list(subject.decoded(features)))
        rows.append(
            subject.facts
            | {
                "factor": factor,
                "feature_change": float(_relative(features, subject.features).mean()),
                "change": float(distances(plain, decoded).mean() / normaliser),
                "error": float(distances(originals, decoded).mean() / normaliser),
                "error_unchanged": float(distances(originals, plain).mean() / normaliser),
            }
        )
        columns.append(to_pictures(decoded[:SHOWN]))
    sheet = Sheet(
        f"{subject.file_name}-brightness",
        f"{subject.representation.name} of brighter and darker pictures, decoded by {subject.name}",
        subject.names[:SHOWN],
        ("original", "decoded", *(f"pixels × {factor:g}" for factor in settings.factor)),
        list(zip(*columns, strict=True)),
    )
    return Outcome(rows, [sheet])


def _relative(changed: np.ndarray, features: np.ndarray) -> np.ndarray:
    rows = features.reshape(len(features), -1).astype(np.float64)
    moved = np.linalg.norm(changed.reshape(len(features), -1) - rows, axis=1)
    length = np.linalg.norm(rows, axis=1)
    return np.divide(moved, length, out=np.where(moved > 0, np.inf, 0.0), where=length > 0)
