"""Hand-made features as compiled kernels: image in, feature out. A "kernel" here is compiled code, never a filter."""

from kernels.gray import gray
from kernels.hog import HOG_FLIP, HogParameters, hog, hog_glyphs, hog_shape
from kernels.lbp import LBP_FLIP, LbpParameters, lbp, lbp_shape

__all__ = [
    "HOG_FLIP",
    "LBP_FLIP",
    "HogParameters",
    "LbpParameters",
    "gray",
    "hog",
    "hog_glyphs",
    "hog_shape",
    "lbp",
    "lbp_shape",
]
