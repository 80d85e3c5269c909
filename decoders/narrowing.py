"""A narrower decoder that begins as a wider one of the same table: of each row the maps with the largest weights stay.

Pruning of filters by the sum of their absolute weights: Li et al., Pruning Filters for Efficient ConvNets (ICLR 2017),
section 3.1. Training goes on afterwards, from all rows narrowed at once.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from decoders.checkpoints import load_weights, read_config
from decoders.model import Decoder
from decoders.rows import DecoderSpec


def start_from(folder: Path, decoder: Decoder, encoder: torch.nn.Module | None = None) -> dict[str, Any]:
    """Put the weights of a run folder into ``decoder``, narrowed if the run is wider; return the card beside them.

    Parameters
    ----------
    encoder : as for `checkpoints.load_weights`.

    Raises
    ------
    FileNotFoundError, ValueError : as `checkpoints.load_weights`, or `narrow`.
    """
    wide = read_config(folder)[1].decoder
    if wide.width <= decoder.spec.width:
        return load_weights(folder, decoder, encoder)
    source = Decoder(wide)
    card = load_weights(folder, source, encoder)
    decoder.load_state_dict(narrow(source.state_dict(), wide, decoder.spec))
    return card


def narrow(
    weights: Mapping[str, torch.Tensor], wide: DecoderSpec, spec: DecoderSpec
) -> dict[str, torch.Tensor]:
    """Weights of a narrower decoder.

    Parameters
    ----------
    weights : of the wide one, as `Decoder.state_dict` names them: (maps, maps in, K, K) and (maps,) a row.
    wide, spec : the two tables; they differ in nothing but widths.

    Returns
    -------
    The maps of each row with the largest sums of absolute weights, in their order.

    Raises
    ------
    ValueError : if the tables have different rows, or rows without maps of their own.
    """
    shapes = [[(row.name, row.op, row.inputs, row.kernel) for row in table.rows] for table in (wide, spec)]
    if shapes[0] != shapes[1] or any(row.op == "reshape" for row in spec.rows):
        raise ValueError(
            f"decoder {spec.representation} of width {spec.width:g} cannot begin as one of width {wide.width:g}: only "
            "a decoder of convolutions can, from one with the same rows; give --init a run of the same width"
        )
    kept = {"features": torch.arange(wide.features[2])}
    narrowed = {}
    for row in spec.rows:
        weight = weights[f"rows.{row.name}.weight"][:, _inputs(row.inputs, wide, kept)]
        strength = weight.abs().flatten(1).sum(dim=1)
        kept[row.name] = strength.topk(row.out[2]).indices.sort().values
        narrowed[f"rows.{row.name}.weight"] = weight[kept[row.name]]
        narrowed[f"rows.{row.name}.bias"] = weights[f"rows.{row.name}.bias"][kept[row.name]]
    return narrowed


def _inputs(names: tuple[str, ...], wide: DecoderSpec, kept: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Which of a row's concatenated input maps are kept."""
    found, first = [], 0
    for name in names:
        found.append(kept[name] + first)
        first += wide.size_of(name)[2]
    return torch.cat(found)
