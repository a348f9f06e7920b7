"""How gradients flow through depth and time; `examples/gradients.py` and `examples/deep.py` put the parts together."""
