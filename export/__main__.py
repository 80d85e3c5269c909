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
    from export.check import check as check_file
    from export.check import describe

    found = check_file(model)
    if as_json:
        click.echo(json.dumps(found))
    else:
        click.echo("\n".join(describe(found)))
    sys.exit(0 if found["passed"] else 1)


@main.command(epilog="Example: python -m export net net.safetensors --blob fc6 -o fc6.onnx")
@click.argument("net")
@click.option("--blob", required=True, help="As Caffe names it.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The .onnx file.")
@click.option("--size", type=int, nargs=2, metavar="H W", help="Of the input, if not the net's own.")
def net(net: str, blob: str, out: Path, size: tuple[int, int] | None) -> None:
    """Write NET, a converted .safetensors or a net that ships, up to a blob, after comparing it with torch."""
    from caffe_port.converted import open_net
    from export.net_to_onnx import export_net

    converted = open_net(net)
    card = export_net(converted.net, blob, out, size=size, origin=converted.origin)
    click.echo(
        f"{out}: {out.stat().st_size} bytes, data {card['data_shape']} -> {blob} {card['feature_shape']}, at most "
        f"{card['export']['largest_difference']:.2g} of its largest magnitude from torch"
    )


@main.command(epilog="Example: python -m export run hog.onnx features.npz -o images.npz")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("features", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="The .npz file of pictures."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or tensorrt.")
@click.option("--strict-device", is_flag=True, help="Refuse to run elsewhere.")
def run(model: Path, features: Path, out: Path, device: str, strict_device: bool) -> None:
    """Decode FEATURES, an .npz file, to an array `images` (N, H, W, 3) uint8.

    A decoder takes an array `features`, (N, C, H, W) or (N, C); a pipeline takes `photographs`, (N, H, W, 3) uint8 RGB.
    """
    import numpy as np

    import export
    from caffe_port.files import replacing
    from export.arrays import read_array

    decoder = export.load(model, device=device, strict_device=strict_device)
    images = decoder(read_array(features, decoder.takes))
    with replacing(out) as file:
        np.savez_compressed(file, images=images)
    click.echo(f"{out}: {len(images)} pictures of {images.shape[1]}x{images.shape[2]}")


if __name__ == "__main__":
    main()
