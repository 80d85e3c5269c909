"""The report as one self-contained HTML page, with its figures as JSON and CSV beside it."""

import base64
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np

from caffe_port.files import write_text
from caffe_port.pictures import ImageFile
from caffe_port.versions import versions
from decoders.experiments.outcomes import Row, Sheet, as_csv, join
from decoders.experiments.table import EXPERIMENTS, Experiment
from decoders.images import data_hash, resize
from decoders.report.charts import as_svg
from decoders.report.commands import Typed, experiment_command, report_command
from decoders.report.making import Made, ReportModel, ReportSettings
from decoders.report.paper import ORDER, TRAINING, beside
from decoders.report.relations import Finding, findings

PANEL = 160  # pixels a side at most, of a picture on the page
QUALITY = 88


@dataclasses.dataclass(frozen=True)
class Section:
    """One experiment on the page: its curves as (title, SVG), its sheets, what has no part and why, and the command."""

    experiment: Experiment
    charts: Sequence[tuple[str, str]]
    sheets: Sequence[Sheet]
    left_out: Sequence[str]
    command: str
    keys: Sequence[str]


def write_report(
    made: Sequence[Made], files: Sequence[ImageFile], settings: ReportSettings, typed: Typed, out: Path
) -> tuple[Path, list[Finding]]:
    """Write ``index.html``, ``report.json`` and ``report.csv`` into a folder.

    Returns
    -------
    page : the path of the HTML file.
    found : the seven relations with their verdicts.

    Raises
    ------
    ValueError : if matplotlib is not installed.
    OSError : if a file cannot be written.
    """
    rows = {name: _rows(made, name) for name in EXPERIMENTS}
    found = findings(rows)
    sections = [_section(row, made, typed) for row in EXPERIMENTS.values()]
    models = list({one.model.name: one.model for one in made}.values())
    facts: dict[str, Any] = {
        "command": report_command(typed, settings),
        "seed": settings.seed,
        "quick": settings.quick,
        "pictures": len(files),
        "pictures_sha256": data_hash(files),
        "versions": versions(),
        "models": [_model_facts(model) for model in models],
    }
    write_text(out / "report.json", json.dumps(facts | _figures(rows, found), indent=1) + "\n")
    write_text(
        out / "report.csv", as_csv([{"experiment": name} | dict(row) for name in rows for row in rows[name]])
    )
    page = out / "index.html"
    text = _environment().get_template("report.html")
    write_text(
        page,
        text.render(
            title="Inverting visual representations: the paper with our numbers",
            facts=facts,
            table=error_table(rows),
            findings=found,
            sections=sections,
            missing=missing(models),
            training=TRAINING,
            ours=ours(facts["models"]),
        ),
    )
    return page, found


def error_table(rows: dict[str, list[Row]]) -> list[dict[str, Any]]:
    """Table 2 and the numbers of Figure 7: a line a representation and method, ours beside the paper's."""
    ours = [dict(row) | {"method": "decoder"} for row in rows["errors"]]
    theirs = [dict(row) for row in rows["rivals"] if row["method"] != "decoder"]
    lines = []
    for row in sorted(ours + theirs, key=lambda row: _place(str(row["representation"]))):
        is_own_net = bool(row["autoencoder"])
        number, where = (None, "") if is_own_net else beside(row["representation"], row["method"])
        method = "autoencoder" if is_own_net else row["method"]
        lines.append(row | {"method": method, "paper": number, "where": where})
    return lines


def missing(models: Sequence[ReportModel]) -> list[str]:
    """What the paper has and this report has not, with the command that makes it."""
    fixed, trained = (
        {model.representation.name for model in models if bool(model.card.get("autoencoder")) is kind}
        for kind in (False, True)
    )
    nets = [model.representation.net.name for model in models if model.representation.net is not None]
    net = nets[0] if nets else "caffenet-mini"
    absent = []
    for name in ORDER:
        option = f" --net {net}" if name.startswith(("conv", "fc")) else ""
        if name not in fixed:
            absent.append(f"a decoder of {name}: decoders train {name}{option} --images SRC --out RUN")
        if option and name not in trained:
            absent.append(
                f"an autoencoder of {name}: decoders train {name}{option} --autoencoder --images SRC --out RUN"
            )
    return absent


def _place(name: str) -> int:
    return ORDER.index(name) if name in ORDER else len(ORDER)


def _rows(made: Sequence[Made], name: str) -> list[Row]:
    return list(join([one.part.outcome for one in made if one.experiment.name == name]).rows)


def _section(experiment: Experiment, made: Sequence[Made], typed: Typed) -> Section:
    own = [one for one in made if one.experiment.name == experiment.name]
    took_part = [one for one in own if not one.part.reason]
    outcome = join([one.part.outcome for one in own])
    names = [one.model.name for one in took_part]
    return Section(
        experiment,
        [(chart.title, as_svg(chart)) for chart in experiment.charts(outcome.rows)] if outcome.rows else [],
        outcome.sheets,
        [f"{one.model.name}: {one.part.reason}" for one in own if one.part.reason],
        experiment_command(experiment, own[0].settings, names, typed),
        [one.part.key for one in took_part],
    )


def ours(models: Sequence[dict[str, Any]]) -> str:
    """One sentence on how the models were trained, where their cards say so."""
    spans = []
    for key, text in (("steps", "{} steps"), ("pictures", "{} pictures"), ("width", "{} of the width")):
        values = sorted({model[key] for model in models if model[key] is not None})
        if values:
            ends = dict.fromkeys(f"{value:,}" for value in (values[0], values[-1]))
            spans.append(text.format(" to ".join(ends)))
    return f"Ours had {', '.join(spans)}." if spans else "Ours are listed under “Models”."


def _model_facts(model: ReportModel) -> dict[str, Any]:
    training, net = model.card.get("training", {}), model.representation.net
    return {
        "model": model.name,
        "representation": model.representation.name,
        "autoencoder": bool(model.card.get("autoencoder")),
        "net": net and net.name,
        "net_sha256": net and net.sha256,
        "image_size": list(model.representation.image_size),
        "steps": training.get("step"),
        "pictures": training.get("pictures"),
        "hours": training.get("hours"),
        "width": model.card.get("decoder", {}).get("width"),
        "sha256": model.sha256,
    }


def _figures(rows: dict[str, list[Row]], found: Sequence[Finding]) -> dict[str, Any]:
    return {
        "relations": [dataclasses.asdict(one) for one in found],
        "experiments": {name: [dict(row) for row in own] for name, own in rows.items()},
    }


def inlined(panel: np.ndarray) -> str:
    """(H, W, 3) uint8 RGB as the base64 text of a WebP file, at most `PANEL` pixels a side."""
    height, width = panel.shape[:2]
    scale = min(1.0, PANEL / max(height, width))
    small = resize(panel, max(1, round(height * scale)), max(1, round(width * scale))) if scale < 1 else panel
    _, data = cv2.imencode(
        ".webp", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, QUALITY]
    )
    return base64.b64encode(data.tobytes()).decode()


def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["inlined"] = inlined
    return environment
