"""The original program the kernels are compared with."""

import pytest

from tests.oracles import vlfeat


@pytest.fixture(scope="session")
def vlfeat_hog() -> vlfeat.VLFeatHog:
    """VLFeat's own HOG."""
    library = vlfeat.load()
    if library is None:
        pytest.skip(
            "libvl is not installed (Debian and Ubuntu: libvlfeat1), and VLFEAT_LIBRARY names no file"
        )
    return vlfeat.VLFeatHog(library)
