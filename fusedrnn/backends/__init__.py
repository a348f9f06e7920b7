"""The backends, and the choice of one for each call."""
