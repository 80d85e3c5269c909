"""Features binarised and dropped before they are decoded (CVPR 2016, section 5.3, Figures 7 and 9)."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from decoders.experiments.errors import by_representation, scored
from decoders.experiments.outcomes import Chart, Outcome, Row, Sheet
from decoders.experiments.perturbations import binarise, drop, drop_least
from decoders.experiments.subjects import Subject

SHOWN = 4
SHARE = 0.5

Perturbation = Callable[[np.ndarray, int], np.ndarray]  # of features, by seed

PERTURBATIONS: Mapping[str, Perturbation] = MappingProxyType(
    {
        "none": lambda features, seed: features,
        "bin": lambda features, seed: binarise(features),
        "drop50": lambda features, seed: drop(features, SHARE, seed=seed),
        "bin-drop50": lambda features, seed: binarise(drop(features, SHARE, seed=seed)),
        "bin-drop50least": lambda features, seed: binarise(drop_least(features, SHARE)),
    }
)


@dataclasses.dataclass(frozen=True)
class PerturbSettings:
    """The seed is of what is dropped, and of the bootstrap."""

    seed: int = 0


def run(subject: Subject, settings: PerturbSettings) -> Outcome:
    """A row for each perturbation, with the error where there are pictures; and Figure 9 for the first pictures."""
    normaliser = None if subject.pictures is None else subject.normaliser
    rows, columns = [], [subject.shown(SHOWN)]
    for name, change in PERTURBATIONS.items():
        features = change(subject.features, settings.seed)
        row = subject.facts | {"perturbation": name}
        if normaliser is not None:
            row |= scored(subject.distances(features), normaliser, settings.seed)
        rows.append(row)
        columns.append(subject.reconstruct(features[:SHOWN]))
    sheet = Sheet(
        f"{subject.file_name}-perturb",
        f"Perturbed features, decoded by {subject.name}",
        subject.names[:SHOWN],
        ("original" if normaliser is not None else "features", *PERTURBATIONS),
        list(zip(*columns, strict=True)),
    )
    return Outcome(rows, [sheet])


def charts(rows: Sequence[Row]) -> list[Chart]:
    """Figure 7: error by representation and perturbation; one chart for fixed nets, one for autoencoders."""
    drawn = []
    for is_autoencoder, name in ((False, "perturb-fixed"), (True, "perturb-autoencoder")):
        own = [row for row in rows if row["autoencoder"] is is_autoencoder and "error" in row]
        title = "Perturbed features: " + ("autoencoders" if is_autoencoder else "fixed encoders")
        if own:
            drawn.append(by_representation(name, title, own, lambda row: str(row["perturbation"])))
    return drawn
