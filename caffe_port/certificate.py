"""The certificate: what `verify` found, as JSON and as one self-contained page beside the converted file."""

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from caffe_port.arrays import Arrays
from caffe_port.convert import sha256
from caffe_port.converted import Converted
from caffe_port.errors import ConversionError
from caffe_port.files import write_text
from caffe_port.opening import open_net, weights_file
from caffe_port.shapes import show
from caffe_port.spec import listed
from caffe_port.verify import MEASURE, BlobCheck, Verdict, random_input, verify
from caffe_port.versions import versions

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Certificate of {{ c.net.file }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .2em .6em; border-bottom: 1px solid #ddd; overflow-wrap: break-word }
h1, h2 { overflow-wrap: anywhere } h2 { font-size: 1.1em }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.off { background: #fdd } .verdict { font-size: 1.3em; font-weight: bold }
code { overflow-wrap: anywhere; font-size: .9em }
</style>
<h1>Certificate of {{ c.net.file }}</h1>
<p class="verdict">{{ "Passed" if c.passed else "Failed" }}
{%- if c.first_off %}: the first layer that is off is {{ c.first_off }}{% endif %}</p>
<p>Net {{ c.net.name or "without a name" }}; SHA-256 <code>{{ c.net.sha256 }}</code>; made {{ c.time }}.</p>
<table>
{% for kind, source in c.net.origin.get("sources", {}).items() -%}
<tr><th>{{ kind }}<td>{{ source.name }}<td><code>{{ source.sha256 }}</code>
{% endfor -%}
{% if c.net.filled -%}
<tr class="off"><th>filled<td colspan="2">{{ c.net.filled|join(", ") }}: no file gave these parameters
{% endif -%}
<tr><th>input<td>{{ c.input.name }}<td><code>{{ c.input.sha256 or "" }}</code>
</table>
{% for judge in c.judges %}
<h2>{{ judge.judge }}{% if not judge.decides %} (a second opinion, which does not decide){% endif %}</h2>
<p>{% if judge.note %}{{ judge.note }}.{% else %}{{ judge.blobs|length }} blobs compared,
{{ judge.off|length }} off. Allowed is {{ judge.rtol }}: {{ c.measure }}.{% endif %}
{% if judge.not_compared %}Not compared: {{ judge.not_compared|join(", ") }}.{% endif %}</p>
<table><tr><th>blob<th>written by<th>shape<th>difference<th>largest magnitude
{% for blob in judge.blobs -%}
<tr{% if blob.blob in judge.off %} class="off"{% endif %}>
<td>{{ blob.blob }}<td>{{ blob.layers|join(", then ") }}
<td>{{ blob.shape }}<td class="n">{{ blob.difference }}<td class="n">{{ blob.largest }}
{% endfor -%}
</table>
{% endfor %}
<p>{% for name, version in c.versions.items() %}{{ name }} {{ version }}{{ ", " if not loop.last }}
{%- endfor %}</p>
</html>
"""


def certificate(
    path: str | os.PathLike[str],
    converted: Converted,
    verdicts: Sequence[Verdict],
    *,
    input_name: str,
    input_sha256: str | None,
    time: str,
) -> dict[str, Any]:
    """Put together what was found.

    Parameters
    ----------
    path : str or path-like
        The converted file.
    converted : Converted
    verdicts : sequence of Verdict
    input_name, input_sha256 : str
        What the net was fed.
    time : str
        When, for the reader.

    Returns
    -------
    dict
        Ready for JSON; `passed` is whether every judge that decides found nothing off, `first_off` names the
        first layer (in the order in which they run) that is.
    """
    off = [check for verdict in verdicts if verdict.decides for check in verdict.off]
    return {
        "format": "caffe_port certificate 1",
        "passed": not off,
        "first_off": first_off(off),
        "net": {
            "file": Path(path).name,
            "sha256": sha256(weights_file(path)),
            "name": converted.net.spec.name,
            "filled": converted.origin.get("parameters", {}).get("filled", []),
            "origin": converted.origin,
        },
        "input": {"name": input_name, "sha256": input_sha256},
        "measure": MEASURE,
        "judges": [_judge(verdict) for verdict in verdicts],
        "versions": versions(),
        "time": time,
    }


def first_off(off: Sequence[BlobCheck]) -> str | None:
    """The layer whose blob is the first that differs; several where they write one memory in place."""
    if not off:
        return None
    return f"{', then '.join(off[0].layers)} (blob {off[0].blob!r})"


def _number(value: float) -> float | str:
    """JSON has no infinity."""
    return value if math.isfinite(value) else str(value)


def _judge(verdict: Verdict) -> dict[str, Any]:
    worst = verdict.worst
    return {
        "judge": verdict.judge,
        "decides": verdict.decides,
        "rtol": verdict.rtol,
        "worst": worst and {"blob": worst.blob, "difference": _number(worst.difference)},
        "off": [check.blob for check in verdict.off],
        "not_compared": verdict.not_compared,
        "note": verdict.note,
        "blobs": [
            {
                "blob": check.blob,
                "layers": check.layers,
                "shape": check.shape,
                "difference": _number(check.difference),
                "largest": _number(check.largest),
                "note": check.note,
            }
            for check in verdict.blobs
        ],
    }


def write_certificate(path: Path, contents: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write `<path>.certificate.json` and `.html`, each whole or not at all; returns both paths."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    shown = json.loads(json.dumps(contents))
    for judge in shown["judges"]:
        for blob in judge["blobs"]:
            blob["shape"] = show(blob["shape"])
            blob["difference"] = _shown(blob["difference"]) + (f" ({blob['note']})" if blob["note"] else "")
            blob["largest"] = _shown(blob["largest"])
    page = environment.from_string(PAGE).render(c=shown)
    paths = path.with_suffix(".certificate.json"), path.with_suffix(".certificate.html")
    for target, text in zip(paths, (json.dumps(contents, indent=1) + "\n", page), strict=True):
        write_text(target, text)
    return paths


def check_file(
    net: str | os.PathLike[str],
    inputs: Path | None,
    against: Path | None,
    *,
    rtol: float,
    seed: int,
    time: str,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[dict[str, Any], tuple[Path, ...]]:
    """Verify a net and write its certificate beside it; a net that ships has no file, so no certificate.

    Parameters
    ----------
    net : str or path-like
        See `opening.open_net`.
    inputs, against : Path or None
        .npz files; without `inputs` a random picture from `seed`.
    rtol, progress
        See `verify`.
    time : str
        When, for the reader.

    Returns
    -------
    contents : dict
        See `certificate`.
    paths : tuple of Path
        What was written.

    Raises
    ------
    ConversionError, OSError
        As `open_net`, `Arrays`, `verify`; or `against` without `inputs`.
    """
    if against is not None and inputs is None:
        raise ConversionError(f"{against}: which input gave these blobs? name it with --input")
    converted = open_net(net)
    given = random_input(converted, seed) if inputs is None else dict(Arrays(inputs))
    judge = "" if against is None else f"Caffe's arrays, {against.name}, SHA-256 {sha256(against)}"
    expected = None if against is None else Arrays(against)
    verdicts = verify(converted, given, against=expected, judge=judge, rtol=rtol, progress=progress)
    name = f"a random picture, seed {seed}" if inputs is None else inputs.name
    digest = None if inputs is None else sha256(inputs)
    contents = certificate(net, converted, verdicts, input_name=name, input_sha256=digest, time=time)
    return contents, write_certificate(Path(net), contents) if Path(net).exists() else ()


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"


def as_text(contents: Mapping[str, Any]) -> str:
    """The certificate in columns, for reading."""
    filled = contents["net"]["filled"]
    lines = [f"no file gave these parameters, they are filled: {listed(filled)}"] if filled else []
    for judge in contents["judges"]:
        name = judge["judge"] + ("" if judge["decides"] else " (does not decide)")
        lines.append(f"{name}: {judge['note']}" if judge["note"] else f"{name}, allowed {judge['rtol']:g}:")
        width = max((len(blob["blob"]) for blob in judge["blobs"]), default=0)
        for blob in judge["blobs"]:
            mark = f"  OFF  {', then '.join(blob['layers'])}" if blob["blob"] in judge["off"] else ""
            note = f"  {blob['note']}" if blob["note"] else ""
            lines.append(f"  {blob['blob']:{width}}  {_shown(blob['difference']):>9}{mark}{note}")
        if judge["not_compared"]:
            lines.append(f"  not compared: {', '.join(judge['not_compared'])}")
    if contents["passed"]:
        lines.append(f"passed ({contents['measure']})")
    else:
        lines.append(f"FAILED: the first layer that is off is {contents['first_off']}")
    return "\n".join(lines)
