"""Several decoders over one set of pictures: the error by representation, as in CVPR 2016, Figure 7."""

from collections.abc import Mapping, Sequence
from typing import Any

from caffe_port.pictures import BadImage, ImageFile
from decoders.evaluation import Decode, evaluate, read_squares
from decoders.representations import Representation


def compare(
    models: Mapping[str, tuple[Decode, Representation]],
    files: Sequence[ImageFile],
    *,
    side: int | None = None,
    strict: bool = False,
    quiet: bool = True,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Normalised error of each decoder.

    Parameters
    ----------
    models : by name; each is given the pictures as its representation cuts them.
    side : of the square pictures, for decoders that take any size; by default each has its own.
    strict : refuse unreadable pictures.

    Returns
    -------
    figures : an object of JSON values for each model, in their order.
    bad : one line for each picture that could not be read.

    Raises
    ------
    ValueError : if a decoder takes pictures of one size only, or fewer than two pictures can be read.
    """
    figures: list[dict[str, Any]] = []
    bad: dict[str, None] = {}
    for name, (decode, row) in models.items():
        sized = row if side is None else row.sized(side)
        pictures, unreadable = read_squares(files, sized.framing, quiet=quiet)
        if strict and unreadable:
            raise BadImage(f"{unreadable[0]} (--strict refuses unreadable pictures)")
        bad |= dict.fromkeys(unreadable)
        result = evaluate(decode, sized, pictures, quiet=quiet)
        figures.append(
            {
                "model": name,
                "representation": row.name,
                "images": result.images,
                "skipped": len(unreadable),
                "error": result.error,
                "normaliser": result.normaliser,
                "image_size": list(result.image_size),
            }
        )
    return figures, list(bad)
