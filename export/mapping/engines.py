"""Where shards are done: in this process, or by workers of a Ray cluster. Each yields outcomes as they come."""

import dataclasses
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from export.mapping.job import Job, Mapper, Outcome
from export.mapping.shards import Shard

ATTEMPTS = 3  # workers that a shard may lose before it is given up
Engine = Callable[[Job, Sequence[Shard], int], Iterator[Outcome]]


def run_here(job: Job, shards: Sequence[Shard], workers: int) -> Iterator[Outcome]:
    """One shard after another; ``workers`` must be 1, for ONNX Runtime uses all cores by itself.

    Raises
    ------
    ValueError : if more workers are asked for; else as `Mapper`.
    """
    if workers > 1:
        raise ValueError(
            f"workers is {workers}; this process is one, which uses all cores: give --engine ray"
        )
    yield from map(Mapper(job), shards)


def run_on_ray(job: Job, shards: Sequence[Shard], workers: int) -> Iterator[Outcome]:
    """Actors of a Ray cluster: the one that ``RAY_ADDRESS`` names, or else one on this machine.

    A shard whose worker dies is done again by another one; its output is written whole or not at all, so that every
    picture comes out once. Files must have the same paths on all machines.

    Parameters
    ----------
    workers : actors; 0 for one a processor of the cluster. Each has one processor, and one thread unless the job says
        otherwise.

    Raises
    ------
    ValueError : if Ray is not installed, or a shard has lost three workers; else as `Mapper`.
    """
    try:
        import ray
    except ImportError as error:
        raise ValueError("Ray is not installed; pip install caffe-port[ray]") from error
    if not ray.is_initialized():
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of a cluster that is started here: no reports
        ray.init(log_to_driver=False, logging_level="warning")
    processors = max(1, int(ray.cluster_resources().get("CPU", 1)))
    count = min(workers or processors, len(shards))
    job = _anywhere(job)
    Mapper(job)  # a model that cannot be opened is refused here and not by a worker
    pool = _Pool(ray, job)
    waiting = deque((_absolute(shard), 1) for shard in shards)
    for _ in range(count):
        pool.give(pool.hire(), *waiting.popleft())
    try:
        while pool.busy:
            worker, shard, attempt, outcome = pool.next()
            if outcome is None and attempt == ATTEMPTS:
                raise ValueError(
                    f"shard {shard.name} was given up: it lost {ATTEMPTS} workers; are they short of memory?"
                )
            if outcome is None:
                waiting.append((shard, attempt + 1))
                worker = pool.hire()
            if waiting:
                pool.give(worker, *waiting.popleft())
            if outcome is not None:
                yield outcome
    finally:
        pool.dismiss()


def _anywhere(job: Job) -> Job:
    """The same job for workers, whose working folder is another: one thread each, if the job does not say."""
    net = str(Path(job.net).absolute()) if job.net and Path(job.net).exists() else job.net
    threads = job.threads or 1
    return dataclasses.replace(
        job, model=job.model.absolute(), out=job.out.absolute(), net=net, threads=threads
    )


def _absolute(shard: Shard) -> Shard:
    """The same shard for workers, whose working folder is another."""
    files = (dataclasses.replace(file, path=str(Path(file.path).absolute())) for file in shard.files)
    return dataclasses.replace(shard, files=tuple(files))


class _Pool:
    """Actors, and the shards that they are at."""

    def __init__(self, ray: Any, job: Job) -> None:
        self._ray = ray
        self._job = job
        self._actor = ray.remote(num_cpus=1)(Mapper)
        self._workers: list[Any] = []
        self.busy: dict[Any, tuple[Any, Shard, int]] = {}

    def hire(self) -> Any:
        self._workers.append(self._actor.remote(self._job))
        return self._workers[-1]

    def give(self, worker: Any, shard: Shard, attempt: int) -> None:
        self.busy[worker.__call__.remote(shard)] = (worker, shard, attempt)

    def next(self) -> tuple[Any, Shard, int, Outcome | None]:
        """The first that ends: worker, shard, attempt, and the outcome or None where the worker died."""
        (ended,), _ = self._ray.wait(list(self.busy), num_returns=1)
        worker, shard, attempt = self.busy.pop(ended)
        try:
            return worker, shard, attempt, self._ray.get(ended)
        except self._ray.exceptions.RayActorError:
            return worker, shard, attempt, None
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None

    def dismiss(self) -> None:
        for worker in self._workers:
            self._ray.kill(worker)


ENGINES: Mapping[str, Engine] = MappingProxyType({"here": run_here, "ray": run_on_ray})
