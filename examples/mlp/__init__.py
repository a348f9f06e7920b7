"""The parts of `examples/dropout_mlp.py`."""
