"""`python -m export`: look at an exported file, or run it on features."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from caffe_port.cli import OneLineErrors, as_json, quiet, strict


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
    from caffe_port.opening import open_net
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
    """Decode FEATURES, an .npz, .npy or .mat file, to an array `images` (N, H, W, 3) uint8.

    A decoder takes an array `features`, (N, C, H, W) or (N, C); a pipeline takes `photographs`, (N, H, W, 3) uint8 RGB.
    """
    import numpy as np

    import export
    from caffe_port.array_files import read_array
    from caffe_port.files import replacing

    decoder = export.load(model, device=device, strict_device=strict_device)
    images = decoder(read_array(features, decoder.takes))
    with replacing(out) as file:
        np.savez_compressed(file, images=images)
    click.echo(f"{out}: {len(images)} pictures of {images.shape[1]}x{images.shape[2]}")


@main.command("map", epilog="Example: python -m export map hog.onnx photos/ shards/*.tar --out reconstructed")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("src", nargs=-1, required=True)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the output.")
@click.option("--engine", type=click.Choice(["here", "ray"]), default="here", show_default=True)
@click.option(
    "--workers", type=click.IntRange(0), default=0, help="Of Ray.  [one a processor of the cluster]"
)
@click.option("--block", type=int, default=1000, show_default=True, help="Pictures in a shard of files.")
@click.option("--batch", type=click.IntRange(1), default=16, show_default=True, help="Pictures in one call.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or tensorrt.")
@click.option("--threads", type=click.IntRange(0), default=0, help="CPU threads in one call.  [one a core]")
@click.option("--net", default="", help="Where the decoder's net is, if no longer where it was.")
@strict
@as_json
@quiet
def map_command(
    model: Path,
    src: tuple[str, ...],
    out: Path,
    engine: str,
    workers: int,
    block: int,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Reconstruct the pictures of SRC by MODEL, a pipeline or a decoder: folders, lists, tar shards or globs.

    A tar file of pictures, or a block of files, is a shard. Each becomes a tar file of PNGs in the folder, written
    whole or not at all; shards that manifest.json there names as finished are not done again. With --engine ray the
    shards are done on the Ray cluster of RAY_ADDRESS, or by one on this machine.
    """
    from tqdm import tqdm

    from export.mapping.job import Job
    from export.mapping.run import MapOptions, map_pictures

    def watch(outcomes: Iterator[Any], total: int) -> Iterator[Any]:
        yield from tqdm(outcomes, total=total, unit="shard", disable=True if quiet else None)

    options = MapOptions(block=block, engine=engine, workers=workers)
    found = map_pictures(Job(model, out, **settings), src, options, watch=watch)
    for line in found["skipped"]:
        click.echo(f"skipped {line}", err=True)
    if as_json:
        click.echo(json.dumps(found))
    elif not quiet:
        click.echo(
            f"{out}: {found['pictures']} pictures in {found['shards']} shards, {found['done_before']} of them done "
            f"before; {len(found['skipped'])} pictures skipped"
        )


if __name__ == "__main__":
    main()
