"""onnxruntime-web, the ONNX Runtime that browsers run: three files of one version of its npm package, known by hash.

Taken from a folder where npm installed it, from the package's ``.tgz``, or from npm itself, which packs it.
"""

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

PACKAGE = "onnxruntime-web"
VERSION = "1.30.0"
# In `dist/` of the package, with their SHA-256: the build for CPUs alone, without WebGPU.
FILES: Mapping[str, str] = MappingProxyType(
    {
        "ort.wasm.min.js": "faece07e84faa9001f5104bbe4e5c70861d06cb2376a0dea1fa0ad33a67adc81",
        "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
        "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    }
)
_MAX_BYTES = 2**25  # of one file
_PATIENCE = 600  # seconds that npm may take
_REMEDY = (
    f"install Node.js, whose npm fetches it; or run `npm install {PACKAGE}@{VERSION}` elsewhere and give that "
    f"folder with --runtime"
)


def read_runtime(source: str = "") -> dict[str, bytes]:
    """The files of `FILES` by name.

    Parameters
    ----------
    source : the package's folder or one that holds it in ``node_modules``, its ``.tgz``, or ``npm``; by default the
        first ``node_modules`` from the working folder upwards that has the package, else npm.

    Raises
    ------
    FileNotFoundError : if the package is not there, or npm is wanted and missing.
    ValueError : if a file is of another version, or npm cannot get it.
    """
    if source in ("", "npm"):
        here = Path.cwd()
        found = [] if source else [folder for folder in (here, *here.parents) if _package(folder)]
        return _from_folder(found[0]) if found else _from_npm()
    path = Path(source)
    if path.is_file():
        return _from_tar(path)
    return _from_folder(path)


def _package(folder: Path) -> Path | None:
    """The package's folder at, or in a ``node_modules`` of, a folder."""
    places = (folder, folder / PACKAGE, folder / "node_modules" / PACKAGE)
    return next((place for place in places if all((place / "dist" / name).is_file() for name in FILES)), None)


def _from_folder(folder: Path) -> dict[str, bytes]:
    package = _package(folder)
    if package is None:
        raise FileNotFoundError(f"{folder}: holds no npm package {PACKAGE}; {_REMEDY}")
    found = {}
    for name in FILES:
        with open(package / "dist" / name, "rb") as file:
            found[name] = _checked(file.read(_MAX_BYTES), name, str(package))
    return found


def _from_tar(path: Path) -> dict[str, bytes]:
    try:
        with tarfile.open(path, "r:gz") as archive:
            found = {}
            for name in FILES:
                file = archive.extractfile(f"package/dist/{name}")
                found[name] = _checked(file.read(_MAX_BYTES) if file else b"", name, str(path))
            return found
    except (tarfile.TarError, KeyError, EOFError, OSError) as error:
        raise ValueError(f"{path}: not the .tgz of {PACKAGE} {VERSION} ({error}); {_REMEDY}") from error


def _from_npm() -> dict[str, bytes]:
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError(f"{PACKAGE} {VERSION} is not here, and neither is npm; {_REMEDY}")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", folder]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ValueError(
                f"npm did not get {PACKAGE} {VERSION} within {_PATIENCE} seconds; {_REMEDY}"
            ) from error
        packed = Path(folder) / f"{PACKAGE}-{VERSION}.tgz"
        if done.returncode or not packed.is_file():
            reason = " ".join(done.stderr.split())[:200] or "no reason given"
            raise ValueError(f"npm cannot get {PACKAGE} {VERSION} ({reason}); {_REMEDY}")
        return _from_tar(packed)


def _checked(data: bytes, name: str, source: str) -> bytes:
    if hashlib.sha256(data).hexdigest() != FILES[name]:
        raise ValueError(f"{source}: {name} is not that of {PACKAGE} {VERSION} (SHA-256); {_REMEDY}")
    return data
