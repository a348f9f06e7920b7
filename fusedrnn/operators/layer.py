"""One layer that uses `fusedrnn::sweep`, as a `reference.stack.Layer`: `layer(x, states, directions, lengths)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from fusedrnn.call import States
from fusedrnn.context import autocast_dtype
from fusedrnn.operators.arguments import Sweep
from fusedrnn.operators.results import Dropout
from fusedrnn.operators.sweep import sweep
from fusedrnn.operators.time_parallel import input_side
from fusedrnn.reference.loop import begins
from fusedrnn.reference.noise import Noise
from fusedrnn.reference.stack import Between, Layer, LayerWeights, input_of, side_by_side

Rows = tuple[int, int]
"""The launch configurations of the forward and the backward sweep, as `Sweep` has them."""
BY_TABLE: Rows = (-1, -1)
NONE = (None, 0.0, False)
"""The fields of a `Sweep` without dropout."""


class Extras(NamedTuple):
    """What a layer does beyond torch.nn's; see `reference.loop.over_time`."""

    resets: Tensor | None = None
    noise: Noise | None = None
    heads: int = 1

    @property
    def fields(self) -> tuple[Any, ...]:
        """The last fields of a `Sweep`, from `resets` on."""
        seed, zoneout, p, shared = self.noise or Noise(None)
        return (self.resets, seed, *zoneout, p, shared, self.heads)


PLAIN = Extras()


def operator_layer(
    engine: str, cell: str, *, keep_gates: bool = True, rows: Rows = BY_TABLE, extras: Extras = PLAIN
) -> Layer:
    """A layer whose sweeps are run by `engine`, "triton" or "unrolled".

    `keep_gates`: save the gates for the backward, which otherwise recomputes them from the outputs.
    """

    def layer(
        x: Tensor, states: States, directions: Sequence[LayerWeights], lengths: Tensor | None
    ) -> tuple[States, States]:
        options: dict[str, Any] = {"keep_gates": keep_gates, "rows": rows, "extras": extras}
        trace, finals, _ = _run(engine, cell, x, states, directions, lengths, **options)
        return trace, finals

    return layer


def dropping_layer(
    engine: str, cell: str, drop: Dropout, *, keep_gates: bool = True, rows: Rows = BY_TABLE, extras: Extras = PLAIN
) -> tuple[Layer, Between]:
    """A layer whose sweep also returns its output after dropout, and the `Between` that passes this to the next layer.

    Not for an LSTM with projection, whose output is not computed by the sweep.
    """
    dropped: list[Tensor] = []

    def layer(
        x: Tensor, states: States, directions: Sequence[LayerWeights], lengths: Tensor | None
    ) -> tuple[States, States]:
        options: dict[str, Any] = {"keep_gates": keep_gates, "rows": rows, "drop": drop, "extras": extras}
        trace, finals, remains = _run(engine, cell, x, states, directions, lengths, **options)
        dropped.append(remains)
        return trace, finals

    return layer, lambda depth, output: dropped.pop().flatten(2)


def _run(
    engine: str,
    cell: str,
    x: Tensor,
    states: States,
    directions: Sequence[LayerWeights],
    lengths: Tensor | None,
    *,
    keep_gates: bool,
    rows: Rows,
    extras: Extras,
    drop: Dropout | None = None,
) -> tuple[States, States, Tensor]:
    """Run a layer: the states of every step, the final states, and the output after dropout, which is empty without `drop`."""
    dtype = autocast_dtype(x.device)
    if dtype is not None:
        x = x.to(dtype) if x.is_floating_point() else x
        states = tuple(s.to(dtype) for s in states)
        directions = [LayerWeights(*(None if w is None else w.to(dtype) for w in d)) for d in directions]  # type: ignore[arg-type]
        with torch.autocast(x.device.type, enabled=False):
            options: dict[str, Any] = {"keep_gates": keep_gates, "rows": rows, "extras": extras, "drop": drop}
            return _run(engine, cell, x, states, directions, lengths, **options)
    w = side_by_side(directions)
    tensors = [t for t in (x, *states, *w) if t is not None]
    keep = keep_gates and torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    if w.w_hr is not None:
        return *_projected(engine, x, states, w, w.w_hr, lengths, keep, rows, extras), x.new_empty(0)
    h0, *c = states
    c0 = c[0] if c else None
    seed, p, shared = drop or NONE
    w_ih: Tensor | None = w.w_ih
    b_ih: Tensor | None = w.b_ih
    if w.gain_ih is not None:  # the input side is normalised, and differentiated by autograd
        x, w_ih, b_ih = input_of(x, w).flatten(2), None, None
    weights = (w_ih, w.w_hh, b_ih, w.b_hh)
    arguments = Sweep(engine, cell, x, h0, c0, *weights, lengths, keep, seed, p, shared, *rows, *extras.fields)
    arguments = arguments._replace(gain_hh=w.gain_hh, gain_c=w.gain_c, bias_c=w.bias_c)
    output, h_n, cells, c_n, _, dropped = sweep(*arguments.packed())
    return *(((output,), (h_n,)) if c0 is None else ((output, cells), (h_n, c_n))), dropped


def _projected(
    engine: str,
    x: Tensor,
    states: States,
    w: LayerWeights,
    w_hr: Tensor,
    lengths: Tensor | None,
    keep: bool,
    rows: Rows,
    extras: Extras,
) -> tuple[States, States]:
    """The LSTM with projection (Sak et al. 2014), computed with the sweep of the LSTM without projection.

    h = W_hr m with m = o tanh(c), so W_hh h = (W_hh W_hr) m: the sweep runs on m, with W_hh W_hr as its recurrent weights, and one
    product projects all steps afterwards. h_0 need not be a projection, so W_hh h_0 is added to the pre-activations of the first
    step of each sample, and of those before which it starts anew, and m starts at zero.
    """
    (h0, c0), w_hh, T = states, w.w_hh, x.shape[0]
    gx = input_side(x, w.w_ih, w.b_ih, len(w_hh))
    first = torch.einsum("dbp,dnp->bdn", h0, w_hh)
    begun = torch.stack([first_steps(T, lengths, d, x.device).expand(T, x.shape[1]) for d in range(len(w_hh))], -1)
    anew = begins(extras.resets, lengths, len(w_hh))
    gx = gx + torch.where((begun if anew is None else begun | anew).unsqueeze(-1), first, 0)
    tensors = (gx.flatten(2), torch.zeros_like(c0), c0, None, w_hh @ w_hr, None, w.b_hh, lengths)
    arguments = Sweep(engine, "lstm", *tensors, keep, *NONE, *rows, *extras.fields)
    m, m_n, cells, c_n, *_ = sweep(*arguments.packed())
    output = torch.stack([linear(m[:, :, d], w_hr[d]) for d in range(len(w_hr))], 2)
    h_n = m_n @ w_hr.transpose(1, 2)
    if lengths is not None:
        h_n = torch.where((lengths > 0).unsqueeze(-1), h_n, h0)
    return (output, cells), (h_n, c_n)


def at_first_step(values: Tensor, T: int, lengths: Tensor | None, d: int) -> Tensor:
    """(T, B, N): `values` (B, N) at the first step of direction d, zero at all other steps."""
    return torch.where(first_steps(T, lengths, d, values.device).unsqueeze(-1), values, 0)


def first_steps(T: int, lengths: Tensor | None, d: int, device: torch.device) -> Tensor:
    """Whether a step is the first one of direction d: (T, B) booleans, or (T, 1) where it is the same for all samples."""
    times = torch.arange(T, device=device).unsqueeze(-1)
    if d == 0:
        return times == 0
    return times == (T - 1 if lengths is None else lengths - 1)
