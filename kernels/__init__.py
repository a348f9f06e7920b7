"""Triton kernels and their launchers: tensors in, tensors out. Independent of autograd, the modules and the reference."""
