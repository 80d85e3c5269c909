"""The experiments there are: one row each."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from decoders.experiments import errors, perturb
from decoders.experiments.outcomes import Chart, Outcome, Row
from decoders.experiments.subjects import Subject


def _none(rows: Sequence[Row]) -> list[Chart]:
    return []


def _any(subject: Subject) -> str:
    return ""


def _pictured(subject: Subject) -> str:
    return "" if subject.pictures is not None else "it is about pictures, and the features came without"


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One experiment.

    Attributes
    ----------
    name : as users type it.
    shows : one line for the help.
    settings : a frozen dataclass, each field an option of the command.
    run : makes it on one subject.
    charts : what the rows of several subjects draw.
    unfit : why a subject has no part in it; "" for those that have.
    figure : of the paper.
    """

    name: str
    shows: str
    settings: type
    run: Callable[[Subject, Any], Outcome]
    figure: str
    charts: Callable[[Sequence[Row]], list[Chart]] = _none
    unfit: Callable[[Subject], str] = _any


_ROWS = (
    Experiment(
        "errors",
        "Normalised error of each decoder, with its confidence interval.",
        errors.ErrorsSettings,
        errors.run,
        "Table 2, Figure 7",
        errors.charts,
        _pictured,
    ),
    Experiment(
        "perturb",
        "Features binarised and dropped before they are decoded.",
        perturb.PerturbSettings,
        perturb.run,
        "Figures 7 and 9",
        perturb.charts,
    ),
)

EXPERIMENTS: Mapping[str, Experiment] = MappingProxyType({row.name: row for row in _ROWS})
