"""Episodes one after the other in a sample; the parts of `examples/episodes.py`."""
