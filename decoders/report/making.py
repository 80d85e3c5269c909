"""What a report is made of: every experiment on every model, made once and kept (see `parts`)."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from caffe_port.pictures import ImageFile
from caffe_port.versions import versions
from decoders.evaluation import Decode
from decoders.experiments.outcomes import Outcome
from decoders.experiments.rivals import RivalsSettings
from decoders.experiments.subjects import Subject, of_files
from decoders.experiments.table import EXPERIMENTS, Experiment
from decoders.images import data_hash
from decoders.report.paper import ORDER
from decoders.report.parts import Part, kept
from decoders.representations import Representation

PARTS = "parts"
QUICK_PICTURES, FULL_PICTURES = 6, 100
QUICK_RIVALS = RivalsSettings(schedule_share=0.1, atoms=64, iterations=20, patches=2000)


@dataclasses.dataclass(frozen=True)
class ReportModel:
    """A decoder of the report; ``sha256`` is of its file."""

    name: str
    decode: Decode
    representation: Representation
    card: dict[str, Any]
    sha256: str

    @property
    def place(self) -> tuple[int, bool]:
        """Where it stands: by representation as in the paper, fixed nets before autoencoders."""
        name = self.representation.name
        return ORDER.index(name) if name in ORDER else len(ORDER), bool(self.card.get("autoencoder"))


@dataclasses.dataclass(frozen=True)
class ReportSettings:
    """How large a report is.

    Attributes
    ----------
    quick : few steps of the rivals.
    seed : of everything that is drawn.
    learn : pictures that HOGgles and Weinzaepfel et al. learn from; none for the half that is not inverted.
    """

    quick: bool = False
    seed: int = 0
    learn: tuple[str, ...] = ()

    def of(self, experiment: Experiment) -> Any:
        """The settings of one experiment."""
        if experiment.settings is RivalsSettings:
            own = QUICK_RIVALS if self.quick else RivalsSettings()
            return dataclasses.replace(own, seed=self.seed, learn=self.learn)
        has_seed = any(field.name == "seed" for field in dataclasses.fields(experiment.settings))
        return experiment.settings(seed=self.seed) if has_seed else experiment.settings()


@dataclasses.dataclass(frozen=True)
class Made:
    """One experiment on one model: the part, and the settings it was made with."""

    experiment: Experiment
    model: ReportModel
    settings: Any
    part: Part


def make_parts(
    models: Sequence[ReportModel],
    files: Sequence[ImageFile],
    settings: ReportSettings,
    out: Path,
    *,
    quiet: bool = True,
) -> tuple[list[Made], list[str]]:
    """All parts, those made before read from ``out``.

    Returns
    -------
    parts : by experiment, then by model in the paper's order.
    bad : one line for each picture that could not be read.

    Raises
    ------
    ValueError, OSError : if a part cannot be made, read or written.
    """
    ordered = sorted(models, key=lambda model: model.place)
    made: list[Made] = []
    bad: dict[str, None] = {}
    with tqdm(
        total=len(ordered) * len(EXPERIMENTS), unit="part", disable=True if quiet else None
    ) as progress:
        for model in ordered:
            subject = _Lazy(model, files, bad, quiet)
            for experiment in EXPERIMENTS.values():
                progress.set_description(f"{experiment.name} {model.name}")
                own = settings.of(experiment)
                decides = _decides(experiment, model, own, files)
                part = kept(out / PARTS, decides, _maker(experiment, subject, own))
                made.append(Made(experiment, model, own, part))
                progress.update()
    names = list(EXPERIMENTS)
    return sorted(made, key=lambda one: names.index(one.experiment.name)), list(bad)


class _Lazy:
    """A subject whose features are computed when the first part needs them."""

    def __init__(
        self, model: ReportModel, files: Sequence[ImageFile], bad: dict[str, None], quiet: bool
    ) -> None:
        self._model, self._files, self._bad, self._quiet = model, files, bad, quiet
        self._subject: Subject | None = None

    def __call__(self) -> Subject:
        if self._subject is None:
            model = self._model
            subject, bad = of_files(model.name, model.decode, model.representation, model.card, self._files)
            self._subject = dataclasses.replace(subject, quiet=self._quiet)
            self._bad.update(dict.fromkeys(bad))
            if len(self._subject.features) < 2:
                raise ValueError(
                    f"{len(self._subject.features)} picture can be read; a report needs two or more"
                )
        return self._subject


def _maker(experiment: Experiment, subject: _Lazy, settings: Any) -> Callable[[], Outcome | str]:
    def make() -> Outcome | str:
        return experiment.unfit(subject()) or experiment.run(subject(), settings)

    return make


def _decides(
    experiment: Experiment, model: ReportModel, settings: Any, files: Sequence[ImageFile]
) -> dict[str, Any]:
    net = model.representation.net
    return {
        "experiment": experiment.name,
        "settings": dataclasses.asdict(settings),
        "model": model.name,
        "model_sha256": model.sha256,
        "net": net and dataclasses.asdict(net),
        "pictures": data_hash(files),
        "versions": versions(),
    }
