"""What all tests share: the folder of test data, and a cache of compiled kernels that cannot be stale."""

import hashlib
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def _sources_digest(folder: Path) -> str:
    """A digest of all Python files below a folder, names included."""
    digest = hashlib.sha256()
    for source in sorted(folder.rglob("*.py")):
        digest.update(str(source.relative_to(folder)).encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


# Numba's disk cache looks at one file only and would miss an edit of the scalar maths that file imports.
os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / ".numba_cache" / _sources_digest(ROOT / "kernels")))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of pictures and nets too large for the repository; CAFFE_PORT_DATA names it."""
    folder = Path(os.environ.get("CAFFE_PORT_DATA") or ROOT.parent / "shared")
    if not (folder / "data").is_dir():
        pytest.skip(f"no test data in {folder}: set CAFFE_PORT_DATA")
    return folder
