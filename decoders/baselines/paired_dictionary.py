"""The dictionary of HOGgles (Vondrick et al., ICCV 2013): pairs of grey patches and windows of HOG, learned together.

Source: CSAILVision/ihog @ 137f0b7, `internal/learnpairdict.m`: dictionary learning on windows whose two halves are at
unit length each, min 1/2 |x - D a|^2 + 0.02 sum a with a >= 0, in 1000 batches of 400.
# differs from ihog: SPAMS, which is GPL, is replaced by scikit-learn's coder and the algorithm that SPAMS has, see
# `sparse_coding`. It starts from windows, and each batch is drawn at random.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoders.baselines.archives import (
    digest_picture,
    read_archive,
    rival_versions,
    settings_on,
    write_archive,
)
from decoders.baselines.ihog import CHANNELS
from decoders.baselines.paired_windows import PairedWindows
from decoders.baselines.sparse_coding import OnlineDictionary

KIND = "HOGgles dictionary"

Progress = Callable[[Iterable[int]], Iterable[int]]


@dataclass(frozen=True)
class HogglesSettings:
    """Settings of the dictionary, with ihog's values.

    Attributes
    ----------
    atoms : int
    cells : int
        Side of a window.
    cell_size : int
    sparsity : float
        Lambda, of learning and inversion.
    iterations, batch : int
        Batches learned from, and windows in each.
    windows : int
        At most this many different windows are used.
    """

    atoms: int = 1024
    cells: int = 5
    cell_size: int = 8
    sparsity: float = 0.02
    iterations: int = 1000
    batch: int = 400
    windows: int = 1_000_000

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name == "sparsity":
                if not 0 < value < np.inf:
                    raise ValueError(f"sparsity is {value}: a number above 0 is needed")
            elif type(value) is not int or not 1 <= value <= 2**24:
                raise ValueError(f"{name} is {value}: a whole number of 1 to {2**24} is needed")

    @property
    def side(self) -> int:
        """Of a patch, in pixels."""
        return (self.cells + 2) * self.cell_size


@dataclass(frozen=True)
class PairedDictionary:
    """Atoms as pairs of a grey patch and a window of HOG.

    Attributes
    ----------
    patches : (K, side, side) float32
    features : (K, 32, cells, cells) float32
    settings : HogglesSettings
    card : dict
        Seed, data, versions; ready for JSON.
    """

    patches: NDArray[np.float32]
    features: NDArray[np.float32]
    settings: HogglesSettings
    card: dict[str, Any] = field(default_factory=dict)


def learn_dictionary(
    pictures: Iterable[NDArray],
    *,
    settings: HogglesSettings = HogglesSettings(),
    seed: int = 0,
    progress: Progress = iter,
) -> PairedDictionary:
    """Learn a dictionary from pictures.

    Parameters
    ----------
    pictures : iterable of (H, W, 3) uint8 arrays, RGB
        All are kept in memory as grey floats with their HOG, 6 bytes a pixel.
    settings : HogglesSettings
    seed : int
        Of the windows, the first atoms and those that replace unused ones.
    progress : function
        Wraps the iterations, as tqdm does.

    Returns
    -------
    PairedDictionary

    Raises
    ------
    ValueError
        No picture is large enough, there are fewer windows than atoms, or scikit-learn is not installed.
    """
    digest = hashlib.sha256()
    windows = PairedWindows(_digesting(pictures, digest), cells=settings.cells, cell_size=settings.cell_size)
    if len(windows) < settings.atoms:
        raise ValueError(f"{len(windows)} windows are too few for {settings.atoms} atoms")
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(windows))[: max(settings.windows, settings.atoms)]
    first = windows.rows(chosen[: settings.atoms])
    online = OnlineDictionary(first, settings.sparsity, rng)
    for _ in progress(range(settings.iterations)):
        online.learn(windows.rows(rng.choice(chosen, settings.batch)))
    grey, features = np.split(online.atoms.astype(np.float32), [settings.side**2], axis=1)
    card = {
        "settings": asdict(settings),
        "seed": seed,
        "pictures": windows.pictures,
        "pictures_too_small": windows.too_small,
        "windows": len(chosen),
        "data_sha256": digest.hexdigest(),
        "versions": rival_versions(),
    }
    return PairedDictionary(
        grey.reshape(-1, settings.side, settings.side),
        features.reshape(-1, CHANNELS, settings.cells, settings.cells),
        settings,
        card,
    )


def _digesting(pictures: Iterable[NDArray], digest: Any) -> Iterable[NDArray]:
    for picture in pictures:
        digest_picture(digest, picture)
        yield picture


def write_dictionary(path: str | os.PathLike[str], dictionary: PairedDictionary) -> None:
    """Write a dictionary; the file is replaced whole or not at all. OSError if it cannot be written."""
    arrays = {"patches": dictionary.patches, "features": dictionary.features}
    write_archive(path, KIND, arrays, dictionary.card | {"settings": asdict(dictionary.settings)})


def read_dictionary(path: str | os.PathLike[str]) -> PairedDictionary:
    """Read a dictionary that `write_dictionary` wrote.

    Raises
    ------
    ValueError
        The file is damaged or none; the text names it and the part.
    OSError
        The file cannot be read.
    """
    arrays, card = read_archive(path, KIND, {"patches": ("float32", 3), "features": ("float32", 4)})
    settings = settings_on(card, HogglesSettings, path)
    wanted = {
        "patches": (settings.atoms, settings.side, settings.side),
        "features": (settings.atoms, CHANNELS, settings.cells, settings.cells),
    }
    for name, shape in wanted.items():
        if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
            raise ValueError(f"{path}: array {name!r} must be finite and of shape {shape}")
    return PairedDictionary(arrays["patches"], arrays["features"], settings, card)
