"""The GRU of torch.nn: r z n, and m = W_hn h + b_hn, which r multiplies; dgates are dn dr dz dm."""

from __future__ import annotations

import torch
from torch import Tensor

from fusedrnn.operators.cells.cell import Cell, Rows, Trace, normalised_product, times, to_initial
from fusedrnn.operators.results import Backward
from fusedrnn.operators.time_parallel import recurrent_side
from fusedrnn.reference.noise import times_factor
from fusedrnn.reference.norm import Gains


def split(rows: Tensor, H: int) -> Rows:
    """r and z together and apart, n and, of what is saved, m."""
    rz, *rest = rows.split([2 * H, *[H] * (rows.shape[-1] // H - 2)], -1)
    return rz, rz[..., :H], rz[..., H:], *rest


def step(
    gx: Rows,
    saved: Rows,
    h: Tensor,
    _c: None,
    w_t: Tensor,
    bias: Tensor,
    new_h: Tensor,
    _new_c: None,
    factor: Tensor | None,
    gains: Gains | None,
) -> None:
    """One step."""
    H = h.shape[-1]
    (x_rz, _, _, x_n), (rz, r, z, n, m) = gx, saved
    a = torch.addmm(bias, h, w_t) if gains is None else normalised_product(h, w_t, bias, gains)
    a_rz, a_n = a.split_with_sizes((2 * H, H), -1)
    torch.add(x_rz, a_rz, out=rz).sigmoid_()
    m.copy_(a_n)
    torch.addcmul(x_n, r, a_n, out=n).tanh_()
    torch.lerp(n if factor is None else times_factor(n, factor), h, z, out=new_h)


def recompute(gx: Tensor, previous: Tensor, w_hh: Tensor, b_hh: Tensor | None, gain_hh: Tensor | None) -> Tensor:
    """The gates and m of all steps."""
    H = previous.shape[-1]
    a_rz, m = recurrent_side(previous, w_hh, b_hh, gain_hh).split((2 * H, H), -1)
    rz = (gx[..., : 2 * H] + a_rz).sigmoid()
    return torch.cat([rz, (gx[..., 2 * H :] + rz[..., :H] * m).tanh(), m], -1)


def backward(trace: Trace) -> Backward:
    """The time loop backwards; `dgates` starts as the factors that are known for all steps, and the loop only multiplies."""
    gates, previous, w_hh = trace.gates, trace.previous, trace.w_hh
    T, B, D, H = previous.shape
    r, z, n, m = gates.chunk(4, -1)
    dgates = torch.empty_like(gates)
    dn, dr, dz, dm = dgates.chunk(4, -1)
    still = 1 - z if trace.new_h is None else (1 - z) * trace.new_h
    torch.addcmul(gates.new_ones(()), n, n, value=-1, out=dn).mul_(still)
    if trace.factor is not None:
        dn.mul_(trace.factor)
    torch.mul(dn, r, out=dm)
    torch.mul(dm, m, out=dr)
    torch.addcmul(dr, dr, r, value=-1, out=dr)  # r (1 - r)
    torch.sub(previous, times_factor(n, trace.factor), out=dz).mul_(z).mul_(still)
    if trace.new_h is not None:
        z = 1 - still  # the weight of the old h
    if trace.ended is not None:
        dgates.masked_fill_(trace.ended, 0)
        z = z.masked_fill(trace.ended, 1)
    dh0, anew = torch.zeros_like(trace.d_h_n, memory_format=torch.contiguous_format), trace.anew
    norm = trace.norm
    for d in range(D):
        w = w_hh[d]
        steps = dgates[:, :, d].view(T, B, 4, H).unbind()
        through = dgates[:, :, d, H:].unbind()
        keep, entering = z[:, :, d].unbind(), trace.d_output[:, :, d].unbind()
        order = list(reversed(times(T, d, trace.heads)))
        dh = trace.d_h_n[d] + entering[order[0]]
        for t, before in zip(order, [*order[1:], None], strict=True):
            steps[t].mul_(dh.unsqueeze(1))
            together = before is not None and anew is None
            dh = torch.addcmul(entering[before or 0], dh, keep[t]) if together else dh * keep[t]
            dh.addmm_(through[t] if norm is None else norm.step(through[t], t, d), w)
            if anew is not None:
                dh = to_initial(dh, anew[t, :, d], dh0[d])
                dh = dh if before is None else dh + entering[before]
        dh0[d] += dh
    return Backward(dgates, dh0, None)


def gradient_of_gx(dgates: Tensor) -> Tensor:
    """dr dz dn."""
    H = dgates.shape[-1] // 4
    dn, drz, _ = dgates.split((H, 2 * H, H), -1)
    return torch.cat([drz, dn], -1)


def products(dgates: Tensor) -> Tensor:
    """dr dz dm."""
    return dgates[..., dgates.shape[-1] // 4 :]


def gradient_of_weight(dgates: Tensor, previous: Tensor, saved: Tensor) -> Tensor:
    """Of the product with h."""
    return products(dgates).t() @ previous


def gradients_of_biases(dgates: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of dr dz dn, and of dr dz dm."""
    total = dgates.sum((0, 1))
    H = total.shape[-1] // 4
    return torch.cat([total[:, H : 3 * H], total[:, :H]], -1), total[:, H:].clone()


GRU = Cell(split, step, recompute, backward, gradient_of_gx, products, gradient_of_weight, gradients_of_biases)
