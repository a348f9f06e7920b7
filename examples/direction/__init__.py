"""Labelling with one direction and with two; `examples/bidirectional.py` puts the parts together."""
