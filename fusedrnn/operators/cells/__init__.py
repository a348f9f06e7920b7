"""The cells in plain torch operators: steps and their derivatives, derived by hand from the reference's formulas."""

from fusedrnn.operators.cells.cell import Cell
from fusedrnn.operators.cells.gru import GRU
from fusedrnn.operators.cells.gru_before import GRU_BEFORE
from fusedrnn.operators.cells.lstm import LSTM
from fusedrnn.operators.cells.rnn import RNN_RELU, RNN_TANH

CELLS: dict[str, Cell] = {
    "gru": GRU,
    "gru_before": GRU_BEFORE,
    "lstm": LSTM,
    "rnn_tanh": RNN_TANH,
    "rnn_relu": RNN_RELU,
}
