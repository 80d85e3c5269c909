"""The normalised reconstruction error of each representation (CVPR 2016, Table 2 and Figure 7).

The interval is of the mean over pictures, with the normaliser as it is: a scale, not a sample.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from decoders.experiments.bootstrap import mean_interval
from decoders.experiments.outcomes import Chart, Line, Outcome, Row, Sheet
from decoders.experiments.subjects import Subject
from decoders.representations import KERNELS

SHOWN = 6  # pictures of a sheet


@dataclasses.dataclass(frozen=True)
class ErrorsSettings:
    """The seed is of the bootstrap."""

    seed: int = 0


def scored(distances: np.ndarray, normaliser: float, seed: int) -> dict[str, object]:
    """The error with its interval, and each picture's own, as JSON values."""
    errors = distances / normaliser
    low, high = mean_interval(errors, seed=seed)
    return {
        "error": float(errors.mean()),
        "low": low,
        "high": high,
        "normaliser": normaliser,
        "errors": [round(float(error), 6) for error in errors],
    }


def run(subject: Subject, settings: ErrorsSettings) -> Outcome:
    """One row: the error of one decoder; and a sheet of the first pictures."""
    figures = scored(subject.distances(subject.features), subject.normaliser, settings.seed)
    return Outcome([subject.facts | figures], [_sheet(subject)])


def charts(rows: Sequence[Row]) -> list[Chart]:
    """Figure 7 without the rivals: error by representation, fixed nets and autoencoders."""
    return [by_representation("errors", "Normalised reconstruction error", rows, _kind)]


def by_representation(name: str, title: str, rows: Sequence[Row], kind: Callable[[Row], str]) -> Chart:
    """Curves over the representations, in the order in which they come, one for each ``kind`` of row."""
    places = list(dict.fromkeys(row["representation"] for row in rows))
    lines = []
    for line in dict.fromkeys(kind(row) for row in rows):
        own = {row["representation"]: row for row in rows if kind(row) == line}
        values, low, high = (
            [own[place].get(key) if place in own else None for place in places]
            for key in ("error", "low", "high")
        )
        lines.append(Line(line, values, low, high))
    joined = [place for place in places if place not in KERNELS]
    return Chart(name, title, "normalised error", places, lines, joined)


def _kind(row: Row) -> str:
    return "autoencoder" if row["autoencoder"] else "fixed encoder"


def _sheet(subject: Subject) -> Sheet:
    shown = subject.shown(SHOWN)
    decoded = subject.reconstruct(subject.features[:SHOWN])
    panels = [list(shown), list(decoded)]
    captions = ("original", f"from {subject.representation.name}")
    return Sheet(
        f"{subject.file_name}-errors",
        f"Reconstructions by {subject.name}",
        captions,
        subject.names[:SHOWN],
        panels,
    )
