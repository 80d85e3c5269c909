"""The original program the kernels are compared with."""

import ctypes

import pytest

from tests.oracles import vlfeat
from tests.oracles import vlfeat_sift as sift_oracle


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


@pytest.fixture(scope="session")
def vlfeat_sift(libvl: ctypes.CDLL, tmp_path_factory: pytest.TempPathFactory) -> sift_oracle.VLFeatSift:
    """VLFeat's own SIFT."""
    reference, fault = sift_oracle.compiled(tmp_path_factory.mktemp("vlfeat"))
    if reference is None:
        pytest.skip(fault)
    return reference
