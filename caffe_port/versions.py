"""Which versions computed something: of Python and of the packages that decide the numbers."""

import functools
import platform
from collections.abc import Mapping
from importlib.metadata import distributions

PACKAGES = ("caffe-port", "torch", "numpy", "numba", "onnx", "opencv-python-headless", "safetensors")


def versions() -> dict[str, str]:
    """Versions by package, of those in `PACKAGES` that are installed."""
    return dict(_installed())


@functools.cache
def _installed() -> Mapping[str, str]:
    installed = {found.metadata["Name"].lower(): found.version for found in distributions()}
    return {"python": platform.python_version()} | {
        name: installed[name] for name in PACKAGES if name in installed
    }
