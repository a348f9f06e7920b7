"""The character language model: the parts of `examples/lyrics.py`."""
