"""The command `caffe_port`: commands that parse, call and print; what they do is in what they import."""

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from caffe_port.zoo import NETS

EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
quiet = click.option("--quiet", is_flag=True, help="Print nothing but errors.")
strict = click.option("--strict", is_flag=True, help="Refuse unreadable pictures instead of skipping them.")
batch = click.option(
    "--batch", default=16, show_default=True, type=click.IntRange(1), help="Pictures at a time."
)


class OneLineErrors(click.Group):
    """A group of commands that answer whatever a user can cause with one line on stderr and exit status 2."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command and exit; see `click.Group.main`."""
        with warnings.catch_warnings():
            warnings.showwarning = self._warn
            try:
                status = super().main(*args, **kwargs | {"standalone_mode": False})
            except click.Abort:
                status = 130
            except click.ClickException as error:
                status = self._say(error.format_message())
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit would complain
                status = 0
            except OSError as error:
                named = error.filename and error.strerror
                status = self._say(f"{error.filename}: {error.strerror}" if named else str(error))
            except (ValueError, TypeError, MemoryError) as error:
                status = self._say(str(error) or type(error).__name__)
        sys.exit(status)

    def _warn(self, message: Warning | str, *_: Any, **__: Any) -> None:
        self._say(f"warning: {message}")

    def _say(self, message: str) -> int:
        click.echo(f"{self.name}: {' '.join(message.split())}", err=True)
        return 2


def main() -> None:
    """Run the command `caffe_port`."""
    cli(prog_name="caffe_port")


def _print_json(values: Any) -> None:
    import json

    click.echo(json.dumps(values, indent=1, default=str))


@click.group(cls=OneLineErrors, name="caffe_port", context_settings=CONTEXT, invoke_without_command=True)
@click.version_option(package_name="caffe-port", message="%(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Read Caffe nets, check them, and run them with torch.

    \b
    Example:
      caffe_port fetch caffenet --dir caffenet
      caffe_port inspect caffenet/caffenet.prototxt caffenet/bvlc_reference_caffenet.caffemodel
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@cli.command()
@click.argument("deploy", type=EXISTING)
@click.argument("weights", type=EXISTING, required=False)
@as_json
@quiet
def inspect(deploy: Path, weights: Path | None, as_json: bool, quiet: bool) -> None:
    """Show layers, shapes, parameters and multiply-adds of a net, and whether WEIGHTS fit it.

    DEPLOY is a prototxt of any version or a converted net; WEIGHTS a caffemodel or Caffe's HDF5. Multiply-adds are
    for the input shapes in the file.

    \b
    Example:
      caffe_port inspect deploy.prototxt net.caffemodel --json
    """
    from caffe_port.inspection import as_table
    from caffe_port.inspection import inspect as describe

    description = describe(deploy, weights)
    if as_json:
        _print_json(description)
    elif not quiet:
        click.echo(as_table(description))


@cli.command()
@click.argument("source", type=EXISTING)
@click.option(
    "-o", "--output", type=FILE, help="Where to write; a prototxt without it goes to standard output."
)
@quiet
def upgrade(source: Path, output: Path | None, quiet: bool) -> None:
    """Write a V0 or V1 net, text or weights, in today's format (V2).

    SOURCE is a prototxt or a caffemodel, told apart by content. Numbers of weights are not touched.

    \b
    Example:
      caffe_port upgrade old.prototxt -o new.prototxt
      caffe_port upgrade old.caffemodel -o new.caffemodel
    """
    from caffe_port.upgrade_file import upgrade_file

    was, written = upgrade_file(source, output)
    if output is None:
        click.echo(written, nl=False)
    elif not quiet:
        click.echo(f"{source} ({was}) -> {output} (V2)")


@cli.command()
@click.argument("name", type=click.Choice(list(NETS)))
@click.option(
    "--dir", "folder", type=FOLDER, help="Where to put the files.  [default: a folder named after the net]"
)
@click.option("--base-url", metavar="URL", help="Folder on the web to take the files from.")
@click.option(
    "--from-file",
    "local",
    multiple=True,
    type=EXISTING,
    help="A file that you have already, known by its name or SHA-1; may be repeated.",
)
@click.option("--timeout", default=30.0, show_default=True, help="Seconds that a source may say nothing.")
@as_json
@quiet
def fetch(
    name: str,
    folder: Path | None,
    base_url: str | None,
    local: tuple[Path, ...],
    timeout: float,
    as_json: bool,
    quiet: bool,
) -> None:
    """Get a published net: definition, weights, mean and labels, resumed and checked.

    \b
    Example:
      caffe_port fetch caffenet --dir caffenet
      caffe_port fetch caffenet --from-file Downloads/bvlc_reference_caffenet.caffemodel
    """
    from caffe_port.fetch import Options
    from caffe_port.fetch import fetch as get
    from caffe_port.progress import DownloadBar

    show = DownloadBar() if sys.stderr.isatty() and not quiet else None
    paths = get(NETS[name], folder or Path(name), Options(base_url, local, timeout, progress=show))
    if as_json:
        _print_json(paths)
    elif not quiet:
        click.echo("\n".join(f"{kind:8}{path}" for kind, path in paths.items()))


@cli.command()
@click.argument("deploy", type=EXISTING)
@click.argument("weights", type=EXISTING, required=False)
@click.option("-o", "--output", type=FILE, required=True, help="The .safetensors file to write.")
@click.option("--mean", metavar="FILE", help="binaryproto, .npy, or numbers such as 104,117,123.")
@click.option("--labels", type=EXISTING, help="Text file, one class a line.")
@click.option("--warp", metavar="HxW", help="Size pictures are stretched to, before the crop.")
@click.option("--scale", default=1.0, show_default=True, help="Factor on pixels, after the mean.")
@click.option(
    "--order", type=click.Choice(["BGR", "RGB"]), default="BGR", show_default=True, help="Of colours."
)
@click.option("--random-weights", metavar="SEED", type=int, help="Fill parameters that no file gives.")
@click.option("--input-shape", multiple=True, metavar="BLOB=N,C,H,W", help="Shape of an input.")
@as_json
@quiet
def convert(
    deploy: Path,
    weights: Path | None,
    output: Path,
    input_shape: tuple[str, ...],
    warp: str | None,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Make one .safetensors file of a net: parameters, definition, preprocessing, labels.

    DEPLOY says what the net is; WEIGHTS, a caffemodel or Caffe's HDF5, only gives numbers by layer name, and
    the definition stored in it is not used.

    \b
    Example:
      caffe_port convert deploy.prototxt net.caffemodel -o net.safetensors --mean mean.binaryproto
    """
    from caffe_port.convert import as_text, read_shapes, read_size
    from caffe_port.convert import convert as make

    size, shapes = read_size(warp), read_shapes(input_shape)
    converted = make(deploy, weights, output, warp=size, input_shapes=shapes, **settings)
    if as_json:
        _print_json({"file": output, **converted.origin})
    elif not quiet:
        click.echo(as_text(converted, output))


@cli.command()
@click.argument("net")
@click.option("--input", "inputs", type=EXISTING, help="An .npz file, one array an input blob.")
@click.option("--against", type=EXISTING, help="An .npz file: blobs of one whole forward of Caffe.")
@click.option(
    "--rtol",
    default=1e-5,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Largest difference over a blob's magnitude.",
)
@click.option("--seed", default=0, show_default=True, help="Of the random picture used without --input.")
@as_json
@quiet
def verify(
    net: str, inputs: Path | None, against: Path | None, rtol: float, seed: int, as_json: bool, quiet: bool
) -> None:
    """Compare every blob with Caffe's, and write a certificate beside NET (JSON and a page).

    Without --against, the judges are a slow float64 reference of Caffe's rules (minutes for a CaffeNet) and,
    where installed, OpenCV 4. Exit status 1 if a blob is off by more than --rtol.

    \b
    Example:
      caffe_port verify net.safetensors --input input.npz --against blobs.npz
    """
    import datetime

    from caffe_port.certificate import as_text, check_file
    from caffe_port.progress import counting

    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    show = counting("layer", quiet)
    found, paths = check_file(net, inputs, against, rtol=rtol, seed=seed, time=now, progress=show)
    if as_json:
        _print_json(found)
    elif not quiet:
        click.echo("\n".join([as_text(found), *map(str, paths)]))
    sys.exit(0 if found["passed"] else 1)


@cli.command()
@click.argument("net")
@click.argument("src", nargs=-1, required=True)
@click.option("--blob", required=True, help="Which blob, by Caffe's name.")
@click.option(
    "-o", "--output", type=FILE, required=True, help="The .npz file to write: names, features, blob."
)
@batch
@strict
@as_json
@quiet
def features(
    net: str,
    src: tuple[str, ...],
    blob: str,
    output: Path,
    batch: int,
    strict: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write a blob of many pictures to an .npz file.

    NET is a file of caffe_port convert, a folder of caffe_port fetch, or one that ships (caffenet-mini). SRC is
    a folder, a text file of paths, a .tar shard, a picture or a glob.

    \b
    Example:
      caffe_port features net.safetensors photos/ --blob fc6 -o features.npz
    """
    from caffe_port.features import extract
    from caffe_port.opening import open_net
    from caffe_port.pictures import list_images
    from caffe_port.progress import counting

    opened, files = open_net(net), counting("picture", quiet)(list_images(src))
    done = extract(opened, files, blob, output, batch=batch, strict=strict)
    _name_skipped(done.bad)
    if as_json:
        _print_json({"file": output, "images": done.images, "skipped": len(done.bad), "shape": done.shape})
    elif not quiet:
        click.echo(f"{output}: {blob} {done.shape} of {done.images} pictures ({len(done.bad)} skipped)")


@cli.command()
@click.argument("net")
@click.argument("image", nargs=-1, required=True)
@click.option("--top", default=5, show_default=True, type=click.IntRange(1), help="How many classes.")
@click.option("--blob", help="The blob of classes.  [default: the output, or the only one of a Softmax]")
@batch
@strict
@as_json
@quiet
def classify(net: str, image: tuple[str, ...], as_json: bool, quiet: bool, **settings: Any) -> None:
    """Name the best classes of pictures.

    NET is a file of caffe_port convert, a folder of caffe_port fetch, or one that ships (caffenet-mini). IMAGE is
    a picture, a folder, a text file of paths, a .tar shard or a glob.

    \b
    Example:
      caffe_port classify caffenet-mini cat.jpg --top 3
    """
    from dataclasses import asdict

    from caffe_port.features import classify as guess
    from caffe_port.opening import open_net
    from caffe_port.pictures import list_images
    from caffe_port.progress import counting

    bad: list[str] = []
    results = []
    for name, guesses in guess(
        open_net(net), counting("picture", quiet)(list_images(image)), bad, **settings
    ):
        if as_json:
            results.append({"image": name, "top": [asdict(g) for g in guesses]})
        elif not quiet:
            rows = [f"  {g.score:<10.6g}{g.index:>6}  {g.label}".rstrip() for g in guesses]
            click.echo("\n".join([name, *rows]))
    _name_skipped(bad)
    if as_json:
        _print_json(results)


def _name_skipped(bad: Sequence[str]) -> None:
    if bad:
        click.echo("\n".join([*(f"skipped {line}" for line in bad), f"{len(bad)} skipped"]), err=True)
