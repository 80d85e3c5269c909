"""The seven relations that the paper states, and what our figures say of each.

Each is read off the rows of the experiments; thresholds where the paper has words only: "roughly twice" is 1.3 to 3,
"hardly matters" at most 1.1 times the error, "only a little worse" at most 1.25 times.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from decoders.experiments.outcomes import Row
from decoders.report.comparisons import Check, is_less, is_near, verdict
from decoders.report.paper import LAYERS

Rows = Mapping[str, Sequence[Row]]  # by experiment

HARDLY, LITTLE = 1.1, 1.25
TWICE = (1.3, 3.0)
UNMOVED = 0.05  # of the normaliser
CONVOLUTIONS, CONNECTED = LAYERS[:5], LAYERS[5:]


@dataclasses.dataclass(frozen=True)
class Relation:
    """One relation: the paper's claim, how it is checked, and what it takes."""

    claim: str
    checks: Callable[[Rows], list[Check]]
    needs: str


@dataclasses.dataclass(frozen=True)
class Finding:
    """A relation with its verdict and figures."""

    claim: str
    verdict: str
    checks: Sequence[Check]
    needs: str


def findings(rows: Rows) -> list[Finding]:
    """All seven, in the paper's order."""
    found = []
    for relation in RELATIONS:
        checks = relation.checks(rows)
        found.append(Finding(relation.claim, verdict(checks), checks, relation.needs))
    return found


def by_layer(rows: Sequence[Row], *, autoencoder: bool, **wanted: str) -> dict[str, Row]:
    """Rows of fixed nets or of autoencoders by layer, lowest first; of several models of a layer the first counts."""
    found: dict[str, Row] = {}
    for row in rows:
        if row["autoencoder"] is autoencoder and all(row.get(key) == value for key, value in wanted.items()):
            found.setdefault(str(row["representation"]), row)
    return {layer: found[layer] for layer in LAYERS if layer in found}


def _growth(rows: Rows) -> list[Check]:
    own = by_layer(rows.get("errors", ()), autoencoder=False)
    low = [layer for layer in CONVOLUTIONS if layer in own]
    checks = [is_less(own[a], own[b], a, b) for a, b in pairwise(low)]
    if "fc6" in own and low:
        last = low[-1]
        ratio = own["fc6"]["error"] / own[last]["error"]
        holds = TWICE[0] <= ratio <= TWICE[1] if last == "conv5" else None
        checks.append(Check(f"fc6 is {ratio:.2f} times {last}; about 2 in the paper", holds))
    for layer in ("fc7", "fc8"):
        if layer in own and "fc6" in own:
            checks.append(is_near(own[layer], own["fc6"], LITTLE, f"{layer} over fc6"))
    return checks


def _rivals(rows: Rows) -> list[Check]:
    own = list(rows.get("rivals", ()))
    decoders = {row["model"]: row for row in own if row["method"] == "decoder"}
    checks = []
    for row in own:
        if row["method"] == "decoder":
            continue
        found = is_less(decoders[row["model"]], row, f"{row['representation']}, decoder", str(row["method"]))
        if row.get("reduced"):
            found = Check(
                f"{found.text}; with a part of its steps or atoms only, which decides nothing", None
            )
        checks.append(found)
    return checks


def _autoencoders(rows: Rows) -> list[Check]:
    fixed = by_layer(rows.get("errors", ()), autoencoder=False)
    trained = by_layer(rows.get("errors", ()), autoencoder=True)
    checks = [
        is_less(trained[layer], fixed[layer], f"{layer}, autoencoder", "fixed")
        for layer in ("conv5", *CONNECTED)
        if layer in trained and layer in fixed
    ]
    if "conv4" in trained and len(trained) > 2:
        least = min(trained, key=lambda layer: trained[layer]["error"])
        checks.append(
            Check(f"least at {least}, {trained[least]['error']:.3f}; at conv4 in the paper", least == "conv4")
        )
    return checks


def _perturbed(rows: Rows, *, autoencoder: bool) -> dict[str, dict[str, Row]]:
    """Rows by layer and perturbation, those with an error."""
    own = [row for row in rows.get("perturb", ()) if "error" in row]
    names = dict.fromkeys(str(row["perturbation"]) for row in own)
    found: dict[str, dict[str, Row]] = {}
    for name in names:
        for layer, row in by_layer(own, autoencoder=autoencoder, perturbation=name).items():
            found.setdefault(layer, {})[name] = row
    return {layer: found[layer] for layer in LAYERS if layer in found}


def _dropout(rows: Rows) -> list[Check]:
    own = _perturbed(rows, autoencoder=False)
    checks = [
        is_less(one["bin"], one["drop50"], f"{layer}, binarised", "half dropped")
        for layer, one in own.items()
    ]
    for layer in ("fc6", "fc7"):
        if layer in own:
            one = own[layer]
            checks.append(is_near(one["bin"], one["none"], HARDLY, f"{layer}, binarised over unchanged"))
    return checks


def _sensitive(rows: Rows) -> list[Check]:
    fixed, trained = _perturbed(rows, autoencoder=False), _perturbed(rows, autoencoder=True)
    checks = []
    for layer, one in trained.items():
        for name in ("bin", "drop50"):
            ratio = one[name]["error"] / one["none"]["error"]
            if layer not in fixed:
                checks.append(Check(f"{layer}, {name}: {ratio:.2f} times; no fixed encoder", None))
                continue
            other = fixed[layer][name]["error"] / fixed[layer]["none"]["error"]
            checks.append(
                Check(f"{layer}, {name}: {ratio:.2f} times, fixed encoder {other:.2f} times", ratio > other)
            )
    return checks


def _least(rows: Rows) -> list[Check]:
    checks = []
    for layer, one in _perturbed(rows, autoencoder=False).items():
        least = one["bin-drop50least"]
        checks.append(is_less(least, one["bin-drop50"], f"{layer}, least dropped", "half dropped at random"))
        if layer in CONVOLUTIONS:
            checks.append(is_less(least, one["bin"], f"{layer}, least dropped", "binarised only"))
    return checks


def _brightness(rows: Rows) -> list[Check]:
    return [
        Check(
            f"pixels × {row['factor']:g}: features move by {row['feature_change']:.1e}, the reconstruction by "
            f"{row['change']:.4f} of the normaliser, error {row['error_unchanged']:.3f} to {row['error']:.3f}",
            row["change"] <= UNMOVED,
        )
        for row in rows.get("brightness", ())
        if row["representation"] == "hog"
    ]


RELATIONS = (
    Relation(
        "The error grows slowly from CONV1 to CONV5, jumps at FC6 to about twice, and FC7 and FC8 are only a little "
        "worse.",
        _growth,
        "decoders of two or more layers of one net",
    ),
    Relation(
        "Gradient inversion (Mahendran & Vedaldi) and the other rivals are much worse everywhere, also at low layers.",
        _rivals,
        "decoders of a net, of HOG or of SIFT",
    ),
    Relation(
        "Autoencoders are far better than decoders of a fixed net at high layers; the best one is CONV4's.",
        _autoencoders,
        "an autoencoder and a decoder of the same layer of a fixed net",
    ),
    Relation(
        "Dropping half of the features hurts more than binarising them, which hardly matters at FC6 and FC7.",
        _dropout,
        "decoders of layers of a net",
    ),
    Relation(
        "Autoencoders are very sensitive to both.",
        _sensitive,
        "an autoencoder and a decoder of the same layer of a fixed net",
    ),
    Relation(
        "Dropping the least half and binarising is far better than dropping any half and binarising, and for most "
        "layers even better than binarising alone.",
        _least,
        "decoders of layers of a net",
    ),
    Relation(
        "HOG's reconstruction barely changes when the picture is multiplied by 10 or 0.1.",
        _brightness,
        "a decoder of HOG",
    ),
)
