"""The sweeps in plain torch operators, forward and backward derived by hand: what runs where no kernel does.

Same functions, arguments and results as the Triton sweeps (`fusedrnn.kernels.sweeps`), on any device and dtype. No autograd
graph of T steps is built; a step is one product and a few elementwise operators on preallocated memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from fusedrnn.kernels.results import SAVED, Backward, Forward


def _steps(T: int, d: int) -> Iterator[int]:
    """The times of direction d in the order it takes them."""
    return iter(range(T) if d == 0 else range(T - 1, -1, -1))


def _active(lengths: Tensor | None, T: int) -> Tensor | None:
    """(T, B, 1) booleans: whether a sample still runs."""
    if lengths is None:
        return None
    return (torch.arange(T, device=lengths.device).unsqueeze(-1) < lengths).unsqueeze(-1)


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
    active = _active(lengths, T)
    output = gx.new_empty((T, B, D, H))
    cells = gx.new_empty((T, B, D, H)) if cell == "lstm" else None
    gates = gx.new_empty((T, B, D, SAVED[cell] * H)) if save else None
    h_n, c_n = [], []
    for d in range(D):
        h, c = h0[d], None if c0 is None else c0[d]
        w_t = w_hh[d].t()
        bias = gx.new_zeros(w_hh.shape[1]) if b_hh is None else b_hh[d]
        for t in _steps(T, d):
            new_h, new_c, kept = _step(cell, gx[t, :, d], h, c, w_t, bias)
            if active is not None:
                new_h = torch.where(active[t], new_h, h)
                new_c = None if new_c is None or c is None else torch.where(active[t], new_c, c)
            h, c = new_h, new_c
            output[t, :, d] = h if active is None else torch.where(active[t], h, 0)
            if cells is not None and c is not None:
                cells[t, :, d] = c if active is None else torch.where(active[t], c, 0)
            if gates is not None:
                gates[t, :, d] = torch.cat(kept, -1)
        h_n.append(h)
        c_n.append(c)
    last_c = torch.stack([c for c in c_n if c is not None]) if cell == "lstm" else None
    return Forward(output, torch.stack(h_n), cells, last_c, gates)


def _step(
    cell: str, gx: Tensor, h: Tensor, c: Tensor | None, w_t: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor | None, list[Tensor]]:
    """One step of one direction: h', c' and what the backward needs."""
    H = h.shape[-1]
    if cell == "lstm":
        assert c is not None
        pre = torch.addmm(gx + bias, h, w_t)
        i_f, g, o = pre[:, : 2 * H].sigmoid(), pre[:, 2 * H : 3 * H].tanh(), pre[:, 3 * H :].sigmoid()
        c = torch.addcmul(i_f[:, H:] * c, i_f[:, :H], g)
        return o * c.tanh(), c, [i_f, g, o]
    if cell == "gru":
        a = torch.addmm(bias, h, w_t)
        rz = (gx[:, : 2 * H] + a[:, : 2 * H]).sigmoid()
        m = a[:, 2 * H :]
        n = torch.addcmul(gx[:, 2 * H :], rz[:, :H], m).tanh()
        return torch.lerp(n, h, rz[:, H:]), None, [rz, n, m]
    rz = torch.addmm(gx[:, : 2 * H] + bias[: 2 * H], h, w_t[:, : 2 * H]).sigmoid()
    n = torch.addmm(gx[:, 2 * H :] + bias[2 * H :], rz[:, :H] * h, w_t[:, 2 * H :]).tanh()
    return torch.lerp(n, h, rz[:, H:]), None, [rz, n]


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
    d_h_n: Tensor,
    d_cells: Tensor | None,
    d_c_n: Tensor | None,
) -> Backward:
    """Run the backward sweep; arguments as `forward` took and returned them, gradients shaped as what they belong to."""
    T, _, D, _ = output.shape
    active = _active(lengths, T)
    dgates = torch.empty_like(gates)
    dh0, dc0 = [], []
    for d in range(D):
        times = list(_steps(T, d))
        dh, dc = d_h_n[d], None if d_c_n is None else d_c_n[d]
        for k in range(T - 1, -1, -1):
            t = times[k]
            h, c_before = _before(output, h0, lengths, times, k, d), None
            if cells is not None and c0 is not None and dc is not None:
                c_before = _before(cells, c0, lengths, times, k, d)
                dc = dc if d_cells is None else dc + _masked(d_cells[t, :, d], active, t)
            dh = dh + _masked(d_output[t, :, d], active, t)
            saved = gates[t, :, d]
            if active is not None:
                saved = torch.where(active[t], saved, 0)
            if cell == "lstm":
                assert cells is not None
                assert c_before is not None
                assert dc is not None
                step, new_dh, new_dc = _lstm_backward(dh, dc, saved, cells[t, :, d], c_before, w_hh[d])
                dc = new_dc if active is None else torch.where(active[t], new_dc, dc)
            elif cell == "gru":
                step, new_dh = _gru_backward(dh, saved, h, w_hh[d])
            else:
                step, new_dh = _reset_before_backward(dh, saved, h, w_hh[d])
            dgates[t, :, d] = step if active is None else torch.where(active[t], step, 0)
            dh = new_dh if active is None else torch.where(active[t], new_dh, dh)
        dh0.append(dh)
        dc0.append(dc)
    first_dc = torch.stack([x for x in dc0 if x is not None]) if cell == "lstm" else None
    return Backward(dgates, torch.stack(dh0), first_dc)


def _masked(gradient: Tensor, active: Tensor | None, t: int) -> Tensor:
    return gradient if active is None else torch.where(active[t], gradient, 0)


def _before(states: Tensor, initial: Tensor, lengths: Tensor | None, times: list[int], k: int, d: int) -> Tensor:
    """The state that the k-th step of direction d started from."""
    if k == 0:
        return initial[d]
    before = states[times[k - 1], :, d]
    if d == 0 or lengths is None:
        return before
    return torch.where((lengths == times[k] + 1).unsqueeze(-1), initial[d], before)


def _gru_backward(dh: Tensor, saved: Tensor, h: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    r, z, n, m = saved.chunk(4, -1)
    dn = dh * (1 - z) * (1 - n * n)
    step = torch.cat([dn, dn * m * r * (1 - r), dh * (h - n) * z * (1 - z), dn * r], -1)
    return step, torch.addmm(dh * z, step[:, h.shape[-1] :], w)


def _reset_before_backward(dh: Tensor, saved: Tensor, h: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    H = h.shape[-1]
    r, z, n = saved.chunk(3, -1)
    dn = dh * (1 - z) * (1 - n * n)
    d_reset = dn @ w[2 * H :]
    step = torch.cat([d_reset * h * r * (1 - r), dh * (h - n) * z * (1 - z), dn], -1)
    return step, torch.addmm(dh * z + d_reset * r, step[:, : 2 * H], w[: 2 * H])


def _lstm_backward(
    dh: Tensor, dc: Tensor, saved: Tensor, c: Tensor, c_before: Tensor, w: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    i, f, g, o = saved.chunk(4, -1)
    y = c.tanh()
    dc = dc + dh * o * (1 - y * y)
    step = torch.cat(
        [dc * g * i * (1 - i), dc * c_before * f * (1 - f), dc * i * (1 - g * g), dh * y * o * (1 - o)], -1
    )
    return step, step @ w, dc * f
