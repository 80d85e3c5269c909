"""Late import of packages that only some commands need: the optional extras."""

import importlib
from typing import Any


def need(module: str, extra: str = "rivals") -> Any:
    """Import a module of an optional package.

    Raises
    ------
    ValueError
        It is not installed; the text names the extra that holds it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"{module} is not installed: pip install 'caffe-port[{extra}]'") from error
