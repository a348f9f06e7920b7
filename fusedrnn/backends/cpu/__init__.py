"""Calls of torch's own GRU and LSTM on a CPU, each in the form that is fastest there."""
