"""The LSTM: i f g o; dgates are di df dg do."""

from __future__ import annotations

import torch
from torch import Tensor

from fusedrnn.operators.cells.cell import Cell, Rows, Trace, equal_biases, one_product, times, unchanged
from fusedrnn.operators.results import Backward
from fusedrnn.operators.time_parallel import recurrent_side


def split(rows: Tensor, H: int) -> Rows:
    """All gates, i and f together, and each alone."""
    return rows, rows[..., : 2 * H], *rows.split(H, -1)


def step(gx: Rows, saved: Rows, h: Tensor, c: Tensor, w_t: Tensor, bias: Tensor, new_h: Tensor, new_c: Tensor) -> None:
    """One step."""
    gates, i_f, i, f, g, o = saved
    torch.add(gx[0], bias, out=gates).addmm_(h, w_t)
    i_f.sigmoid_()
    g.tanh_()
    o.sigmoid_()
    torch.mul(f, c, out=new_c).addcmul_(i, g)
    torch.tanh(new_c, out=new_h).mul_(o)


def recompute(gx: Tensor, previous: Tensor, w_hh: Tensor, b_hh: Tensor | None) -> Tensor:
    """The gates of all steps."""
    H = previous.shape[-1]
    i_f, g, o = (gx + recurrent_side(previous, w_hh, b_hh)).split((2 * H, H, H), -1)
    return torch.cat([i_f.sigmoid(), g.tanh(), o.sigmoid()], -1)


def backward(trace: Trace) -> Backward:
    """The time loop backwards; `dgates` starts as the factors that are known for all steps, and the loop only multiplies."""
    cells, w_hh, active = trace.cells, trace.w_hh, trace.active
    assert cells is not None
    assert trace.d_c_n is not None
    T, B, D, H = cells.shape
    i, f, g, o = trace.gates.chunk(4, -1)
    y = cells.tanh()
    through = o * (1 - y * y)  # from h to c
    dgates = torch.cat([g * i * (1 - i), trace.previous * f * (1 - f), i * (1 - g * g), y * o * (1 - o)], -1)
    if trace.ended is not None:
        dgates.masked_fill_(trace.ended, 0)
        through, f = through.masked_fill(trace.ended, 0), f.masked_fill(trace.ended, 1)
    dh0 = torch.empty_like(trace.d_h_n, memory_format=torch.contiguous_format)
    dc0 = torch.empty_like(trace.d_c_n, memory_format=torch.contiguous_format)
    for d in range(D):
        dh, dc = trace.d_h_n[d], trace.d_c_n[d]
        for t in reversed(times(T, d)):
            dh = dh + trace.d_output[t, :, d]
            dc = torch.addcmul(dc, dh, through[t, :, d])
            if trace.d_cells is not None:
                dc += trace.d_cells[t, :, d]
            now = dgates[t, :, d]
            now[:, : 3 * H].view(B, 3, H).mul_(dc.unsqueeze(1))
            now[:, 3 * H :].mul_(dh)
            dc = dc * f[t, :, d]
            dh = now @ w_hh[d] if active is None else torch.where(active[t], now @ w_hh[d], dh)
        dh0[d], dc0[d] = dh, dc
    return Backward(dgates, dh0, dc0)


LSTM = Cell(split, step, recompute, backward, unchanged, one_product, equal_biases)
