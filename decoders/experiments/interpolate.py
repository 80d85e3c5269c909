"""Between two pictures' features (CVPR 2016, Figure 10), linearly: a strip, and an animation."""

import dataclasses

import numpy as np

from decoders.experiments.outcomes import Outcome, Sheet
from decoders.experiments.perturbations import interpolate
from decoders.experiments.subjects import Subject


@dataclasses.dataclass(frozen=True)
class InterpolateSettings:
    """The paper does not say how many steps it shows."""

    steps: int = dataclasses.field(
        default=7, metadata={"help": "Reconstructions of a strip, the two ends included."}
    )
    pairs: int = dataclasses.field(
        default=2, metadata={"help": "Pairs of neighbours among the pictures; each is a strip."}
    )

    def __post_init__(self) -> None:
        if self.steps < 2 or self.pairs < 1:
            raise ValueError(f"steps is {self.steps}, pairs {self.pairs}; at least 2 and 1 are needed")


def unfit(subject: Subject) -> str:
    """One picture is no pair."""
    return "" if len(subject.features) > 1 else "it takes two pictures or rows of features"


def run(subject: Subject, settings: InterpolateSettings) -> Outcome:
    """A strip a pair; rows say how far each reconstruction lies from the one before, in grey levels (RMS)."""
    shares = np.linspace(0, 1, settings.steps)
    ends = subject.shown(2 * settings.pairs)
    rows, strips, captions = [], [], []
    for first in range(0, len(ends) - 1, 2):
        names = subject.names[first], subject.names[first + 1]
        one, other = subject.features[first : first + 1], subject.features[first + 1 : first + 2]
        decoded = subject.reconstruct(np.concatenate([interpolate(one, other, share) for share in shares]))
        moved = np.diff(decoded.astype(np.float64), axis=0)
        steps = np.sqrt(np.square(moved).mean(axis=(1, 2, 3)))
        rows.append(
            subject.facts | {"from": names[0], "to": names[1], "rms_steps": [float(step) for step in steps]}
        )
        strips.append([ends[first], *decoded, ends[first + 1]])
        captions.append(" to ".join(names))
    columns = ("first", *(f"{share:.2f}" for share in shares), "second")
    title = f"Between two pictures' features, decoded by {subject.name}"
    sheet = Sheet(f"{subject.file_name}-interpolate", title, captions, columns, strips, frames=True)
    return Outcome(rows, [sheet])
