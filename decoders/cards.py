"""The card that every artefact carries: what made it; and the features that a card's decoder inverts."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caffe_port.versions import versions
from decoders.config import TrainConfig
from decoders.encoder_files import find_encoder
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

    An autoencoder's features are those of the encoder beside its file; see `encoder_files`.

    Parameters
    ----------
    source : the decoder's file.
    net : where the net is, if no longer where it was. An autoencoder needs it no more; it must be the right one still.

    Raises
    ------
    FileNotFoundError, ValueError : if there is no such net or encoder, or it is damaged or another one.
    """
    recorded = card.get("net")
    if card.get("autoencoder"):
        return _of_autoencoder(card, Path(source), net)
    features = representation(card["representation"], net or (recorded["name"] if recorded else ""))
    if features.net is not None:
        features.net.check(recorded or {}, source)
    return features


def _of_autoencoder(card: Mapping[str, Any], source: Path, net: str) -> Representation:
    from caffe_port.converted import read_converted
    from decoders.net_representation import represent
    from decoders.nets import NetIdentity, find_net

    path = find_encoder(card, source)
    began_with = NetIdentity.of_card(card, str(source))
    if net:
        given = dataclasses.replace(began_with, name=net, sha256=find_net(net)[1])
        given.check(card["net"], str(source))
    return represent(card["representation"], read_converted(path), began_with)
