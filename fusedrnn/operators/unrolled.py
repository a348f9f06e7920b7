"""The time loop of a layer in plain torch operators, for any device and dtype, with a backward derived by hand.

Same functions, arguments and results as the Triton sweeps (`fusedrnn.kernels.sweeps`). No autograd graph of T steps is built: a
step is one product and a few elementwise operators on preallocated memory, and what does not depend on the step before is
computed for all steps at once, outside the loop.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.operators.cells import CELLS
from fusedrnn.operators.cells.cell import Trace, times
from fusedrnn.operators.normalised import Normalised
from fusedrnn.operators.results import Backward, Forward
from fusedrnn.operators.time_parallel import previous_states
from fusedrnn.reference.loop import active_steps, begins
from fusedrnn.reference.noise import Noise, Update, drawn
from fusedrnn.reference.norm import Gains


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
    resets: Tensor | None = None,
    noise: Noise | None = None,
    heads: int = 1,
    gains: Gains | None = None,
) -> Forward:
    """Run the forward sweep: gx (T, B, D, G*H), h0 and c0 (D, B, H), w_hh (D, G*H, H), b_hh (D, G*H), lengths (B,).

    ``resets``, ``noise`` and ``heads`` are those of `reference.loop.over_time`, ``gains`` those of `reference.norm`.
    """
    (T, B, D, _), H = gx.shape, h0.shape[-1]
    active = None if lengths is None else active_steps(lengths, T).unsqueeze(-1)  # (T, B, 1)
    output = gx.new_empty((T, B, D, H))
    cells = None if c0 is None else gx.new_empty((T, B, D, H))
    gates = gx.new_empty((T if save else 1, B, D, NUMBERS[cell].saved * H))
    h_n = h0.clone(memory_format=torch.contiguous_format)
    c_n = None if c0 is None else c0.clone(memory_format=torch.contiguous_format)
    if b_hh is None:
        b_hh = gx.new_zeros(w_hh.shape[:2])
    going = None if active is None else active.unbind()
    anew = begins(resets, lengths, D, heads)
    *news, factors = (1.0, 1.0, None) if noise is None else drawn(noise, output.shape, output.dtype)
    split, step = CELLS[cell].split, CELLS[cell].step
    for d in range(D):
        w_t, bias, h, c = w_hh[d].t(), b_hh[d], h_n[d], None if c_n is None else c_n[d]
        given, kept = _unbound(split(gx[:, :, d], H), T), _unbound(split(gates[:, :, d], H), T)
        outputs = output[:, :, d].unbind()
        traced = [None] * T if cells is None else cells[:, :, d].unbind()
        own = None if gains is None else Gains(*(None if gain is None else gain[d] for gain in gains))  # type: ignore[arg-type]
        for t in times(T, d, heads):
            new_h, new_c = outputs[t], traced[t]
            if anew is not None:
                h = torch.where(anew[t, :, d : d + 1], h0[d], h)
                c = None if c is None or c0 is None else torch.where(anew[t, :, d : d + 1], c0[d], c)
            step(given[t], kept[t], h, c, w_t, bias, new_h, new_c, None if factors is None else factors[t, :, d], own)
            for new, old, weight in zip((new_h, new_c), (h, c), news, strict=True):
                if new is None or old is None:
                    continue
                if isinstance(weight, Tensor):
                    torch.where(weight[t, :, d], new, old, out=new)
                elif weight != 1:
                    torch.lerp(old, new, weight, out=new)
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
    *,
    resets: Tensor | None = None,
    noise: Noise | None = None,
    heads: int = 1,
    norm: Normalised | None = None,
) -> Backward:
    """Run the backward sweep; arguments as `forward` took and returned them, gradients shaped as what they belong to.

    Absent gradients of the final states are None. In the padding the gradient of a state is carried unchanged.
    """
    d_h_n = torch.zeros_like(h0) if d_h_n is None else d_h_n
    anew = begins(resets, lengths, output.shape[2], heads)
    active = None if lengths is None else active_steps(lengths, output.shape[0]).unsqueeze(-1)
    ended = None if active is None else ~active.unsqueeze(-1)  # (T, B, 1, 1)
    if ended is not None:
        d_output = d_output.masked_fill(ended, 0)
        d_cells = None if d_cells is None else d_cells.masked_fill(ended, 0)
    if cells is not None and c0 is not None:
        d_c_n = torch.zeros_like(c0) if d_c_n is None else d_c_n
        previous = previous_states(cells, c0, lengths, anew, heads)
    else:
        previous = previous_states(output, h0, lengths, anew, heads)
    trace = Trace(gates, previous, cells, w_hh, active, ended, d_output, d_h_n, d_cells, d_c_n, heads)
    if anew is not None or noise is not None or norm is not None:
        new_h, new_c, factor = _drawn(noise, output)
        trace = trace._replace(
            norm=norm,
            anew=None if anew is None else anew.unsqueeze(-1),
            new_h=new_h,
            new_c=new_c,
            factor=factor,
        )
    return CELLS[cell].backward(trace)


def _drawn(noise: Noise | None, like: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """`reference.noise.drawn`, with weights shaped and typed as `like` (T, B, D, H), or None where they are 1."""
    if noise is None:
        return None, None, None
    h, c, factor = drawn(noise, like.shape, like.dtype)
    return _weights(h, like), _weights(c, like), factor


def _weights(new: Update, like: Tensor) -> Tensor | None:
    if isinstance(new, Tensor):
        return new.to(like.dtype)
    return None if new == 1 else like.new_full((), new).expand(like.shape)


def _unbound(parts: Sequence[Tensor], T: int) -> list[tuple[Tensor, ...]]:
    """Views of every step, made at once, which is faster than slicing in the loop; parts of a single step are reused for all T."""
    steps = list(zip(*(part.unbind() for part in parts), strict=True))
    return steps if len(steps) == T else steps * T
