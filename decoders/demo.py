"""The demonstration: every decoder that ships, autoencoders among them, on a few pictures that may be redistributed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from caffe_port.pictures import list_images
from decoders.evaluation import Decode, evaluate, read_squares, reconstruct
from decoders.images import save_image, side_by_side, to_batch, to_pictures
from decoders.report.gallery import Picture, Row, Section, write_page
from decoders.representations import Representation

PICTURES = Path(__file__).parent / "pictures"


def demonstrate(
    model: str, decode: Decode, representation: Representation, card: Mapping[str, Any], out: Path
) -> Section:
    """Reconstruct the demonstration pictures; write ``out/<model>/<picture>.png``, three panels each.

    Returns
    -------
    The decoder's section of the gallery.
    """
    files = list_images([PICTURES])
    originals, _ = read_squares(files, representation.framing)
    decoded = np.concatenate([to_pictures(batch) for batch in reconstruct(decode, representation, originals)])
    portraits = representation.portray(representation.extract(to_batch(originals)))
    folder = out / model
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for file, original, portrait, picture in zip(files, originals, portraits, decoded, strict=True):
        name = Path(file.name).stem
        save_image(folder / f"{name}.png", side_by_side([original, portrait, picture]))
        panels = [
            Picture(original, "original"),
            Picture(portrait, f"its {model} features"),
            Picture(picture, "reconstruction"),
        ]
        rows.append(Row(name, panels))
    result = evaluate(decode, representation, originals)
    return Section(model, result.error, result.images, rows, _facts(card))


def _facts(card: Mapping[str, Any]) -> dict[str, Any]:
    training = card["training"]
    kind = "an autoencoder: the net was trained with the decoder, and the features are the trained net's"
    return ({"kind": kind} if card.get("autoencoder") else {}) | {
        "features": f"{card['preprocessing']}; {' × '.join(map(str, card['feature_shape']))}",
        "decoder": f"{card['decoder']['provenance']}; width {card['decoder']['width']}",
        "trained on": f"{training['pictures']} pictures, {training['step']} steps, {training['hours']} hours",
        "validation error": f"{training['val_error']:.4f} on {training['val_images']} pictures",
        "weights (SHA-256)": card["weights_sha256"],
    }


def write_gallery(sections: list[Section], out: Path) -> Path:
    """Write ``out/index.html`` and return its path."""
    page = out / "index.html"
    write_page(page, "What the features still know", sections)
    return page
