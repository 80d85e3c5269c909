"""The commands that make a report, and each of its figures, again."""

import dataclasses
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from decoders.experiments.table import Experiment
from decoders.report.making import ReportSettings


@dataclasses.dataclass(frozen=True)
class Typed:
    """What a report was asked for, besides its settings: models and pictures as they were typed."""

    models: Sequence[str]
    images: Sequence[str]
    net: str | None
    limit: int
    out: str

    def shared(self) -> list[str]:
        """Options that `decoders report` and `decoders experiment` have in common."""
        words = [word for source in self.images for word in ("--images", source)]
        net = ["--net", self.net] if self.net else []
        return [*words, *net, "--limit", str(self.limit)]


def report_command(typed: Typed, settings: ReportSettings) -> str:
    """The command of the whole page."""
    learn = [word for source in settings.learn for word in ("--learn", source)]
    quick = ["--quick"] if settings.quick else []
    words = [*typed.models, *typed.shared(), *learn, *quick, "--seed", str(settings.seed), "--out", typed.out]
    return shlex.join(["decoders", "report", *words])


def experiment_command(experiment: Experiment, settings: Any, models: Sequence[str], typed: Typed) -> str:
    """The command of one experiment on some of the models."""
    options = list(_options(settings))
    words = [experiment.name, *models, *typed.shared(), *options, "--out", experiment.name]
    return shlex.join(["decoders", "experiment", *words])


def _options(settings: Any) -> Iterator[str]:
    """Those fields that are not what they are by default."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value == field.default:
            continue
        for one in value if isinstance(value, tuple) else (value,):
            yield f"--{field.name.replace('_', '-')}"
            yield str(one)
