"""The cells that the sweeps support, by name, with their functions."""

from __future__ import annotations

from fusedrnn.kernels.cell import Cell
from fusedrnn.kernels.gru import GRU
from fusedrnn.kernels.gru_before import GRU_BEFORE
from fusedrnn.kernels.lstm import LSTM
from fusedrnn.kernels.rnn_relu import RNN_RELU
from fusedrnn.kernels.rnn_tanh import RNN_TANH

CELLS: dict[str, Cell] = {cell.name: cell for cell in (GRU, GRU_BEFORE, LSTM, RNN_TANH, RNN_RELU)}
