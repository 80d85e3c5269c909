"""The gallery: one self-contained HTML page of pictures, features and reconstructions."""

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np

from caffe_port.files import write_text


@dataclasses.dataclass(frozen=True)
class Picture:
    """One picture of the page: (H, W, 3) uint8 RGB under a caption."""

    pixels: np.ndarray
    caption: str

    @property
    def data(self) -> str:
        """The PNG file, base64."""
        _, encoded = cv2.imencode(".png", cv2.cvtColor(self.pixels, cv2.COLOR_RGB2BGR))
        return base64.b64encode(encoded.tobytes()).decode()


@dataclasses.dataclass(frozen=True)
class Row:
    """One picture's line: original, features, reconstruction."""

    name: str
    pictures: Sequence[Picture]


@dataclasses.dataclass(frozen=True)
class Section:
    """One decoder: its error over ``images`` pictures, its rows, and facts from its card."""

    name: str
    error: float
    images: int
    rows: Sequence[Row]
    facts: Mapping[str, Any]


def write_page(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write the page, whole or not at all; it refers to no other file and no network."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    write_text(path, environment.get_template("gallery.html").render(title=title, models=sections))
