"""Write a decoder, or a pipeline around it, as one ONNX file that carries its card, recorded answers and a seal.

The decoder of an autoencoder gets its encoder beside it, see `export.encoder_file`; a pipeline has it inside.

Nothing is written unless the file's outputs equal torch's and its reconstruction error is torch's, within limits: see
`export.verify`.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx

from caffe_port.files import replacing
from caffe_port.versions import versions
from decoders.model import Decoder
from decoders.representations import Representation
from export.byte_graph import Ranges, ranges_of
from export.card import ANSWERS_FIELD, CARD_FIELD, write_answers
from export.decoder_graph import upconvolution_forms
from export.encoder_file import write_encoder
from export.graphs import GRAPHS, Graph, Subject
from export.model_file import MAX_FILE_BYTES, sealed
from export.precision import PRECISIONS
from export.verify import compare, reconstruction_cost
from export.writer import OPSET

_ANSWERS = 2  # recorded pictures


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """How a file is written.

    Attributes
    ----------
    precision : a name in `PRECISIONS`.
    kind : a name in `GRAPHS`: ``decoder``, or ``pipeline`` from photographs to pictures.
    form : a name in `upconvolution.FORMS` for all up-convolutions; by default each gets the fastest.
    max_extra_error : by how much the normalised reconstruction error may exceed torch's, relative to it.
    """

    precision: str = "fp32"
    kind: str = "decoder"
    form: str = ""
    max_extra_error: float = 0.005

    def __post_init__(self) -> None:
        for name, value, table in (("precision", self.precision, PRECISIONS), ("kind", self.kind, GRAPHS)):
            if value not in table:
                raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(table)}")
        if self.form and PRECISIONS[self.precision].static:
            raise ValueError(f"form is {self.form!r}; {self.precision} has no choice of forms")
        if not self.max_extra_error >= 0:
            raise ValueError(f"max_extra_error is {self.max_extra_error}; it must be at least 0")


def export_decoder(
    decoder: Decoder,
    representation: Representation,
    card: dict[str, Any],
    path: Path,
    *,
    calibration: Sequence[np.ndarray],
    options: ExportOptions = ExportOptions(),
) -> dict[str, Any]:
    """Write a decoder as ``path``.

    It takes ``features`` (or ``photographs``) and gives ``images`` (N, H, W, 3) uint8 and ``pictures`` (N, 3, H, W)
    float32, RGB 0..255. The batch is free, and so are height and width where the decoder is fully convolutional.

    Parameters
    ----------
    decoder : trained, on the CPU.
    representation : what it inverts.
    card : what made it; entries that the session needs, and ``export``, are added.
    path : of the file; overwritten only by a whole and verified one, and so is an autoencoder's encoder beside it.
    calibration : at least two photographs (H, W, 3) uint8 RGB of any size: the reconstruction error is measured on
        them. Static precisions take their ranges from every second one.

    Returns
    -------
    The card as it stands in the file.

    Raises
    ------
    ValueError : if the precision does not suit, there is no such pipeline, or the outputs or the reconstruction error
        differ from torch's by more than is allowed.
    """
    graph, precision = GRAPHS[options.kind], PRECISIONS[options.precision]
    subject = Subject(decoder, representation, options.form)
    if precision.static:
        subject = dataclasses.replace(subject, ranges=_ranges(subject, calibration))
    model = precision.rewrite(graph.write(subject))
    onnx.checker.check_model(model, full_check=True)
    answers = _answers(graph, subject)
    card = card | graph.facts(subject) | {"kind": options.kind, "weights_sha256": weights_hash(decoder)}
    is_pair = options.kind == "decoder" and bool(card.get("autoencoder"))
    precision_text = options.precision + (" with an fp16 encoder" if is_pair else "")
    card["export"] = {
        "precision": options.precision,
        "opset": OPSET,
        "upconvolutions": upconvolution_forms(decoder, options.form),
        "versions": versions(),
    }
    beside = write_encoder(path, representation, card) if is_pair else nullcontext((representation, card))
    with replacing(path) as file, beside as (stored, card):
        save(model, card, answers, file, path)
        written = Path(file.name)
        try:
            comparison = compare(written, graph, subject, precision.tolerance)
            cost = reconstruction_cost(
                written, graph, subject, dataclasses.replace(subject, representation=stored), calibration
            )
        except ValueError as error:
            raise ValueError(f"{path}: not written; {str(error).removeprefix(f'{written}: ')}") from error
        if cost["extra_error"] > options.max_extra_error:
            raise ValueError(
                f"{path}: not written; {precision_text} raises the reconstruction error on {cost['pictures']} "
                f"pictures from {cost['torch_error']:.4f} to {cost['error']:.4f}, by "
                f"{100 * cost['extra_error']:.2g} %; --max-extra-error allows {100 * options.max_extra_error:g} %"
            )
        card["export"] |= {**comparison, "tolerance": precision.tolerance, "calibration": cost}
        save(model, card, answers, file, path)
    return card


def _ranges(subject: Subject, calibration: Sequence[np.ndarray]) -> Ranges:
    return ranges_of(subject.decoder, GRAPHS["decoder"].inputs(subject, calibration[::2]))


def _answers(graph: Graph, subject: Subject) -> str:
    """Inputs and torch's pictures of them, to be asked again where the file runs: of the smallest size there is."""
    inputs = graph.examples(subject, _ANSWERS, 1)[0]
    images = np.rint(graph.reference(subject, inputs)).astype(np.uint8).transpose(0, 2, 3, 1)
    return write_answers({graph.takes: inputs, "images": images})


def save(model: onnx.ModelProto, card: dict[str, Any], answers: str, file: BinaryIO, path: Path) -> None:
    fields = {CARD_FIELD: json.dumps(card, ensure_ascii=False), ANSWERS_FIELD: answers}
    onnx.helper.set_model_props(model, fields)
    if model.ByteSize() > MAX_FILE_BYTES - 1024:
        raise ValueError(f"{path}: not written; {model.ByteSize()} bytes, and an ONNX file has at most 2 GiB")
    file.seek(0)
    file.truncate()
    file.write(sealed(model.SerializeToString()))
    file.flush()


def weights_hash(decoder: Decoder) -> str:
    """SHA-256 (hex) over the names and float32 bytes of the parameters, in their order."""
    digest = hashlib.sha256()
    for name, value in decoder.named_parameters():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
