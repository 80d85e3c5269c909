"""Late import of the packages that only the rivals need: the extra `rivals`."""

import importlib
from typing import Any


def need(module: str) -> Any:
    """Import a module of scikit-learn or SciPy.

    Raises
    ------
    ValueError
        It is not installed; the text names the extra that holds it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"{module} is not installed: pip install 'caffe-port[rivals]'") from error
