"""Write the page: HTML, style and scripts as they lie beside this file, and all data as scripts.

Data, the runtime and the models, are gzipped, in base64, in files ``data/NAME.js`` that say ``deliver(NAME, TEXT)``:
browsers load scripts from a folder that is merely opened, where they refuse to fetch data or modules.
"""

import base64
import dataclasses
import gzip
import json
import mimetypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from caffe_port.files import replacing, write_text
from caffe_port.pictures import ImageFile
from decoders.representations import Representation
from export.web.encoders import encoder_name, write_encoder
from export.web.runtime import VERSION

_FOLDER = Path(__file__).parent
_SCRIPTS = ("perturbations.js", "pictures.js", "engine.js", "page.js", "page.css")
_RUNTIME_SCRIPT = "ort.wasm.min.js"  # a plain script; the other files of the runtime are data
_PAPER_ORDER = ("hog", "lbp", "sift", "conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")


@dataclasses.dataclass(frozen=True)
class WebModel:
    """A decoder for the page.

    Attributes
    ----------
    name : as `decoders list` has it, e.g. ``caffenet-mini/fc6``.
    path : its ``.onnx`` file.
    representation : what it inverts.
    card : of the file.
    """

    name: str
    path: Path
    representation: Representation
    card: Mapping[str, Any]


def write_site(
    models: Sequence[WebModel], pictures: Sequence[ImageFile], runtime: Mapping[str, bytes], out: Path
) -> dict[str, str]:
    """Write the page as ``out/index.html`` and what it needs beside it.

    Parameters
    ----------
    models : at least one.
    pictures : offered on the page; small files, for they go into it.
    runtime : of `runtime.read_runtime`.

    Returns
    -------
    By name, a line for each model that is left out, naming it and saying why: browsers cannot run it, or it is an
    autoencoder, whose encoder would be one more net on the page.

    Raises
    ------
    ValueError : if no model is left, or an encoder differs from the representation.
    OSError : if the folder cannot be written.
    """
    sharing: dict[str, list[WebModel]] = {}
    left_out: dict[str, str] = {}
    for model in sorted(models, key=_rank):
        if model.card.get("autoencoder"):
            left_out[model.name] = (
                f"{model.name}: not on the page: an autoencoder, whose encoder is a net of its own"
            )
            continue
        try:
            sharing.setdefault(encoder_name(model.representation), []).append(model)
        except ValueError as error:
            left_out[model.name] = f"{model.name}: not on the page: {error}"
    if not sharing:
        raise ValueError(f"no decoder for the page; {'; '.join(left_out.values()) or 'none is given'}")
    data = out / "data"
    data.mkdir(parents=True, exist_ok=True)
    read = [file.read() for file in pictures]
    for name, group in sharing.items():
        encoder = write_encoder([model.representation for model in group], read)
        _deliver(data, f"{name}-encoder", encoder)
        for model in group:
            _deliver(data, _file_name(model), model.path.read_bytes())
    for name, content in runtime.items():
        if name == _RUNTIME_SCRIPT:
            _write(out / name, content)
        else:
            _deliver(data, name, content)
    for name in (*_SCRIPTS, "onnxruntime-web.LICENSE.txt"):
        _write(out / name, (_FOLDER / name).read_bytes())
    everything = [(name, model) for name, group in sharing.items() for model in group]
    entries = [_entry(index, name, model) for index, (name, model) in enumerate(everything)]
    _write_html(out / "index.html", entries, pictures)
    return left_out


def _rank(model: WebModel) -> tuple[int, str]:
    name = model.representation.name
    return (_PAPER_ORDER.index(name) if name in _PAPER_ORDER else len(_PAPER_ORDER), model.name)


def _entry(index: int, encoder: str, model: WebModel) -> dict[str, Any]:
    """What the page must know of a model."""
    representation = model.representation
    height, width = representation.image_size
    return {
        "index": index,
        "name": model.name,
        "encoder": f"{encoder}-encoder",
        "output": representation.name,
        "decoder": _file_name(model),
        "height": height,
        "width": width,
        # The graphs of nets stretch the whole photograph themselves; the others take the part that covers the square.
        "covers": representation.encoder is None,
        "features": list(representation.shape),
        "about": model.card["preprocessing"],
        "bytes": model.path.stat().st_size,
    }


def _file_name(model: WebModel) -> str:
    return f"{model.name.replace('/', '-')}-decoder"


def _deliver(folder: Path, name: str, content: bytes) -> None:
    packed = base64.b64encode(gzip.compress(content, mtime=0)).decode()
    write_text(folder / f"{name}.js", f"deliver({json.dumps(name)}, {json.dumps(packed)});\n")


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)


def _write_html(path: Path, entries: Sequence[Mapping[str, Any]], pictures: Sequence[ImageFile]) -> None:
    loader = jinja2.FileSystemLoader(_FOLDER)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    shown = [(Path(file.name).stem.replace("_", " "), _data_url(file)) for file in pictures]
    titles = dict.fromkeys(_title(entry) for entry in entries)
    groups = [
        {"title": title, "models": [entry for entry in entries if _title(entry) == title]} for title in titles
    ]
    html = environment.get_template("index.html").render(
        models=entries, groups=groups, pictures=shown, version=VERSION
    )
    write_text(path, html)


def _title(entry: Mapping[str, Any]) -> str:
    """What stands before the last part of a model's name, e.g. the net."""
    return entry["name"].rpartition("/")[0]


def _data_url(file: ImageFile) -> str:
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(Path(file.path).read_bytes()).decode()}"
