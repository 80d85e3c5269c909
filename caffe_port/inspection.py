"""What a net is made of: layers, shapes, parameters and multiply-adds, and which weights a file has for it.

Multiply-adds are those of matrices and kernels (Convolution, Deconvolution, InnerProduct, LSTM, RNN) for one
forward of the inputs' own shapes; element-wise work, pooling and normalisation are not counted.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from caffe_port.converted import SUFFIX, read_converted
from caffe_port.errors import ConversionError
from caffe_port.plan import Plan, Step, make_plan
from caffe_port.shapes import show
from caffe_port.spec import NetSpec
from caffe_port.text import read_text
from caffe_port.upgrade import net_format
from caffe_port.weights import same_shape
from caffe_port.wire import CaffeModel, open_weights
from caffe_port.wiring import read_net


def _kernel(shapes: tuple[tuple[int, ...], ...], weight: tuple[int, ...]) -> int:
    """Each number of the map `shapes[0]` meets one row of the weight."""
    return math.prod(shapes[0]) * math.prod(weight[1:])


def _inner_product(step: Step) -> int:
    weight, params = step.blobs[0].spec.shape, step.layer.params
    return math.prod(step.top_shapes[0]) * (weight[0] if params.transpose else weight[1])


def _recurrent(step: Step) -> int:
    steps, batch = step.bottom_shapes[0][:2]
    return steps * batch * sum(math.prod(b.spec.shape) for b in step.blobs if len(b.spec.shape) > 1)


MULTIPLY_ADDS: dict[str, Callable[[Step], int]] = {
    "Convolution": lambda step: sum(_kernel((top,), step.blobs[0].spec.shape) for top in step.top_shapes),
    "Deconvolution": lambda step: sum(
        _kernel((one,), step.blobs[0].spec.shape) for one in step.bottom_shapes
    ),
    "InnerProduct": _inner_product,
    "LSTM": _recurrent,
    "RNN": _recurrent,
}


def inspect(deploy: str | Path, weights: str | Path | None = None) -> dict[str, Any]:
    """Describe a net.

    Parameters
    ----------
    deploy : str or path-like
        Its definition, a prototxt of any version, or a converted net.
    weights : str or path-like, optional
        A caffemodel or Caffe's HDF5 for it.

    Returns
    -------
    dict
        Ready for JSON: name, format, inputs, outputs, layers, totals, and with weights what the file holds.

    Raises
    ------
    ConversionError
        The net is refused, or the weights do not fit it.
    OSError
        A file cannot be read.
    """
    spec, plan, form = _read(Path(deploy))
    layers = [_layer(step) for step in plan.steps]
    result = {
        "name": spec.name,
        "source": str(deploy),
        "format": form,
        "inputs": {name: list(shape) for name, shape in spec.inputs.items()},
        "outputs": list(plan.outputs),
        "parameters": sum(layer["parameters"] for layer in layers),
        "multiply_adds": sum(layer["multiply_adds"] for layer in layers),
        "layers": layers,
    }
    if weights is not None:
        result["weights"] = _fit(plan.steps, open_weights(weights))
    return result


def _read(path: Path) -> tuple[NetSpec, Plan, str]:
    """A net, and the version of the text it was written in; a converted net holds V2."""
    if path.suffix == SUFFIX:
        net = read_converted(path).net
        return net.spec, net.plan, "V2"
    message = read_text(path)
    spec = read_net(message, str(path))
    return spec, make_plan(spec), net_format(message)


def _layer(step: Step) -> dict[str, Any]:
    blobs = [place for place in step.blobs if place.spec.stored]
    return {
        "name": step.layer.name,
        "type": step.layer.type,
        "origin": step.row.source,
        "bottoms": list(step.layer.bottoms),
        "tops": {top: list(shape) for top, shape in zip(step.layer.tops, step.top_shapes, strict=True)},
        "blobs": [list(place.spec.shape) for place in blobs],
        "shared": [place.key for place in blobs if not place.is_owner],
        "parameters": sum(math.prod(place.spec.shape) for place in blobs if place.is_owner),
        "multiply_adds": MULTIPLY_ADDS[step.layer.type](step) if step.layer.type in MULTIPLY_ADDS else 0,
    }


def _fit(steps: tuple[Step, ...], model: CaffeModel) -> dict[str, Any]:
    """Which layers the file has blobs for; blobs that do not fit are refused, as when they are loaded."""
    wanted = {step.layer.name: step for step in reversed(steps)}
    found = {layer.name for layer in model.layers if layer.blobs}
    for layer in model.layers:
        step = wanted.get(layer.name)
        if step is None:
            continue
        where = f"{model.source}: {step.layer}: field 'blobs'"
        shapes = [place.spec.shape for place in step.blobs if place.spec.stored]
        if len(layer.blobs) != len(shapes) and model.format != "HDF5":
            raise ConversionError(f"{where}: the file has {len(layer.blobs)}; the net needs {len(shapes)}")
        for position, (blob, shape) in enumerate(zip(layer.blobs, shapes, strict=False)):
            if blob is None:
                continue
            blob.check()
            if not same_shape(blob.shape, blob.legacy, shape):
                sizes = f"shape {show(blob.shape)} in the file; the net needs {show(shape)}"
                raise ConversionError(f"{where}: blob {position} has {sizes}")
    learned = {step.layer.name for step in steps if any(place.spec.stored for place in step.blobs)}
    return {
        "source": model.source,
        "format": model.format,
        "numbers": sum(blob.count for layer in model.layers for blob in layer.blobs if blob is not None),
        "found": sorted(learned & found),
        "missing": sorted(learned - found),
        "ignored": sorted(found - learned),
    }


def as_table(description: dict[str, Any]) -> str:
    """The description in columns, for reading."""
    rows = [("layer", "type", "output", "parameters", "multiply-adds")]
    for layer in description["layers"]:
        tops = ", ".join(
            f"{top} {' x '.join(map(str, shape)) or '()'}" for top, shape in layer["tops"].items()
        )
        rows.append(
            (
                layer["name"],
                layer["type"],
                tops,
                _number(layer, "parameters"),
                _number(layer, "multiply_adds"),
            )
        )
    totals = f"{len(description['layers'])} layers", f"format {description['format']}", ""
    rows.append((*totals, f"{description['parameters']:,}", f"{description['multiply_adds']:,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join(
            cell.rjust(w) if i > 2 else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    weights = description.get("weights")
    if weights is not None:
        lines.append(f"{weights['source']} ({weights['format']}): {weights['numbers']:,} numbers")
        lines += [f"{key}: {', '.join(weights[key])}" for key in ("missing", "ignored") if weights[key]]
    return "\n".join(line.rstrip() for line in lines)


def _number(layer: dict[str, Any], key: str) -> str:
    return f"{layer[key]:,}" if layer[key] else ""
