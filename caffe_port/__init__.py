"""Caffe nets without Caffe: a "port" here is of Caffe's file formats and layers to torch, faithful to the digit."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from caffe_port.errors import ConversionError

if TYPE_CHECKING:
    from caffe_port.net import CaffeNet

__all__ = ["ConversionError", "load"]

# OpenCV reads these once, when it is first imported: a header may not claim more than 2^27 pixels (400 MB), and what
# is wrong with a picture is said once, by `pictures.BadImage`.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**27))
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")


def load(
    prototxt: str | os.PathLike[str],
    caffemodel: str | os.PathLike[str] | None = None,
    *,
    random_weights: int | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    level: int = 0,
    stages: Sequence[str] = (),
) -> "CaffeNet":
    """Load a Caffe net.

    Parameters
    ----------
    prototxt : str or path-like
        The net's definition in text form, of any Caffe version (V0, V1, V2); or a `.safetensors` file of
        `caffe_port convert` alone, which holds everything and needs none of the other arguments.
    caffemodel : str or path-like, optional
        Its weights: a caffemodel or Caffe's HDF5. Not needed by a net without learned parameters.
    random_weights : int, optional
        Seed for the net's own fillers, where there are no weights.
    input_shapes : mapping of str to sequence of int, optional
        Shapes by input blob, where the file does not say them (layers that read a database), or in their
        place.
    level, stages : int, sequence of str
        Caffe's NetState, which `include` and `exclude` rules ask.

    Returns
    -------
    CaffeNet
        A `torch.nn.Module` in eval mode; `weights_report` says what became of every parameter.

    Raises
    ------
    ConversionError
        A file cannot be read, or the net is refused; the text names file, layer and field.
    OSError
        A file cannot be opened.
    """
    from caffe_port.net import CaffeNet  # torch takes a second to import
    from caffe_port.text import read_text
    from caffe_port.weights import fill_net, load_weights
    from caffe_port.wire import open_weights
    from caffe_port.wiring import read_net

    if str(prototxt).endswith(".safetensors"):
        from caffe_port.converted import read_converted

        if caffemodel is not None or random_weights is not None or input_shapes or level or stages:
            raise ConversionError(f"{prototxt}: a converted net takes no weights, shapes, level or stages")
        return read_converted(prototxt).net
    message = read_text(prototxt)
    spec = read_net(message, str(prototxt), level=level, stages=stages, input_shapes=input_shapes)
    net = CaffeNet(spec)
    if caffemodel is None:
        net.weights_report = fill_net(net, random_weights)
    else:
        net.weights_report = load_weights(net, open_weights(caffemodel), random_weights=random_weights)
    return net
