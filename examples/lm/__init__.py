"""The parts of the character language model; `examples/lyrics.py` puts them together."""
