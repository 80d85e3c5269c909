"""Training batches as a pure function of (seed, position).

Position p counts samples from the start of the run. Epoch e = p // n visits the n pictures in an order drawn from
(seed, e); the crop and the mirroring of a sample are drawn from (seed, p). So the order does not depend on how
many workers load, and a run that is stopped and resumed sees what it would have seen.
"""

import collections
import concurrent.futures
import dataclasses
import functools
import threading
from collections.abc import Generator, Sequence

import numpy as np

from caffe_port.pictures import BadImage, ImageFile
from decoders.images import cover, random_crop, to_batch
from decoders.representations import Representation

_ATTEMPTS = 16


@dataclasses.dataclass(frozen=True)
class Batch:
    """Features and pictures of one step.

    Attributes
    ----------
    features : (N, C, H', W') float32.
    images : (N, 3, H, W) float32, RGB 0..255.
    bad : one line for each file that could not be read; another picture stands in for it.
    """

    features: np.ndarray
    images: np.ndarray
    bad: tuple[str, ...]


class Samples:
    """Random crops of a set of pictures, by position.

    Parameters
    ----------
    images : the training pictures.
    representation : pictures are scaled to cover its ``image_size`` before they are cropped.
    crop_size, zoom : of the square crops; see `random_crop`.
    seed : of order, crops and mirroring.
    cache_bytes : decoded pictures are kept in memory up to this many bytes.
    """

    def __init__(
        self,
        images: Sequence[ImageFile],
        representation: Representation,
        *,
        crop_size: int,
        zoom: float = 1.0,
        seed: int,
        cache_bytes: int,
    ) -> None:
        self.images = images
        self.representation = representation
        self.crop_size = crop_size
        self.zoom = zoom
        self.seed = seed
        self._free_bytes = cache_bytes
        self._cache: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()
        self._order = functools.lru_cache(maxsize=2)(self._draw_order)

    def batch(self, positions: range) -> Batch:
        """The samples at ``positions``, with their features."""
        bad: list[str] = []
        crops = [self._sample(position, bad) for position in positions]
        images = to_batch(crops)
        return Batch(self.representation.extract(images), images, tuple(bad))

    def _sample(self, position: int, bad: list[str]) -> np.ndarray:
        epoch, place = divmod(position, len(self.images))
        index = int(self._order(epoch)[place])
        rng = np.random.default_rng([self.seed, 1, position])
        for _ in range(_ATTEMPTS):
            try:
                return random_crop(self._covering(index), self.crop_size, rng, zoom=self.zoom)
            except BadImage as error:
                bad.append(str(error))
                index = int(rng.integers(len(self.images)))
        raise ValueError(f"{_ATTEMPTS} pictures drawn in a row cannot be read, the last one: {bad[-1]}")

    def _draw_order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.images))

    def _covering(self, index: int) -> np.ndarray:
        """The picture scaled so that it just covers the representation's image size, (H, W, 3) uint8."""
        cached = self._cache.get(index)
        if cached is not None:
            return cached
        image = cover(self.images[index].read(), self.representation.image_size)
        with self._lock:
            if image.nbytes <= self._free_bytes and index not in self._cache:
                self._free_bytes -= image.nbytes
                self._cache[index] = image
        return image


def load_batches(samples: Samples, *, batch: int, steps: range, workers: int) -> Generator[Batch]:
    """Batches of the given steps in order, prepared ahead by ``workers`` threads.

    Decoding, resizing and the kernels release the interpreter's lock, so threads load in parallel.
    """
    with concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="loader") as pool:
        pending: collections.deque[concurrent.futures.Future[Batch]] = collections.deque()
        upcoming = iter(steps)
        try:
            for step in upcoming:
                pending.append(pool.submit(samples.batch, range(step * batch, (step + 1) * batch)))
                if len(pending) > 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
