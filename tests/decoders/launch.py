"""The command `decoders` in processes of their own, alone or together as torchrun starts them, to be killed.

They are forked from a process that has imported torch, which takes seconds.
"""

import dataclasses
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["decoders.cli", "decoders.training", "kernels.hog.cpu", "torch._dynamo", "torch.utils.tensorboard"]
)
PATIENCE_S = 120


@dataclasses.dataclass(frozen=True)
class Launched:
    """Running commands, and the file that gets what they say."""

    processes: tuple[BaseProcess, ...]
    output: Path

    def running(self) -> bool:
        """Whether none of them has ended."""
        return all(process.is_alive() for process in self.processes)

    def kill_when(self, instant: Callable[[], bool]) -> bool:
        """Kill all of them (signal 9) at an instant; False if they ended before it came."""
        while self.running() and not instant():
            time.sleep(0.0005)
        came = self.running()
        for process in self.processes:
            process.kill()
        self.wait()
        return came

    def wait(self) -> list[int | None]:
        """Exit statuses; what is still running after `PATIENCE_S` is killed."""
        deadline = time.monotonic() + PATIENCE_S
        for process in self.processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        return [process.exitcode for process in self.processes]


def launch(words: Sequence[object], output: Path, *, count: int = 1) -> Launched:
    """Start `decoders` with these words in ``count`` processes that train together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    output.write_text("")
    processes = []
    for rank in range(count):
        place = {"RANK": rank, "LOCAL_RANK": rank, **shared} if count > 1 else {}
        environment = {name: str(value) for name, value in place.items()}
        arguments = ([str(word) for word in words], environment, str(output))
        processes.append(CONTEXT.Process(target=_run, args=arguments, daemon=True))
        processes[-1].start()
    return Launched(tuple(processes), output)


def _run(words: list[str], environment: dict[str, str], output: str) -> None:
    import torch

    from decoders.cli import main

    handle = os.open(output, os.O_WRONLY | os.O_APPEND)
    for number in (1, 2):
        os.dup2(handle, number)
    os.environ.update(environment)
    torch.set_num_threads(1)
    sys.argv[0] = "decoders"
    main(words)
