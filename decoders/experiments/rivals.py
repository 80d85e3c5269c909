"""The decoders beside what was done before them, on the same pictures, by the same metric.

CVPR 2016, Table 2 and Figures 3, 4 and 7.

Of a net's blob: Mahendran & Vedaldi. Of HOG: their HOG^-1, and HOGgles. Of SIFT: Weinzaepfel et al. Each computes the
features as its source does. Grey results count as three equal channels; the paper does not say how it compared them.
Those that learn from pictures learn from ``learn``; without it, from the half of the pictures that is not inverted.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from caffe_port.pictures import list_images, read_images
from caffe_port.progress import counting
from decoders.baselines import hoggles, weinzaepfel
from decoders.baselines.ihog import ihog
from decoders.baselines.paired_dictionary import HogglesSettings, learn_dictionary
from decoders.baselines.patch_database import DatabaseSettings, build_database
from decoders.experiments.errors import by_representation, scored
from decoders.experiments.outcomes import Chart, Line, Outcome, Row, Sheet
from decoders.experiments.subjects import Subject
from decoders.images import cover, to_batch, to_pictures
from decoders.metrics import distances

if TYPE_CHECKING:  # these import torch, which `--help` does without
    from caffe_port.net import CaffeNet
    from decoders.baselines.inversion_energy import MahendranSettings
    from decoders.baselines.mahendran import Inversion

SHOWN = 4
LEARN_SIZE = (256, 256)  # pictures to learn from are scaled to cover this


@dataclasses.dataclass(frozen=True)
class RivalsSettings:
    """The sources' own settings, all of which can be made smaller for a quick look."""

    seed: int = 0
    learn: tuple[str, ...] = dataclasses.field(
        default=(),
        metadata={"help": "Pictures that HOGgles and Weinzaepfel et al. learn from.  [the other half]"},
    )
    schedule_share: float = dataclasses.field(
        default=1.0, metadata={"help": "Of the steps of Mahendran & Vedaldi's schedule."}
    )
    atoms: int = dataclasses.field(default=1024, metadata={"help": "Of HOGgles' dictionary."})
    iterations: int = dataclasses.field(default=1000, metadata={"help": "Batches it is learned from."})
    patches: int = dataclasses.field(default=200_000, metadata={"help": "Of Weinzaepfel et al.'s database."})

    def __post_init__(self) -> None:
        if not 0 < self.schedule_share <= 1:
            raise ValueError(f"schedule_share is {self.schedule_share}; above 0 and at most 1 is needed")

    @property
    def reduced(self) -> bool:
        """Whether the rivals are given less than their sources gave them, so that their errors are no verdict."""
        own = dataclasses.replace(RivalsSettings(), seed=self.seed, learn=self.learn)
        return self != own


Inverted = tuple[np.ndarray, dict[str, Any]]  # (N, 3, H, W), 0..255, and facts for the row


@dataclasses.dataclass(frozen=True)
class Rival:
    """A method: its name, and from a subject with pictures to reconstructions."""

    name: str
    invert: Callable[[Subject, RivalsSettings], Inverted]


def _shortened(settings: "MahendranSettings", share: float) -> "MahendranSettings":
    schedule = tuple((rate, max(1, round(steps * share))) for rate, steps in settings.schedule)
    return dataclasses.replace(settings, schedule=schedule)


def _of_net(subject: Subject, settings: RivalsSettings) -> Inverted:
    from caffe_port.features import recipe_of
    from decoders.baselines import mahendran
    from decoders.baselines.inversion_energy import MahendranSettings
    from decoders.nets import find_net

    identity = subject.representation.net
    assert identity is not None
    converted, _ = find_net(identity.name)
    own = MahendranSettings(tv_weight=mahendran.tv_weight(converted.net, identity.blob))
    found = mahendran.invert_net(
        subject.features.reshape(_blob_shape(converted.net, identity.blob, subject.features)),
        converted.net,
        identity.blob,
        recipe_of(converted),
        size=subject.representation.image_size,
        settings=_shortened(own, settings.schedule_share),
        seed=settings.seed,
        progress=counting("step", subject.quiet),
    )
    return found.images, _energy_facts(found, own.tv_weight)


def _blob_shape(net: "CaffeNet", blob: str, features: np.ndarray) -> tuple[int, ...]:
    """Vectors may be blobs of one place, (N, C, 1, 1), in the net."""
    axes = len(net.plan.needed((blob,))[-1].top_shapes[0])
    return features.shape + (1,) * (axes - features.ndim)


def _hog_inverse(subject: Subject, settings: RivalsSettings) -> Inverted:
    from decoders.baselines import mahendran
    from decoders.baselines.inversion_energy import SHALLOW
    from decoders.baselines.shallow_nets import shallow_features

    pictures = _pictures(subject)
    found = mahendran.invert_shallow(
        shallow_features(to_batch(pictures), "hog"),
        "hog",
        (pictures.shape[1], pictures.shape[2]),
        settings=_shortened(SHALLOW, settings.schedule_share),
        seed=settings.seed,
        progress=counting("step", subject.quiet),
    )
    return found.images, _energy_facts(found, SHALLOW.tv_weight)


def _energy_facts(found: "Inversion", tv_weight: float) -> dict[str, Any]:
    energy = found.energies.sum(axis=2).mean(axis=0)  # (steps + 1,)
    steps = len(energy) - 1
    kept = np.unique(np.linspace(0, steps, min(steps + 1, 41)).round().astype(int))
    curve = {str(step): round(float(energy[step]), 6) for step in kept}
    return {"steps": steps, "tv_weight": tv_weight, "energies": curve}


def _hoggles(subject: Subject, settings: RivalsSettings) -> Inverted:
    chosen = HogglesSettings(atoms=settings.atoms, iterations=settings.iterations)

    def invert(learn: Sequence[np.ndarray], pictures: np.ndarray) -> np.ndarray:
        dictionary = learn_dictionary(
            learn, settings=chosen, seed=settings.seed, progress=counting("batch", subject.quiet)
        )
        progress = counting("picture", subject.quiet)
        return hoggles.invert_hog(ihog(to_batch(pictures)), dictionary, progress=progress).images

    return _learned(subject, settings, invert)


def _weinzaepfel(subject: Subject, settings: RivalsSettings) -> Inverted:
    import kernels
    from kernels.sift import sift

    def invert(learn: Sequence[np.ndarray], pictures: np.ndarray) -> np.ndarray:
        progress = counting("picture", subject.quiet)
        database = build_database(
            progress(learn), settings=DatabaseSettings(patches=settings.patches), seed=settings.seed
        )
        found: Any = sift(kernels.gray(pictures).astype(np.float32), threads=1)  # of each picture
        size = pictures.shape[1], pictures.shape[2]
        return weinzaepfel.invert_sift(found, size, database, progress=progress).images

    return _learned(subject, settings, invert)


def _learned(
    subject: Subject,
    settings: RivalsSettings,
    invert: Callable[[Sequence[np.ndarray], np.ndarray], np.ndarray],
) -> Inverted:
    pictures, sources = _pictures(subject), settings.learn
    if sources:
        bad: list[str] = []
        files = counting("picture", subject.quiet)(list_images(sources))
        learn = [cover(picture, LEARN_SIZE) for _, picture in read_images(files, bad)]
        told = f"; {len(bad)} that cannot be read left out, the first {bad[0]}" if bad else ""
        return invert(learn, pictures), {
            "learned_from": f"{len(learn)} pictures of {', '.join(sources)}{told}"
        }
    half = len(pictures) // 2
    parts = [invert(list(pictures[half:]), pictures[:half]), invert(list(pictures[:half]), pictures[half:])]
    return np.concatenate(parts), {"learned_from": "the half of the pictures that is not inverted"}


def _pictures(subject: Subject) -> np.ndarray:
    if subject.pictures is None or len(subject.pictures) < 2:
        raise ValueError(f"{subject.name}: the rivals need two pictures or more")
    return subject.pictures


_OF_NETS = (Rival("Mahendran & Vedaldi", _of_net),)
_OF_KERNELS: Mapping[str, tuple[Rival, ...]] = MappingProxyType(
    {
        "hog": (Rival("HOG^-1 (Mahendran & Vedaldi)", _hog_inverse), Rival("HOGgles", _hoggles)),
        "sift": (Rival("Weinzaepfel et al.", _weinzaepfel),),
    }
)


def rivals_of(subject: Subject) -> tuple[Rival, ...]:
    """Those that invert the subject's features; none for LBP, and none for a net trained as an autoencoder."""
    if subject.representation.net is None:
        return _OF_KERNELS.get(subject.representation.name, ())
    return () if subject.autoencoder else _OF_NETS


def unfit(subject: Subject) -> str:
    """Why a subject has no part; "" if it has."""
    if subject.pictures is None:
        return "it is about pictures, and the features came without"
    return "" if rivals_of(subject) else "no rival inverts these features"


def run(subject: Subject, settings: RivalsSettings) -> Outcome:
    """A row for the decoder and each rival, and a sheet of them all."""
    if settings.learn:
        list_images(settings.learn)  # which says what is missing before the work, not after it
    originals, normaliser = to_batch(_pictures(subject)), subject.normaliser
    decoded = np.concatenate(list(subject.decoded(subject.features)))
    methods: list[tuple[str, np.ndarray, dict[str, Any]]] = [("decoder", decoded, {})]
    for rival in rivals_of(subject):
        images, facts = rival.invert(subject, settings)
        methods.append((rival.name, images, facts | {"reduced": settings.reduced}))
    rows = [
        subject.facts
        | {"method": name}
        | facts
        | scored(distances(originals, images), normaliser, settings.seed)
        for name, images, facts in methods
    ]
    columns = [subject.shown(SHOWN), *(to_pictures(images[:SHOWN]) for _, images, _ in methods)]
    sheet = Sheet(
        f"{subject.file_name}-rivals",
        f"{subject.representation.name} inverted by {subject.name} and by others",
        subject.names[:SHOWN],
        ("original", *(name for name, _, _ in methods)),
        list(zip(*columns, strict=True)),
    )
    return Outcome(rows, [sheet])


def charts(rows: Sequence[Row]) -> list[Chart]:
    """Figure 7: the decoder's error and the rivals', by representation; and how the energies of the descents fell."""
    errors = by_representation("rivals", "Decoders and their rivals", rows, lambda row: str(row["method"]))
    descents = [row for row in rows if "energies" in row]
    return [
        errors,
        *(_energies(steps, descents) for steps in dict.fromkeys(row["steps"] for row in descents)),
    ]


def _energies(steps: int, rows: Sequence[Row]) -> Chart:
    own = [row for row in rows if row["steps"] == steps]
    places = [str(step) for step in own[0]["energies"]]
    lines = [Line(f"{row['representation']}, {row['method']}", list(row["energies"].values())) for row in own]
    title = f"Energy of the {steps} steps of Mahendran & Vedaldi's descent"
    return Chart(f"energies-{steps}", title, "energy", places, lines, places)
