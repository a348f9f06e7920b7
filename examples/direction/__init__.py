"""Sequence labelling with one and two directions; the parts of `examples/bidirectional.py`."""
