"""The files of an experiment: figures as JSON and CSV, sheets as PNG, curves as SVG, animations as WebP."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from caffe_port.files import replacing, write_text
from decoders.experiments.outcomes import Chart, Outcome, as_csv
from decoders.images import save_image

FRAME_MS = 200


def write_outcome(out: Path, name: str, outcome: Outcome, charts: Sequence[Chart]) -> list[Path]:
    """Write everything into a folder, which is made.

    Raises
    ------
    OSError : if it cannot be written.
    ValueError : if there are curves and matplotlib is not installed.
    """
    from decoders.report.charts import as_svg

    out.mkdir(parents=True, exist_ok=True)
    written = [out / f"{name}.json", out / f"{name}.csv"]
    write_text(written[0], json.dumps(list(outcome.rows), indent=1) + "\n")
    write_text(written[1], as_csv(outcome.rows))
    for sheet in outcome.sheets:
        written.append(out / f"{sheet.name}.png")
        save_image(written[-1], sheet.joined())
        if sheet.frames:
            written.append(out / f"{sheet.name}.webp")
            with replacing(written[-1]) as file:
                file.write(animation([row[1:-1] for row in sheet.panels]))
    for chart in charts:
        written.append(out / f"{chart.name}.svg")
        write_text(written[-1], as_svg(chart).replace("<svg", '<svg color="#222"', 1))
    return written


def animation(rows: Sequence[Sequence[np.ndarray]]) -> bytes:
    """Rows of frames, one below the other, as one animated WebP that goes there and back."""
    frames = [np.concatenate(frame, axis=0) for frame in zip(*rows, strict=True)]
    film = cv2.Animation()
    film.frames = [cv2.cvtColor(frame, cv2.COLOR_RGB2BGR) for frame in (*frames, *frames[-2:0:-1])]
    film.durations = [FRAME_MS] * len(film.frames)
    written, data = cv2.imencodeanimation(".webp", film)
    if not written:
        raise ValueError("OpenCV cannot write animated WebP; version 4.12 or later can")
    return data.tobytes()
