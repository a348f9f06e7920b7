"""The parts of a layer that are computed for all time steps at once: products and reductions, without a time loop.

Symbols as in `fusedrnn.kernels.sweeps`: T steps, B samples, D directions, I inputs, H units, G gates, S saved values per unit.
`x` is (T, B, I), token ids (T, B), or, if `w_ih` is None, the pre-activations (T, B, D*G*H).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fusedrnn.reference.norm import recurrent
from fusedrnn.reference.stack import project


def input_side(x: Tensor, w_ih: Tensor | None, b_ih: Tensor | None, directions: int) -> Tensor:
    """x W_ih^T + b_ih for all steps and directions, as one product: (T, B, D, G*H)."""
    if w_ih is not None:
        x = project(x, w_ih.flatten(0, 1), None if b_ih is None else b_ih.flatten())
    return torch.unflatten(x, -1, (directions, -1))


def previous_states(
    states: Tensor, initial: Tensor, lengths: Tensor | None, anew: Tensor | None = None, heads: int = 1
) -> Tensor:
    """The state before each step, (T, B, D, H), from the states after each step, (T, B, D, H), and the initial ones, (D, B, H).

    `anew` are the `reference.loop.begins` of resets; with `heads`, D counts those of all directions.
    """
    first = initial.transpose(0, 1)  # (B, D, H)
    previous = torch.cat([first.unsqueeze(0), states[:-1]])
    if states.shape[2] > heads:
        there, back = states[:, :, heads:], first[:, heads:]
        previous[:-1, :, heads:] = there[1:]
        previous[-1, :, heads:] = back
        if lengths is not None:
            samples = torch.arange(states.shape[1], device=states.device)
            previous[lengths.long() - 1, samples, heads:] = back
    return previous if anew is None else torch.where(anew.unsqueeze(-1), first, previous)


def recurrent_side(h: Tensor, w_hh: Tensor, b_hh: Tensor | None, gain_hh: Tensor | None = None) -> Tensor:
    """h W_hh^T + b_hh for all steps, one product per direction: (T, B, D, N) from h (T, B, D, H) and w_hh (D, N, H).

    With a gain the product is normalised.
    """
    parts = []
    for d in range(h.shape[2]):
        bias, gain = (None if each is None else each[d] for each in (b_hh, gain_hh))
        parts.append(recurrent(h[:, :, d], w_hh[d], bias, gain))
    return _stacked(parts, 2)


def input_gradients(x: Tensor, w_ih: Tensor, dgx: Tensor, *, need_x: bool) -> tuple[Tensor | None, Tensor]:
    """Gradients of x (None for token ids or if not needed) and of w_ih (D, G*H, I), one product each."""
    D, N, width = w_ih.shape
    rows = dgx.reshape(-1, D * N)
    if not x.is_floating_point():
        table = torch.ops.aten.embedding_dense_backward(rows, x.reshape(-1), width, -1, False)
        return None, table.t().reshape(D, N, width)
    dx = (rows @ w_ih.reshape(D * N, width)).view(x.shape) if need_x else None
    return dx, (rows.t() @ x.reshape(-1, width)).view(D, N, width)


def recurrent_gradient(
    of_rows: Callable[[Tensor, Tensor, Tensor], Tensor], dgates: Tensor, previous: Tensor, gates: Tensor
) -> Tensor:
    """The gradient of w_hh (D, G*H, H) from `Cell.gradient_of_weight`, summed over steps and samples."""
    parts = []
    for d in range(previous.shape[2]):
        rows, h, saved = (tensor[:, :, d].flatten(0, 1) for tensor in (dgates, previous, gates))
        parts.append(of_rows(rows, h, saved))
    return _stacked(parts, 0)


def _stacked(parts: list[Tensor], dim: int) -> Tensor:
    """Stack the results of the directions along a new dimension; that of a single direction is not copied."""
    return parts[0].unsqueeze(dim) if len(parts) == 1 else torch.stack(parts, dim)
