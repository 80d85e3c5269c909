"""What an experiment found: rows of figures, sheets of pictures, curves."""

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from decoders.images import resize, side_by_side

Row = Mapping[str, Any]  # JSON values


@dataclasses.dataclass(frozen=True)
class Sheet:
    """Pictures in rows and columns.

    Attributes
    ----------
    name : of the file, without suffix.
    title : one line of what is seen.
    rows, columns : captions.
    panels : one sequence a row, of (H, W, 3) uint8 RGB, one a column.
    frames : whether the columns are also the frames of an animation.
    """

    name: str
    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    panels: Sequence[Sequence[np.ndarray]]
    frames: bool = False

    def joined(self) -> np.ndarray:
        """All panels in one picture, at the size of the first one."""
        height, width = self.panels[0][0].shape[:2]
        lines = [
            side_by_side([_at(panel, height, width) for panel in row], gap=4).transpose(1, 0, 2)
            for row in self.panels
        ]
        return np.ascontiguousarray(side_by_side(lines, gap=4).transpose(1, 0, 2))


@dataclasses.dataclass(frozen=True)
class Line:
    """One curve: a number for each place of the chart, None where there is none; ``low``, ``high`` its interval."""

    name: str
    values: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()


@dataclasses.dataclass(frozen=True)
class Chart:
    """Curves over the same places.

    Attributes
    ----------
    name : of the file, without suffix.
    title, ylabel : texts.
    places : along the x axis.
    lines : the curves.
    joined : places between which points are joined; those of others stand alone.
    """

    name: str
    title: str
    ylabel: str
    places: Sequence[str]
    lines: Sequence[Line]
    joined: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Figures and pictures of an experiment on one subject, or on several when joined."""

    rows: Sequence[Row] = ()
    sheets: Sequence[Sheet] = ()


def join(outcomes: Sequence[Outcome]) -> Outcome:
    """One after another."""
    rows = [row for outcome in outcomes for row in outcome.rows]
    return Outcome(rows, [sheet for outcome in outcomes for sheet in outcome.sheets])


def as_csv(rows: Sequence[Row]) -> str:
    """A table of all that is one number or text a row; the columns are those of all rows, in order of appearance."""
    names = dict.fromkeys(
        name for row in rows for name, value in row.items() if not isinstance(value, list | dict)
    )
    text = io.StringIO()
    writer = csv.DictWriter(text, list(names), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _at(panel: np.ndarray, height: int, width: int) -> np.ndarray:
    return panel if panel.shape[:2] == (height, width) else resize(panel, height, width)
