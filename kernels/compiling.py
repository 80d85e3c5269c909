"""How kernels are compiled: the options of Numba's njit, one set for each of three uses.

COMPILE is for what Python calls, and is kept on disk; nothing asks for a C function of it. INNER is for what only such
kernels call: without the wrappers that Python would need it compiles in half the time. INLINE is for scalar maths,
pasted in where it is called.
None of them has fastmath: it may change a sum, a comparison, a bin.
"""

from typing import Any

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
COMPILE: dict[str, Any] = {**_OPTIONS, "cache": True, "no_cfunc_wrapper": True}
INNER: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
INLINE: dict[str, Any] = {**_OPTIONS, "inline": "always"}
