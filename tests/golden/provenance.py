"""Write golden arrays that the real VLFeat computed, and the card that says where they came from."""

import ctypes
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.oracles import vlfeat

FOLDER = Path(__file__).parent


def library() -> ctypes.CDLL:
    """The real VLFeat, or the program ends."""
    found = vlfeat.load()
    if found is None:
        raise SystemExit(
            "libvl is not installed (Debian and Ubuntu: libvlfeat1), and VLFEAT_LIBRARY names no file"
        )
    return found


def loaded_file(loaded: ctypes.CDLL) -> Path:
    """The file that a library was loaded from."""
    stem = Path(loaded._name).name.partition(".so")[0]
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    return Path(next(line.split()[-1] for line in maps if f"/{stem}.so" in line))


def write(
    name: str,
    program: str,
    cases: dict[str, Any],
    arrays: dict[str, NDArray],
    loaded: ctypes.CDLL,
    *,
    last: str = "cell size",
) -> None:
    """Write name.npz and name.json (program, version, library, command, cases, sha256) beside this file."""
    archive = FOLDER / f"{name}.npz"
    np.savez_compressed(archive, **arrays)  # type: ignore[arg-type]
    file = loaded_file(loaded)
    package = subprocess.run(["dpkg-query", "-W", "libvlfeat1"], capture_output=True, text=True, check=True)
    card = {
        "program": program,
        "version": loaded.vl_get_version_string().decode(),
        "package": " ".join(package.stdout.split()),
        "library": {
            "name": file.name,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        },
        "command": f"python -m tests.golden.make_{name}",
        "numpy": np.__version__,
        "pictures": f"tests/kernels/pictures.py: kind, height, width, form, seed, {last}",
        "cases": cases,
        "sha256": {archive.name: hashlib.sha256(archive.read_bytes()).hexdigest()},
    }
    (FOLDER / f"{name}.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
