"""What the contract tests share: torch.nn's class beside ours, states in the right form, and what a call comes to."""

import torch
from torch import nn

from fusedrnn import FusedGRU, FusedGRUCell, FusedLSTM, FusedLSTMCell

LAYERS = {"gru": (nn.GRU, FusedGRU), "lstm": (nn.LSTM, FusedLSTM)}
CELLS = {"gru": (nn.GRUCell, FusedGRUCell), "lstm": (nn.LSTMCell, FusedLSTMCell)}
BACKENDS = ("reference", "aten", "triton")


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
    """A loss that reads every number of a result."""
    return sum(t.sin().sum() for t in tensors(result))


def error_of(call):
    """The error that a call ends with, or None."""
    try:
        call()
    except Exception as error:
        return error
    return None
