"""The original program the kernels are compared with."""

import ctypes

import pytest

from tests.oracles import vlfeat


@pytest.fixture(scope="session")
def libvl() -> ctypes.CDLL:
    """The real VLFeat."""
    library = vlfeat.load()
    if library is None:
        pytest.skip(
            "libvl is not installed (Debian and Ubuntu: libvlfeat1), and VLFEAT_LIBRARY names no file"
        )
    return library


@pytest.fixture(scope="session")
def vlfeat_hog(libvl: ctypes.CDLL) -> vlfeat.VLFeatHog:
    """VLFeat's own HOG."""
    return vlfeat.VLFeatHog(libvl)


@pytest.fixture(scope="session")
def vlfeat_lbp(libvl: ctypes.CDLL) -> vlfeat.VLFeatLbp:
    """VLFeat's own LBP."""
    return vlfeat.VLFeatLbp(libvl)
