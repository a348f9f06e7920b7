"""Recurrent nets for the measurement of gradients through time, with the factors of their derivatives and gates."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from fusedrnn import FusedGRU, FusedLSTM, FusedRNN, init

State = tuple[Tensor, ...]  # (h,) or (h, c), each (1, B, H)
LAYERS = {"rnn": FusedRNN, "gru": FusedGRU, "lstm": FusedLSTM}


class Case(NamedTuple):
    """A cell and its initialisation; None keeps that of torch.nn, U(-1/sqrt(H), 1/sqrt(H))."""

    cell: str  # rnn, gru or lstm
    scale: float | None = None  # W_hh of the plain RNN is this times a random orthogonal matrix
    gate_bias: float | None = None  # of the gate that keeps the state: z of the GRU, f of the LSTM


CASES = {
    "RNN, as torch.nn starts it": Case("rnn"),
    "RNN, W_hh 0.9 x orthogonal": Case("rnn", scale=0.9),
    "RNN, W_hh orthogonal": Case("rnn", scale=1.0),
    "RNN, W_hh 2 x orthogonal": Case("rnn", scale=2.0),
    "GRU, as torch.nn starts it": Case("gru"),
    "GRU, gate bias 4": Case("gru", gate_bias=4.0),
    "LSTM, as torch.nn starts it": Case("lstm"),
    "LSTM, gate bias 4": Case("lstm", gate_bias=4.0),
}


class Net(nn.Module):
    """One recurrent layer in float64 whose state is a tuple for every cell."""

    def __init__(self, case: Case, input_size: int, hidden_size: int, backend: str) -> None:
        super().__init__()
        self.cell = case.cell
        self.layer = LAYERS[case.cell](input_size, hidden_size, backend=backend).double()
        if case.scale is not None:
            init.orthogonal_(self.layer, case.scale)
        if case.gate_bias is not None:
            init.keep_bias_(self.layer, case.gate_bias)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run x, (T, B, I), from `state`; return every h_t, (T, B, H), and the last state."""
        output, last = self.layer(x, state if self.cell == "lstm" else state[0])
        return output, last if self.cell == "lstm" else (last,)

    def zero_state(self, batch: int) -> State:
        """Return a state of zeros."""
        zeros = self.layer.weight_hh_l0.new_zeros(1, batch, self.layer.hidden_size)
        return (zeros, zeros.clone()) if self.cell == "lstm" else (zeros,)

    @torch.no_grad()
    def kept(self, x: Tensor, output: Tensor) -> Tensor:
        """Return the factor of the gradient from step to step, (T, B, H): tanh' of the plain RNN, else the gate z or f."""
        if self.cell == "rnn":
            return 1 - output**2
        rows = slice(self.layer.hidden_size, 2 * self.layer.hidden_size)
        before = torch.cat([torch.zeros_like(output[:1]), output[:-1]])
        w_ih, w_hh, b_ih, b_hh = self.layer.all_weights[0]
        return torch.sigmoid(linear(x, w_ih[rows], b_ih[rows]) + linear(before, w_hh[rows], b_hh[rows]))
