"""The parts of `examples/environment_shift.py`."""
