"""What is done to a shard: its pictures reconstructed, and written as PNGs into one tar file."""

import dataclasses
import io
import os
import platform
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np

from caffe_port.files import replacing
from caffe_port.pictures import ImageFile, read_images
from decoders.cards import representation_of
from decoders.framing import Cover
from decoders.images import encode_image, to_batch, unique_names
from export import session
from export.mapping.shards import Shard


@dataclasses.dataclass(frozen=True)
class Job:
    """How shards are done; the same on each worker, which must see the files under the same paths.

    Attributes
    ----------
    model : an ``.onnx`` file: a pipeline, or a decoder whose features are computed by torch or the kernels.
    out : the folder of the output.
    batch : pictures in one call.
    device, threads : as `export.load`.
    net : where the decoder's net is, if no longer where it was.
    strict : refuse unreadable pictures instead of naming them.
    """

    model: Path
    out: Path
    batch: int = 16
    device: str = "auto"
    threads: int = 0
    net: str = ""
    strict: bool = False


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a shard.

    Attributes
    ----------
    shard, sha256 : its name and hash.
    pictures : how many were written.
    skipped : one line for each that could not be read.
    worker : host and process that did it.
    """

    shard: str
    sha256: str
    pictures: int
    skipped: tuple[str, ...]
    worker: str


class Mapper:
    """Does shards, one after another, with one session.

    Raises
    ------
    FileNotFoundError, ValueError : if the model, or the net of its features, cannot be opened.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._session = session.load(job.model, device=job.device, threads=job.threads)
        card = self._session.card
        self._representation = None
        if self._session.takes == "features":
            self._representation = representation_of(card, str(job.model), job.net)

    def __call__(self, shard: Shard) -> Outcome:
        """Reconstruct a shard and write ``out/NAME.tar``, whole or not at all.

        Raises
        ------
        BadImage : if a picture cannot be read and the job is strict.
        OSError : if the folder cannot be written.
        """
        bad: list[str] = []
        with replacing(self._job.out / f"{shard.name}.tar") as file:
            count = self._write(shard.files, file, bad)
        worker = f"{platform.node()}:{os.getpid()}"
        return Outcome(shard.name, shard.sha256, count, tuple(bad), worker)

    def _write(self, files: tuple[ImageFile, ...], file: BinaryIO, bad: list[str]) -> int:
        names = unique_names([_member_name(image.name) for image in files])
        read: list[str] = []

        def pictures() -> Iterator[np.ndarray]:
            for image, name in zip(files, names, strict=True):
                for _, picture in read_images([image], bad, strict=self._job.strict):
                    read.append(name)
                    yield picture

        count = 0
        with tarfile.open(fileobj=file, mode="w") as archive:
            for count, image in enumerate(self.reconstruct(pictures()), start=1):
                data = encode_image(image, ".png")
                member = tarfile.TarInfo(f"{read[count - 1]}.png")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return count

    def reconstruct(self, pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """(H, W, 3) uint8 RGB pictures of any size -> the reconstruction of each, in their order."""
        return self._session.map(map(self._prepared, pictures), batch=self._job.batch)

    def _prepared(self, picture: np.ndarray) -> np.ndarray:
        """What the session takes of one picture."""
        if self._representation is not None:
            framed = self._representation.framing.centre(picture)
            return self._representation.extract(to_batch([framed]))[0]
        if self._session.card["photograph_multiple"] == 1:
            return picture
        height, width = self._session.card["photograph_size"]
        return Cover((height, width)).centre(picture)


def _member_name(name: str) -> str:
    """A picture's name without its suffix and below the tar file's root: lists may hold ``/a.jpg`` and ``../a.jpg``."""
    path = PurePosixPath(name).with_suffix("")
    return "/".join(part for part in path.parts if part not in ("/", ".."))
