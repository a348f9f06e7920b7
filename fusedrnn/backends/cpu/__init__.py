"""Calls of torch's own GRU, LSTM and RNN on a CPU, each in the form that is fastest there."""
