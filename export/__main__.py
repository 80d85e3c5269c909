"""`python -m export`: look at an exported file, or run it on features."""

import json
import sys
from pathlib import Path

import click

from caffe_port.cli import OneLineErrors, as_json


@click.group(cls=OneLineErrors, name="python -m export", epilog="Example: python -m export check hog.onnx")
def main() -> None:
    """Exported decoders: check and run .onnx files."""


@main.command(epilog="Example: python -m export check hog.onnx --json")
@click.argument("model", type=click.Path(path_type=Path))
@as_json
def check(model: Path, as_json: bool) -> None:
    """What MODEL holds, where it came from, and whether it still gives the answers recorded in it.

    Exit status 1 if it does not.
    """
    from export.verify import check as check_file

    found = check_file(model)
    if as_json:
        click.echo(json.dumps(found))
    else:
        card = found["card"]
        verdict = "still gives" if found["passed"] else "NO LONGER GIVES"
        click.echo(f"{model}: {found['bytes']} bytes, SHA-256 {found['sha256']}")
        click.echo(
            f"{card['representation']} features {card['feature_shape']} -> pictures {card['image_size']}"
        )
        click.echo(f"features: {card['preprocessing']}")
        click.echo(f"{found['parameters']} parameters, operators: {found['operators']}")
        click.echo(f"trained: {json.dumps(card['training'])}")
        click.echo(f"weights (SHA-256): {card['weights_sha256']}")
        click.echo(f"versions: {json.dumps(card['export']['versions'])}")
        click.echo(f"{verdict} the recorded answers: off by {found['largest_difference']} grey levels")
    sys.exit(0 if found["passed"] else 1)


@main.command(epilog="Example: python -m export run hog.onnx features.npz -o images.npz")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("features", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="The .npz file of pictures."
)
def run(model: Path, features: Path, out: Path) -> None:
    """Decode FEATURES, an .npz file with an array `features` (N, C, H, W), to an array `images` (N, H, W, 3) uint8."""
    import numpy as np

    import export
    from caffe_port.files import replacing
    from export.features import read_features

    images = export.load(model)(read_features(features))
    with replacing(out) as file:
        np.savez_compressed(file, images=images)
    click.echo(f"{out}: {len(images)} pictures of {images.shape[1]}x{images.shape[2]}")


if __name__ == "__main__":
    main()
