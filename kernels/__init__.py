"""Hand-made features as compiled kernels: image in, feature out. A "kernel" here is compiled code, never a filter."""
