"""Ask the real VLFeat for HOG features of small synthetic pictures and keep both, with their provenance.

    python -m tests.golden.make_vlfeat_hog

writes vlfeat_hog.npz (per case: the picture, its features, its glyph picture; and the flip permutation) and
vlfeat_hog.json (program, version, library, command, seeds, sha256) beside this file.
"""

import numpy as np
from numpy.typing import NDArray

from tests.golden import provenance
from tests.kernels.pictures import picture
from tests.oracles import vlfeat

# name: kind of picture, height, width, form, seed, cell size
CASES = {
    "noise": ("noise", 40, 56, "float 0..1", 1, 8),
    "noise_grey_levels": ("noise", 56, 40, "uint8", 2, 8),
    "waves": ("waves", 64, 64, "float 0..255", 3, 8),
    "boxes_odd_size": ("boxes", 45, 61, "uint8", 4, 8),
    "staircase_dropped_columns": ("staircase", 24, 35, "uint8", 5, 8),
    "slope": ("slope", 32, 32, "float 0..255", 6, 8),
    "constant": ("constant", 24, 24, "uint8", 7, 8),
    "one_cell": ("noise", 4, 11, "float 0..1", 8, 8),
    "no_gradient_pixel": ("noise", 2, 2, "float 0..1", 9, 3),
    "tall": ("waves", 120, 5, "float 0..1", 10, 8),
    "cells_of_five": ("noise", 33, 28, "float 0..1", 11, 5),
    "cells_of_six": ("boxes", 31, 43, "float 0..1", 12, 6),
    "cells_of_two": ("waves", 13, 12, "uint8", 13, 2),
}


def arrays(reference: vlfeat.VLFeatHog) -> dict[str, NDArray]:
    """All arrays of the golden file."""
    result: dict[str, NDArray] = {"permutation": reference.permutation}
    for name, (*what, cell_size) in CASES.items():
        image = picture(*what)
        features = reference.features(image.astype(np.float32), cell_size)
        result |= {
            f"{name}/image": image,
            f"{name}/cell_size": np.int64(cell_size),
            f"{name}/features": features,
            f"{name}/glyphs": reference.render(features)[:84, :84],
        }
    return result


def main() -> None:
    """Write both files."""
    loaded = provenance.library()
    provenance.write(
        "vlfeat_hog",
        "VLFeat, vl_hog_put_image, vl_hog_extract, vl_hog_render (UoCTTI, 9 orientations, row-major)",
        CASES,
        arrays(vlfeat.VLFeatHog(loaded)),
        loaded,
    )


if __name__ == "__main__":
    main()
