"""Shards: pictures that are done together and written as one file; those of a tar file, or a block of files."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from caffe_port.pictures import ImageFile, list_images
from decoders.images import data_hash, unique_names


@dataclasses.dataclass(frozen=True)
class Shard:
    """Pictures that are done together.

    Attributes
    ----------
    name : of its output, without suffix; no two of a list are equal.
    files : in their order.
    sha256 : of their names and sizes; a shard with another one is done again.
    """

    name: str
    files: tuple[ImageFile, ...]
    sha256: str


def list_shards(sources: Sequence[str], block: int) -> list[Shard]:
    """Find the pictures of some sources, and divide them into shards.

    Parameters
    ----------
    sources : what `list_images` takes.
    block : so many of the pictures that are files of their own make up a shard.

    Raises
    ------
    FileNotFoundError, ValueError : as `list_images`; or ``block`` is not positive.
    """
    if block < 1:
        raise ValueError(f"block is {block}; it must be at least 1")
    in_tars: dict[str, list[ImageFile]] = {}
    alone = []
    for file in list_images(sources):
        if Path(file.path).suffix.lower() == ".tar":
            in_tars.setdefault(file.path, []).append(file)
        else:
            alone.append(file)
    groups = [(Path(path).stem, tuple(files)) for path, files in in_tars.items()]
    groups += [(f"pictures-{number:05}", files) for number, files in enumerate(_blocks(alone, block))]
    names = unique_names([name for name, _ in groups])
    return [Shard(name, files, data_hash(files)) for name, (_, files) in zip(names, groups, strict=True)]


def _blocks(files: Sequence[ImageFile], size: int) -> list[tuple[ImageFile, ...]]:
    return [tuple(files[start : start + size]) for start in range(0, len(files), size)]
