"""Run compiled kernels on several threads. They release Python's lock, so ordinary threads are enough.

Numba's own thread pools are left alone on purpose: one of them aborts the process when two threads call it at once,
another when a child process made by fork does (what a data loader with workers is).
"""

from collections.abc import Callable, Iterable
from threading import Thread
from typing import Any

from kernels.images import whole_number

WORTH_A_THREAD = 1 << 18  # pixels; below this, starting a thread costs more than it saves


def thread_count(threads: int | None, pixels: int) -> int:
    """How many threads to use for so many pixels: as asked, or at most NUMBA_NUM_THREADS (default: the cores)."""
    if threads is None:
        from numba import config

        return max(1, min(config.NUMBA_NUM_THREADS, pixels // WORTH_A_THREAD))
    return whole_number("threads", threads, 1)


def run(function: Callable[..., None], tasks: Iterable[tuple[Any, ...]], threads: int) -> None:
    """Call `function(*task)` once for each task; the tasks must write to disjoint memory."""
    waiting = list(tasks)
    threads = min(threads, len(waiting))
    if threads < 2:
        for task in waiting:
            function(*task)
        return
    queue = iter(waiting)
    faults: list[BaseException] = []

    def work() -> None:
        try:
            for task in queue:  # a list's iterator hands each item to one thread only
                function(*task)
        except BaseException as fault:  # noqa: BLE001 - raised below, when no thread works any more
            faults.append(fault)

    helpers = [Thread(target=work) for _ in range(threads - 1)]  # a pool starts more slowly
    for helper in helpers:
        helper.start()
    work()
    for helper in helpers:
        helper.join()
    if faults:
        raise faults[0]


def shares(length: int, least: int, threads: int) -> list[tuple[int, int]]:
    """Cut `length` rows into two bands a thread, of `least` rows or more: each costs some rows of overlap."""
    return bands(length, max(least, -(-length // (2 * threads))))


def bands(length: int, size: int) -> list[tuple[int, int]]:
    """Cut `length` rows, or other things, into (first, last + 1) of at most `size`."""
    return [(first, min(first + size, length)) for first in range(0, length, size)]
