"""Gradient flow through depth and time; the parts of `examples/gradients.py` and `examples/deep.py`."""
