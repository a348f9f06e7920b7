"""The parts of the polynomial experiment; `examples/polynomial.py` puts them together."""
