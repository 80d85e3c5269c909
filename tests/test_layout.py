"""The tree is what it says: where the four names come from, what imports cost, and what the package lists."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("caffe_port", "kernels", "decoders", "export")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def python(code: str) -> str:
    """Standard output of a fresh interpreter that runs ``code`` in the root of the tree."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("package", PACKAGES)
def test_the_generic_names_are_ours(package: str) -> None:
    """PyPI has distributions that own `kernels`, `decoders` and `export`; a test folder can shadow them too."""
    assert Path(python(f"import {package}; print({package}.__file__)")) == ROOT / package / "__init__.py"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_owns_the_name(package: str) -> None:
    owners = python(
        f"import importlib.metadata as m; print(sorted(set(m.packages_distributions().get('{package}', []))))"
    )
    assert owners in ("[]", "['caffe-port']")


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_says_what_its_word_means(package: str) -> None:
    first = python(f"import {package}; print({package}.__doc__.splitlines()[0])")
    assert first.endswith(".")
    assert len(first) > 20


def test_every_package_folder_is_distributed() -> None:
    include = PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    assert set(include) == {name for package in PACKAGES for name in (package, f"{package}.*")}
    for package in PACKAGES:
        for module in (ROOT / package).rglob("*.py"):
            assert (module.parent / "__init__.py").is_file(), (
                f"{module.parent} would be left out of the distribution"
            )


def test_tests_do_not_shadow_the_packages() -> None:
    for package in PACKAGES:
        assert not (ROOT / "tests" / package / "__init__.py").exists()


def test_no_module_is_named_after_a_library() -> None:
    libraries = {
        "onnx",
        "torch",
        "numpy",
        "numba",
        "cupy",
        "cv2",
        "click",
        "safetensors",
        "tqdm",
        "jinja2",
        "types",
    }
    vague = {"utils", "helpers", "common", "core", "misc"}
    names = {module.stem for package in PACKAGES for module in (ROOT / package).rglob("*.py")}
    assert not names & (libraries | vague)


@pytest.mark.parametrize(
    ("package", "kept_out"),
    [
        ("kernels", {"torch", "cupy", "numba", "cv2"}),
        ("export", {"torch", "onnx", "numba", "cv2", "click"}),
        ("decoders.cli", {"torch", "onnx", "onnxruntime", "numba", "cv2"}),
        ("caffe_port.cli", {"torch", "onnx", "onnxruntime", "numba", "cv2"}),
    ],
)
def test_importing_is_light(package: str, kept_out: set[str]) -> None:
    loaded = set(python(f"import sys, {package}; print(*sys.modules)").split())
    assert not loaded & kept_out


def test_only_the_gpu_s_own_modules_import_its_libraries() -> None:
    """import-linter sees numba as one; CuPy is for `kernels.backend` alone, where it is imported late."""
    cuda = re.compile(
        r"^ *(from numba import .*\bcuda\b|from numba\.cuda\b|import numba\.cuda\b)", re.MULTILINE
    )
    cupy = re.compile(r"^ *(from cupy\b|import cupy\b)", re.MULTILINE)
    for module in (ROOT / "kernels").rglob("*.py"):
        text, place = module.read_text(encoding="utf-8"), module.relative_to(ROOT / "kernels").as_posix()
        if place == "backend.py":
            late = re.compile(r"^(from|import) .*(cuda|cupy)", re.MULTILINE)
            assert not late.search(text)
        else:
            assert not cupy.search(text), place
            assert place == "launch.py" or "cuda" in place or not cuda.search(text), place


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_sets_no_threads_and_opens_no_file_for_writing(package: str) -> None:
    before = python("import threading; print(threading.active_count())")
    assert python(f"import threading, {package}; print(threading.active_count())") == before


def test_ci_runs_the_readme_s_own_test_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    command = 'pip install -c constraints.txt -e ".[cpu,dev]" && python -m pytest'
    assert command in readme
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_pictures_and_weights_stay_small() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    sizes = {
        name: (ROOT / name).stat().st_size for name in tracked.split("\0") if name and (ROOT / name).is_file()
    }
    assert sizes
    assert max(sizes.values()) <= 6_000_000, max(sizes, key=lambda name: sizes[name])
