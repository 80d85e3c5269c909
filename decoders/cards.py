"""The card that every artefact carries: what made it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from caffe_port.versions import versions
from decoders.config import TrainConfig
from decoders.evaluation import Evaluation
from decoders.representations import Representation, representation
from decoders.rows import DecoderSpec


def training_card(
    config: TrainConfig,
    features: Representation,
    spec: DecoderSpec,
    *,
    step: int,
    seconds: float,
    pictures: int,
    origin: dict[str, Any],
    evaluation: Evaluation | None,
) -> dict[str, Any]:
    """Describe a trained decoder: representation, preprocessing, shapes, data, settings, versions and error.

    ``origin`` says what the run was made from: ``data_hash``, ``started_from``.

    Returns
    -------
    A dict of JSON values.
    """
    return {
        "representation": features.name,
        "net": features.net and dataclasses.asdict(features.net),
        "autoencoder": config.autoencoder,
        "preprocessing": features.preprocessing,
        "feature_shape": list(features.shape),
        "image_size": list(features.image_size),
        "multiple": features.multiple,
        "output": "RGB, 0..255",
        "decoder": {
            "provenance": spec.provenance,
            "width": spec.width,
            "feature_scale": spec.feature_scale,
            "table": spec.table(),
        },
        "training": {
            "config": config.as_json(),
            "step": step,
            "hours": round(seconds / 3600, 3),
            "pictures": pictures,
            **origin,
            "val_error": evaluation and evaluation.error,
            "val_images": evaluation and evaluation.images,
        },
        "versions": versions(),
    }


def representation_of(card: Mapping[str, Any], source: str, net: str = "") -> Representation:
    """What a card's decoder inverts, its net opened and compared with the one that it was trained on.

    Parameters
    ----------
    source : the decoder's file, for errors.
    net : where the net is, if no longer where it was.

    Raises
    ------
    FileNotFoundError, ValueError : if there is no such net, it is another one, or the decoder is an autoencoder's,
        whose encoder is no net that there is.
    """
    if card.get("autoencoder"):
        raise ValueError(f"{source}: the decoder of an autoencoder, without its encoder; use its run folder")
    recorded = card.get("net")
    features = representation(card["representation"], net or (recorded["name"] if recorded else ""))
    if features.net is not None:
        features.net.check(recorded or {}, source)
    return features
