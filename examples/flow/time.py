"""Gradients through time: the gradient of a loss at the last step with respect to the state k steps before.

In the plain RNN one step back is dL/dh_{t-1} = W_hh^T ((1 - h_t^2) * dL/dh_t), so (Pascanu, Mikolov & Bengio 2013)::

    |dL/dh_{t-1}| <= sigma_max(W_hh) * max_i(1 - h_ti^2) * |dL/dh_t|                    upper bound
    |dL/dh_{t-1}| ~ rho(W_hh) * sqrt(mean_i (1 - h_ti^2)^2) * |dL/dh_t|                 estimate for many steps

The estimate uses the spectral radius rho, because every step multiplies by the same matrix, and an average derivative.

In the gated cells the gradient also passes through the gate alone, dc_{t-1} = f_t dc_t in the LSTM and dh_{t-1} = z_t dh_t + ...
in the GRU (Hochreiter & Schmidhuber 1997; Cho et al. 2014): a gate near 1 preserves the gradient.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .recurrent import Case, Net


class Decay(NamedTuple):
    """log10 of gradient norms by distance, mean over samples: each (len(distances),)."""

    distances: Tensor  # steps between the state and the loss, ascending from 0
    measured: Tensor
    theory: Tensor  # estimate of the plain RNN; for the gated cells the gate alone
    bound: Tensor | None  # of the plain RNN
    worst: float | None  # largest measured / bound over samples and distances above 0; above 1 would refute the bound


def measure(case: Case, backend: str, *, steps: int, stride: int, hidden: int, batch: int, seed: int) -> Decay:
    """Compute the gradient of v . h_T, v random of norm 1, with respect to every `stride`-th state.

    The sequence runs in pieces of `stride` steps, so that the states between them are separate tensors whose gradients
    autograd returns. The state of an LSTM is (h, c).
    """
    torch.manual_seed(seed)
    net = Net(case, 8, hidden, backend)
    x = torch.randn(steps, batch, 8, dtype=torch.float64)
    direction = torch.nn.functional.normalize(torch.randn(batch, hidden, dtype=torch.float64), dim=1)
    states = [tuple(part.requires_grad_() for part in net.zero_state(batch))]
    outputs = []
    for piece in x.split(stride):
        output, state = net(piece, states[-1])
        outputs.append(output)
        states.append(state)
    loss = (direction * states[-1][0][0]).sum()
    parts = [part for state in states for part in state]
    gradients = torch.autograd.grad(loss, parts, allow_unused=True)  # the last c does not affect h
    squares = torch.stack([torch.zeros(batch) if g is None else g[0].pow(2).sum(1) for g in gradients])  # (parts, B)
    norms = squares.view(len(states), -1, batch).sum(1).sqrt().flip(0)  # (distances, B), the loss first
    kept = net.kept(x, torch.cat(outputs).detach()).flip(0)  # (T, B, H), the last step first
    distances = torch.arange(0, steps + 1, stride)
    if case.cell != "rnn":
        theory = _running(kept.log10().mean(2))[distances]
        return Decay(distances, norms.log10().mean(1), theory.mean(1), None, None)
    weight = net.layer.weight_hh_l0.detach()
    typical = torch.linalg.eigvals(weight).abs().max() * kept.pow(2).mean(2).sqrt()
    theory = _running(typical.log10())[distances]
    bound = _running((torch.linalg.matrix_norm(weight, 2) * kept.amax(2)).log10())[distances]
    worst = (norms.log10() - bound)[1:].max().item()
    return Decay(distances, norms.log10().mean(1), theory.mean(1), bound.mean(1), 10**worst)


def _running(log_gain: Tensor) -> Tensor:
    """Return the cumulative sum of log gains, (T, B), from the loss backwards: (T + 1, B), the first row zero."""
    return torch.cat([torch.zeros_like(log_gain[:1]), log_gain.cumsum(0)])
