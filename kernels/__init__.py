"""Hand-made features as compiled kernels: image in, feature out. A "kernel" here is compiled code, never a filter."""

from kernels.gray import gray
from kernels.hog import HOG_FLIP, HogParameters, hog, hog_glyphs, hog_shape
from kernels.lbp import LBP_FLIP, LbpParameters, lbp, lbp_shape
from kernels.sift import Keypoints, SiftParameters, sift
from kernels.warming import warmup

__all__ = [
    "HOG_FLIP",
    "LBP_FLIP",
    "HogParameters",
    "Keypoints",
    "LbpParameters",
    "SiftParameters",
    "gray",
    "hog",
    "hog_glyphs",
    "hog_shape",
    "lbp",
    "lbp_shape",
    "sift",
    "warmup",
]
