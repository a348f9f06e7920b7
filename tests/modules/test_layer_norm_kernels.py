"""Modules with layer normalisation on the kernels: the same results and gradients as the reference."""

import pytest
import torch

pytest.importorskip("triton")

from fusedrnn import FusedGRU, FusedLSTM


@pytest.mark.parametrize(("kind", "noise"), [(FusedGRU, {}), (FusedLSTM, {"zoneout": (0.2, 0.1)})])
def test_the_kernels_equal_the_reference(kind, noise):
    net = kind(3, 5, 2, bidirectional=True, layer_norm=True, dtype=torch.float64, **noise)
    with torch.no_grad():
        for weight in net.parameters():
            weight += 0.3 * torch.randn_like(weight)
    x = torch.randn(4, 3, 3, dtype=torch.float64, requires_grad=True)
    found = []
    for backend in ("triton", "reference"):
        net.backend = backend
        torch.manual_seed(3)
        output, states = net(x)
        results = [output, *(states if isinstance(states, tuple) else (states,))]
        total = sum((result * result).sum() for result in results)
        found.append([*results, *torch.autograd.grad(total, [x, *net.parameters()])])
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-11)
