"""The parts of a layer that are computed for all time steps at once: products and reductions, without a time loop.

Symbols as in `fusedrnn.kernels.sweeps`: T steps, B samples, D directions, I inputs, H units, G gates, S saved values per unit.
`x` is (T, B, I), token ids (T, B), or, if `w_ih` is None, the pre-activations (T, B, D*G*H).
"""

from __future__ import annotations

import torch
from torch import Tensor

from fusedrnn.reference.stack import project


def input_side(x: Tensor, w_ih: Tensor | None, b_ih: Tensor | None, directions: int) -> Tensor:
    """x W_ih^T + b_ih for all steps and directions, as one product: (T, B, D, G*H)."""
    if w_ih is not None:
        x = project(x, w_ih.flatten(0, 1), None if b_ih is None else b_ih.flatten())
    return torch.unflatten(x, -1, (directions, -1))


def previous_states(states: Tensor, initial: Tensor, lengths: Tensor | None) -> Tensor:
    """The state before each step, (T, B, D, H), from the states after each step, (T, B, D, H), and the initial ones, (D, B, H)."""
    if states.shape[2] == 1:
        return torch.cat([initial.unsqueeze(2), states[:-1]])
    previous = torch.empty_like(states)
    previous[0, :, 0] = initial[0]
    previous[1:, :, 0] = states[:-1, :, 0]
    previous[-1, :, 1] = initial[1]
    previous[:-1, :, 1] = states[1:, :, 1]
    if lengths is not None:
        samples = torch.arange(states.shape[1], device=states.device)
        previous[lengths.long() - 1, samples, 1] = initial[1]
    return previous


def recurrent_side(h: Tensor, w_hh: Tensor, b_hh: Tensor | None) -> Tensor:
    """h W_hh^T + b_hh for all steps, one product per direction: (T, B, D, N) from h (T, B, D, H) and w_hh (D, N, H)."""
    parts = []
    for d in range(h.shape[2]):
        parts.append(torch.nn.functional.linear(h[:, :, d], w_hh[d], None if b_hh is None else b_hh[d]))
    return _stacked(parts, 2)


def recomputed_gates(cell: str, gx: Tensor, previous: Tensor, w_hh: Tensor, b_hh: Tensor | None) -> Tensor:
    """The gates that a forward sweep with ``save`` returns, (T, B, D, S*H), recomputed from the states before each step."""
    H = previous.shape[-1]
    if cell == "lstm":
        i_f, g, o = (gx + recurrent_side(previous, w_hh, b_hh)).split((2 * H, H, H), -1)
        return torch.cat([i_f.sigmoid(), g.tanh(), o.sigmoid()], -1)
    if cell == "gru":
        a_rz, m = recurrent_side(previous, w_hh, b_hh).split((2 * H, H), -1)
        rz = (gx[..., : 2 * H] + a_rz).sigmoid()
        return torch.cat([rz, (gx[..., 2 * H :] + rz[..., :H] * m).tanh(), m], -1)
    b_rz, b_n = (None, None) if b_hh is None else (b_hh[:, : 2 * H], b_hh[:, 2 * H :])
    rz = (gx[..., : 2 * H] + recurrent_side(previous, w_hh[:, : 2 * H], b_rz)).sigmoid()
    n = (gx[..., 2 * H :] + recurrent_side(rz[..., :H] * previous, w_hh[:, 2 * H :], b_n)).tanh()
    return torch.cat([rz, n], -1)


def input_gates(cell: str, dgates: Tensor) -> Tensor:
    """The gradient of gx, (T, B, D, G*H) in torch's gate order, from the dgates of the backward sweep."""
    if cell != "gru":
        return dgates
    dn, drz, _ = dgates.split((dgates.shape[-1] // 4, dgates.shape[-1] // 2, dgates.shape[-1] // 4), -1)
    return torch.cat([drz, dn], -1)


def input_gradients(x: Tensor, w_ih: Tensor, dgx: Tensor, *, need_x: bool) -> tuple[Tensor | None, Tensor]:
    """Gradients of x (None for token ids or if not needed) and of w_ih (D, G*H, I), one product each."""
    D, N, width = w_ih.shape
    rows = dgx.reshape(-1, D * N)
    if not x.is_floating_point():
        table = torch.ops.aten.embedding_dense_backward(rows, x.reshape(-1), width, -1, False)
        return None, table.t().reshape(D, N, width)
    dx = (rows @ w_ih.reshape(D * N, width)).view(x.shape) if need_x else None
    return dx, (rows.t() @ x.reshape(-1, width)).view(D, N, width)


def recurrent_gradient(cell: str, dgates: Tensor, previous: Tensor, gates: Tensor) -> Tensor:
    """Gradient of w_hh, (D, G*H, H): dgates of each step times the vector that w_hh multiplied, summed over steps and samples."""
    H = previous.shape[-1]
    if cell == "gru":
        dgates = dgates[..., H:]  # dr dz dm
    parts = []
    for d in range(previous.shape[2]):
        rows, h = dgates[:, :, d].flatten(0, 1), previous[:, :, d].flatten(0, 1)
        if cell == "gru_before":
            reset = gates[:, :, d, :H].flatten(0, 1) * h
            parts.append(torch.cat([rows[:, : 2 * H].t() @ h, rows[:, 2 * H :].t() @ reset]))
        else:
            parts.append(rows.t() @ h)
    return _stacked(parts, 0)


def bias_gradients(cell: str, dgates: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of b_ih and b_hh, (D, G*H) each, by one sum over steps and samples."""
    total = dgates.sum((0, 1))
    if cell != "gru":
        return total, total.clone()
    H = total.shape[-1] // 4
    return torch.cat([total[:, H : 3 * H], total[:, :H]], -1), total[:, H:].clone()


def _stacked(parts: list[Tensor], dim: int) -> Tensor:
    """Stack the results of the directions along a new dimension; that of a single direction is not copied."""
    return parts[0].unsqueeze(dim) if len(parts) == 1 else torch.stack(parts, dim)
