"""Drop-in recurrent modules for PyTorch: a textbook reference beside fused Triton kernels."""

from fusedrnn.version import __version__

__all__ = ["__version__"]
