"""The parts of the dropout experiment; `examples/dropout_mlp.py` puts them together."""
