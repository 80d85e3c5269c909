"""The pictures of a run, and training batches as a pure function of (seed, position).

Position p counts samples from the start of the run. Epoch e = p // n visits the n pictures in an order drawn from
(seed, e); the crop and the mirroring of a sample are drawn from (seed, p), or, where each picture has a fixed number of
crops, from (seed, picture, e modulo that number). So neither the number of workers nor that of processes changes the
samples, and a run that is stopped and resumed sees what it would have seen.

Large JPEGs are decoded at a reduced size where that still covers what is cut from them (see
`caffe_port.pictures.decode_image`).
"""

import collections
import concurrent.futures
import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence

import numpy as np

from caffe_port.pictures import BadImage, ImageFile, list_images
from decoders.config import TrainConfig
from decoders.framing import Framing, Size
from decoders.images import resize, split_by_hash, to_batch

_ATTEMPTS = 16


def find_pictures(config: TrainConfig) -> tuple[tuple[ImageFile, ...], tuple[ImageFile, ...]]:
    """(training, validation) pictures of a run; no picture is in both.

    Raises
    ------
    ValueError : if either would be too small.
    """
    training = list_images(config.images)
    if config.val:
        validation = list_images(config.val)
        held_out = set(validation)
        training = tuple(image for image in training if image not in held_out)
    else:
        training, validation = split_by_hash(training, config.val_fraction)
    if not training or len(validation) < 2:
        raise ValueError(
            f"{', '.join(config.images)}: {len(training)} pictures to train on and {len(validation)} to validate "
            "with; at least 1 and 2 are needed: give more pictures, or others with --val"
        )
    if len(training) < config.batch:
        raise ValueError(
            f"{', '.join(config.images)}: {len(training)} pictures to train on, fewer than a batch of {config.batch}; "
            "give more pictures or a smaller --batch"
        )
    return training, validation[: config.val_images]


@dataclasses.dataclass(frozen=True)
class Batch:
    """Pictures of one step, and what is to be predicted.

    Attributes
    ----------
    images : (N, 3, H, W) float32, RGB 0..255.
    targets : (N, 3, h, w) float32, RGB 0..255: the pictures at the decoder's output size.
    features : (N, ...) float32, or None where they are computed on the training device.
    bad : one line for each file that could not be read; another picture stands in for it.
    seconds : what it took one worker.
    """

    images: np.ndarray
    targets: np.ndarray
    features: np.ndarray | None
    bad: tuple[str, ...]
    seconds: float


class Samples:
    """Random crops of a set of pictures, by position.

    Parameters
    ----------
    files : the training pictures.
    framing : how they are cut.
    target_size : (height, width) to which crops are scaled, by area averaging, for the decoder to predict; None for
        the crops as they are.
    extract : computes features in the worker; None to leave that to the training device.
    seed : of order, crops and mirroring.
    crops : number of fixed crops of each picture; 0 for a new one every time.
    cache_bytes : decoded pictures are kept in memory up to this many bytes.
    """

    def __init__(
        self,
        files: Sequence[ImageFile],
        framing: Framing,
        *,
        target_size: Size | None = None,
        extract: Callable[[np.ndarray], np.ndarray] | None = None,
        seed: int,
        crops: int = 0,
        cache_bytes: int,
    ) -> None:
        self.files = files
        self.framing = framing
        self.target_size = target_size
        self.extract = extract
        self.seed = seed
        self.crops = crops
        self._free_bytes = cache_bytes
        self._cache: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()
        self._order = functools.lru_cache(maxsize=2)(self._draw_order)

    def batch(self, positions: range) -> Batch:
        """The samples at ``positions``."""
        started = time.perf_counter()
        bad: list[str] = []
        crops = [self._sample(position, bad) for position in positions]
        images = targets = to_batch(crops)
        if self.target_size is not None and self.target_size != images.shape[2:]:
            targets = to_batch([resize(crop, *self.target_size) for crop in crops])
        features = None if self.extract is None else self.extract(images)
        return Batch(images, targets, features, tuple(bad), time.perf_counter() - started)

    def _sample(self, position: int, bad: list[str]) -> np.ndarray:
        epoch, place = divmod(position, len(self.files))
        index = int(self._order(epoch)[place])
        rng = np.random.default_rng([self.seed, 1, position])
        for _ in range(_ATTEMPTS):
            try:
                prepared = self._prepared(index)
                fixed = [self.seed, 2, index, epoch % self.crops] if self.crops else None
                return self.framing.draw(prepared, np.random.default_rng(fixed) if fixed else rng)
            except BadImage as error:
                bad.append(str(error))
                index = int(rng.integers(len(self.files)))
        raise ValueError(f"{_ATTEMPTS} pictures drawn in a row cannot be read, the last one: {bad[-1]}")

    def _draw_order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.files))

    def _prepared(self, index: int) -> np.ndarray:
        """The picture as the framing prepares it, (H, W, 3) uint8."""
        cached = self._cache.get(index)
        if cached is not None:
            return cached
        image = self.framing.prepare(self.files[index].read(least=self.framing.least))
        with self._lock:
            if image.nbytes <= self._free_bytes and index not in self._cache:
                self._free_bytes -= image.nbytes
                self._cache[index] = image
        return image


def shares(positions: range, count: int) -> list[range]:
    """Cut positions into ``count`` consecutive parts, as equal as can be."""
    whole = len(positions)
    return [positions[whole * i // count : whole * (i + 1) // count] for i in range(count)]


def load_batches(samples: Samples, parts: Iterable[range], *, workers: int) -> Generator[Batch]:
    """The batches at the given positions in order, prepared ahead by ``workers`` threads.

    Decoding, resizing and the kernels release the interpreter's lock, so threads load in parallel.
    """
    with concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="loader") as pool:
        pending: collections.deque[concurrent.futures.Future[Batch]] = collections.deque()
        try:
            for positions in parts:
                pending.append(pool.submit(samples.batch, positions))
                if len(pending) > 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
