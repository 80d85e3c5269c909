"""Features of pictures that come again, kept in a folder.

A file holds the features of one picture and is named by a hash of the picture's pixels, of what the representation is,
and of the code that computes it; so it is never stale. As most of a SIFT map is zero, it holds the values that are not
zero and a mask of where they are. The folder may be deleted at any time, and several processes may use it: files appear
whole, are checked when read, and are computed again when damaged. When it is full, nothing more is kept: of pictures
that come in turns, throwing out the oldest would leave none to be found.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

import kernels
from caffe_port.files import replacing
from caffe_port.versions import versions
from decoders import representations, sift_map
from decoders.representations import KernelRepresentation

Extract = Callable[[np.ndarray], np.ndarray]

SUFFIX = ".safetensors"
_LOOK_AGAIN = 256  # files written between two looks at how full the folder is, which others fill too
_DAMAGED = (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError)


class FeatureCache:
    """Features (C, H, W) float32 by the picture they are of.

    Parameters
    ----------
    folder : made when the first features are kept.
    limit_bytes : of all files in it, whoever wrote them; passed by no more than `_LOOK_AGAIN` files a process.
    card : what the features depend on besides the picture.

    Attributes
    ----------
    hits, misses : pictures found and not found.
    """

    def __init__(self, folder: Path, limit_bytes: int, card: str) -> None:
        self.folder = folder
        self.hits = self.misses = 0
        self._limit, self._card = limit_bytes, hashlib.sha256(card.encode()).digest()
        self._used, self._written = 0, 0

    def through(self, extract: Extract) -> Extract:
        """``extract``, (N, H, W, 3) float32 -> (N, C, H', W') float32, asked only for pictures not in the cache."""

        def look_up(pictures: np.ndarray) -> np.ndarray:
            paths = [self._path(picture) for picture in pictures]
            found = [_read(path) for path in paths]
            missing = [number for number, features in enumerate(found) if features is None]
            self.hits, self.misses = self.hits + len(found) - len(missing), self.misses + len(missing)
            for number, features in zip(missing, extract(pictures[missing]) if missing else (), strict=True):
                found[number] = features
                self._keep(paths[number], features)
            return np.stack([features for features in found if features is not None])

        return look_up

    def _path(self, picture: np.ndarray) -> Path:
        digest = hashlib.sha256(self._card + json.dumps(picture.shape).encode())
        digest.update(np.ascontiguousarray(picture).data)
        name = digest.hexdigest()
        return self.folder / name[:2] / f"{name}{SUFFIX}"

    def _keep(self, path: Path, features: np.ndarray) -> None:
        try:
            with contextlib.suppress(FileNotFoundError):  # the folder may be deleted at any time
                self._write(path, _packed(path.stem, features))
        except OSError as error:
            self._limit = 0
            warnings.warn(f"{path}: {error.strerror}; no more features are kept", stacklevel=2)

    def _write(self, path: Path, content: bytes) -> None:
        if self._limit and self._written % _LOOK_AGAIN == 0:
            self._used = sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())
        if self._used + len(content) > self._limit:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, durable=False) as file:
            file.write(content)
        self._used, self._written = self._used + len(content), self._written + 1


def cached(row: KernelRepresentation, folder: Path, limit_bytes: int) -> KernelRepresentation:
    """The same features, kept in a `FeatureCache`."""
    card = json.dumps([row.name, row.preprocessing, versions(), _sources()])
    return dataclasses.replace(
        row, features_of=FeatureCache(folder, limit_bytes, card).through(row.features_of)
    )


def _sources() -> str:
    """SHA-256 (hex) of the code that computes features."""
    files = sorted(Path(str(kernels.__file__)).parent.rglob("*.py"))
    digest = hashlib.sha256()
    for file in (*files, Path(str(representations.__file__)), Path(str(sift_map.__file__))):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _packed(key: str, features: np.ndarray) -> bytes:
    bits = np.ascontiguousarray(features, np.float32).view(np.uint32).ravel()
    mask = bits != 0  # of the bits, so that -0 stays -0
    tensors = {"mask": np.packbits(mask), "values": bits[mask]}
    check = zlib.crc32(tensors["values"], zlib.crc32(tensors["mask"]))
    metadata = {"key": key, "shape": json.dumps(features.shape), "crc32": str(check)}
    return safetensors.numpy.save(tensors, metadata=metadata)


def _read(path: Path) -> np.ndarray | None:
    """Features (C, H, W) float32; None where there are none, or damaged ones."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            mask, values, metadata = file.get_tensor("mask"), file.get_tensor("values"), file.metadata()
        shape = tuple(json.loads(metadata["shape"]))
        whole = int(metadata["crc32"]) == zlib.crc32(values, zlib.crc32(mask))
        if metadata["key"] != path.stem or not whole or mask.size != -(-math.prod(shape) // 8):
            return None
        bits = np.zeros(math.prod(shape), np.uint32)
        bits[np.unpackbits(mask, count=bits.size).view(bool)] = values
    except _DAMAGED:
        return None
    return bits.view(np.float32).reshape(shape)  # (C, H, W)
