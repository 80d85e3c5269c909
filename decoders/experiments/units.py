"""One unit switched on, all others zero (CVPR 2016, supplementary material, from memory).

Of maps, the unit in the middle of its map. Its value is the largest that the channel takes over the pictures; the units
are those whose largest values are the largest.
"""

import dataclasses

import numpy as np

from decoders.experiments.outcomes import Outcome, Sheet
from decoders.experiments.subjects import Subject

_PER_ROW = 8


@dataclasses.dataclass(frozen=True)
class UnitsSettings:
    """Which units are switched on."""

    unit: tuple[int, ...] = dataclasses.field(
        default=(), metadata={"help": "Channels, from 0.  [those with the largest values]"}
    )
    count: int = dataclasses.field(default=8, metadata={"help": "How many, without --unit."})
    strength: float = dataclasses.field(default=1.0, metadata={"help": "Factor on the value."})

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count is {self.count}; 1 or more is needed")


def run(subject: Subject, settings: UnitsSettings) -> Outcome:
    """A row for each unit and a sheet of their reconstructions."""
    maps = subject.features.reshape(*subject.features.shape[:2], -1)  # (N, C, places)
    largest = maps.max(axis=(0, 2))  # (C,)
    chosen = settings.unit or tuple(
        int(unit) for unit in np.argsort(-largest, kind="stable")[: settings.count]
    )
    if outside := [unit for unit in chosen if not 0 <= unit < len(largest)]:
        raise ValueError(f"{subject.name}: unit {outside[0]} is not one of 0 to {len(largest) - 1}")
    features = np.zeros((len(chosen), *subject.features.shape[1:]), np.float32)
    middle = tuple(side // 2 for side in features.shape[2:])
    for row, unit in zip(features, chosen, strict=True):
        row[(unit, *middle)] = settings.strength * largest[unit]
    decoded = subject.reconstruct(features)
    rows = [
        subject.facts | {"unit": unit, "value": float(settings.strength * largest[unit])} for unit in chosen
    ]
    sheets = [
        Sheet(
            f"{subject.file_name}-units-{first // _PER_ROW + 1}",
            f"One unit of {subject.representation.name} switched on, decoded by {subject.name}",
            ["its value is the largest seen"],
            [f"unit {unit}" for unit in chosen[first : first + _PER_ROW]],
            [list(decoded[first : first + _PER_ROW])],
        )
        for first in range(0, len(chosen), _PER_ROW)
    ]
    return Outcome(rows, sheets)
