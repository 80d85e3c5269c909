"""The colour of an object, and which of the net's scores know it (CVPR 2016, section 5.3 and Figure 8).

A picture's hue is turned, within a mask where there is one. Its class scores are decoded whole, with only the five
largest kept, and with only those taken away; the net's prediction is the softmax of the scores so changed.
"""

import dataclasses
from pathlib import Path

import cv2
import numpy as np

from decoders.experiments.outcomes import Outcome, Sheet
from decoders.experiments.perturbations import keep_largest
from decoders.experiments.subjects import Subject
from decoders.images import to_batch


@dataclasses.dataclass(frozen=True)
class ColorSettings:
    """Three hues, as in the paper."""

    hue: tuple[float, ...] = dataclasses.field(
        default=(0.0, 120.0, 240.0), metadata={"help": "Degrees that the hue is turned by."}
    )
    top: int = dataclasses.field(default=5, metadata={"help": "How many of the largest scores."})
    mask: str = dataclasses.field(
        default="", metadata={"help": "A picture of the first one's size, white where the hue is turned."}
    )
    shown: int = dataclasses.field(default=2, metadata={"help": "How many pictures."})

    def __post_init__(self) -> None:
        if self.top < 0 or self.shown < 1 or not self.hue:
            raise ValueError(f"top is {self.top}, shown {self.shown}, hue {self.hue}; numbers are needed")


def unfit(subject: Subject) -> str:
    """Only class scores have part in it: the numbers that the net's Softmax takes."""
    if subject.pictures is None:
        return "it is about pictures, and the features came without"
    if subject.representation.net is None or subject.autoencoder:
        return "it is about the class scores of a net as it was published"
    return (
        ""
        if _takes_softmax(subject)
        else "it is about class scores, the numbers that the net's Softmax takes"
    )


def run(subject: Subject, settings: ColorSettings) -> Outcome:
    """A row for each picture, hue and kind of scores; a sheet a picture."""
    labels = _labels(subject)
    rows: list[dict[str, object]] = []
    sheets: list[Sheet] = []
    for name, picture in zip(subject.names, subject.shown(settings.shown), strict=False):
        mask = read_mask(settings.mask, picture) if settings.mask else None
        turned = [turn_hue(picture, degrees, mask) for degrees in settings.hue]
        scores = subject.representation.extract(to_batch(turned))
        largest = keep_largest(scores, settings.top)
        kinds = {
            "all": scores,
            f"only top {settings.top}": largest,
            f"all but top {settings.top}": scores - largest,
        }
        columns = [turned]
        for kind, features in kinds.items():
            columns.append(list(subject.reconstruct(features)))
            for degrees, guess in zip(settings.hue, softmax(features), strict=True):
                best = int(guess.argmax())
                about = {"picture": name, "hue": degrees, "scores": kind}
                found = {"class": best, "label": labels[best], "confidence": float(guess[best])}
                rows.append(subject.facts | about | found)
        captions = [f"hue + {degrees:g}°" for degrees in settings.hue]
        title = f"{name}: which class scores know its colour; decoded by {subject.name}"
        panels = list(zip(*columns, strict=True))
        stem = f"{subject.file_name}-color-{len(sheets) + 1}"
        sheets.append(Sheet(stem, title, captions, ("picture", *kinds), panels))
    return Outcome(rows, sheets)


def turn_hue(picture: np.ndarray, degrees: float, mask: np.ndarray | None = None) -> np.ndarray:
    """(H, W, 3) uint8 RGB with its hue turned, saturation and value (HSV) kept, where ``mask`` (H, W) bool is true."""
    hsv = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)  # hue in degrees
    hsv[..., 0] = np.mod(hsv[..., 0] + degrees, 360)
    turned = np.clip(np.rint(255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)), 0, 255).astype(np.uint8)
    return turned if mask is None else np.where(mask[..., None], turned, picture)


def read_mask(path: str, picture: np.ndarray) -> np.ndarray:
    """(H, W) bool, scaled to the picture; true where the file's red is over 127.

    Raises
    ------
    BadImage : if it cannot be read.
    """
    from caffe_port.pictures import decode_image
    from decoders.images import resize

    return resize(decode_image(Path(path).read_bytes(), path), *picture.shape[:2])[..., 0] > 127


def softmax(scores: np.ndarray) -> np.ndarray:
    """(N, classes) -> probabilities, float64."""
    powers = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _takes_softmax(subject: Subject) -> bool:
    from decoders.nets import find_net

    identity = subject.representation.net
    if identity is None:
        return False
    steps = find_net(identity.name)[0].net.plan.steps
    return any(
        step.layer.type.startswith("Softmax") and identity.blob in step.layer.bottoms for step in steps
    )


def _labels(subject: Subject) -> tuple[str, ...]:
    from decoders.nets import find_net

    identity, classes = subject.representation.net, subject.features.shape[1]
    labels = find_net(identity.name)[0].labels if identity else ()
    return labels if len(labels) == classes else tuple(f"class {number}" for number in range(classes))
