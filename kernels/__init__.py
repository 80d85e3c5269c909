"""Hand-made features as compiled kernels: image in, feature out. A "kernel" here is compiled code, never a filter."""

from kernels.gray import gray
from kernels.hog import HOG_FLIP, HogParameters, hog, hog_glyphs, hog_shape

__all__ = ["HOG_FLIP", "HogParameters", "gray", "hog", "hog_glyphs", "hog_shape"]
