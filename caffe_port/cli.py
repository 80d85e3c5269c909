"""The command `caffe_port`: commands that parse, call and print; what they do is in the modules they
import.
"""

import os
import sys
import warnings
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


def main() -> None:
    """Run the command. Whatever a user can cause is one line on stderr and exit status 2."""
    warnings.showwarning = _show_warning
    try:
        status = cli.main(prog_name="caffe_port", standalone_mode=False)
    except click.ClickException as error:
        status = _say(error.format_message())
    except click.Abort:
        status = _say("interrupted")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit would complain again
        status = 0
    except OSError as error:
        status = _say(
            f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        )
    except (ValueError, MemoryError) as error:
        status = _say(str(error) or type(error).__name__)
    sys.exit(status)


def _say(message: str) -> int:
    print("caffe_port:", " ".join(message.split()), file=sys.stderr)
    return 2


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    _say(f"warning: {message}")


def _print_json(values: Any) -> None:
    import json

    click.echo(json.dumps(values, indent=1, default=str))


@click.group(context_settings=CONTEXT, invoke_without_command=True)
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

    DEPLOY is a prototxt of any version; WEIGHTS a caffemodel or Caffe's HDF5. Multiply-adds are for the input
    shapes in the file.

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

    show = _Bar() if sys.stderr.isatty() and not quiet else None
    paths = get(NETS[name], folder or Path(name), Options(base_url, local, timeout, progress=show))
    if as_json:
        _print_json(paths)
    elif not quiet:
        click.echo("\n".join(f"{kind:8}{path}" for kind, path in paths.items()))


class _Bar:
    """Progress of downloads on a terminal, one bar a file."""

    def __init__(self) -> None:
        self.name = ""
        self.bar: Any = None

    def __call__(self, name: str, done: int, total: int) -> None:
        from tqdm import tqdm

        if name != self.name:
            self.name = name
            self.bar = tqdm(desc=name, total=total, unit="B", unit_scale=True)
        self.bar.n = done
        self.bar.refresh()
        if done >= total:
            self.bar.close()
