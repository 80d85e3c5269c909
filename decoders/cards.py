"""The card that every artefact carries: what made it."""

from typing import Any

from caffe_port.versions import versions
from decoders.config import TrainConfig
from decoders.evaluation import Evaluation
from decoders.representations import representation


def training_card(
    config: TrainConfig,
    *,
    step: int,
    seconds: float,
    pictures: int,
    origin: dict[str, Any],
    evaluation: Evaluation | None,
) -> dict[str, Any]:
    """Describe a trained decoder: representation, preprocessing, shapes, data, settings, versions and error.

    ``origin`` holds the fields of `checkpoints.Origin`.

    Returns
    -------
    A dict of JSON values.
    """
    features = representation(config.representation)
    return {
        "representation": features.name,
        "preprocessing": features.preprocessing,
        "feature_shape": list(features.shape),
        "image_size": list(features.image_size),
        "multiple": features.multiple,
        "output": "RGB, 0..255",
        "decoder": {
            "provenance": config.spec.provenance,
            "width": config.width,
            "table": config.spec.table(),
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
