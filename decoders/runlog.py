"""What a run says while it runs: its log, its speed, and that Ctrl-C was heard."""

import contextlib
import importlib.util
import json
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from decoders import checkpoints
from decoders.data import Batch


class Throughput:
    """How many pictures a second the network and the loader could each do by themselves, since the last look.

    Parameters
    ----------
    batch : pictures a step, of all processes together: the rates are theirs together, too.
    workers : loader threads of each process.
    """

    def __init__(self, batch: int, workers: int) -> None:
        self._batch, self._workers = batch, workers
        self._reset()

    def _reset(self) -> None:
        self._pictures, self._network, self._loader, self._waited = 0, 0.0, 0.0, 0.0

    def waiting(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Pass batches on, and count the time that the network waited for them."""
        source = iter(batches)
        while True:
            asked = time.perf_counter()
            batch = next(source, None)
            if batch is None:
                return
            self._waited += time.perf_counter() - asked
            self._loader += batch.seconds
            yield batch

    def add_step(self, seconds: float) -> None:
        """A step is done, and took so long."""
        self._pictures += self._batch
        self._network += seconds

    def rates(self) -> dict[str, float]:
        """Pictures a second of network and loader together, of the network without waiting, and of the loader alone.

        The loader's is what the time of its workers allows; they share the cores with the network.
        """
        seconds = {
            "images_per_s": self._network + self._waited,
            "network_images_per_s": self._network,
            "loader_images_per_s": self._loader / self._workers,
        }
        return {name: round(self._pictures / max(spent, 1e-9), 1) for name, spent in seconds.items()}

    def take(self) -> dict[str, float]:
        """`rates` since the last call."""
        rates = self.rates()
        self._reset()
        return rates


@contextlib.contextmanager
def interruptions() -> Iterator[list[int]]:
    """A list that Ctrl-C or SIGTERM makes non-empty instead of ending the process, so that the step can end first."""
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, lambda number, frame: received.append(number)) for number in numbers]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def logger(folder: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A function that appends a line to ``log.jsonl``, and to TensorBoard's files where it is installed."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context((folder / checkpoints.LOG).open("a", encoding="utf-8"))
        board: Any = None
        if importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            board = stack.enter_context(contextlib.closing(SummaryWriter(str(folder / "tensorboard"))))

        def log(line: dict[str, Any]) -> None:
            file.write(json.dumps(line) + "\n")
            file.flush()
            for name in line.keys() - {"step"} if board else ():
                board.add_scalar(name, line[name], line["step"])

        yield log
