"""Verdicts on the paper's relations, from rows made so that the answer is known."""

from typing import Any

import numpy as np
import pytest

from decoders.report.comparisons import Check, is_less, is_near, verdict
from decoders.report.paper import LAYERS
from decoders.report.relations import findings


def row(layer: str, error: float, *, spread: float = 0.001, **more: Any) -> dict[str, Any]:
    """A row of twenty pictures whose errors are ``error`` on average."""
    errors = error + spread * np.linspace(-1, 1, 20) * np.where(np.arange(20) % 2, 1, -1)
    facts = {"model": f"runs/{layer}", "representation": layer, "autoencoder": False}
    return facts | {"error": float(errors.mean()), "errors": errors.tolist()} | more


def test_verdicts() -> None:
    yes, no, unknown = (Check("", holds) for holds in (True, False, None))
    assert verdict([]) == "not measured"
    assert verdict([yes, yes]) == "holds"
    assert verdict([yes, unknown]) == "holds as far as can be told"
    assert verdict([yes, no, unknown]) == "holds in part"
    assert verdict([no, no]) == "does not hold"
    assert verdict([yes, unknown, unknown]) == "undecided"


def test_differences_are_paired() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.2, 0.9, 20)  # pictures differ far more than the two methods
    near = row("fc6", 0) | {"errors": base.tolist(), "error": float(base.mean())}
    worse = near | {"errors": (base + 0.01).tolist(), "error": float(base.mean() + 0.01)}
    assert is_less(near, worse, "a", "b").holds is True
    assert is_less(worse, near, "a", "b").holds is False
    noise = rng.normal(scale=0.2, size=20)
    noisy = near | {"errors": (base + noise - noise.mean()).tolist()}
    assert is_less(near, noisy, "a", "b").holds is None
    assert is_near(worse, near, 1.1, "").holds
    assert not is_near(worse, near, 1.001, "").holds


def verdicts(rows: dict[str, list[dict[str, Any]]]) -> list[str]:
    return [one.verdict for one in findings(rows)]


def as_in_the_paper() -> dict[str, list[dict[str, Any]]]:
    errors = dict(zip(LAYERS, (0.10, 0.14, 0.18, 0.22, 0.26, 0.5, 0.52, 0.55), strict=True))
    trained = dict(zip(LAYERS, (0.15, 0.12, 0.1, 0.05, 0.08, 0.09, 0.1, 0.12), strict=True))
    factors = {"none": 1.0, "bin": 1.05, "drop50": 1.4, "bin-drop50": 1.5, "bin-drop50least": 1.02}
    perturbed = [row(la, e * f, perturbation=p) for la, e in errors.items() for p, f in factors.items()]
    perturbed += [
        row(la, e * (1 if p == "none" else 4), perturbation=p, autoencoder=True)
        for la, e in trained.items()
        for p in factors
    ]
    rivals = [row("fc6", 0.5, method="decoder"), row("fc6", 0.8, method="Mahendran & Vedaldi")]
    moved = {"factor": 10.0, "feature_change": 1e-6, "change": 1e-4, "error_unchanged": 0.3}
    return {
        "errors": [row(la, e) for la, e in errors.items()]
        + [row(la, e, autoencoder=True) for la, e in trained.items()],
        "perturb": perturbed,
        "rivals": rivals,
        "brightness": [row("hog", 0.3, **moved)],
    }


def test_the_paper_s_own_figures_hold() -> None:
    assert verdicts(as_in_the_paper()) == ["holds"] * 7


def test_nothing_given_is_nothing_measured() -> None:
    assert verdicts({}) == ["not measured"] * 7


@pytest.mark.parametrize(
    ("place", "part", "change"),
    [
        (
            0,
            "errors",
            lambda r: r | {"error": 0.2, "errors": [0.2] * 20} if r["representation"] == "fc6" else r,
        ),
        (1, "rivals", lambda r: r | {"error": 0.4, "errors": [0.4] * 20} if r["method"] != "decoder" else r),
        (6, "brightness", lambda r: r | {"change": 0.3}),
    ],
)
def test_what_does_not_hold_is_said(place: int, part: str, change: Any) -> None:
    rows = as_in_the_paper()
    rows[part] = [change(one) for one in rows[part]]
    assert verdicts(rows)[place] in ("holds in part", "does not hold")


def test_rivals_that_ran_in_part_decide_nothing() -> None:
    rows = as_in_the_paper()
    rows["rivals"][1]["reduced"] = True
    assert verdicts(rows)[1] == "undecided"


def test_dropping_less_harm_than_binarising_is_said() -> None:
    rows = as_in_the_paper()
    swapped = {"bin": "drop50", "drop50": "bin"}
    rows["perturb"] = [
        one | {"perturbation": swapped.get(one["perturbation"], one["perturbation"])}
        for one in rows["perturb"]
    ]
    found = findings(rows)[3]
    assert found.verdict == "does not hold"
    assert "fc6, binarised" in " ".join(check.text for check in found.checks)
