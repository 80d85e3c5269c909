"""Checks of one number against another over the same pictures, decided by a paired bootstrap."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from decoders.experiments.bootstrap import mean_interval
from decoders.experiments.outcomes import Row


@dataclasses.dataclass(frozen=True)
class Check:
    """One figure of a relation: what was looked at, and whether it is so; None where it cannot be told."""

    text: str
    holds: bool | None


def is_less(first: Row, second: Row, name_first: str, name_second: str) -> Check:
    """Whether one error is below another: so where the 95 % interval of their difference has one sign."""
    text = f"{name_first} {first['error']:.3f} against {name_second} {second['error']:.3f}"
    if len(first["errors"]) != len(second["errors"]):
        return Check(f"{text}, on other pictures", first["error"] < second["error"])
    difference = np.subtract(first["errors"], second["errors"])
    low, high = mean_interval(difference, seed=0)
    text += f"; difference {difference.mean():+.3f} ({low:+.3f} to {high:+.3f})"
    return Check(text, True if high < 0 else False if low > 0 else None)


def is_near(first: Row, second: Row, most: float, names: str) -> Check:
    """Whether an error is at most ``most`` times another."""
    ratio = first["error"] / second["error"]
    return Check(f"{names}: {first['error']:.3f} / {second['error']:.3f} = {ratio:.2f}", ratio <= most)


def verdict(checks: Sequence[Check]) -> str:
    """One word for several checks.

    "undecided" if less than half of them can be told; else "holds in part" if those differ, "does not hold" if none
    is so, and "holds", or "holds as far as can be told" where some cannot.
    """
    if not checks:
        return "not measured"
    told = [check.holds for check in checks if check.holds is not None]
    if 2 * len(told) < len(checks):
        return "undecided"
    if all(told):
        return "holds" if len(told) == len(checks) else "holds as far as can be told"
    return "holds in part" if any(told) else "does not hold"
