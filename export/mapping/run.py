"""Run a job over all shards that are not finished, and note each that is."""

import dataclasses
import glob
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from export.mapping.engines import ENGINES
from export.mapping.job import Job, Outcome
from export.mapping.manifest import Manifest
from export.mapping.shards import list_shards


@dataclasses.dataclass(frozen=True)
class MapOptions:
    """How a job is run.

    Attributes
    ----------
    block : pictures in a shard of files.
    engine : a name in `ENGINES`.
    workers : of the engine; 0 leaves the choice to it.
    """

    block: int = 1000
    engine: str = "here"
    workers: int = 0


def map_pictures(
    job: Job,
    sources: Sequence[str],
    options: MapOptions,
    *,
    watch: Callable[[Iterator[Outcome], int], Iterator[Outcome]] = lambda outcomes, _: outcomes,
) -> dict[str, Any]:
    """Reconstruct the pictures of ``sources``; go on where an earlier call was interrupted.

    Parameters
    ----------
    watch : wraps the outcomes of so many shards, e.g. in a progress bar.

    Returns
    -------
    JSON values: ``out``, ``shards``, ``done_before`` (shards), ``pictures``, ``skipped`` (lines, of all shards) and
    ``workers``.

    Raises
    ------
    FileNotFoundError, ValueError : as `list_shards`, `Manifest` and the engine; what is finished stays.
    """
    if options.engine not in ENGINES:
        raise ValueError(f"engine is {options.engine!r}; it must be one of {', '.join(ENGINES)}")
    if not job.model.is_file():
        raise FileNotFoundError(f"{job.model}: no such file; give an .onnx file written by decoders export")
    shards = list_shards(sources, options.block)
    job.out.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(job.out, job.model)
    missing = manifest.missing(shards)
    if missing:
        for outcome in watch(ENGINES[options.engine](job, missing, options.workers), len(missing)):
            manifest.add(outcome)
    for shard in missing:  # what a killed worker had begun
        for begun in job.out.glob(f".{glob.escape(shard.name)}.tar.*.part"):
            begun.unlink()
    outcomes = [manifest.finished[shard.name] for shard in shards]
    return {
        "out": str(job.out),
        "shards": len(shards),
        "done_before": len(shards) - len(missing),
        "pictures": sum(outcome.pictures for outcome in outcomes),
        "skipped": [line for outcome in outcomes for line in outcome.skipped],
        "workers": sorted({outcome.worker for outcome in outcomes}),
    }
