"""Export the decoder of a run folder: read it, read the calibration pictures, write the file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from caffe_port.pictures import list_images, read_images
from decoders.checkpoints import open_run
from decoders.demo import PICTURES
from export.to_onnx import ExportOptions, export_decoder

MAX_CALIBRATION = 64  # pictures that are read: the error of two precisions is compared on the same ones


def export_run(
    run: Path, out: Path, options: ExportOptions, *, calibrate: Sequence[str] = (), net: str = ""
) -> dict[str, Any]:
    """Write the decoder of a run folder as an ONNX file.

    Parameters
    ----------
    run, out : the run folder, and the file.
    calibrate : sources of pictures on which the reconstruction error is measured; by default the demonstration's.
    net : where the run's net is, if no longer where it was.

    Returns
    -------
    The card as it stands in the file.

    Raises
    ------
    FileNotFoundError, ValueError : as `checkpoints.open_run`, `list_images` and `export_decoder`; a picture that cannot
        be read is refused.
    """
    decoder, representation, card = open_run(run, net)
    files = list_images(calibrate or [PICTURES])[:MAX_CALIBRATION]
    pictures = [picture for _, picture in read_images(files, [], strict=True)]
    return export_decoder(decoder.eval(), representation, card, out, calibration=pictures, options=options)
