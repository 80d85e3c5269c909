"""`decoders experiment`: one command for each row of `EXPERIMENTS`, its options those of the row's settings."""

import dataclasses
import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from caffe_port.cli import as_json as json_option
from caffe_port.cli import quiet as quiet_option
from caffe_port.cli import strict as strict_option

if TYPE_CHECKING:
    from decoders.experiments.subjects import Subject
    from decoders.experiments.table import Experiment


@dataclasses.dataclass(frozen=True)
class Sources:
    """What the experiments are made on, as it was typed."""

    models: tuple[str, ...]
    images: tuple[str, ...]
    net: str | None
    features: Path | None = None
    array: str | None = None
    limit: int | None = None
    strict: bool = False


class Experiments(click.Group):
    """The rows of the table as commands; the table is imported only when one is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the table's order."""
        from decoders.experiments.table import EXPERIMENTS

        return list(EXPERIMENTS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a row, or None."""
        from decoders.experiments.table import EXPERIMENTS

        return _command(EXPERIMENTS[cmd_name]) if cmd_name in EXPERIMENTS else None


@click.command(cls=Experiments, epilog="Example: decoders experiment perturb hog photos/")
def experiment() -> None:
    """The paper's experiments, on any decoders and any pictures or features."""


def _command(row: "Experiment") -> click.Command:
    options = [
        click.Argument(["model"], nargs=-1, required=True, metavar="MODEL... [SRC]..."),
        click.Option(
            ["--images"], multiple=True, metavar="SRC", help="Pictures.  [those of the demonstration]"
        ),
        click.Option(
            ["--features"],
            type=click.Path(path_type=Path),
            help="Features instead of pictures: a .npy, .npz or .mat file, (N, C, H, W) or (N, C).",
        ),
        click.Option(["--array"], help="Which array of an .npz or .mat file.  [features, or the only one]"),
        click.Option(["--net"], metavar="NET", help="The net of the models, if no longer where it was."),
        click.Option(["--limit"], type=click.IntRange(1), help="At most so many pictures."),
        click.Option(
            ["--out"], type=click.Path(path_type=Path), help="Folder for pictures, curves and figures."
        ),
        *_own_options(row.settings),
    ]
    command = click.Command(
        row.name,
        params=options,
        callback=lambda **given: _run(row, **given),
        help=f"{row.shows} The paper's {row.figure}.\n\nWhat is no run folder, .onnx file or decoder that "
        "ships is taken for pictures.",
        epilog=f"Example: decoders experiment {row.name} hog --images photos/ --out {row.name}",
    )
    for shared in (strict_option, json_option, quiet_option):
        command = shared(command)
    return command


def _own_options(settings: type) -> Iterator[click.Option]:
    for field in dataclasses.fields(settings):
        default: Any = field.default
        is_many = isinstance(default, tuple)
        kind = typing.get_args(field.type)[0] if is_many else type(default)
        text = field.metadata.get("help", "Of everything that is drawn.")
        shown = ", ".join(map(str, default)) if is_many else default
        yield click.Option(
            [f"--{field.name.replace('_', '-')}"],
            type=kind,
            multiple=is_many,
            default=None,
            help=f"{text}  [{shown}]" if shown != "" else text,
        )


def _run(
    row: "Experiment",
    *,
    model: tuple[str, ...],
    images: tuple[str, ...],
    features: Path | None,
    array: str | None,
    net: str | None,
    limit: int | None,
    out: Path | None,
    strict: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    from decoders.cli import split_models
    from decoders.experiments.files import write_outcome
    from decoders.experiments.outcomes import join

    models, more = split_models(model)
    sources = Sources(models, images + more, net, features, array, limit, strict)
    settings = row.settings(**{name: value for name, value in options.items() if value not in (None, ())})
    outcomes = []
    for subject in subjects(sources):
        reason = row.unfit(subject)
        if reason:
            click.echo(f"{subject.name}: left out; {reason}", err=True)
            continue
        outcomes.append(row.run(dataclasses.replace(subject, quiet=quiet), settings))
    if not outcomes:
        raise ValueError(f"{row.name}: none of the models has a part in it")
    outcome = join(outcomes)
    if out is not None:
        for path in write_outcome(out, row.name, outcome, row.charts(outcome.rows)):
            if not (quiet or as_json):
                click.echo(path)
    if as_json:
        click.echo(json.dumps({"settings": dataclasses.asdict(settings), "rows": list(outcome.rows)}))
    elif not quiet:
        for line in outcome.rows:
            click.echo("  ".join(_cell(key, value) for key, value in line.items() if _is_short(value)))


def subjects(sources: Sources) -> "Iterator[Subject]":
    """Open each model with its features, one after another.

    Raises
    ------
    ValueError, OSError : if a model, its net, the pictures or the features cannot be had.
    """
    from caffe_port.pictures import list_images
    from decoders.cli import open_model
    from decoders.demo import PICTURES
    from decoders.experiments.feature_files import read_features
    from decoders.experiments.subjects import of_features, of_files

    if sources.features is not None and sources.images:
        raise ValueError("both pictures and --features are given; give one of them")
    files = list_images(sources.images or [PICTURES])[: sources.limit]
    for name in sources.models:
        opened = open_model(name, sources.net)
        one = (name, opened.decode, opened.representation, opened.card)
        if sources.features is not None:
            yield of_features(
                *one,
                read_features(sources.features, opened.representation.shape, sources.array)[: sources.limit],
            )
            continue
        subject, bad = of_files(*one, files)
        if bad and sources.strict:
            raise ValueError(f"{bad[0]} (--strict refuses unreadable pictures)")
        for line in bad:
            click.echo(f"skipped {line}", err=True)
        yield subject


def _is_short(value: object) -> bool:
    return not isinstance(value, list | dict)


def _cell(key: str, value: object) -> str:
    return f"{key} {value:.4f}" if isinstance(value, float) else f"{key} {value}"
