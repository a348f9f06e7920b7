"""The sweeps in plain torch operators, forward and backward derived by hand, for calls that no kernel runs.

The functions have the arguments and results of the Triton sweeps (`fusedrnn.kernels.sweeps`) and work on any device and dtype.
They build no autograd graph of T steps: a step is one product and a few elementwise operators on preallocated memory. All that
does not depend on the previous step is computed for all steps at once, outside the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fusedrnn.operators.results import SAVED, Forward
from fusedrnn.operators.unrolled_backward import backward, times
from fusedrnn.reference.loop import active_steps

__all__ = ["backward", "forward"]

Rows = Sequence[Tensor]
"""The values of one step: (B, H) per gate, or wider for gates that are computed together."""


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
    if b_hh is None:
        b_hh = gx.new_zeros(w_hh.shape[:2])
    going = None if active is None else active.unbind()
    split, step = _CELLS[cell]
    for d in range(D):
        w_t, bias, h, c = w_hh[d].t(), b_hh[d], h_n[d], None if c_n is None else c_n[d]
        given, kept = _unbound(split(gx[:, :, d], H), T), _unbound(split(gates[:, :, d], H), T)
        outputs = output[:, :, d].unbind()
        traced = [None] * T if cells is None else cells[:, :, d].unbind()
        for t in times(T, d):
            new_h, new_c = outputs[t], traced[t]
            step(given[t], kept[t], h, c, w_t, bias, new_h, new_c)
            if going is None:
                h, c = new_h, new_c
            else:  # in its padding a sample keeps its state
                h = torch.where(going[t], new_h, h)
                c = None if c is None or new_c is None else torch.where(going[t], new_c, c)
        h_n[d] = h
        if c_n is not None and c is not None:
            c_n[d] = c
    if active is not None:
        output.masked_fill_(~active.unsqueeze(-1), 0)
        if cells is not None:
            cells.masked_fill_(~active.unsqueeze(-1), 0)
    return Forward(output, h_n, cells, c_n, gates if save else None)


def _unbound(parts: Sequence[Tensor], T: int) -> list[tuple[Tensor, ...]]:
    """Views of every step, made at once, which is faster than slicing in the loop; parts of a single step are reused for all T."""
    steps = list(zip(*(part.unbind() for part in parts), strict=True))
    return steps if len(steps) == T else steps * T


def _split_gru(rows: Tensor, H: int) -> Sequence[Tensor]:
    """r and z together, r, z, n and, in saved gates, m."""
    rz, *rest = rows.split([2 * H, *[H] * (rows.shape[-1] // H - 2)], -1)
    return rz, rz[..., :H], rz[..., H:], *rest


def _split_lstm(rows: Tensor, H: int) -> Sequence[Tensor]:
    """All gates together, i and f together, then i, f, g and o."""
    return rows, rows[..., : 2 * H], *rows.split(H, -1)


def _gru_step(
    gx: Rows, kept: Rows, h: Tensor, _c: None, w_t: Tensor, bias: Tensor, new_h: Tensor, _new_c: None
) -> None:
    """Write r, z, n, m = W_hn h + b_hn into `kept` and the next state into `new_h`."""
    H = h.shape[-1]
    (x_rz, _, _, x_n), (rz, r, z, n, m) = gx, kept
    a_rz, a_n = torch.addmm(bias, h, w_t).split_with_sizes((2 * H, H), -1)
    torch.add(x_rz, a_rz, out=rz).sigmoid_()
    m.copy_(a_n)
    torch.addcmul(x_n, r, a_n, out=n).tanh_()
    torch.lerp(n, h, z, out=new_h)


def _reset_before_step(
    gx: Rows, kept: Rows, h: Tensor, _c: None, w_t: Tensor, bias: Tensor, new_h: Tensor, _new_c: None
) -> None:
    """Write r, z, n into `kept` and the next state into `new_h`."""
    H = h.shape[-1]
    (x_rz, _, _, x_n), (rz, r, z, n) = gx, kept
    torch.add(x_rz, bias[: 2 * H], out=rz).addmm_(h, w_t[:, : 2 * H]).sigmoid_()
    torch.add(x_n, bias[2 * H :], out=n).addmm_(r * h, w_t[:, 2 * H :]).tanh_()
    torch.lerp(n, h, z, out=new_h)


def _lstm_step(
    gx: Rows, kept: Rows, h: Tensor, c: Tensor, w_t: Tensor, bias: Tensor, new_h: Tensor, new_c: Tensor
) -> None:
    """Write i, f, g, o into `kept` and the next states into `new_h` and `new_c`."""
    gates, i_f, i, f, g, o = kept
    torch.add(gx[0], bias, out=gates).addmm_(h, w_t)
    i_f.sigmoid_()
    g.tanh_()
    o.sigmoid_()
    torch.mul(f, c, out=new_c).addcmul_(i, g)
    torch.tanh(new_c, out=new_h).mul_(o)


_CELLS: dict[str, tuple[Callable[[Tensor, int], Sequence[Tensor]], Callable[..., None]]] = {
    "gru": (_split_gru, _gru_step),
    "gru_before": (_split_gru, _reset_before_step),
    "lstm": (_split_lstm, _lstm_step),
}
