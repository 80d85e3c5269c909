"""Kernels in long use: nothing leaks, and a warm-up leaves nothing to compile."""

import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import kernels
from tests.kernels.pictures import picture

ROOT = Path(__file__).parent.parent.parent
CALLS, ROUNDS = 10_000, 4
ALLOWED_MB = 1.0  # least growth of a round; one leaked copy of the picture a call would make 1.4

FEATURES: dict[str, Callable[[NDArray], object]] = {
    "gray": lambda image: kernels.gray(np.repeat(image[..., None], 3, axis=2)),
    "hog": lambda image: kernels.hog(image, threads=1),
    "lbp": lambda image: kernels.lbp(image, threads=1),
    "sift": lambda image: kernels.sift(image, threads=1),
}


def resident_mb() -> float:
    """Memory of this process that is in use."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 1e6


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc to read the memory in use from")
@pytest.mark.parametrize("feature", FEATURES)
def test_ten_thousand_calls_leak_nothing(feature: str) -> None:
    image = picture("blobs", 24, 24, "uint8", 6)
    assert feature != "sift" or len(kernels.sift(image).frames)
    growths = []
    for _ in range(ROUNDS):
        before = resident_mb()
        for _ in range(CALLS // ROUNDS):
            FEATURES[feature](image)
        gc.collect()
        growths.append(resident_mb() - before)
    assert min(growths) < ALLOWED_MB, growths


WARM = """
import kernels, numba
from numba.core.dispatcher import Dispatcher
import sys
kernels.warmup(quiet=True)
def compiled():
    modules = [module for name, module in sys.modules.items() if name.startswith("kernels.")]
    found = {value for module in modules for value in vars(module).values() if isinstance(value, Dispatcher)}
    return {(kernel.py_func.__module__, kernel.py_func.__name__): len(kernel.overloads) for kernel in found}
before = compiled()
import numpy as np
rng = np.random.default_rng(0)
for dtype in (np.uint8, np.float32):
    image = rng.integers(0, 256, (70, 90)).astype(dtype)
    kernels.hog(image); kernels.lbp(image); kernels.sift(image); kernels.hog(image[None, ::-1]); kernels.sift(image.T)
    kernels.gray(rng.integers(0, 256, (7, 9, 3)).astype(dtype))
    image.setflags(write=False)
    kernels.hog(image); kernels.lbp(image); kernels.sift(image)
assert compiled() == before, (before, compiled())
print(sum(before.values()))
"""


def test_a_warm_up_leaves_nothing_to_compile() -> None:
    done = subprocess.run([sys.executable, "-c", WARM], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 5
    assert done.stderr == ""


def test_a_warm_up_tells_how_long_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    kernels.warmup(quiet=True)
    assert capsys.readouterr().err == ""
    assert 0 <= kernels.warmup() < 60
