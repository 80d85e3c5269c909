"""The real VLFeat (libvl, 0.9.21) through ctypes: the judge of `kernels`. Row-major images, x right, y down.

VLFEAT_LIBRARY names another file than the one the linker finds.
"""

import ctypes
import ctypes.util
import os

import numpy as np
from numpy.typing import NDArray

UOCTTI = 1  # VlHogVariantUoctti; Dalal and Triggs' variant is 0
UNIFORM = 0  # VlLbpUniform, the only one
FLOATS = np.ctypeslib.ndpointer(np.float32, flags="C_CONTIGUOUS")
SIZE = ctypes.c_size_t
OBJECT = ctypes.c_void_p

SIGNATURES = {
    "vl_get_version_string": (ctypes.c_char_p, []),
    "vl_hog_new": (OBJECT, [ctypes.c_int, SIZE, ctypes.c_int]),
    "vl_hog_delete": (None, [OBJECT]),
    "vl_hog_put_image": (None, [OBJECT, FLOATS, SIZE, SIZE, SIZE, SIZE]),
    "vl_hog_extract": (None, [OBJECT, FLOATS]),
    "vl_hog_render": (None, [OBJECT, FLOATS, FLOATS, SIZE, SIZE]),
    "vl_hog_get_width": (SIZE, [OBJECT]),
    "vl_hog_get_height": (SIZE, [OBJECT]),
    "vl_hog_get_dimension": (SIZE, [OBJECT]),
    "vl_hog_get_glyph_size": (SIZE, [OBJECT]),
    "vl_hog_get_permutation": (ctypes.POINTER(ctypes.c_ssize_t), [OBJECT]),
    "vl_lbp_new": (OBJECT, [ctypes.c_int, ctypes.c_int]),
    "vl_lbp_delete": (None, [OBJECT]),
    "vl_lbp_process": (None, [OBJECT, FLOATS, FLOATS, SIZE, SIZE, SIZE]),
    "vl_lbp_get_dimension": (SIZE, [OBJECT]),
}


def load() -> ctypes.CDLL | None:
    """libvl with its signatures set, or None where it is not installed."""
    name = os.environ.get("VLFEAT_LIBRARY") or ctypes.util.find_library("vl")
    if name is None:
        return None
    library = ctypes.CDLL(name)
    for function, (result, arguments) in SIGNATURES.items():
        getattr(library, function).restype = result
        getattr(library, function).argtypes = arguments
    return library


class VLFeatHog:
    """vl_hog_* with the UoCTTI variant, 9 orientations, hard assignment: VLFeat's own defaults."""

    def __init__(self, library: ctypes.CDLL, orientations: int = 9):
        self._vl = library
        self._self = library.vl_hog_new(UOCTTI, orientations, 0)
        self.channels = library.vl_hog_get_dimension(self._self)
        self.glyph_size = library.vl_hog_get_glyph_size(self._self)
        self.permutation = np.array(library.vl_hog_get_permutation(self._self)[: self.channels])

    def __del__(self) -> None:
        self._vl.vl_hog_delete(self._self)

    def features(self, gray: NDArray, cell_size: int = 8) -> NDArray:
        """(H, W) float32 -> (31, H', W') float32."""
        gray = np.ascontiguousarray(gray, np.float32)
        height, width = gray.shape
        if min(height, width) + cell_size // 2 < cell_size:
            raise ValueError(f"libvl cannot make a single cell of {cell_size} from {gray.shape}")
        self._vl.vl_hog_put_image(self._self, gray, width, height, 1, cell_size)
        grid = self._vl.vl_hog_get_height(self._self), self._vl.vl_hog_get_width(self._self)
        features = np.empty((self.channels, *grid), np.float32)
        self._vl.vl_hog_extract(self._self, features)
        return features

    def render(self, features: NDArray) -> NDArray:
        """(31, H', W') float32 -> glyph picture (21 H', 21 W') float32."""
        _, height, width = features.shape
        picture = np.zeros((height * self.glyph_size, width * self.glyph_size), np.float32)
        self._vl.vl_hog_render(self._self, picture, np.ascontiguousarray(features), width, height)
        return picture


class VLFeatLbp:
    """vl_lbp_* with the uniform patterns."""

    def __init__(self, library: ctypes.CDLL):
        self._vl = library
        self._self = library.vl_lbp_new(UNIFORM, 0)
        self.channels = library.vl_lbp_get_dimension(self._self)

    def __del__(self) -> None:
        self._vl.vl_lbp_delete(self._self)

    def features(self, gray: NDArray, cell_size: int = 16) -> NDArray:
        """(H, W) float32 -> (58, H // cell_size, W // cell_size) float32."""
        gray = np.ascontiguousarray(gray, np.float32)
        height, width = gray.shape
        features = np.zeros((self.channels, height // cell_size, width // cell_size), np.float32)
        self._vl.vl_lbp_process(self._self, features, gray, width, height, cell_size)
        return features
