"""The LSTM: i f g o; dgates are di df dg do."""

from __future__ import annotations

import torch
from torch import Tensor

from fusedrnn.operators.cells.cell import (
    Cell,
    Rows,
    Trace,
    equal_biases,
    normalised_product,
    one_product,
    times,
    to_initial,
    unchanged,
)
from fusedrnn.operators.normalised import statistics
from fusedrnn.operators.normalised import through as through_norm
from fusedrnn.operators.results import Backward
from fusedrnn.operators.time_parallel import recurrent_side
from fusedrnn.reference.noise import times_factor
from fusedrnn.reference.norm import Gains, scaled


def split(rows: Tensor, H: int) -> Rows:
    """All gates, i and f together, and each alone."""
    return rows, rows[..., : 2 * H], *rows.split(H, -1)


def step(
    gx: Rows,
    saved: Rows,
    h: Tensor,
    c: Tensor,
    w_t: Tensor,
    bias: Tensor,
    new_h: Tensor,
    new_c: Tensor,
    factor: Tensor | None,
    gains: Gains | None,
) -> None:
    """One step."""
    gates, i_f, i, f, g, o = saved
    if gains is None:
        torch.add(gx[0], bias, out=gates).addmm_(h, w_t)
    else:
        torch.add(gx[0], normalised_product(h, w_t, bias, gains), out=gates)
    i_f.sigmoid_()
    g.tanh_()
    o.sigmoid_()
    torch.mul(f, c, out=new_c).addcmul_(i, g if factor is None else times_factor(g, factor))
    seen = new_c if gains is None or gains.gain_c is None else scaled(new_c, gains.gain_c, gains.bias_c)
    torch.tanh(seen, out=new_h).mul_(o)


def recompute(gx: Tensor, previous: Tensor, w_hh: Tensor, b_hh: Tensor | None, gain_hh: Tensor | None) -> Tensor:
    """The gates of all steps."""
    H = previous.shape[-1]
    i_f, g, o = (gx + recurrent_side(previous, w_hh, b_hh, gain_hh)).split((2 * H, H, H), -1)
    return torch.cat([i_f.sigmoid(), g.tanh(), o.sigmoid()], -1)


def backward(trace: Trace) -> Backward:
    """The time loop backwards; `dgates` starts as the factors that are known for all steps, and the loop only multiplies."""
    cells, w_hh, active = trace.cells, trace.w_hh, trace.active
    assert cells is not None
    assert trace.d_c_n is not None
    T, B, D, H = cells.shape
    i, f, g, o = trace.gates.chunk(4, -1)
    added, slope = times_factor(g, trace.factor), times_factor(i * (1 - g * g), trace.factor)
    if trace.new_c is not None:  # c before zoneout
        cells = torch.addcmul(f * trace.previous, i, added)
    norm = trace.norm
    gain_c, bias_c = (None, None) if norm is None else norm.gains[1:]
    if gain_c is None or bias_c is None:
        y = cells.tanh()
    else:
        plain_c, scale_c = statistics(cells)
        y = torch.tanh(plain_c * gain_c + bias_c)
        wide = torch.promote_types(cells.dtype, torch.float32)  # sums over all steps
        d_gain_c, d_bias_c = (torch.zeros_like(gain, dtype=wide) for gain in (gain_c, bias_c))
    through = o * (1 - y * y)  # from h to c, or to the argument of tanh
    dgates = torch.cat([added * i * (1 - i), trace.previous * f * (1 - f), slope, y * o * (1 - o)], -1)
    if trace.new_h is not None:
        through *= trace.new_h
        dgates[..., 3 * H :] *= trace.new_h
    if trace.ended is not None:
        dgates.masked_fill_(trace.ended, 0)
        through, f = through.masked_fill(trace.ended, 0), f.masked_fill(trace.ended, 1)
    new_h, new_c, anew = trace.new_h, trace.new_c, trace.anew
    dh0 = torch.zeros_like(trace.d_h_n, memory_format=torch.contiguous_format)
    dc0 = torch.zeros_like(trace.d_c_n, memory_format=torch.contiguous_format)
    for d in range(D):
        dh, dc = trace.d_h_n[d], trace.d_c_n[d]
        for t in reversed(times(T, d, trace.heads)):
            dh = dh + trace.d_output[t, :, d]
            if trace.d_cells is not None:
                dc = dc + trace.d_cells[t, :, d]
            dc_all, dc = dc, dc if new_c is None else dc * new_c[t, :, d]
            if gain_c is None:
                dc = torch.addcmul(dc, dh, through[t, :, d])
            else:
                d_seen = dh * through[t, :, d]
                d_gain_c[d] += (d_seen * plain_c[t, :, d]).sum(0)
                d_bias_c[d] += d_seen.sum(0)
                dc = dc + through_norm(d_seen * gain_c[d], plain_c[t, :, d], scale_c[t, :, d])
            now = dgates[t, :, d]
            now[:, : 3 * H].view(B, 3, H).mul_(dc.unsqueeze(1))
            now[:, 3 * H :].mul_(dh)
            dc = dc * f[t, :, d]
            before = (now if norm is None else norm.step(now, t, d)) @ w_hh[d]
            if new_h is not None:
                before.addcmul_(dh, 1 - new_h[t, :, d])
            if new_c is not None:
                dc.addcmul_(dc_all, 1 - new_c[t, :, d])
            dh = before if active is None else torch.where(active[t], before, dh)
            if anew is not None:
                dh, dc = to_initial(dh, anew[t, :, d], dh0[d]), to_initial(dc, anew[t, :, d], dc0[d])
        dh0[d] += dh
        dc0[d] += dc
    if gain_c is None:
        return Backward(dgates, dh0, dc0)
    return Backward(dgates, dh0, dc0, d_gain_c.to(gain_c.dtype), d_bias_c.to(gain_c.dtype))


LSTM = Cell(split, step, recompute, backward, unchanged, unchanged, one_product, equal_biases)
