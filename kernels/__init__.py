"""Triton kernels and their launchers: tensors in, tensors out. Knows nothing of autograd, modules or the reference."""
