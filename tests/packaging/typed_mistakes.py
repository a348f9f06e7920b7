"""A user's program with mistakes, never run: a type checker has to report each line that ends in `# mistake`, and no other."""
# ruff: noqa: B018, RUF059

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

import fusedrnn
from fusedrnn import FusedDropout, FusedGRU, FusedGRUCell, FusedLSTM, FusedLSTMCell, FusedRNN, InitialState, functional


def constructors() -> None:
    FusedGRU("3", 4)  # mistake
    FusedGRU(3, hidden_size="4")  # mistake
    FusedGRU(3)  # mistake
    FusedGRU(3, 4, layers=2)  # mistake
    FusedGRU(3, 4, proj_size=2)  # mistake
    FusedGRU(3, 4, backend="cuda")  # mistake
    FusedGRU(3, 4, memory="recalculate")  # mistake
    FusedGRU(3, 4, varitional=True)  # mistake
    FusedGRU(3, 4, zoneout="0.1")  # mistake
    FusedGRU(3, 4, dtype="float32")  # mistake
    FusedLSTM(3, 4, weight_dropout=None)  # mistake
    FusedLSTM(3, 4, memroy="save")  # mistake
    FusedRNN(3, 4, backnd="aten")  # mistake
    FusedRNN(3, 4, nonlinearity="sigmoid")  # mistake
    FusedGRUCell(3, 4, heads=2)  # mistake
    FusedLSTMCell(3, 4, backend="tritn")  # mistake
    FusedDropout(p="0.5")  # mistake
    FusedDropout(shared_dim=1)  # mistake


def calls(x: Tensor, packed: PackedSequence) -> None:
    gru, lstm, cell = FusedGRU(3, 4), FusedLSTM(3, 4), FusedLSTMCell(3, 4)
    output, h_n, every = gru(x)  # mistake
    output, h_n = gru(x, return_all_states=True)  # mistake
    gru(x, (x, x))  # mistake
    gru(x, lenghts=torch.tensor([1]))  # mistake
    gru(x, lengths="12")  # mistake
    gru(packed, lengths=torch.tensor([1]))  # mistake
    gru(packed, resets=x)  # mistake
    gru([x])  # mistake
    lstm(x, x)  # mistake
    lstm(x)[1].shape  # mistake
    lstm(packed)[0].shape  # mistake
    cell(x)[2]  # mistake
    cell(x, x)  # mistake
    FusedDropout()(x, 0.5)  # mistake


def functions(x: Tensor) -> None:
    weights = [[functional.LayerWeights(x, x)]]
    functional.gru(x, None, [x, x])  # mistake
    functional.gru(x, None, weights, lenghts=[1])  # mistake
    functional.gru(x, None, weights, backend="cudnn")  # mistake
    functional.lstm(x, x, weights)  # mistake
    functional.rnn(x, None, weights, nonlinearity="sigmoid")  # mistake
    output, h_n, every = functional.gru(x, None, weights)  # mistake
    functional.dropout(x, "0.5")  # mistake


def rest(x: Tensor) -> None:
    fusedrnn.replace_rnns("model")  # mistake
    fusedrnn.replace_rnns(FusedGRU(3, 4), backend="cudnn")  # mistake
    fusedrnn.set_auto("on")  # mistake
    fusedrnn.use_backend("cudnn")  # mistake
    InitialState("gru")  # mistake
    h, _ = InitialState(FusedLSTM(3, 4))(x)
    FusedGRU(3, 4)(x, h)
    FusedGRU(3, 4)(x, InitialState(FusedLSTM(3, 4))(x))  # mistake
    fusedrnn.tune("model", x)  # mistake
