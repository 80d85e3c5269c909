"""Ask the real VLFeat for SIFT features of small synthetic pictures and keep both, with their provenance.

    python -m tests.golden.make_vlfeat_sift

writes vlfeat_sift.npz (per case: the picture, frames and unit descriptors; for one of them what each stage of each
octave gives) and vlfeat_sift.json beside this file. Needs libvlfeat-dev and gcc.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.golden import provenance
from tests.kernels.pictures import picture
from tests.oracles import vlfeat_sift

# name: kind of picture, height, width, form, seed, settings other than MATLAB's
CASES: dict[str, tuple[Any, ...]] = {
    "blobs": ("blobs", 64, 80, "uint8", 1, {}),
    "blobs_odd_size": ("blobs", 45, 61, "float 0..255", 2, {}),
    "noise": ("noise", 32, 28, "uint8", 3, {}),
    "waves_faint": ("waves", 40, 56, "float 0..1", 4, {}),
    "boxes_with_ties": ("boxes", 48, 48, "uint8", 5, {}),
    "slope": ("slope", 32, 32, "float 0..255", 6, {}),
    "constant": ("constant", 24, 24, "uint8", 7, {}),
    "one_pixel": ("noise", 1, 1, "uint8", 8, {}),
    "two_rows": ("noise", 2, 40, "uint8", 9, {}),
    "wide": ("blobs", 12, 150, "uint8", 10, {}),
    "doubled": ("blobs", 21, 26, "uint8", 11, {"first_octave": -1}),
    "halved": ("blobs", 70, 90, "uint8", 12, {"first_octave": 1}),
    "two_levels_two_octaves": ("blobs", 40, 40, "uint8", 13, {"levels": 2, "octaves": 2}),
    "thresholds": (
        "blobs",
        64,
        64,
        "uint8",
        14,
        {"peak_thresh": 4.0, "edge_thresh": 3.0, "norm_thresh": 60.0},
    ),
    "other_bins": ("blobs", 40, 40, "uint8", 15, {"magnif": 2.0, "window_size": 1.5}),
}
STAGED = "blobs_odd_size"


def arrays(reference: vlfeat_sift.VLFeatSift) -> dict[str, NDArray]:
    """All arrays of the golden file."""
    result: dict[str, NDArray] = {}
    for name, (*what, settings) in CASES.items():
        image = picture(*what)
        frames, descriptors = reference.extract(image.astype(np.float32), **settings)
        result |= {f"{name}/image": image, f"{name}/frames": frames, f"{name}/descriptors": descriptors}
    for octave in reference.octaves(result[f"{STAGED}/image"]):
        stages = {"levels": octave.levels[[0, -1]], "places": octave.places, "values": octave.values}
        result |= {f"octave {octave.index}/{stage}": array for stage, array in stages.items()}
    return result


def main() -> None:
    """Write both files."""
    loaded = provenance.library()
    with tempfile.TemporaryDirectory() as folder:
        reference, fault = vlfeat_sift.compiled(Path(folder))
        if reference is None:
            raise SystemExit(fault)
        found = arrays(reference)
    program = "VLFeat, vl_sift_process_*_octave, vl_sift_detect, vl_sift_calc_keypoint_* (row-major)"
    provenance.write("vlfeat_sift", program, CASES, found, loaded, last="settings")


if __name__ == "__main__":
    main()
