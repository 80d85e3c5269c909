"""Gets published nets safely: resumed, bounded, and checked before anything takes its final name.

A download goes to `<name>.part` and is resumed from there, after a stall, a broken connection or a new start,
until it is right; then it is renamed. Archives are read as a stream, and of them only named members, to names
of ours.
"""

import gzip
import hashlib
import http.client
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from caffe_port.errors import ConversionError
from caffe_port.files import replacing
from caffe_port.means import read_mean
from caffe_port.zoo import MEAN_SHA1, Download, Net

Progress = Callable[[str, int, int], None]
Check = Callable[[Path], None]
ATTEMPTS = 5  # in a row that bring no new byte
_ALL_ATTEMPTS = 100
_CHUNK = 2**20
_MAX_MEMBER = 2**26
_MAX_UNPACKED = 2**27


class FetchError(ConversionError):
    """A file could not be had; the text says what each source answered."""


@dataclass(frozen=True)
class Options:
    """How to fetch.

    Attributes
    ----------
    base_url : str or None
        A folder on the web in place of the known sources.
    local : tuple of Path
        Files to take first: by their name or, for weights, by their SHA-1.
    timeout_s, pause_s : float
        How long a source may say nothing; how long to wait before trying it again.
    progress : callable, optional
        Called with the file's name, bytes so far, bytes in all.
    """

    base_url: str | None = None
    local: tuple[Path, ...] = ()
    timeout_s: float = 30.0
    pause_s: float = 1.0
    progress: Progress | None = None


def fetch(net: Net, folder: Path, options: Options | None = None) -> dict[str, Path]:
    """Bring a net's definition, weights, mean and labels into a folder.

    Parameters
    ----------
    net : Net
        A row of `zoo.NETS`.
    folder : Path
        Made if need be. Files that are there already and right are kept.
    options : Options, optional

    Returns
    -------
    dict
        Paths by "deploy", "weights", "mean" and "labels"; a mean that is numbers has no file.

    Raises
    ------
    FetchError
        No source gave the right file. What arrived so far stays as `.part`, for the next try.
    OSError
        The folder cannot be written.
    """
    options = options or Options()
    folder.mkdir(parents=True, exist_ok=True)
    paths = {"deploy": _copy(net.deploy, folder / f"{net.name}.prototxt")}
    if isinstance(net.weights, str):
        paths["weights"] = _copy(net.folder / net.weights, folder / net.weights)
        paths["labels"] = _copy(net.folder / net.labels, folder / net.labels)
        return paths
    _check_local(net, options)
    if net.extras is not None and isinstance(net.mean, str):
        paths |= {"mean": folder / net.mean, "labels": folder / net.labels}
        checks = {net.mean: check_mean, net.labels: check_labels}
        _take_local(checks, folder, options)
        if not all(_passes(check, folder / name) for name, check in checks.items()):
            _obtain(net.extras, partial(unpack, checks=checks, folder=folder), folder, options)
    paths["weights"] = target = folder / net.weights.name
    if not target.exists() or sha1_of(target) != net.weights.sha1:
        _obtain(net.weights, partial(_settle, item=net.weights, target=target), folder, options)
    return paths


def _copy(source: Path, target: Path) -> Path:
    with source.open("rb") as old, replacing(target) as new:
        shutil.copyfileobj(old, new)
    return target


def _check_local(net: Net, options: Options) -> None:
    """Refuse a local file that would stand for nothing."""
    downloads = [item for item in (net.weights, net.extras) if isinstance(item, Download)]
    names = [*(item.name for item in downloads), str(net.mean), net.labels]
    sums = [item.sha1 for item in downloads if item.sha1 is not None]
    for local in options.local:
        if local.name not in names and (found := sha1_of(local)) not in sums:
            raise FetchError(
                f"{local}: a file of {net.name} by neither name ({', '.join(names)}) nor SHA-1 ({found}, "
                f"expected {' or '.join(sums)})"
            )


def _take_local(checks: Mapping[str, Check], folder: Path, options: Options) -> None:
    for local in options.local:
        if local.name in checks:
            checks[local.name](local)
            _copy(local, folder / local.name)


def _settle(path: Path, item: Download, target: Path) -> None:
    """Give a file its final name if its SHA-1 is right."""
    found = sha1_of(path)
    if found != item.sha1:
        raise FetchError(f"{path.stat().st_size} bytes with SHA-1 {found}, expected {item.sha1}")
    if path.suffix == ".part":
        path.replace(target)
    else:
        _copy(path, target)


def _obtain(item: Download, accept: Check, folder: Path, options: Options) -> None:
    """Get one file from a local one or from the sources in order, and hand it to `accept`."""
    for local in options.local:
        if local.name == item.name or (item.sha1 is not None and sha1_of(local) == item.sha1):
            try:
                accept(local)
            except ConversionError as error:
                raise FetchError(f"{local}: {error}") from error
            return
    part = folder / f"{item.name}.part"
    answers = []
    for source in item.sources if options.base_url is None else (options.base_url,):
        url = source.rstrip("/") + "/" + item.name
        try:
            _download(url, item, part, options)
        except FetchError as error:
            answers.append(f"{url}: {error}")
            continue
        try:
            accept(part)
            return
        except ConversionError as error:
            answers.append(f"{url} gave {error}")
        finally:
            part.unlink(missing_ok=True)  # or the next try would go on from a wrong start
    remedy = f"get it elsewhere and give --from-file {item.name}, or another --base-url"
    raise FetchError(f"{item.name}: {'; '.join(answers)}; {remedy}")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _download(url: str, item: Download, part: Path, options: Options) -> None:
    """Bring `part` to its full length; a source that keeps failing without a new byte is given up."""
    if not url.startswith(("http://", "https://")):
        raise FetchError("only http:// and https:// addresses are fetched")
    failures = 0
    for _ in range(_ALL_ATTEMPTS):
        before = _size(part)
        try:
            _continue(url, item, part, options)
            return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and before:  # nothing after what is there already
                return
            raise FetchError(f"answered {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            failures = 0 if _size(part) > before else failures + 1
            unreachable = isinstance(error, urllib.error.URLError) and not before
            if failures >= ATTEMPTS or unreachable:
                reason = getattr(error, "reason", None) or error or type(error).__name__
                raise FetchError(f"failed after {_size(part)} bytes ({reason})") from error
        time.sleep(options.pause_s)
    raise FetchError(f"broke off {_ALL_ATTEMPTS} times, {_size(part)} bytes so far")


def _continue(url: str, item: Download, part: Path, options: Options) -> None:
    """One request, from where `part` ends if the source can do that."""
    start = _size(part)
    request = urllib.request.Request(url, headers={"User-Agent": "caffe-port"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    with urllib.request.urlopen(request, timeout=options.timeout_s) as answer:
        resumed = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(
            f"bytes {start}-"
        )
        done = start if resumed else 0
        length = answer.headers.get("Content-Length", "")
        total = done + int(length) if length.isdecimal() and len(length) < 16 else 0
        if total > 2 * item.size:
            raise FetchError(f"would send {total} bytes; the file has about {item.size}")
        with part.open("ab" if resumed else "wb") as file:
            while chunk := answer.read1(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                if done > 2 * item.size:
                    raise FetchError(f"sends more than {2 * item.size} bytes; the file has about {item.size}")
                if options.progress is not None:
                    options.progress(item.name, done, total or item.size)
    if done < total:
        raise http.client.IncompleteRead(b"", total - done)


def sha1_of(path: Path) -> str:
    """SHA-1 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest()


class _Limited:
    """A stream with an end: an archive may unpack to a thousand times its size."""

    def __init__(self, file: Any) -> None:
        self.file, self.left = file, _MAX_UNPACKED

    def read(self, size: int) -> bytes:
        data = self.file.read(min(size, self.left + 1))
        self.left -= len(data)
        if self.left < 0:
            raise FetchError(f"an archive that unpacks to more than {_MAX_UNPACKED >> 20} MiB")
        return data


def unpack(archive: Path, checks: Mapping[str, Check], folder: Path) -> None:
    """Take named files out of a .tar.gz.

    Parameters
    ----------
    archive : Path
    checks : mapping of name to check
        A member of that name, wherever it stands in the archive, goes to `folder` if its check passes.
    folder : Path

    Raises
    ------
    FetchError
        The archive is damaged, unpacks to too much, lacks a name, or a check fails.
    """
    missing = set(checks)
    try:
        with gzip.open(archive, "rb") as unzipped, tarfile.open(fileobj=_Limited(unzipped), mode="r|") as tar:  # type: ignore[call-overload]
            for member in tar:
                name = Path(member.name).name
                if name not in missing or not member.isreg():
                    continue
                if member.size > _MAX_MEMBER:
                    raise FetchError(f"an archive whose {name} has {member.size} bytes")
                unchecked = folder / f"{name}.part"
                try:
                    with replacing(unchecked) as file:
                        shutil.copyfileobj(tar.extractfile(member), file)
                    checks[name](unchecked)
                    unchecked.replace(folder / name)
                finally:
                    unchecked.unlink(missing_ok=True)
                missing.remove(name)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise FetchError(f"a damaged archive ({error})") from error
    if missing:
        raise FetchError(f"an archive without {', '.join(sorted(missing))}")


def _passes(check: Check, path: Path) -> bool:
    try:
        check(path)
    except (FileNotFoundError, ConversionError):
        return False
    return True


def check_mean(path: Path) -> None:
    """Raise FetchError unless the file holds the ILSVRC 2012 mean, number for number."""
    mean = read_mean(path)
    found = hashlib.sha1(mean.astype("<f4").tobytes()).hexdigest()
    if mean.shape != (3, 256, 256) or found != MEAN_SHA1:
        raise FetchError(f"{path.name}: a mean of shape {mean.shape} with SHA-1 {found}, not ILSVRC 2012's")


def check_labels(path: Path) -> None:
    """Raise FetchError unless the file has a thousand lines like "n01440764 tench, Tinca tinca", in order."""
    lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    ids = [line.split(" ", 1)[0] for line in lines]
    is_id = all(len(one) == 9 and one[0] == "n" and one[1:].isdecimal() for one in ids)
    if len(lines) != 1000 or not is_id or sorted(set(ids)) != ids:
        raise FetchError(f"{path.name}: {len(lines)} lines, not ILSVRC 2012's thousand labels")
