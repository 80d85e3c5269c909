"""What random features look like when they are decoded (CVPR 2016, Figure 11); see `random_features`."""

import dataclasses

import numpy as np

from decoders.experiments.outcomes import Outcome, Sheet
from decoders.experiments.random_features import MOST, Histograms, ShiftedGaussian
from decoders.experiments.subjects import Subject


@dataclasses.dataclass(frozen=True)
class SampleSettings:
    """The paper multiplies the samples by alpha = 2."""

    seed: int = 0
    count: int = dataclasses.field(default=6, metadata={"help": "Samples of each kind."})
    alpha: float = dataclasses.field(default=2.0, metadata={"help": "Factor on the samples."})
    bins: int = dataclasses.field(default=50, metadata={"help": "Of a histogram, besides that of zeros."})

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 1024 or not 1 <= self.bins <= 4096:
            raise ValueError(f"count is {self.count}, bins {self.bins}; 1 to 1024 and 1 to 4096 can be used")


def run(subject: Subject, settings: SampleSettings) -> Outcome:
    """A row for each kind of sample, with the sparsity and norm of it and of the real features; and a sheet."""
    real = subject.features[:MOST]
    flat = real.reshape(len(real), -1)
    kinds = {
        "histograms": Histograms.of(flat, settings.bins).sample(settings.count, settings.seed),
        "shifted Gaussian": ShiftedGaussian.of(flat).sample((settings.count, flat.shape[1]), settings.seed),
    }
    rows, panels = [], []
    for kind, drawn in kinds.items():
        rows.append(
            subject.facts
            | {"kind": kind, "alpha": settings.alpha, "made_of": len(real)}
            | _described("", drawn)
            | _described("real_", flat)
        )
        features = (settings.alpha * drawn).reshape(settings.count, *real.shape[1:])
        panels.append(list(subject.reconstruct(features)))
    columns = [f"sample {number + 1}" for number in range(settings.count)]
    title = f"Random features times {settings.alpha:g}, decoded by {subject.name}"
    return Outcome(rows, [Sheet(f"{subject.file_name}-sample", title, list(kinds), columns, panels)])


def _described(prefix: str, rows: np.ndarray) -> dict[str, float]:
    norms = np.linalg.norm(rows.astype(np.float64), axis=1)
    return {f"{prefix}zeros": float((rows == 0).mean()), f"{prefix}norm": float(norms.mean())}
