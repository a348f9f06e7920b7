"""The vanilla RNN of torch.nn, with tanh or ReLU. Its only saved value is the new h, and dgates has one gradient."""

from __future__ import annotations

from collections.abc import Callable

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
from fusedrnn.operators.results import Backward
from fusedrnn.operators.time_parallel import recurrent_side
from fusedrnn.reference.norm import Gains

Nonlinearity = Callable[[Tensor], Tensor]


def split(rows: Tensor, H: int) -> Rows:
    """The only gate."""
    return (rows,)


def step_of(apply: Nonlinearity) -> Callable[..., None]:
    """The step with a nonlinearity that overwrites its argument."""

    def step(
        gx: Rows,
        saved: Rows,
        h: Tensor,
        _c: None,
        w_t: Tensor,
        bias: Tensor,
        new_h: Tensor,
        _new_c: None,
        _factor: None,
        gains: Gains | None,
    ) -> None:
        if gains is None:
            apply(torch.add(gx[0], bias, out=new_h).addmm_(h, w_t))
        else:
            apply(torch.add(gx[0], normalised_product(h, w_t, bias, gains), out=new_h))
        saved[0].copy_(new_h)

    return step


def recompute_of(apply: Nonlinearity) -> Callable[..., Tensor]:
    """The recomputation of h, from the h before, with a nonlinearity that overwrites its argument."""

    def recompute(gx: Tensor, previous: Tensor, w_hh: Tensor, b_hh: Tensor | None, gain_hh: Tensor | None) -> Tensor:
        return apply(gx + recurrent_side(previous, w_hh, b_hh, gain_hh))

    return recompute


def backward_of(
    derivative: Callable[[Tensor], Tensor], through: Callable[[Tensor, Tensor, Tensor], None]
) -> Callable[[Trace], Backward]:
    """The time loop backwards; `derivative` is computed from h of all steps, and `through` (it, dh, out) takes dh through it."""

    def backward(trace: Trace) -> Backward:
        D, active, anew, new_h = trace.previous.shape[2], trace.active, trace.anew, trace.new_h
        norm = trace.norm
        plain = active is None and anew is None and new_h is None and norm is None
        slopes = derivative(trace.gates)
        if trace.ended is not None:
            slopes.masked_fill_(trace.ended, 0)
        dgates = torch.empty_like(trace.gates)
        dh0 = torch.zeros_like(trace.d_h_n, memory_format=torch.contiguous_format)
        for d in range(D):
            w, order = trace.w_hh[d], list(reversed(times(len(slopes), d, trace.heads)))
            each, entering, found = (rows[:, :, d].unbind() for rows in (slopes, trace.d_output, dgates))
            dh = trace.d_h_n[d] + entering[order[0]]
            for t, before in zip(order, [*order[1:], None], strict=True):
                through(each[t], dh if new_h is None else dh * new_h[t, :, d], found[t])
                if plain:
                    dh = found[t] @ w if before is None else torch.addmm(entering[before], found[t], w)
                    continue
                after, dh = dh, (found[t] if norm is None else norm.step(found[t], t, d)) @ w
                if new_h is not None:
                    dh.addcmul_(after, 1 - new_h[t, :, d])
                if active is not None:
                    dh = torch.where(active[t], dh, after)
                if anew is not None:
                    dh = to_initial(dh, anew[t, :, d], dh0[d])
                dh = dh if before is None else dh + entering[before]
            dh0[d] += dh
        return Backward(dgates, dh0, None)

    return backward


def slope_of_tanh(h: Tensor) -> Tensor:
    """1 - h^2."""
    return torch.addcmul(h.new_ones(()), h, h, value=-1)


def through_tanh(slope: Tensor, dh: Tensor, out: Tensor) -> None:
    """dh (1 - h^2)."""
    torch.mul(dh, slope, out=out)


def slope_of_relu(h: Tensor) -> Tensor:
    """Whether dh passes: not where h is 0, but, as in torch, where it is NaN."""
    return (h <= 0).logical_not_()


def through_relu(passes: Tensor, dh: Tensor, out: Tensor) -> None:
    """dh or 0."""
    torch.where(passes, dh, dh.new_zeros(()), out=out)


def _cell(apply: Nonlinearity, backward: Callable[[Trace], Backward]) -> Cell:
    return Cell(split, step_of(apply), recompute_of(apply), backward, unchanged, unchanged, one_product, equal_biases)


RNN_TANH = _cell(torch.tanh_, backward_of(slope_of_tanh, through_tanh))
RNN_RELU = _cell(torch.relu_, backward_of(slope_of_relu, through_relu))
