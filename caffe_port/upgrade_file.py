"""Upgrades a file: a prototxt or a caffemodel in V0 or V1 form becomes one in today's."""

from pathlib import Path

from caffe_port.binary import encode
from caffe_port.errors import ConversionError
from caffe_port.files import replacing
from caffe_port.text import format_text, read_text
from caffe_port.upgrade import net_format, upgrade_net
from caffe_port.wire import open_weights

_TEXT = set(range(32, 256)) - {127} | set(b"\t\n\r\v\f")


def upgrade_file(source: Path, target: Path | None) -> tuple[str, str]:
    """Upgrade a prototxt or a caffemodel, told apart by content.

    Parameters
    ----------
    source : Path
    target : Path or None
        Where to write; a prototxt needs none. The file is replaced whole or not at all.

    Returns
    -------
    was : str
        "V0", "V1" or "V2".
    text : str
        The new prototxt; "" for weights.

    Raises
    ------
    ConversionError
        The file cannot be read or upgraded, text is to be written as a `.caffemodel`, or weights come without a target.
    OSError
        A file cannot be read or written.
    """
    with source.open("rb") as file:
        is_text = set(file.read(4096)) <= _TEXT
    if is_text:
        if target is not None and target.suffix == ".caffemodel":
            raise ConversionError(
                f"{source}: a prototxt, whose upgrade is text too; name a .prototxt with -o"
            )
        net = read_text(source)
        text = format_text(upgrade_net(net, str(source)))
        if target is not None:
            with replacing(target) as file:
                file.write(text.encode())
        return net_format(net), text
    model = open_weights(source)
    if model.format == "HDF5":
        raise ConversionError(f"{source}: HDF5 weights hold no net; they need no upgrade")
    if target is None:
        raise ConversionError(f"{source}: weights are not written to standard output; name a file with -o")
    with replacing(target) as file:
        file.writelines(encode(upgrade_net(model.message, str(source)), "NetParameter"))
    return model.format, ""
