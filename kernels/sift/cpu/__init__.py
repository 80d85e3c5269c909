"""SIFT on the CPU, stage by stage: Numba kernels over one contiguous float32 image."""
