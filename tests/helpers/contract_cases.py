"""Shared by the module tests: torch.nn's classes beside ours, inputs and states, losses, and comparisons of results."""

import itertools

import pytest
import torch
from torch import nn

from fusedrnn import FusedGRU, FusedGRUCell, FusedLSTM, FusedLSTMCell, FusedRNN, FusedRNNCell

LAYERS = {"gru": (nn.GRU, FusedGRU), "lstm": (nn.LSTM, FusedLSTM), "rnn": (nn.RNN, FusedRNN)}
CELLS = {
    "gru": (nn.GRUCell, FusedGRUCell),
    "lstm": (nn.LSTMCell, FusedLSTMCell),
    "rnn": (nn.RNNCell, FusedRNNCell),
}
BACKENDS = ("reference", "aten", "triton")
INPUTS = {
    "floats": lambda dtype=torch.float32: torch.randn(3, 2, 3, dtype=dtype),
    "ids": lambda dtype=None: torch.tensor([[0, 2], [1, 1], [2, 0]]),
}
"""Small inputs of 3 features, (T, B, I) and token ids (T, B)."""
PATHS = [*itertools.product(["aten", "reference"], INPUTS), ("triton", "floats")]
"""Backends and forms of input that are differentiated differently: aten unrolls its loop for ids."""


def is_lstm(module):
    return isinstance(module, nn.LSTM | FusedLSTM | nn.LSTMCell | FusedLSTMCell)


def flat(states):
    """One state or several as a list."""
    return [states] if isinstance(states, torch.Tensor) else list(states)


def hx_of(module, *shape, dtype=torch.float32, requires_grad=False):
    """Random states in the form that the module takes."""
    h, c = (torch.randn(*shape, dtype=dtype, requires_grad=requires_grad) for _ in range(2))
    return (h, c) if is_lstm(module) else h


def twins(pair, *args, backend=None, **options):
    """torch.nn's module and ours with the same weights."""
    theirs, ours = pair[0](*args, **options), pair[1](*args, backend=backend, **options)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def tensors(result):
    """Every tensor of a result, packed ones by their rows, in order."""
    if isinstance(result, torch.Tensor):
        return [result]
    if isinstance(result, nn.utils.rnn.PackedSequence):
        return [result.data]
    return [tensor for part in result for tensor in tensors(part)]


def total(result):
    """A loss that depends on every number of a result."""
    return sum(t.sin().sum() for t in tensors(result))


def agree(theirs, ours, *args, **options):
    """Check that both modules return the same types, shapes and, up to rounding, numbers; return the result of ours."""
    expected, got = theirs(*args, **options), ours(*args, **options)
    assert type(got) is type(expected) is tuple
    assert type(got[1]) is type(expected[1])
    for a, b in zip(tensors(got), tensors(expected), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=2e-6)
    return got


def some_on_triton(names, cases, chosen):
    """Parametrise over `backend` and the cases; on triton, which is interpreted and slow, only over the chosen cases."""
    found = [(b, *case) for b in BACKENDS for case in cases if b != "triton" or case in chosen]
    return pytest.mark.parametrize(("backend", *names), found, ids=lambda p: str(p))


def error_of(call):
    """The exception that a call raises, or None."""
    try:
        call()
    except Exception as error:
        return error
    return None
