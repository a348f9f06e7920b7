"""The parts of `examples/polynomial.py`."""
