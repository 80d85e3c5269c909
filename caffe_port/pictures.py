"""Pictures from files: folders, lists of paths, tar shards and globs; the bad ones named.

A picture is (H, W, 3) uint8, RGB, 0..255. Files are decoded by OpenCV: grey becomes three equal channels,
16 bits become 8 by dropping the lower ones, CMYK and transparency become RGB, EXIF orientation is applied.
"""

import dataclasses
import glob
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
MAX_FILE_BYTES = 2**28
MAX_LIST_BYTES = 2**30
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG"
_REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}


class BadImage(ValueError):
    """A file that cannot be read as a picture; its text names the file and says why."""


@dataclasses.dataclass(frozen=True, order=True)
class ImageFile:
    """Where the bytes of one picture lie: a file, or a member of a tar shard.

    Attributes
    ----------
    name : relative to the source it was found in; with ``size`` it makes up the data hash.
    path : the file, or the shard.
    offset : of the first byte in ``path``.
    size : in bytes.
    """

    name: str
    path: str
    offset: int
    size: int

    def read(self, *, least: tuple[int, int] | None = None) -> np.ndarray:
        """Decode the picture to (H, W, 3) uint8 RGB; see `decode_image` for ``least``.

        Raises
        ------
        BadImage : if the file is missing, too large, not a picture, or cut short.
        """
        if self.size > MAX_FILE_BYTES:
            raise BadImage(f"{self}: {self.size} bytes; pictures of at most {MAX_FILE_BYTES} bytes are read")
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                data = file.read(self.size)
        except OSError as error:
            raise BadImage(f"{self}: cannot be read ({error.strerror})") from error
        return decode_image(data, str(self), least=least)

    def __str__(self) -> str:
        return self.path if self.offset == 0 else f"{self.path}:{self.name}"


def decode_image(data: bytes, source: str, *, least: tuple[int, int] | None = None) -> np.ndarray:
    """Decode the bytes of a JPEG, PNG, WebP, TIFF or BMP file.

    Parameters
    ----------
    data : the whole file.
    source : its name, for the error.
    least : a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, the smallest at which both sides are still as large
        as the larger one of ``least`` (height, width); so it depends on the file and ``least`` alone. A fraction of
        the work; the decoder averages over blocks as it goes.

    Returns
    -------
    (H, W, 3) uint8, RGB.

    Raises
    ------
    BadImage : if the bytes are not such a picture, or stop before its end.
    """
    flags = cv2.IMREAD_COLOR
    if data.startswith(_JPEG):
        size = _jpeg_size(data)
        cut_short = size is None
        if size and least:
            fitting = [flag for by, flag in _REDUCED.items() if min(size) >= by * max(least)]
            flags = fitting[0] if fitting else flags
    else:
        cut_short = data.startswith(_PNG) and b"IEND" not in data
    if cut_short:
        raise BadImage(f"{source}: the data stop before their end marker; the file is cut short")
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        raise BadImage(
            f"{source}: {error.err or 'cannot be decoded'} (at most 2^27 pixels are read)"
        ) from error
    if bgr is None:
        raise BadImage(f"{source}: not a picture that can be read; JPEG, PNG, WebP, TIFF and BMP can")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) of a JPEG, before its orientation is applied; None where no end-of-image marker follows the
    first scan (a thumbnail's marker lies before it). (0, 0) where a whole file states no size."""
    position, size = 2, (0, 0)
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xDA:  # start of scan
            return size if data.find(b"\xff\xd9", position) >= 0 else None
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            height, width = data[position + 5 : position + 7], data[position + 7 : position + 9]
            size = int.from_bytes(height, "big"), int.from_bytes(width, "big")
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None


def list_images(sources: Sequence[str | Path]) -> tuple[ImageFile, ...]:
    """Find the pictures of one or more sources.

    Parameters
    ----------
    sources : each a folder (searched recursively), a text file of paths (one a line, relative to the list), a
        ``.tar`` shard, a picture, or a glob of such.

    Returns
    -------
    Sorted by name within each source, sources in their order; only files with a picture's suffix.

    Raises
    ------
    FileNotFoundError : if a source, or a path in a list, does not exist, or a glob matches nothing.
    ValueError : if no source holds a picture, a shard is not a tar file, or a list is not text.
    """
    found = [image for source in sources for image in _list_source(str(source))]
    if not found:
        raise ValueError(
            f"{', '.join(map(str, sources)) or 'no source given'}: no pictures found; "
            f"files ending in {', '.join(SUFFIXES)} are looked for"
        )
    return tuple(found)


def _list_source(source: str) -> list[ImageFile]:
    path = Path(source)
    if path.is_dir():
        return sorted(
            _image_file(p, p.relative_to(path))
            for p in path.rglob("*")
            if _is_picture(p.name) and p.is_file()
        )
    if path.is_file():
        if path.suffix.lower() == ".tar":
            return _list_tar(path)
        return [_image_file(path, path.name)] if _is_picture(path.name) else _list_text(path)
    if glob.has_magic(source):
        matches = sorted(glob.glob(source, recursive=True))
        if not matches:
            raise FileNotFoundError(
                f"{source}: nothing matches; give a folder, a list, .tar shards or a glob"
            )
        files = [
            match
            for match in matches
            if Path(match).is_dir() or Path(match).suffix.lower() == ".tar" or _is_picture(match)
        ]
        return [image for match in files for image in _list_source(match)]
    raise FileNotFoundError(
        f"{source}: does not exist; give a folder, a text file of paths, .tar shards or a glob"
    )


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _image_file(path: Path, name: Path | str) -> ImageFile:
    return ImageFile(name=Path(name).as_posix(), path=str(path), offset=0, size=path.stat().st_size)


def _list_tar(path: Path) -> list[ImageFile]:
    try:
        with tarfile.open(path, "r:") as shard:
            members = [member for member in shard if member.isreg() and _is_picture(member.name)]
    except tarfile.TarError as error:
        raise ValueError(
            f"{path}: not a readable tar shard ({error}); uncompressed .tar files are read"
        ) from error
    return sorted(ImageFile(member.name, str(path), member.offset_data, member.size) for member in members)


def _list_text(path: Path) -> list[ImageFile]:
    if path.stat().st_size > MAX_LIST_BYTES:
        raise ValueError(
            f"{path}: {path.stat().st_size} bytes; a list of at most {MAX_LIST_BYTES} bytes is read"
        )
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: neither a picture, a .tar shard nor a text file of paths") from error
    images = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        entry = path.parent / line.strip()
        if not entry.is_file():
            raise FileNotFoundError(
                f"{path}, line {number}: {line.strip()[:200]!r} does not exist beside the list"
            )
        images.append(_image_file(entry, line.strip()))
    return images


def read_images(
    files: Iterable[ImageFile], bad: list[str], *, strict: bool = False
) -> Iterator[tuple[str, np.ndarray]]:
    """Decode pictures one after another.

    Parameters
    ----------
    files : iterable of ImageFile
    bad : list of str
        One line is added for each picture that cannot be read, naming it and saying why.
    strict : bool
        Refuse a picture that cannot be read instead.

    Yields
    ------
    name : str
    picture : (H, W, 3) uint8, RGB

    Raises
    ------
    BadImage
        Only if `strict`.
    """
    for file in files:
        try:
            picture = file.read()
        except BadImage as error:
            if strict:
                raise BadImage(f"{error} (--strict refuses unreadable pictures)") from error
            bad.append(str(error))
            continue
        yield file.name, picture
