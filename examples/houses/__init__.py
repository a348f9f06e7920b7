"""The parts of the house price experiment; `examples/house_prices.py` puts them together."""
