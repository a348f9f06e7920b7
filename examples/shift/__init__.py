"""The parts of the environment shift experiment; `examples/environment_shift.py` puts them together."""
