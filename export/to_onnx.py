"""Write a torch module as one ONNX file that carries its card.

Nothing is written unless the file's outputs equal torch's: see `export.verify`.
"""

import base64
import contextlib
import hashlib
import io
import json
import logging
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
import torch

from caffe_port.files import replacing
from caffe_port.versions import versions
from decoders.model import Decoder
from export.graphs import GRAPHS, Graph
from export.rewrite import PRECISIONS
from export.session import ANSWERS_FIELD, CARD_FIELD
from export.verify import largest_difference


def export_decoder(
    decoder: Decoder, card: dict[str, Any], path: Path, *, precision: str = "fp32"
) -> dict[str, Any]:
    """Write a decoder as ``path``: features in, pictures (N, 3, H, W) float32 RGB 0..255 out.

    The batch is free, and so are height and width where the decoder is fully convolutional.

    Parameters
    ----------
    decoder : trained, on the CPU.
    card : what made it; an ``export`` entry is added.
    path : of the file; overwritten only by a whole and verified one.
    precision : ``fp32``, or ``fp16`` weights (computed with as float32).

    Returns
    -------
    The card as it stands in the file.

    Raises
    ------
    ValueError : if the precision is unknown, or the outputs differ from torch's by more than the precision allows.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; it must be one of {', '.join(PRECISIONS)}")
    graph = GRAPHS["decoder"]
    model = PRECISIONS[precision].rewrite(_trace(graph, decoder))
    card = card | {
        "feature_multiple": graph.feature_multiple(decoder),
        "weights_sha256": weights_hash(decoder),
        "export": {
            "precision": precision,
            "opset": graph.opset,
            "versions": versions(),
        },
    }
    with replacing(path) as file:
        answers = _answers(graph, decoder)
        _save(model, card, answers, file)
        difference = largest_difference(decoder, graph, Path(file.name))
        allowed = PRECISIONS[precision].tolerance
        if difference > allowed:
            raise ValueError(
                f"{path}: not written; its pictures differ from torch's by {difference:.3g} grey levels, "
                f"{precision} allows {allowed}"
            )
        card["export"] |= {"largest_difference": difference, "tolerance": allowed}
        _save(model, card, answers, file)
    return card


def _trace(graph: Graph, decoder: Decoder) -> onnx.ModelProto:
    """The module's graph as torch's exporter writes it, with the names and free axes of the row in `GRAPHS`."""
    module = graph.module(decoder)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.inference_mode(False):
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            module,
            (graph.example(decoder, batch=2),),
            dynamo=True,
            input_names=[graph.input],
            output_names=[graph.output],
            dynamic_shapes=graph.axes(decoder),
            opset_version=graph.opset,
            external_data=False,
            optimize=True,
        )
    return _without_traces(program.model_proto)


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the exporter's notes, which quote source lines and their paths on this machine."""
    graph = model.graph
    for part in (
        model,
        graph,
        *graph.node,
        *graph.initializer,
        *graph.input,
        *graph.output,
        *graph.value_info,
    ):
        del part.metadata_props[:]
        part.doc_string = ""
    return model


def _answers(graph: Graph, decoder: Decoder) -> dict[str, Any]:
    """Features and torch's pictures of them, to be asked again where the file runs; small where sizes are free."""
    features = graph.example(decoder, batch=1, seed=1).numpy()
    step = graph.feature_multiple(decoder)
    features = np.ascontiguousarray(features[:, :, :step, :step]) if step else features
    pictures = np.rint(decoder.decode_numpy(features)).astype(np.uint8).transpose(0, 2, 3, 1)
    return {
        name: {"shape": values.shape, "data": base64.b64encode(values.tobytes()).decode()}
        for name, values in (("features", features), ("pictures", pictures))
    }


def _save(model: onnx.ModelProto, card: dict[str, Any], answers: dict[str, Any], file: BinaryIO) -> None:
    fields = {CARD_FIELD: json.dumps(card, ensure_ascii=False), ANSWERS_FIELD: json.dumps(answers)}
    onnx.helper.set_model_props(model, fields)
    onnx.checker.check_model(model, full_check=True)
    file.seek(0)
    file.truncate()
    file.write(model.SerializeToString())
    file.flush()


def weights_hash(decoder: Decoder) -> str:
    """SHA-256 (hex) over the names and float32 bytes of the parameters, in their order."""
    digest = hashlib.sha256()
    for name, value in decoder.named_parameters():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
