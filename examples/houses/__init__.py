"""The parts of `examples/house_prices.py`."""
