"""First and second derivatives of the sweeps against finite differences."""

from functools import partial

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from fusedrnn.reference.sweep import gru_sweep, lstm_sweep, rnn_sweep

T, B, H, P = 3, 2, 3, 2
SWEEPS = {
    "rnn": (1, rnn_sweep),
    "gru": (3, gru_sweep),
    "gru-before": (3, partial(gru_sweep, reset_after=False)),
    "lstm": (4, lstm_sweep),
    "lstm-proj": (4, lstm_sweep),
}


def arguments_of(name):
    gates, width = SWEEPS[name][0], P if name == "lstm-proj" else H
    shapes = [(T, B, 2, gates * H), (2, B, width), (2, gates * H, width), (2, gates * H)]
    if name.startswith("lstm"):
        shapes.insert(2, (2, B, H))
    if name == "lstm-proj":
        shapes.append((2, P, H))
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
@pytest.mark.parametrize("lengths", [None, torch.tensor([3, 1])], ids=["full", "ragged"])
@pytest.mark.parametrize("name", SWEEPS)
def test_derivatives_equal_finite_differences(name, lengths, check):
    sweep = partial(SWEEPS[name][1], lengths=lengths)
    assert check(sweep, arguments_of(name), fast_mode=check is gradgradcheck)
