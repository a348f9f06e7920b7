"""Any shape and any option: equal to torch.nn in float64, on the reference."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fusedrnn import FusedGRU, FusedLSTM

SIZES = st.integers(1, 9)
OPTIONS = st.fixed_dictionaries(
    {
        "num_layers": st.integers(1, 3),
        "bias": st.booleans(),
        "batch_first": st.booleans(),
        "bidirectional": st.booleans(),
    }
)


def compare(theirs, ours, x, hx=None):
    ours.load_state_dict(theirs.state_dict())
    (expected, final), (got, ours_final) = theirs(x, hx), ours(x, hx)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours_final, final, rtol=1e-12, atol=1e-12)
    gradients = torch.randn_like(expected)
    for a, b in zip(
        torch.autograd.grad(expected, [x, *theirs.parameters()], gradients),
        torch.autograd.grad(got, [x, *ours.parameters()], gradients),
        strict=True,
    ):
        torch.testing.assert_close(b, a, rtol=1e-12, atol=1e-12 * max(1.0, a.abs().max().item()))


@settings(max_examples=60, deadline=None)
@given(steps=SIZES, batch=SIZES, inputs=SIZES, hidden=SIZES, options=OPTIONS)
def test_gru(steps, batch, inputs, hidden, options):
    x = torch.randn(steps, batch, inputs, dtype=torch.float64, requires_grad=True)
    make = (inputs, hidden)
    compare(
        nn.GRU(*make, dtype=torch.float64, **options),
        FusedGRU(*make, dtype=torch.float64, backend="reference", **options),
        x,
    )


@settings(max_examples=60, deadline=None)
@given(steps=SIZES, batch=SIZES, inputs=SIZES, hidden=st.integers(2, 9), projected=st.booleans(), options=OPTIONS)
def test_lstm(steps, batch, inputs, hidden, projected, options):
    x = torch.randn(steps, batch, inputs, dtype=torch.float64, requires_grad=True)
    options = {**options, "proj_size": hidden - 1 if projected else 0, "dtype": torch.float64}
    make = (inputs, hidden)
    compare(nn.LSTM(*make, **options), FusedLSTM(*make, backend="reference", **options), x)
