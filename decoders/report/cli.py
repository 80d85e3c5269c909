"""`decoders report`: parses, makes the parts, writes the page, prints."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from caffe_port.cli import as_json as json_option
from caffe_port.cli import quiet as quiet_option

if TYPE_CHECKING:
    from decoders.report.making import ReportModel


@click.command(epilog="Example: decoders report runs/fc6 runs/fc6-auto --images photos/ --out report")
@click.argument("model", nargs=-1, metavar="[MODEL]... [SRC]...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the page.")
@click.option("--images", multiple=True, metavar="SRC", help="Pictures.  [those of the demonstration]")
@click.option(
    "--learn",
    multiple=True,
    metavar="SRC",
    help="Pictures that HOGgles and Weinzaepfel et al. learn from.  [the half that is not inverted]",
)
@click.option("--net", metavar="NET", help="The net of the models that are given, if no longer where it was.")
@click.option("--limit", type=click.IntRange(2), help="At most so many pictures.  [100; --quick 6]")
@click.option("--quick", is_flag=True, help="Six pictures, a tenth of the rivals' steps: minutes.")
@click.option("--seed", default=0, show_default=True, help="Of everything that is drawn.")
@json_option
@quiet_option
def report(
    model: tuple[str, ...],
    out: Path,
    images: tuple[str, ...],
    learn: tuple[str, ...],
    net: str | None,
    limit: int | None,
    quick: bool,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """The paper with our numbers: one HTML page of every experiment on every decoder.

    The decoders that ship take part, and each MODEL that is given. What was made once is kept in the folder, so that a
    report that was stopped goes on where it was.
    """
    from caffe_port.pictures import list_images
    from decoders.demo import PICTURES
    from decoders.extras import need
    from decoders.report.commands import Typed
    from decoders.report.making import FULL_PICTURES, QUICK_PICTURES, ReportSettings, make_parts
    from decoders.report.page import write_report

    for module, extra in (("matplotlib", "report"), ("sklearn", "rivals"), ("scipy", "rivals")):
        need(module, extra)  # before the work, not after it
    names, sources = _split(model)
    models = [_open(name, net if name in model else None) for name in names]
    most = limit or (QUICK_PICTURES if quick else FULL_PICTURES)
    files = list_images(images + sources or [PICTURES])[:most]
    settings = ReportSettings(quick, seed, learn)
    made, bad = make_parts(models, files, settings, out, quiet=quiet)
    for line in bad:
        click.echo(f"skipped {line}", err=True)
    typed = Typed([name for name in names if name in model], [*images, *sources], net, most, str(out))
    page, found = write_report(made, files, settings, typed, out)
    if as_json:
        verdicts = [{"claim": one.claim, "verdict": one.verdict} for one in found]
        click.echo(json.dumps({"page": str(page.resolve()), "relations": verdicts}))
    elif not quiet:
        for number, one in enumerate(found, 1):
            click.echo(f"{number}. {one.verdict}: {one.claim}")
        click.echo(page.resolve())


def _split(words: tuple[str, ...]) -> tuple[list[str], tuple[str, ...]]:
    """Models, those that ship first, and picture sources."""
    from decoders.cli import shipped_models, split_models

    shipped = shipped_models()
    models, sources = split_models(("", *words))  # which takes its first word for a model
    return list(dict.fromkeys([*shipped, *models[1:]])), sources


def _open(name: str, net: str | None) -> "ReportModel":
    from caffe_port.convert import sha256
    from decoders.checkpoints import MODEL
    from decoders.cli import PRETRAINED, open_model
    from decoders.report.making import ReportModel

    opened = open_model(name, net)
    path = Path(name)
    if path.is_dir():
        path = path / MODEL
    elif path.suffix != ".onnx":
        path = PRETRAINED / f"{name}.onnx"
    return ReportModel(name, opened.decode, opened.representation, opened.card, sha256(path))
