"""Whether a file still gives the answers recorded in it, on this machine's ONNX Runtime; torch is not needed."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from export import session

NET_TOLERANCE = 1e-4  # of a blob's largest magnitude, between two machines

# What is printed of a card, where it is there.
_ENTRIES = {
    "net": "net",
    "preprocessing": "features",
    "origin": "origin",
    "training": "trained",
    "weights_sha256": "weights (SHA-256)",
}


def check(path: Path) -> dict[str, Any]:
    """What a file holds, and how far its answers on this machine are from those recorded when it was exported.

    Returns
    -------
    JSON values: ``file``, ``bytes``, ``sha256``, ``operators`` (name -> count), ``parameters``, ``takes``,
    ``provider``, ``largest_difference`` and ``allowed_difference`` in ``unit``, ``passed`` and ``card``; of an
    autoencoder ``encoder``, the file beside it, whose hash is the card's.

    Raises
    ------
    FileNotFoundError, ValueError : if it is not a file that `export.load` or `export.load_net` opens, or records no
        answers; or an autoencoder's encoder is missing, damaged or another one.
    """
    opened = session.open_file(Path(path))
    encoder = _encoder(opened.card, Path(path))
    if isinstance(opened, session.OnnxNet):
        difference, allowed, unit = *_compare_net(opened), "of the blob's largest magnitude"
    else:
        difference, allowed, unit = *_compare_decoder(opened, path), "grey levels"
    data, model = Path(path).read_bytes(), opened.model
    return {
        "file": str(path),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "operators": model.operators,
        "parameters": model.parameters,
        "takes": opened.takes,
        "provider": opened.provider.got,
        "largest_difference": difference,
        "allowed_difference": allowed,
        "unit": unit,
        "passed": difference <= allowed,
        "card": opened.card,
        **encoder,
    }


def _encoder(card: dict[str, Any], path: Path) -> dict[str, str]:
    """The file beside an autoencoder's, once its hash has been compared; nothing of other files."""
    if "encoder" not in card:
        return {}
    from decoders.encoder_files import find_encoder  # which only autoencoders need

    return {"encoder": str(find_encoder(card, path))}


def _compare_decoder(decoder: session.OnnxDecoder, path: Path) -> tuple[float, float]:
    """Largest difference between rounded pictures: found and allowed."""
    inputs, images = decoder.recorded()
    answers = decoder(inputs)
    if answers.shape != images.shape:
        raise ValueError(
            f"{path}: its answers have the shape {answers.shape}, the recorded ones {images.shape}"
        )
    # Rounding can turn any difference into one level.
    allowed = 1 + math.ceil(decoder.card["export"]["largest_difference"])
    return int(np.abs(answers.astype(int) - images).max()), allowed


def _compare_net(net: session.OnnxNet) -> tuple[float, float]:
    """Largest difference from the recorded blob, relative to its magnitude: found and allowed."""
    data, blob = net.recorded()
    return relative_difference(net(data), blob), NET_TOLERANCE


def relative_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference over the largest magnitude of what is expected; infinite for another shape."""
    if found.shape != expected.shape:
        return math.inf
    magnitude = float(np.abs(expected).max(initial=0)) or 1.0
    return float(np.abs(found - expected).max(initial=0)) / magnitude


def describe(found: dict[str, Any]) -> list[str]:
    """The lines that say what `verify.check` found."""
    card = found["card"]
    exported = card["export"]
    kind = card.get("kind", "decoder")
    operators = ", ".join(f"{count} {name}" for name, count in sorted(found["operators"].items()))
    verdict = "still gives" if found["passed"] else "NO LONGER GIVES"
    lines = [
        f"{found['file']}: {found['bytes']} bytes, SHA-256 {found['sha256']}",
        "sealed: every byte is as it was written",
        f"{kind} of {card['representation']}, shape {card['feature_shape']}; it takes {found['takes']}",
        f"{found['parameters']} parameters in {exported['precision']}; operators: {operators}",
    ]
    lines += [f"{title}: {_text(card[name])}" for name, title in _ENTRIES.items() if name in card]
    lines.append(f"versions: {json.dumps(exported['versions'])}")
    if "encoder" in found:
        lines.append(
            f"autoencoder; its encoder is {found['encoder']}, SHA-256 {card['encoder']['sha256']}, as it was written"
        )
    if "calibration" in exported:
        cost = exported["calibration"]
        lines.append(
            f"reconstruction error on {cost['pictures']} pictures: {cost['error']:.4f}, torch's "
            f"{cost['torch_error']:.4f} ({100 * cost['extra_error']:+.2g} %)"
        )
    lines.append(
        f"{verdict} the recorded answers on {found['provider']}: off by {found['largest_difference']:.3g} "
        f"{found['unit']}, {found['allowed_difference']:.3g} allowed"
    )
    return lines


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
