"""What there is to invert, and the tables of the decoders that do it."""

from collections.abc import Sequence
from typing import Any

from decoders.representations import REPRESENTATIONS, representation
from decoders.rows import DecoderSpec, channels_last
from decoders.specs import DECODERS


def rows(shipped: Sequence[str]) -> list[dict[str, Any]]:
    """One object a representation, of JSON values; ``shipped`` names the trained decoders that there are.

    Autoencoders are called after their layer, e.g. ``caffenet-mini/fc6-autoencoder``. The paper's layers are listed
    with CaffeNet's sizes.
    """
    return [
        {
            "representation": name,
            "feature_shape": list(row.shape),
            "image_size": list(row.image_size),
            "output_size": list(DECODERS[name].image_size),
            "ships": [model for model in shipped if model.split("/")[-1] in (name, f"{name}-autoencoder")],
            "preprocessing": row.preprocessing,
        }
        for name, row in REPRESENTATIONS.items()
    ]


def as_text(listed: Sequence[dict[str, Any]]) -> str:
    """`rows` for reading, three lines each."""
    lines = []
    for row in listed:
        features, pictures, output = (
            "x".join(map(str, row[key])) for key in ("feature_shape", "image_size", "output_size")
        )
        lines += [
            f"{row['representation']:6}features {features}, of pictures {pictures}; decoded to {output}",
            f"      {row['preprocessing']}",
            f"      trained: {', '.join(row['ships']) or 'none ships; decoders train makes one'}",
        ]
    return "\n".join(lines)


def decoder_table(name: str, net: str) -> DecoderSpec:
    """The decoder of a representation: the paper's table without ``net``, else what is trained for that net.

    Raises
    ------
    ValueError, FileNotFoundError : if there is no such table, blob or net.
    """
    if net:
        from decoders.derive import decoder_for

        opened = representation(name, net)
        return decoder_for(name, channels_last(opened.shape), opened.image_size)
    if name not in DECODERS:
        raise ValueError(
            f"there is no table {name!r}; choose one of {', '.join(DECODERS)}, or a blob of a net given with --net"
        )
    return DECODERS[name]
