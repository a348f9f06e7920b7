"""A user's program without a mistake: test_types.py runs type checkers on it, strictly, and then the program."""

from typing import Any, assert_type

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import fusedrnn
from fusedrnn import (
    FusedDropout,
    FusedGRU,
    FusedGRUCell,
    FusedLSTM,
    FusedLSTMCell,
    FusedRNN,
    FusedRNNCell,
    InitialState,
    functional,
)
from fusedrnn.types import Backend, Memory

Pair = tuple[Tensor, Tensor]


class Tagger(nn.Module):
    """A model as users write it, with the types that its layers have."""

    def __init__(self, backend: Backend | None = None, memory: Memory = "save") -> None:
        super().__init__()
        self.lstm = FusedLSTM(3, 4, batch_first=True, backend=backend, memory=memory)
        self.initial = InitialState(self.lstm)
        self.dropout = FusedDropout(0.5)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        output, (h_n, c_n) = self.lstm(x, self.initial(x), lengths)
        assert_type(h_n, Tensor)
        assert_type(c_n, Tensor)
        scores: Tensor = self.head(self.dropout(output))
        return scores


def layers(x: Tensor, packed: PackedSequence) -> None:
    gru = FusedGRU(3, 4, 2, dropout=0.1, reset_after=True, zoneout=0.1, device="cpu", dtype=torch.float32)
    assert_type(gru(x), tuple[Tensor, Tensor])
    assert_type(gru.forward(x, None, [2, 1]), tuple[Tensor, Tensor])
    assert_type(gru(packed), tuple[PackedSequence, Tensor])
    assert_type(gru(x, return_all_states=True), tuple[Tensor, Tensor, tuple[Tensor, ...]])
    assert_type(gru(packed, return_all_states=True), tuple[PackedSequence, Tensor, tuple[PackedSequence, ...]])
    rnn = FusedRNN(3, 4, nonlinearity="relu", backend="reference")
    assert_type(rnn(x, torch.zeros(1, 2, 4)), tuple[Tensor, Tensor])
    lstm = FusedLSTM(3, 4, proj_size=2, variational=True, memory="recompute")
    assert_type(lstm(x), tuple[Tensor, Pair])
    assert_type(lstm(packed), tuple[PackedSequence, Pair])
    assert_type(lstm(x, return_all_states=True), tuple[Tensor, Pair, tuple[Pair, ...]])
    output, (_, c_n), every = lstm(packed, return_all_states=True)
    assert_type(output, PackedSequence)
    assert_type(c_n, Tensor)
    assert_type(every[0], tuple[PackedSequence, PackedSequence])


def chunks(x: Tensor) -> None:
    lstm, cell = FusedLSTM(3, 4), FusedLSTMCell(3, 4)
    _, states = lstm(x)
    _, states = lstm(x, tuple(state.detach() for state in states))
    _, states = lstm(x, list(states))
    h, _ = cell(x[0], tuple(state[0] for state in states))
    assert_type(h, Tensor)


def either(flag: bool, x: Tensor | PackedSequence) -> None:
    output, h_n, *_ = FusedGRU(3, 4)(x, return_all_states=flag)
    assert_type(output, Tensor | PackedSequence)
    assert_type(h_n, Tensor)


def cells(x: Tensor) -> None:
    assert_type(FusedGRUCell(3, 4, backend="aten")(x), Tensor)
    assert_type(FusedRNNCell(3, 4, nonlinearity="relu")(x), Tensor)
    h, c = FusedLSTMCell(3, 4)(x, (torch.zeros(2, 4), torch.zeros(2, 4)))
    assert_type(h, Tensor)
    assert_type(c, Tensor)


def functions(x: Tensor) -> None:
    gru, lstm, rnn = FusedGRU(3, 4), FusedLSTM(3, 4), FusedRNN(3, 4)
    weights = [[[functional.LayerWeights(*module.parameters())]] for module in (gru, lstm, rnn)]
    assert_type(functional.gru(x, None, weights[0], lengths=[2, 1], memory="save"), tuple[Tensor, Tensor])
    assert_type(functional.lstm(x, None, weights[1]), tuple[Tensor, Pair])
    _, _, every = functional.rnn(x, None, weights[2], nonlinearity="tanh", return_all_states=True)
    assert_type(every, tuple[Tensor, ...])
    assert_type(functional.dropout(x, 0.5, shared_dims=1, backend="reference"), Tensor)
    assert_type(functional.bias_relu_dropout(x, torch.zeros(3)), Tensor)
    assert_type(functional.l2_penalty(gru.parameters()), Tensor)


def states(x: Tensor) -> None:
    gru, plain = FusedGRU(3, 4), nn.LSTM(3, 4)
    initial = InitialState(gru)
    assert_type(initial, InitialState[Tensor])
    assert_type(initial(x), Tensor)
    assert_type(initial.reset(gru(x, initial(x))[1], torch.tensor([True, False])), Tensor)
    assert_type(InitialState(plain, learnable=False)(x), Pair)
    kept: InitialState = initial  # of any module
    assert_type(kept(x), Any)


def models(x: Tensor) -> None:
    model = nn.Sequential(nn.GRU(3, 4))
    report = fusedrnn.replace_rnns(model, backend="aten")
    assert_type(report, fusedrnn.Replacements)
    assert_type(fusedrnn.restore_rnns(model).changed, dict[str, str])
    fusedrnn.set_auto("measure", budget=1.0)
    for name, why_not in fusedrnn.available_backends().items():
        if why_not is None:
            with fusedrnn.use_backend(name):
                FusedGRU(3, 4)(x)
    fusedrnn.init.chrono_(FusedLSTM(3, 4), 10)


def main() -> None:
    x = torch.randn(5, 2, 3)
    packed = pack_sequence([x[:, 0], x[:3, 1]])
    layers(x, packed)
    chunks(x)
    either(True, packed)
    cells(x[0])
    functions(x)
    states(x)
    models(x)
    Tagger()(x, torch.tensor([1, 2, 1, 2, 2]))


if __name__ == "__main__":
    main()
