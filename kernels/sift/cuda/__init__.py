"""SIFT on the GPU, stage by stage over a batch of images, each output computed by one thread in the CPU's order."""
