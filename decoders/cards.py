"""The card that every artefact carries: what made it."""

import importlib.metadata
import platform
from typing import Any

from decoders.config import TrainConfig
from decoders.evaluation import Evaluation
from decoders.representations import representation


def training_card(
    config: TrainConfig,
    *,
    step: int,
    seconds: float,
    pictures: int,
    data_hash: str,
    evaluation: Evaluation | None,
) -> dict[str, Any]:
    """Describe a trained decoder: representation, preprocessing, shapes, data, settings, versions and error.

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
            "data_hash": data_hash,
            "val_error": evaluation and evaluation.error,
            "val_images": evaluation and evaluation.images,
        },
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    packages = ("caffe-port", "torch", "numpy", "numba", "opencv-python-headless")
    installed = {
        distribution.name.lower(): distribution.version for distribution in importlib.metadata.distributions()
    }
    return {"python": platform.python_version()} | {
        name: installed[name] for name in packages if name in installed
    }
