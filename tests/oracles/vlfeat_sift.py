"""The real VLFeat's SIFT (libvl, 0.9.21): its accessors are inline, so a few lines of C reach them (vlfeat_sift.c).

Conventions: row-major images, x right, y down; frames are x, y, scale, angle, as vl_sift_* give them.
"""

import ctypes
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.oracles.vlfeat import FLOATS, OBJECT

INTS = np.ctypeslib.ndpointer(np.int32, flags="C_CONTIGUOUS")
DOUBLES = np.ctypeslib.ndpointer(np.float64, flags="C_CONTIGUOUS")
INT = ctypes.c_int

SIGNATURES = {
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
                gray, width, height, settings_array(**settings), frames, descriptors, capacity
            )
            if found <= capacity:
                return frames[:found], descriptors[:found]
            capacity = found

    def octaves(self, gray: NDArray, **settings: float) -> Iterator["VLFeatOctave"]:
        """What VLFeat computes on the way, octave by octave."""
        gray = np.ascontiguousarray(gray, np.float32)
        height, width = gray.shape
        filter_ = self._vl.sift_new(width, height, settings_array(**settings))
        levels = int(settings_array(**settings)[1])
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


def settings_array(
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


def compiled(folder: Path) -> tuple[VLFeatSift | None, str]:
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
    for function, (result, arguments) in SIGNATURES.items():
        getattr(driver, function).restype = result
        getattr(driver, function).argtypes = arguments
    return VLFeatSift(driver), ""
