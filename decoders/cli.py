"""The command line of `decoders`: each command parses, calls one function and prints."""

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from caffe_port.cli import OneLineErrors
from caffe_port.cli import as_json as json_option
from caffe_port.cli import strict as strict_option
from decoders.experiments.cli import experiment
from decoders.report.cli import report
from decoders.representations import Representation

if TYPE_CHECKING:
    from decoders.evaluation import Decode
    from decoders.training import Outcome

PRETRAINED = Path(__file__).parent / "pretrained"

quiet_option = click.option("--quiet", is_flag=True, help="No progress bar and no summary.")
images_option = click.option(
    "--images",
    multiple=True,
    required=True,
    metavar="SRC",
    help="Folder, text file of paths, .tar shards, or glob; may be given several times.",
)
net_option = click.option(
    "--net",
    metavar="NET",
    help="A converted .safetensors, a folder of caffe_port fetch, or a net that ships (caffenet-mini).",
)
more_argument = click.argument("more", nargs=-1, metavar="[SRC]...")  # what a shell makes of --images *.tar


@dataclasses.dataclass(frozen=True)
class Model:
    """A decoder ready to use, wherever it came from: features (N, C, H, W) -> pictures (N, 3, H', W') by ``decode``."""

    decode: "Decode"
    representation: Representation
    card: dict[str, Any]


@click.group(cls=OneLineErrors, name="decoders", epilog="Example: decoders demo --out gallery")
@click.version_option(package_name="caffe-port", message="%(version)s")
def main() -> None:
    """Networks that predict an image from its features.

    MODEL is a run folder, an .onnx file, or the name of a decoder that ships (see `decoders list`).
    """


@main.command("list", epilog="Example: decoders list --table fc8")
@click.option("--table", metavar="REPRESENTATION", help="Print a decoder's table as the paper does.")
@click.option("--width", type=float, default=1.0, show_default=True, help="Factor on the table's map counts.")
@net_option
@json_option
def list_command(table: str | None, width: float, net: str | None, as_json: bool) -> None:
    """Representations, decoders, and what ships.

    With --net, --table takes the name of any blob of that net and prints the decoder that would be trained for it.
    """
    from decoders.listing import as_text, decoder_table, rows

    if table is not None:
        spec = decoder_table(table, net or "").scaled(width)
        text = f"{spec.table()}\n\nSource: {spec.provenance}"
        click.echo(json.dumps(dataclasses.asdict(spec)) if as_json else text)
        return
    listed = rows(shipped_models())
    click.echo(json.dumps(listed) if as_json else as_text(listed))


@main.command(epilog="Example: decoders train hog --images photos/ --out runs/hog --width 0.25 --epochs 15")
@click.argument("representation_name", metavar="REPRESENTATION", required=False)
@more_argument
@click.option(
    "--images", multiple=True, metavar="SRC", help="Training pictures: folder, list, .tar shard, or glob."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The run folder.")
@click.option("--val", multiple=True, metavar="SRC", help="Validation pictures; left out of training.")
@click.option("--val-fraction", type=float, help="Without --val: part held out by the names' hash.  [0.05]")
@net_option
@click.option(
    "--autoencoder",
    is_flag=True,
    default=None,
    help="Train the net too, from its own weights, with the decoder.",
)
@click.option("--width", type=float, help="Factor on the table's map counts.  [1.0]")
@click.option("--epochs", type=float, help="Length in passes over the pictures.  [15]")
@click.option("--steps", type=int, help="Length in steps, instead of --epochs.")
@click.option("--batch", type=int, help="Pictures a step, of all processes together.  [64]")
@click.option(
    "--accumulate",
    type=int,
    help="Each process computes its part of a batch in so many parts, to save memory.  [1]",
)
@click.option("--lr", type=float, help="Adam's rate, after warm-up and before it falls.  [0.001]")
@click.option("--warmup", type=int, help="Steps of linear warm-up.  [500]")
@click.option("--clip", type=float, help="Largest gradient norm.  [0.5]")
@click.option(
    "--image-size", type=int, help="Side of the training crops; by default the representation's own."
)
@click.option("--zoom", type=float, help="Crops are cut up to this factor larger and scaled down.  [1.0]")
@click.option(
    "--init",
    metavar="RUN",
    help="Start from the weights of another run folder, or the strongest maps of a wider one.",
)
@click.option("--seed", type=int, help="Of weights, order, crops and mirroring.  [0]")
@click.option(
    "--upconv", type=click.Choice(["literal", "fused"]), help="How up-convolutions are computed.  [fused]"
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16"]),
    help="bf16: products of bfloat16 numbers, for GPUs.  [fp32]",
)
@click.option(
    "--channels-last",
    is_flag=True,
    default=None,
    help="Maps in memory pixel by pixel: for GPUs; slower on CPUs.",
)
@click.option("--compile", is_flag=True, default=None, help="Run the network as torch.compile makes it.")
@click.option("--device", help="auto, cpu, cuda or cuda:N.  [auto]")
@click.option("--workers", type=int, help="Loader threads of each process.  [2]")
@click.option("--cache-gib", type=float, help="Decoded pictures kept in memory by each process.  [1.0]")
@click.option("--crops", type=int, help="So many fixed crops of each picture; 0 for ever new ones.  [0]")
@click.option(
    "--feature-cache",
    metavar="DIR",
    help="With --crops: keep features here; worth it for sift. May be deleted.",
)
@click.option("--feature-cache-gib", type=float, help="How large that folder may become.  [10.0]")
@click.option("--checkpoint-every", type=int, help="Steps between checkpoints.  [500]")
@click.option("--evaluate-every", type=int, help="Steps between evaluations.  [1000]")
@click.option("--val-images", type=int, help="At most so many pictures are evaluated.  [256]")
@click.option("--resume", is_flag=True, help="Continue the run in --out; options are then its own.")
@click.option(
    "--repeat",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Take what is not given from another run folder.",
)
@click.option(
    "--strict", is_flag=True, default=None, help="Refuse unreadable pictures instead of counting them."
)
@quiet_option
def train(
    representation_name: str | None,
    more: tuple[str, ...],
    out: Path,
    resume: bool,
    repeat: Path | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Train a decoder for REPRESENTATION; further SRC are training pictures too.

    REPRESENTATION is hog, lbp, sift, a layer of the paper (conv1 ... conv5, fc6, fc7, fc8; of CaffeNet without --net),
    or any blob of the net that --net names. With --resume or --repeat it may be left out.

    On several processes: torchrun --nproc-per-node=2 --no-python decoders train ...
    """
    from decoders import checkpoints, training
    from decoders.config import TrainConfig
    from decoders.processes import join

    options["images"] += more
    given = {k: v for k, v in options.items() if v not in (None, ())}
    if representation_name is not None:
        given["representation"] = representation_name
    if resume and repeat:
        raise ValueError(
            "--resume and --repeat are given; --resume goes on in --out, --repeat starts anew there"
        )
    with join() as processes:
        if resume or repeat:
            config = dataclasses.replace(checkpoints.read_config(repeat or out)[0], **given)
        elif not options["images"]:
            raise ValueError(
                "--images is missing; give a folder, a text file of paths, .tar shards or a glob"
            )
        elif representation_name is None:
            raise ValueError("REPRESENTATION is missing; decoders list shows those there are")
        else:
            config = TrainConfig(**given)
        result = training.train(config, out, resume=resume, quiet=quiet, processes=processes)
    if processes.first:
        _tell_outcome(result, out, quiet=quiet)
    if result.step < result.steps:
        sys.exit(130)


def _tell_outcome(result: "Outcome", out: Path, *, quiet: bool) -> None:
    for line in result.unreadable:
        click.echo(f"skipped {line}", err=True)
    if result.step < result.steps:
        click.echo(
            f"{out}: stopped at step {result.step} of {result.steps}; continue with --resume", err=True
        )
    elif not quiet:
        error = "complete before" if result.error is None else f"validation error {result.error:.4f}"
        click.echo(f"{out}: {result.steps} steps, {error}")


@main.command(epilog="Example: decoders evaluate hog runs/fc6 --images photos/ --json")
@click.argument("model", nargs=-1, required=True, metavar="MODEL... [SRC]...")
@images_option
@net_option
@click.option(
    "--image-size",
    type=int,
    help="Side of the pictures, for fully convolutional decoders; by default their own.",
)
@strict_option
@json_option
@quiet_option
def evaluate(
    model: tuple[str, ...],
    images: tuple[str, ...],
    net: str | None,
    image_size: int | None,
    strict: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Normalised reconstruction error of each MODEL on the same pictures; further SRC are pictures too.

    An argument that is no run folder, .onnx file or decoder that ships is taken for pictures. --json prints one object
    for one MODEL and a list of them for several. Reconstructions are enlarged to the size of the pictures, bilinearly.
    """
    from caffe_port.pictures import list_images
    from decoders.comparison import compare

    models, more = split_models(model)
    opened = {name: open_model(name, net) for name in models}
    pairs = {name: (one.decode, one.representation) for name, one in opened.items()}
    results, bad = compare(pairs, list_images(images + more), side=image_size, strict=strict, quiet=quiet)
    _name_skipped(bad, strict)
    if as_json:
        click.echo(json.dumps(results[0] if len(results) == 1 else results))
        return
    for row in results:
        click.echo(
            f"{row['model']}: error {row['error']:.4f} on {row['images']} pictures ({row['skipped']} skipped)"
        )


@main.command(epilog="Example: decoders invert hog cat.jpg dog.jpg --out inverted")
@click.argument("model")
@click.argument("image", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the pictures.")
@net_option
@strict_option
@quiet_option
def invert(
    model: str, image: tuple[Path, ...], out: Path, net: str | None, strict: bool, quiet: bool
) -> None:
    """Pictures side by side: original, reconstruction."""
    from caffe_port.pictures import list_images
    from decoders.evaluation import read_squares, reconstruct
    from decoders.images import save_image, side_by_side, to_pictures, unique_names

    opened = open_model(model, net)
    files = list_images(image)
    out.mkdir(parents=True, exist_ok=True)
    names = unique_names([Path(file.name).stem for file in files])
    bad = []
    for file, name in zip(files, names, strict=True):
        pictures, unreadable = read_squares([file], opened.representation.framing)
        bad += unreadable
        if unreadable:
            continue
        (decoded,) = reconstruct(opened.decode, opened.representation, pictures)
        path = out / f"{name}.png"
        save_image(path, side_by_side([pictures[0], to_pictures(decoded)[0]]))
        if not quiet:
            click.echo(path)
    _name_skipped(bad, strict)
    if len(bad) == len(files):
        raise ValueError("none of the pictures can be read")


@main.command(epilog="Example: decoders export runs/hog -o hog.onnx --precision fp16 --pipeline")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The .onnx file.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8", "int8-static"]),
    default="fp32",
    show_default=True,
    help="Of the weights; int8-static: of the maps, too, fastest on CPUs and for them only.",
)
@click.option("--pipeline", is_flag=True, help="From photographs to pictures, the features inside.")
@click.option(
    "--calibrate",
    multiple=True,
    metavar="SRC",
    help="Pictures to measure the error on, 64 at most.  [demo's]",
)
@click.option("--max-extra-error", type=float, default=0.5, show_default=True, help="Over torch's, in %.")
@net_option
@quiet_option
def export(
    run: Path,
    out: Path,
    precision: str,
    pipeline: bool,
    calibrate: tuple[str, ...],
    max_extra_error: float,
    net: str | None,
    quiet: bool,
) -> None:
    """Write the decoder of a run folder as one .onnx file with its card, after comparing it with torch.

    Of an autoencoder, X.onnx holds the decoder, and X.encoder.safetensors beside it the trained encoder: a net for
    caffe_port, and what evaluate, invert and experiment need beside X.onnx. Its parameters are float16, which counts in
    the error. With --pipeline the encoder is inside the one file.
    """
    from decoders.encoder_files import FIELD
    from export.from_run import export_run
    from export.to_onnx import ExportOptions

    kind = "pipeline" if pipeline else "decoder"
    options = ExportOptions(precision, kind, max_extra_error=max_extra_error / 100)
    card = export_run(run, out, options, calibrate=calibrate, net=net or "")
    found = card["export"]
    if not quiet:
        click.echo(
            f"{out}: {out.stat().st_size} bytes, {precision}, at most {found['largest_difference']:.2g} grey levels "
            f"from torch; error {found['calibration']['error']:.4f} on {found['calibration']['pictures']} pictures, "
            f"torch's {found['calibration']['torch_error']:.4f}"
        )
    if FIELD in card and not quiet:
        encoder = out.with_name(card[FIELD]["file"])
        click.echo(f"{encoder}: {encoder.stat().st_size} bytes, its encoder, fp16")


@main.command(epilog="Example: decoders demo --web page")
@click.option("--out", type=click.Path(path_type=Path), default=Path("decoders-demo"), show_default=True)
@click.option(
    "--web",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write a page that reconstructs any photograph.",
)
@click.option(
    "--runtime",
    default="",
    metavar="PATH",
    help="Of --web: `npm`, or where the npm package onnxruntime-web lies.  [node_modules, else npm]",
)
@json_option
@quiet_option
def demo(out: Path, web: Path | None, runtime: str, as_json: bool, quiet: bool) -> None:
    """Reconstruct a few pictures with every decoder that ships; write PNGs and an HTML page.

    With --web, write a folder of static files instead, whose index.html reconstructs photographs in the browser, from
    features that one may perturb. It needs no server and no network. Autoencoders are left out of it.
    """
    with tqdm(shipped_models(), unit="decoder", disable=True if quiet else None) as bar:
        if web is not None:
            found = _demonstrate_on_the_web({name: open_model(name) for name in bar}, web, runtime)
        else:
            found = _demonstrate(bar, out)
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, error in found.get("errors", {}).items():
        click.echo(f"{name}: error {error:.3f}")
    for line in found.get("left_out", ()):
        click.echo(line, err=True)
    click.echo(found["page"])


def _demonstrate(names: Iterable[str], out: Path) -> dict[str, Any]:
    from decoders.demo import demonstrate, write_gallery

    sections = []
    for name in names:
        model = open_model(name)
        sections.append(demonstrate(name, model.decode, model.representation, model.card, out))
    page = write_gallery(sections, out)
    errors = {section.name: section.error for section in sections}
    return {"page": str(page.resolve()), "images": sections[0].images, "errors": errors}


def _demonstrate_on_the_web(models: Mapping[str, Model], out: Path, runtime: str) -> dict[str, Any]:
    from caffe_port.pictures import list_images
    from decoders.demo import PICTURES
    from export.web.runtime import read_runtime
    from export.web.site import WebModel, write_site

    entries = [
        WebModel(name, PRETRAINED / f"{name}.onnx", model.representation, model.card)
        for name, model in models.items()
    ]
    left_out = write_site(entries, list_images([PICTURES]), read_runtime(runtime), out)
    shown = [name for name in models if name not in left_out]
    page = str((out / "index.html").resolve())
    return {"page": page, "models": shown, "left_out": list(left_out.values())}


main.add_command(experiment)
main.add_command(report)


def shipped_models() -> list[str]:
    """Names of the decoders that ship, e.g. ``hog``."""
    return sorted(
        path.relative_to(PRETRAINED).with_suffix("").as_posix() for path in PRETRAINED.rglob("*.onnx")
    )


def split_models(words: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(models, picture sources) of a command line's arguments; the first one is always meant as a model."""
    shipped = shipped_models()

    def is_model(word: str) -> bool:
        return word in shipped or word.endswith(".onnx") or (Path(word) / "config.json").is_file()

    models = tuple(word for word in words[1:] if is_model(word))
    return words[:1] + models, tuple(word for word in words[1:] if word not in models)


def open_model(model: str, net: str | None = None) -> Model:
    """Open a run folder, an ``.onnx`` file, or a decoder that ships.

    Parameters
    ----------
    net : where the net is that the model was trained on, if no longer where it was.

    Raises
    ------
    FileNotFoundError, ValueError : if there is no such model, or it or its net is damaged or not the one it was.
    """
    path = Path(model)
    if path.is_dir():
        from decoders.checkpoints import open_run

        decoder, features, card = open_run(path, net or "")
        return Model(decoder.decode_numpy, features, card)
    import export
    from decoders.cards import representation_of

    if path.suffix != ".onnx":
        if model not in shipped_models():
            raise FileNotFoundError(
                f"{model}: neither a run folder, an .onnx file nor a decoder that ships ({', '.join(shipped_models())})"
            )
        path = PRETRAINED / f"{model}.onnx"
    session = export.load(path)
    card = session.card
    if session.takes != "features":
        raise ValueError(f"{path}: a pipeline, which takes {session.takes}; give a file of its decoder alone")
    features = representation_of(card, str(path), net or "")
    return Model(session.pictures, features, card)


def _name_skipped(bad: list[str], strict: bool) -> None:
    if strict and bad:
        raise ValueError(f"{bad[0]} (--strict refuses unreadable pictures)")
    for line in bad:
        click.echo(f"skipped {line}", err=True)
