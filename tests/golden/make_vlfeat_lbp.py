"""Ask the real VLFeat for LBP features of small synthetic pictures and keep both, with their provenance.

    python -m tests.golden.make_vlfeat_lbp

writes vlfeat_lbp.npz (per case: the picture and its features) and vlfeat_lbp.json beside this file.
"""

import numpy as np
from numpy.typing import NDArray

from tests.golden import provenance
from tests.kernels.pictures import picture
from tests.oracles import vlfeat

# name: kind of picture, height, width, form, seed, cell size
CASES = {
    "noise": ("noise", 40, 56, "float 0..1", 1, 16),
    "noise_grey_levels": ("noise", 56, 40, "uint8", 2, 16),
    "waves": ("waves", 64, 64, "float 0..255", 3, 16),
    "boxes_odd_size": ("boxes", 45, 61, "uint8", 4, 16),
    "staircase_ties": ("staircase", 24, 35, "uint8", 5, 8),
    "slope": ("slope", 32, 32, "float 0..255", 6, 16),
    "constant": ("constant", 24, 24, "uint8", 7, 8),
    "one_cell": ("noise", 16, 31, "float 0..1", 8, 16),
    "no_pixel_with_eight_neighbours": ("noise", 2, 9, "float 0..1", 9, 2),
    "tall": ("waves", 120, 5, "float 0..1", 10, 5),
    "cells_of_one": ("noise", 7, 6, "uint8", 11, 1),
    "cells_of_three": ("boxes", 31, 43, "float 0..1", 12, 3),
    "cells_of_forty": ("noise", 97, 81, "uint8", 13, 40),
}


def arrays(reference: vlfeat.VLFeatLbp) -> dict[str, NDArray]:
    """All arrays of the golden file."""
    result: dict[str, NDArray] = {}
    for name, (*what, cell_size) in CASES.items():
        image = picture(*what)
        result |= {
            f"{name}/image": image,
            f"{name}/cell_size": np.int64(cell_size),
            f"{name}/features": reference.features(image.astype(np.float32), cell_size),
        }
    return result


def main() -> None:
    """Write both files."""
    loaded = provenance.library()
    provenance.write(
        "vlfeat_lbp",
        "VLFeat, vl_lbp_process (uniform patterns, not transposed, row-major)",
        CASES,
        arrays(vlfeat.VLFeatLbp(loaded)),
        loaded,
    )


if __name__ == "__main__":
    main()
