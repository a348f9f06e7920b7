"""First and second derivatives of the sweeps against finite differences."""

from functools import partial

import pytest
import torch
from reference_networks import SWEEPS
from torch.autograd import gradcheck, gradgradcheck

T, B, H, P = 3, 2, 3, 2


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
