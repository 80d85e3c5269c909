"""Curves as SVG, drawn by matplotlib: without ground, and in the colour of the text around them, light or dark."""

import io
import math
import re
from typing import Any

from decoders.experiments.outcomes import Chart, Line
from decoders.extras import need

COLOURS = ("#3b7dd8", "#d9661f", "#2f9e5c", "#b04fc4", "#c9a21a", "#d64562", "#2aa7a7", "#8a8f98")
_MARKERS = "osD^vPX*"
MOST_LABELS = 12  # along an axis
_INK = "#010203"  # stands for the colour of the text until the file is written
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "caffe-port",
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def as_svg(chart: Chart) -> str:
    """The chart as one ``<svg>`` element that needs no other file.

    Raises
    ------
    ValueError : if matplotlib is not installed.
    """
    matplotlib = need("matplotlib", "report")
    figure_type = need("matplotlib.figure", "report").Figure
    with matplotlib.rc_context(_STYLE):
        figure = figure_type(figsize=(7.2, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for i, line in enumerate(chart.lines):
            _draw(axes, line, i, chart)
        apart = math.ceil(len(chart.places) / MOST_LABELS)
        axes.set_xticks(range(0, len(chart.places), apart), chart.places[::apart])
        axes.set_xlim(-0.5, len(chart.places) - 0.5)
        axes.set_ylim(bottom=0)
        axes.set_ylabel(chart.ylabel)
        axes.grid(axis="y", alpha=0.25, color=_INK)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return _for_pages(text.getvalue(), chart)


def _draw(axes: Any, line: Line, place: int, chart: Chart) -> None:
    count = len(chart.lines)
    shift = 0.12 * (place - (count - 1) / 2) / max(1, count / 4)
    known = [(i, value) for i, value in enumerate(line.values) if value is not None]
    x, y = [i + shift for i, _ in known], [value for _, value in known]
    bars = None
    if line.low and line.high:
        bounds = [(line.low[i], value, line.high[i]) for i, value in known]
        known_bounds = [
            (value - low, high - value) for low, value, high in bounds if low is not None and high is not None
        ]
        bars = list(zip(*known_bounds, strict=True)) if len(known_bounds) == len(known) else None
    colour, marker = COLOURS[place % len(COLOURS)], _MARKERS[place % len(_MARKERS)]
    axes.errorbar(x, y, yerr=bars, color=colour, fmt=marker, capsize=2, elinewidth=1.4, label=line.name)
    joined = [(a, b) for a, b, (i, _) in zip(x, y, known, strict=True) if chart.places[i] in chart.joined]
    axes.plot([a for a, _ in joined], [b for _, b in joined], color=colour, linewidth=1.4)


def _for_pages(svg: str, chart: Chart) -> str:
    element = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', "", element, count=1)
    numbers = "; ".join(
        f"{line.name}: "
        + ", ".join(
            f"{place} {value:.3f}"
            for place, value in zip(chart.places, line.values, strict=True)
            if value is not None
        )
        for line in chart.lines
    )
    label = f"{chart.title}. {numbers}".replace("&", "and").replace('"', "'").replace("<", "less than ")
    prefix = re.sub(r"\W", "-", chart.name)
    element = re.sub(r'((?:\bid="|"#|url\(#))', rf"\g<1>{prefix}-", element)  # several in one page
    return element.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
