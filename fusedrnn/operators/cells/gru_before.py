"""The GRU of Cho et al. (2014), whose reset gate acts before the recurrent product: r z n; dgates are dr dz dn."""

from __future__ import annotations

import torch
from torch import Tensor

from fusedrnn.operators.cells.cell import Cell, Rows, Trace, equal_biases, times, to_initial, unchanged
from fusedrnn.operators.cells.gru import split
from fusedrnn.operators.results import Backward
from fusedrnn.operators.time_parallel import recurrent_side
from fusedrnn.reference.noise import times_factor


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
    _gains: None,
) -> None:
    """One step."""
    H = h.shape[-1]
    (x_rz, _, _, x_n), (rz, r, z, n) = gx, saved
    torch.add(x_rz, bias[: 2 * H], out=rz).addmm_(h, w_t[:, : 2 * H]).sigmoid_()
    torch.add(x_n, bias[2 * H :], out=n).addmm_(r * h, w_t[:, 2 * H :]).tanh_()
    torch.lerp(times_factor(n, factor), h, z, out=new_h)


def recompute(gx: Tensor, previous: Tensor, w_hh: Tensor, b_hh: Tensor | None, _gain: Tensor | None) -> Tensor:
    """The gates of all steps."""
    H = previous.shape[-1]
    b_rz, b_n = (None, None) if b_hh is None else (b_hh[:, : 2 * H], b_hh[:, 2 * H :])
    rz = (gx[..., : 2 * H] + recurrent_side(previous, w_hh[:, : 2 * H], b_rz)).sigmoid()
    n = (gx[..., 2 * H :] + recurrent_side(rz[..., :H] * previous, w_hh[:, 2 * H :], b_n)).tanh()
    return torch.cat([rz, n], -1)


def backward(trace: Trace) -> Backward:
    """The time loop backwards; `dgates` starts as the factors that are known for all steps, and the loop only multiplies."""
    previous, w_hh = trace.previous, trace.w_hh
    T, B, D, H = previous.shape
    r, z, n = trace.gates.chunk(3, -1)
    still = 1 - z if trace.new_h is None else (1 - z) * trace.new_h
    change = (previous - times_factor(n, trace.factor)) * z * still
    dgates = torch.cat([previous * r * (1 - r), change, times_factor(still * (1 - n * n), trace.factor)], -1)
    if trace.new_h is not None:
        z = 1 - still  # the weight of the old h
    if trace.ended is not None:
        dgates.masked_fill_(trace.ended, 0)
        r, z = r.masked_fill(trace.ended, 0), z.masked_fill(trace.ended, 1)
    dh0 = torch.zeros_like(trace.d_h_n, memory_format=torch.contiguous_format)
    for d in range(D):
        dh = trace.d_h_n[d]
        for t in reversed(times(T, d, trace.heads)):
            dh = dh + trace.d_output[t, :, d]
            now = dgates[t, :, d]
            now[:, H:].view(B, 2, H).mul_(dh.unsqueeze(1))
            d_reset = now[:, 2 * H :] @ w_hh[d, 2 * H :]  # of r * h
            now[:, :H].mul_(d_reset)
            dh = (dh * z[t, :, d]).addcmul_(d_reset, r[t, :, d]).addmm_(now[:, : 2 * H], w_hh[d, : 2 * H])
            if trace.anew is not None:
                dh = to_initial(dh, trace.anew[t, :, d], dh0[d])
        dh0[d] += dh
    return Backward(dgates, dh0, None)


def gradient_of_weight(dgates: Tensor, previous: Tensor, saved: Tensor) -> Tensor:
    """dr and dz times h, dn times r h."""
    H = previous.shape[-1]
    return torch.cat([dgates[:, : 2 * H].t() @ previous, dgates[:, 2 * H :].t() @ (saved[:, :H] * previous)])


GRU_BEFORE = Cell(split, step, recompute, backward, unchanged, unchanged, gradient_of_weight, equal_biases)
