"""Shared by the GPU tests: layers of realistic sizes, and the error allowed against float64.

The truth is computed in float64 by plain torch operators; the budget is a multiple of the error that torch's own implementation
makes in the same dtype on the same inputs.
"""

import torch
from torch import nn

from fusedrnn import FusedGRU, FusedLSTM, FusedRNN
from fusedrnn.auto.parity import allowed, relative_error

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
"""Without a GPU `tests/gpu/test_rehearsal.py` runs the code of these tests at tiny sizes."""
CELLS = ("gru", "gru_before", "lstm")
DTYPES = (torch.bfloat16, torch.float16, torch.float32)


def capability():
    """The key of the launch table."""
    return torch.cuda.get_device_capability() if DEVICE == "cuda" else None


def module(cell, inputs, hidden, dtype, backend, *, layers=1, bidirectional=False, **more):
    """Ours, on a backend, from a fixed seed."""
    torch.manual_seed(0)
    kind, options = {
        "gru": (FusedGRU, {}),
        "gru_before": (FusedGRU, {"reset_after": False}),
        "lstm": (FusedLSTM, {}),
        "rnn_tanh": (FusedRNN, {}),
        "rnn_relu": (FusedRNN, {"nonlinearity": "relu"}),
    }[cell]
    built = kind(inputs, hidden, layers, bidirectional=bidirectional, backend=backend, **options, **more)
    return built.to(DEVICE, dtype)


def torchs(cell, ours):
    """torch.nn's module with the weights of ours, or ours on the reference where torch has no such cell."""
    if cell == "gru_before":
        other = FusedGRU(ours.input_size, ours.hidden_size, ours.num_layers, bidirectional=ours.bidirectional,
                         backend="reference", reset_after=False)  # fmt: skip
    else:
        sizes = ours.input_size, ours.hidden_size, ours.num_layers
        other = nn.RNNBase(ours.mode, *sizes, bidirectional=ours.bidirectional)
        other.__class__ = {"GRU": nn.GRU, "LSTM": nn.LSTM}.get(ours.mode, nn.RNN)
    weight = next(ours.parameters())
    other.to(weight.device, weight.dtype).load_state_dict(ours.state_dict())
    return other


def results(net, x, upstream, **options):
    """Output, final states, and the gradients of x and of every parameter for a random upstream gradient of the output."""
    net.zero_grad()
    x = x.detach().clone().requires_grad_()
    output, states = net(x, **options)
    finals = states if isinstance(states, tuple) else (states,)
    loss = (output * upstream).sum() + sum(state.square().sum() for state in finals)
    loss.backward()
    return [output.detach(), *(s.detach() for s in finals), x.grad, *(p.grad.clone() for p in net.parameters())]


def hold(ours, theirs, truth, dtype):
    """Our results are finite and within the error budget, without the share of TF32."""
    for index, (got, other, exact) in enumerate(zip(ours, theirs, truth, strict=True)):
        assert got.isfinite().all(), index
        mine, others = relative_error(got, exact), relative_error(other, exact)
        assert mine <= allowed(others, dtype, exact.numel(), tf32=False), (index, mine, others)
