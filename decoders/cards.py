"""The card that every artefact carries: what made it."""

import dataclasses
from typing import Any

from caffe_port.versions import versions
from decoders.config import TrainConfig
from decoders.evaluation import Evaluation
from decoders.representations import Representation
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
