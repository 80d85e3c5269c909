"""The experiments there are: one row each."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from decoders.experiments import brightness, color, errors, interpolate, perturb, rivals, sample, units
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
        "rivals",
        "The decoders beside Mahendran & Vedaldi, HOGgles and Weinzaepfel et al.",
        rivals.RivalsSettings,
        rivals.run,
        "Table 2, Figures 3, 4 and 7",
        rivals.charts,
        rivals.unfit,
    ),
    Experiment(
        "perturb",
        "Features binarised and dropped before they are decoded.",
        perturb.PerturbSettings,
        perturb.run,
        "Figures 7 and 9",
        perturb.charts,
    ),
    Experiment(
        "color",
        "Which class scores know the colour of a picture.",
        color.ColorSettings,
        color.run,
        "Figure 8",
        unfit=color.unfit,
    ),
    Experiment(
        "interpolate",
        "Between two pictures' features: a strip and an animation.",
        interpolate.InterpolateSettings,
        interpolate.run,
        "Figure 10",
        unfit=interpolate.unfit,
    ),
    Experiment(
        "sample",
        "Random features that resemble real ones, decoded.",
        sample.SampleSettings,
        sample.run,
        "Figure 11",
    ),
    Experiment(
        "brightness",
        "Features of pictures made brighter and darker, decoded.",
        brightness.BrightnessSettings,
        brightness.run,
        "section 4.1",
        unfit=brightness.unfit,
    ),
    Experiment(
        "units",
        "One unit switched on, all others zero.",
        units.UnitsSettings,
        units.run,
        "supplementary material",
    ),
)

EXPERIMENTS: Mapping[str, Experiment] = MappingProxyType({row.name: row for row in _ROWS})
