"""Write the encoder of an autoencoder: its fine-tuned net, cut behind its blob, as `caffe_port convert` writes nets.

Parameters are stored as float16 and computed with in float32, as everything else is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caffe_port.converted import Converted, read_converted, write_open
from caffe_port.files import replacing
from caffe_port.net import CaffeNet
from caffe_port.versions import versions
from decoders.encoder_files import FIELD, encoder_path, entry
from decoders.net_representation import represent
from decoders.nets import NetIdentity
from decoders.representations import Representation


@contextmanager
def write_encoder(
    decoder: Path, representation: Representation, card: dict[str, Any]
) -> Iterator[tuple[Representation, dict[str, Any]]]:
    """Write the encoder beside the file of its decoder; it takes its place when the block ends well.

    Parameters
    ----------
    decoder : the ``.onnx`` file.
    representation : with the fine-tuned encoder.
    card : of the decoder.

    Yields
    ------
    stored : the representation as the written file computes it.
    card : the card with the file's name and SHA-256.

    Raises
    ------
    ConversionError : if float16 does not hold a parameter.
    OSError : if the file cannot be written.
    """
    encoder = representation.encoder
    assert encoder is not None  # which an autoencoder has
    path = encoder_path(decoder)
    converted = Converted(encoder.net, encoder.recipe, origin=_origin(encoder.net, card))
    with replacing(path) as file:
        write_open(file, converted, path, half=True)
        file.flush()
        written = Path(file.name)
        stored = represent(
            representation.name, read_converted(written), NetIdentity.of_card(card, str(decoder))
        )
        yield stored, card | {FIELD: entry(written, path.name) | {"precision": "fp16"}}


def _origin(net: CaffeNet, card: dict[str, Any]) -> dict[str, Any]:
    """Where the numbers come from, in the form of `caffe_port convert`."""
    began_with = card["net"]
    return {
        "sources": {"net": {"name": Path(began_with["name"]).name, "sha256": began_with["sha256"]}},
        "definition": f"the net's up to blob {began_with['blob']}; trained further, with a decoder, as an autoencoder",
        "parameters": {
            "loaded": [place.key for place in net.places() if place.spec.stored],
            "filled": [],
            "ignored_layers": [],
        },
        "training": card["training"],
        "versions": versions(),
    }
