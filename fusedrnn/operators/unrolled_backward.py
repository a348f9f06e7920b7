"""The backward sweep in plain torch operators; formulas: the reference's cells, differentiated by hand.

The gradient of a gate is a factor, computed for all steps in advance, times the gradient of the state: `dgates` first holds the
factors, and the time loop multiplies them. In padding the factors are 0, and the gradient of the state does not change.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fusedrnn.operators.results import Backward
from fusedrnn.operators.time_parallel import previous_states
from fusedrnn.reference.loop import active_steps


def times(T: int, d: int) -> range:
    """Time steps of direction d in the order of the forward sweep."""
    return range(T) if d == 0 else range(T - 1, -1, -1)


def backward(
    cell: str,
    gates: Tensor,
    output: Tensor,
    cells: Tensor | None,
    h0: Tensor,
    c0: Tensor | None,
    w_hh: Tensor,
    lengths: Tensor | None,
    d_output: Tensor,
    d_h_n: Tensor | None,
    d_cells: Tensor | None,
    d_c_n: Tensor | None,
) -> Backward:
    """Run the backward sweep on arguments and results of `forward`. Each gradient has the shape of its tensor.

    `d_h_n`, `d_cells` and `d_c_n` are None if there is no such gradient.
    """
    d_h_n = torch.zeros_like(h0) if d_h_n is None else d_h_n
    active = None if lengths is None else active_steps(lengths, output.shape[0]).unsqueeze(-1)
    ended = None if active is None else ~active.unsqueeze(-1)  # (T, B, 1, 1)
    if ended is not None:
        d_output = d_output.masked_fill(ended, 0)
        d_cells = None if d_cells is None else d_cells.masked_fill(ended, 0)
    if cells is not None and c0 is not None:
        d_c_n = torch.zeros_like(c0) if d_c_n is None else d_c_n
        before = previous_states(cells, c0, lengths)
        return _lstm(gates, cells, before, w_hh, active, ended, d_output, d_h_n, d_cells, d_c_n)
    previous = previous_states(output, h0, lengths)
    return (_gru if cell == "gru" else _reset_before)(gates, previous, w_hh, ended, d_output, d_h_n)


def _gru(
    gates: Tensor, previous: Tensor, w_hh: Tensor, ended: Tensor | None, d_output: Tensor, d_h_n: Tensor
) -> Backward:
    T, B, D, H = previous.shape
    r, z, n, m = gates.chunk(4, -1)
    dgates = torch.empty_like(gates)
    dn, dr, dz, dm = dgates.chunk(4, -1)
    still = 1 - z
    torch.addcmul(gates.new_ones(()), n, n, value=-1, out=dn).mul_(still)
    torch.mul(dn, r, out=dm)
    torch.mul(dm, m, out=dr)
    torch.addcmul(dr, dr, r, value=-1, out=dr)  # r (1 - r)
    torch.sub(previous, n, out=dz).mul_(z).mul_(still)
    if ended is not None:
        dgates.masked_fill_(ended, 0)
        z = z.masked_fill(ended, 1)
    dh0 = torch.empty_like(d_h_n, memory_format=torch.contiguous_format)
    for d in range(D):
        w = w_hh[d]
        steps = dgates[:, :, d].view(T, B, 4, H).unbind()
        through = dgates[:, :, d, H:].unbind()
        keep, entering = z[:, :, d].unbind(), d_output[:, :, d].unbind()
        order = list(reversed(times(T, d)))
        dh = d_h_n[d] + entering[order[0]]
        for t, before in zip(order, [*order[1:], None], strict=True):
            steps[t].mul_(dh.unsqueeze(1))
            dh = dh * keep[t] if before is None else torch.addcmul(entering[before], dh, keep[t])
            dh.addmm_(through[t], w)
        dh0[d] = dh
    return Backward(dgates, dh0, None)


def _reset_before(
    gates: Tensor, previous: Tensor, w_hh: Tensor, ended: Tensor | None, d_output: Tensor, d_h_n: Tensor
) -> Backward:
    T, B, D, H = previous.shape
    r, z, n = gates.chunk(3, -1)
    dgates = torch.cat([previous * r * (1 - r), (previous - n) * z * (1 - z), (1 - z) * (1 - n * n)], -1)
    if ended is not None:
        dgates.masked_fill_(ended, 0)
        r, z = r.masked_fill(ended, 0), z.masked_fill(ended, 1)
    dh0 = torch.empty_like(d_h_n, memory_format=torch.contiguous_format)
    for d in range(D):
        dh = d_h_n[d]
        for t in reversed(times(T, d)):
            dh = dh + d_output[t, :, d]
            step = dgates[t, :, d]
            step[:, H:].view(B, 2, H).mul_(dh.unsqueeze(1))
            d_reset = step[:, 2 * H :] @ w_hh[d, 2 * H :]  # gradient of r * h
            step[:, :H].mul_(d_reset)
            dh = (dh * z[t, :, d]).addcmul_(d_reset, r[t, :, d]).addmm_(step[:, : 2 * H], w_hh[d, : 2 * H])
        dh0[d] = dh
    return Backward(dgates, dh0, None)


def _lstm(
    gates: Tensor,
    cells: Tensor,
    before: Tensor,
    w_hh: Tensor,
    active: Tensor | None,
    ended: Tensor | None,
    d_output: Tensor,
    d_h_n: Tensor,
    d_cells: Tensor | None,
    d_c_n: Tensor,
) -> Backward:
    T, B, D, H = cells.shape
    i, f, g, o = gates.chunk(4, -1)
    y = cells.tanh()
    through = o * (1 - y * y)  # derivative of h with respect to c
    dgates = torch.cat([g * i * (1 - i), before * f * (1 - f), i * (1 - g * g), y * o * (1 - o)], -1)
    if ended is not None:
        dgates.masked_fill_(ended, 0)
        through, f = through.masked_fill(ended, 0), f.masked_fill(ended, 1)
    dh0 = torch.empty_like(d_h_n, memory_format=torch.contiguous_format)
    dc0 = torch.empty_like(d_c_n, memory_format=torch.contiguous_format)
    for d in range(D):
        dh, dc = d_h_n[d], d_c_n[d]
        for t in reversed(times(T, d)):
            dh = dh + d_output[t, :, d]
            dc = torch.addcmul(dc, dh, through[t, :, d])
            if d_cells is not None:
                dc += d_cells[t, :, d]
            step = dgates[t, :, d]
            step[:, : 3 * H].view(B, 3, H).mul_(dc.unsqueeze(1))
            step[:, 3 * H :].mul_(dh)
            dc = dc * f[t, :, d]
            dh = step @ w_hh[d] if active is None else torch.where(active[t], step @ w_hh[d], dh)
        dh0[d], dc0[d] = dh, dc
    return Backward(dgates, dh0, dc0)
