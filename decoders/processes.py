"""Several training processes that act as one: started by torchrun, or one that is alone.

torchrun tells each process its place in environment variables. Sums go through gloo between CPUs and through NCCL
between GPUs; what is no tensor travels as JSON. gloo and NCCL add in an order that depends on the number of processes
alone, so that a run repeats bit by bit with the same number.
"""

import contextlib
import dataclasses
import datetime
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import distributed

_PATIENCE = datetime.timedelta(hours=1)  # while the first process lists pictures, or evaluates
_LOST = "another process of this run ended or cannot be reached; see what it said, and continue with --resume"


@dataclasses.dataclass(frozen=True)
class Processes:
    """The place of this process among those that train together.

    Attributes
    ----------
    rank, count : number of this process, and of how many.
    local_rank, local_count : the same among those on this machine.
    parent : process id of the launcher; None where there is none.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1
    parent: int | None = None

    @property
    def first(self) -> bool:
        """Whether this is the process that reads and writes the run folder, evaluates, and talks."""
        return self.rank == 0

    def orphaned(self) -> bool:
        """Whether the launcher died."""
        return self.parent is not None and os.getppid() != self.parent

    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace tensors of one dtype and device by their sums over all processes.

        Raises
        ------
        ConnectionError : if another process ended.
        """
        if self.count == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _lost_named():
            distributed.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def totals(self, *values: float) -> list[float]:
        """Sums of numbers over all processes; raises as `add` does."""
        if self.count == 1:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64)
        self.add([numbers])
        return numbers.tolist()

    def copy_from_first(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace tensors by those of the first process; raises as `add` does."""
        for tensor in tensors if self.count > 1 else ():
            with _lost_named():
                distributed.broadcast(tensor, src=0)

    def tell(self, value: Any, *, source: int = 0) -> Any:
        """The JSON value that process ``source`` gives here, in all processes; raises as `add` does."""
        if self.count == 1:
            return value
        text = json.dumps(value).encode() if self.rank == source else b""
        length = torch.tensor([len(text)])
        with _lost_named():
            distributed.broadcast(length, src=source)
            content = torch.zeros(int(length), dtype=torch.uint8)
            if self.rank == source:
                content = torch.frombuffer(bytearray(text), dtype=torch.uint8)
            distributed.broadcast(content, src=source)
        return json.loads(content.numpy().tobytes())


ALONE = Processes()


@contextlib.contextmanager
def join() -> Iterator[Processes]:
    """Meet the processes that torchrun started, if it started this one.

    Raises
    ------
    ValueError : if torchrun's environment variables are damaged.
    ConnectionError : if the others cannot be reached.
    """
    names = {
        "rank": "RANK",
        "count": "WORLD_SIZE",
        "local_rank": "LOCAL_RANK",
        "local_count": "LOCAL_WORLD_SIZE",
    }
    found = {field: os.environ.get(name, "") for field, name in names.items()}
    if not found["rank"] and not found["count"]:
        yield ALONE
        return
    for field, text in found.items():
        if not text.isdecimal():
            raise ValueError(
                f"environment variable {names[field]} is {text!r}; start several processes with torchrun"
            )
    processes = Processes(**{field: int(text) for field, text in found.items()}, parent=os.getppid())
    if processes.count == 1:
        yield processes
        return
    with_gpus = torch.cuda.is_available() and distributed.is_nccl_available()
    with _lost_named():
        distributed.init_process_group("cpu:gloo,cuda:nccl" if with_gpus else "gloo", timeout=_PATIENCE)
    try:
        yield processes
    finally:
        distributed.destroy_process_group()


@contextlib.contextmanager
def _lost_named() -> Iterator[None]:
    """Say in one line what gloo and NCCL report as a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError(_LOST) from error


def choose_device(name: str, processes: Processes = ALONE) -> torch.device:
    """``auto`` is CUDA where it is available, else the CPU; anything else is taken at its word.

    Of several processes on a machine, each has the GPU of its number.

    Raises
    ------
    ValueError : if the device is unknown or absent, or processes would have to share one GPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device is {name!r}; use auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and not torch.cuda.is_available()):
        raise ValueError(
            f"device is {name!r}, which torch {torch.__version__} does not have here; use cpu or auto"
        )
    if device.type == "cpu" or processes.local_count == 1:
        return device
    if device.index is not None or processes.local_count > torch.cuda.device_count():
        raise ValueError(
            f"device is {name!r} for {processes.local_count} processes and {torch.cuda.device_count()} GPUs on this "
            "machine; use auto, and at most a process a GPU"
        )
    return torch.device("cuda", processes.local_rank)
