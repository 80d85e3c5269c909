"""The real VLFeat (libvl, 0.9.21) through ctypes: the judge of `kernels`. Row-major images, x right, y down.

VLFEAT_LIBRARY names another file than the one the linker finds.
"""

import ctypes
import ctypes.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

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

INTS = np.ctypeslib.ndpointer(np.int32, flags="C_CONTIGUOUS")
DOUBLES = np.ctypeslib.ndpointer(np.float64, flags="C_CONTIGUOUS")
INT = ctypes.c_int

SIFT_SIGNATURES = {
    "sift_new": (OBJECT, [INT, INT, DOUBLES]),
    "sift_octave": (None, [OBJECT, INTS]),
    "sift_levels": (OBJECT, [OBJECT]),
    "sift_differences": (OBJECT, [OBJECT]),
    "sift_gradients": (OBJECT, [OBJECT]),
    "sift_count": (INT, [OBJECT]),
    "sift_keypoints": (None, [OBJECT, INTS, FLOATS]),
    "sift_orientations": (INT, [OBJECT, INT, DOUBLES]),
    "sift_descriptor": (None, [OBJECT, INT, ctypes.c_double, FLOATS]),
    "sift_extract": (INT, [FLOATS, INT, INT, DOUBLES, DOUBLES, FLOATS, INT]),
    "vl_sift_process_first_octave": (INT, [OBJECT, FLOATS]),
    "vl_sift_process_next_octave": (INT, [OBJECT]),
    "vl_sift_detect": (None, [OBJECT]),
    "vl_sift_delete": (None, [OBJECT]),
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


class VLFeatSift:
    """vl_sift_* through the functions of vlfeat_sift.c, compiled for the occasion."""

    def __init__(self, driver: ctypes.CDLL):
        self._vl = driver

    def extract(self, gray: NDArray, **settings: float) -> tuple[NDArray, NDArray]:
        """(H, W) float32 -> frames (N, 4) float64: x, y, scale, angle; unit descriptors (N, 128) float32."""
        gray = np.ascontiguousarray(gray, np.float32)
        height, width = gray.shape
        capacity = 256 + gray.size // 16
        while True:
            frames, descriptors = np.empty((capacity, 4)), np.empty((capacity, 128), np.float32)
            found = self._vl.sift_extract(
                gray, width, height, sift_settings(**settings), frames, descriptors, capacity
            )
            if found <= capacity:
                return frames[:found], descriptors[:found]
            capacity = found

    def octaves(self, gray: NDArray, **settings: float) -> Iterator["VLFeatOctave"]:
        """What VLFeat computes on the way, octave by octave."""
        gray = np.ascontiguousarray(gray, np.float32)
        height, width = gray.shape
        filter_ = self._vl.sift_new(width, height, sift_settings(**settings))
        levels = int(sift_settings(**settings)[1])
        done = self._vl.vl_sift_process_first_octave(filter_, gray)
        while not done:
            yield VLFeatOctave(self._vl, filter_, levels)
            done = self._vl.vl_sift_process_next_octave(filter_)
        self._vl.vl_sift_delete(filter_)


class VLFeatOctave:
    """The stages of one octave, copied out of VLFeat's buffers."""

    def __init__(self, driver: ctypes.CDLL, filter_: int, levels: int):
        driver.vl_sift_detect(filter_)
        shape = np.empty(3, np.int32)
        driver.sift_octave(filter_, shape)
        self.index, width, height = (int(value) for value in shape)
        self.levels = _copy(driver.sift_levels(filter_), (levels + 3, height, width))
        self.differences = _copy(driver.sift_differences(filter_), (levels + 2, height, width))
        count = driver.sift_count(filter_)
        self.places = np.empty((count, 3), np.int32)  # ix, iy, is
        self.values = np.empty((count, 4), np.float32)  # x, y, s, sigma
        driver.sift_keypoints(filter_, self.places, self.values)
        angles = np.empty(4)
        self.angles: list[NDArray] = []  # of each keypoint
        self.descriptors: list[NDArray] = []  # of each keypoint and angle
        for i in range(count):
            found = driver.sift_orientations(filter_, i, angles)
            self.angles.append(angles[:found].copy())
            for angle in self.angles[-1]:
                self.descriptors.append(np.empty(128, np.float32))
                driver.sift_descriptor(filter_, i, angle, self.descriptors[-1])
        # VLFeat computes them where there is a keypoint: (levels, H, W, 2), magnitude and angle
        self.gradients = _copy(driver.sift_gradients(filter_), (levels, height, width, 2)) if count else None


def sift_settings(
    *,
    octaves: float = -1,
    levels: float = 3,
    first_octave: float = 0,
    peak_thresh: float = 0,
    edge_thresh: float = 10,
    norm_thresh: float = 0,
    magnif: float = 3,
    window_size: float = 2,
) -> NDArray:
    """VLFeat's settings in the order of vlfeat_sift.c, with MATLAB's defaults."""
    return np.array(
        [octaves, levels, first_octave, peak_thresh, edge_thresh, norm_thresh, magnif, window_size],
        np.float64,
    )


def _copy(address: int, shape: tuple[int, ...]) -> NDArray:
    if 0 in shape:
        return np.empty(shape, np.float32)
    return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_float)), shape).copy()


def compile_sift(folder: Path) -> tuple[VLFeatSift | None, str]:
    """VLFeat's SIFT, compiled into the folder; or None, and why not."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None, "no C compiler (gcc) to reach libvl's SIFT with"
    output = folder / "vlfeat_sift.so"
    source = Path(__file__).parent / "vlfeat_sift.c"
    command = [compiler, "-O2", "-shared", "-fPIC", str(source), "-o", str(output), "-lvl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        complaint = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
        return (
            None,
            f"libvl's headers or library are not installed (Debian, Ubuntu: libvlfeat-dev): {complaint}",
        )
    driver = ctypes.CDLL(str(output))
    for function, (result, arguments) in SIFT_SIGNATURES.items():
        getattr(driver, function).restype = result
        getattr(driver, function).argtypes = arguments
    return VLFeatSift(driver), ""
