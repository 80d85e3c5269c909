"""The GPU's kernels as far as they can be tried without a GPU: compiled, and run in the simulator."""

import dis
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import kernels
from tests.kernels.gpu_cases import CASES

ROOT = Path(__file__).parent.parent.parent

needs_numba_cuda = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason='numba-cuda is not installed: pip install "numba-cuda[cu13]"'
)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, NDArray]:
    """All cases, computed in a process of its own: the simulator must be chosen before numba is imported."""
    file = tmp_path_factory.mktemp("simulator") / "results.npz"
    command = [sys.executable, "-m", "tests.kernels.simulator", str(file)]
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    with np.load(file, allow_pickle=False) as archive:
        return dict(archive)


@needs_numba_cuda
@pytest.mark.parametrize("name", CASES)
def test_the_simulator_gives_the_cpu_s_bits(simulated: dict[str, NDArray], name: str) -> None:
    case = CASES[name]
    for part, expected in case.compute(case.array).items():
        found = simulated[f"{name}: {part}"]
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


KERNEL_NAMES = [
    *["gray", "gray, uint8", "hog polar", "hog polar, uint8", "hog pool", "hog normalise"],
    *["lbp encode", "lbp encode, uint8", "lbp cells"],
    *["sift sample", "sift sample, uint8", "sift enlarge", "sift enlarge, uint8"],
    *["sift smooth columns", "sift smooth rows", "sift differentiate", "sift mark", "sift refine"],
    *["sift orient", "sift describe", "sift describe, float"],
]


# CUDA's own power, sine and cosine are made of fused products.
CALL_ITS_LIBRARY = {"sift refine", "sift describe", "sift describe, float"}


@needs_numba_cuda
@pytest.mark.parametrize("name", KERNEL_NAMES)
def test_the_kernel_compiles_and_spills_nothing(name: str, record_property: Any) -> None:
    """For sm_80 and sm_90. No product of ours is fused either: it would round otherwise than the CPU."""
    from tests.kernels import ptx

    for architecture, text in ptx.compile_ptx(name).items():
        assert ".target sm_{}{}".format(*architecture) in text
        assert name in CALL_ITS_LIBRARY or not re.search(r"\bfma\.", text)
        found = ptx.resources(text, architecture)
        record_property("{} sm_{}{}".format(name, *architecture), str(found))
        assert found.spilled_bytes == 0
        assert found.registers <= 128
        assert found.shared_bytes <= 48 * 1024


@needs_numba_cuda
def test_every_kernel_is_compiled_by_these_tests() -> None:
    from tests.kernels import ptx

    assert set(ptx.KERNELS) == set(KERNEL_NAMES)
    listed = {kernel.py_func.__name__ for kernel, _ in ptx.KERNELS.values()}
    written = set()
    for file in (ROOT / "kernels").rglob("*.py"):
        written |= set(re.findall(r"@launch\.kernel\ndef (\w+)", file.read_text(encoding="utf-8")))
    assert listed == written


class _Pretender:
    """An array on a GPU, to all appearances."""

    __cuda_array_interface__: dict[str, Any] = {}  # noqa: RUF012
    dtype, ndim, shape = np.dtype(np.float32), 2, (16, 16)


@pytest.mark.skipif(find_spec("cupy") is not None, reason="CuPy is installed")
@pytest.mark.parametrize("function", [kernels.hog, kernels.lbp, kernels.gray])
def test_a_gpu_array_without_cupy_names_the_extra(function: Any) -> None:
    with pytest.raises(ValueError, match=r'cupy.* not installed: pip install "caffe-port\[gpu\]"'):
        function(_Pretender())


@needs_numba_cuda
def test_products_are_found_wherever_they_stand() -> None:
    from kernels import launch

    def mixed(a: float, b: float) -> float:
        total = a * b + (a - b * 2) / (1 + a * a)
        total += -a * max(b * 3, a)
        return total

    def growing(a: float) -> float:
        a *= 2
        return a

    rounded = launch.with_rounded_products(mixed)
    assert rounded(1.7, -0.3) == mixed(1.7, -0.3)
    assert rounded.__code__.co_names.count("product") == 1
    assert "BINARY_OP" not in [step.opname for step in dis.get_instructions(rounded) if step.argrepr == "*"]
    with pytest.raises(SyntaxError, match=r"write a = a \* b"):
        launch.with_rounded_products(growing)
