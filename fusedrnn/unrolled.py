"""The sweeps in plain torch operators, forward and backward derived by hand: what runs where no kernel does.

Same functions, arguments and results as the Triton sweeps (`fusedrnn.kernels.sweeps`), on any device and dtype. No autograd
graph of T steps is built: a step is one product and a few elementwise operators on preallocated memory, and whatever does not
depend on the step before is computed for all steps at once, outside the loop.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fusedrnn.kernels.results import SAVED, Forward
from fusedrnn.reference.loop import active_steps
from fusedrnn.unrolled_backward import backward, times

__all__ = ["backward", "forward"]


def forward(
    cell: str,
    gx: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    w_hh: Tensor,
    b_hh: Tensor | None,
    lengths: Tensor | None,
    *,
    save: bool,
) -> Forward:
    """Run the forward sweep: gx (T, B, D, G*H), h0 and c0 (D, B, H), w_hh (D, G*H, H), b_hh (D, G*H), lengths (B,)."""
    (T, B, D, _), H = gx.shape, h0.shape[-1]
    active = None if lengths is None else active_steps(lengths, T).unsqueeze(-1)  # (T, B, 1)
    output = gx.new_empty((T, B, D, H))
    cells = gx.new_empty((T, B, D, H)) if cell == "lstm" else None
    gates = gx.new_empty((T if save else 1, B, D, SAVED[cell] * H))
    h_n = h0.clone(memory_format=torch.contiguous_format)
    c_n = None if c0 is None else c0.clone(memory_format=torch.contiguous_format)
    scratch = gx.new_empty((B, 3 * H))
    if b_hh is None:
        b_hh = gx.new_zeros(w_hh.shape[:2])
    for d in range(D):
        w_t, h, c = w_hh[d].t(), h_n[d], None if c_n is None else c_n[d]
        for t in times(T, d):
            kept, new_h, new_c = gates[t if save else 0, :, d], output[t, :, d], None
            if cells is not None and c is not None:
                new_c = cells[t, :, d]
                _lstm_step(gx[t, :, d], h, c, w_t, b_hh[d], kept, new_h, new_c)
            elif cell == "gru":
                _gru_step(gx[t, :, d], h, w_t, b_hh[d], kept, new_h, scratch)
            else:
                _reset_before_step(gx[t, :, d], h, w_t, b_hh[d], kept, new_h)
            if active is None:
                h, c = new_h, new_c
            else:  # past its end a sample keeps its state
                h = torch.where(active[t], new_h, h)
                c = None if c is None or new_c is None else torch.where(active[t], new_c, c)
        h_n[d] = h
        if c_n is not None and c is not None:
            c_n[d] = c
    if active is not None:
        output.masked_fill_(~active.unsqueeze(-1), 0)
        if cells is not None:
            cells.masked_fill_(~active.unsqueeze(-1), 0)
    return Forward(output, h_n, cells, c_n, gates if save else None)


def _gru_step(gx: Tensor, h: Tensor, w_t: Tensor, bias: Tensor, kept: Tensor, new_h: Tensor, a: Tensor) -> None:
    """Write r, z, n, m = W_hn h + b_hn into `kept` and the next state into `new_h`; `a` is scratch, (B, 3H)."""
    H = h.shape[-1]
    r, z, n, m = kept.chunk(4, -1)
    torch.addmm(bias, h, w_t, out=a)
    torch.add(gx[:, : 2 * H], a[:, : 2 * H], out=kept[:, : 2 * H]).sigmoid_()
    m.copy_(a[:, 2 * H :])
    torch.addcmul(gx[:, 2 * H :], r, m, out=n).tanh_()
    torch.lerp(n, h, z, out=new_h)


def _reset_before_step(gx: Tensor, h: Tensor, w_t: Tensor, bias: Tensor, kept: Tensor, new_h: Tensor) -> None:
    """Write r, z, n into `kept` and the next state into `new_h`."""
    H = h.shape[-1]
    r, z, n = kept.chunk(3, -1)
    torch.add(gx, bias, out=kept)
    kept[:, : 2 * H].addmm_(h, w_t[:, : 2 * H]).sigmoid_()
    n.addmm_(r * h, w_t[:, 2 * H :]).tanh_()
    torch.lerp(n, h, z, out=new_h)


def _lstm_step(
    gx: Tensor, h: Tensor, c: Tensor, w_t: Tensor, bias: Tensor, kept: Tensor, new_h: Tensor, new_c: Tensor
) -> None:
    """Write i, f, g, o into `kept` and the next states into `new_h` and `new_c`."""
    H = h.shape[-1]
    i, f, g, o = kept.chunk(4, -1)
    torch.add(gx, bias, out=kept).addmm_(h, w_t)
    kept[:, : 2 * H].sigmoid_()
    g.tanh_()
    o.sigmoid_()
    torch.mul(f, c, out=new_c).addcmul_(i, g)
    torch.tanh(new_c, out=new_h).mul_(o)
