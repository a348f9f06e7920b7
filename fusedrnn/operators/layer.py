"""One layer that uses `fusedrnn::sweep`, as a `reference.stack.Layer`: `layer(x, states, directions, lengths)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from fusedrnn.call import States
from fusedrnn.context import autocast_dtype
from fusedrnn.operators.arguments import Sweep
from fusedrnn.operators.results import Dropout
from fusedrnn.operators.sweep import sweep
from fusedrnn.operators.time_parallel import input_side
from fusedrnn.reference.stack import Between, Layer, LayerWeights, side_by_side

Rows = tuple[int, int]
"""The launch configurations of the forward and the backward sweep, as `Sweep` has them."""
BY_TABLE: Rows = (-1, -1)
NONE = (None, 0.0, False)
"""The fields of a `Sweep` without dropout."""


def operator_layer(engine: str, cell: str, *, keep_gates: bool = True, rows: Rows = BY_TABLE) -> Layer:
    """A layer whose sweeps are run by `engine`, "triton" or "unrolled".

    `keep_gates`: save the gates for the backward, which otherwise recomputes them from the outputs.
    """

    def layer(
        x: Tensor, states: States, directions: Sequence[LayerWeights], lengths: Tensor | None
    ) -> tuple[States, States]:
        trace, finals, _ = _run(engine, cell, x, states, directions, lengths, keep_gates=keep_gates, rows=rows)
        return trace, finals

    return layer


def dropping_layer(
    engine: str, cell: str, p: float, seeds: Tensor, *, shared: bool, keep_gates: bool = True, rows: Rows = BY_TABLE
) -> tuple[Layer, Between]:
    """A layer whose sweep also returns its output after dropout, and the `Between` that passes this to the next layer.

    Each call of the layer uses the next of `seeds`, (L - 1,); the last layer has none. `p` is strictly between 0 and 1; `shared`:
    all time steps share one mask. Not for an LSTM with projection, whose output is not computed by the sweep.
    """
    left = iter(seeds.split(1))
    dropped: list[Tensor] = []

    def layer(
        x: Tensor, states: States, directions: Sequence[LayerWeights], lengths: Tensor | None
    ) -> tuple[States, States]:
        drop = None if (seed := next(left, None)) is None else Dropout(seed, p, shared)
        options: dict[str, Any] = {"keep_gates": keep_gates, "rows": rows, "drop": drop}
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
    drop: Dropout | None = None,
) -> tuple[States, States, Tensor]:
    """Run a layer: the states of every step, the final states, and the output after dropout, which is empty without `drop`."""
    dtype = autocast_dtype(x.device)
    if dtype is not None:
        x = x.to(dtype) if x.is_floating_point() else x
        states = tuple(s.to(dtype) for s in states)
        directions = [LayerWeights(*(None if w is None else w.to(dtype) for w in d)) for d in directions]  # type: ignore[arg-type]
        with torch.autocast(x.device.type, enabled=False):
            return _run(engine, cell, x, states, directions, lengths, keep_gates=keep_gates, rows=rows, drop=drop)
    w = side_by_side(directions)
    tensors = [t for t in (x, *states, *w) if t is not None]
    keep = keep_gates and torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    if w.w_hr is not None:
        return *_projected(engine, x, states, w, w.w_hr, lengths, keep, rows), x.new_empty(0)
    h0, *c = states
    c0 = c[0] if c else None
    seed, p, shared = drop or NONE
    weights = (w.w_ih, w.w_hh, w.b_ih, w.b_hh)
    arguments = Sweep(engine, cell, x, h0, c0, *weights, lengths, keep, seed, p, shared, *rows)
    output, h_n, cells, c_n, _, dropped = sweep(*arguments)
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
) -> tuple[States, States]:
    """The LSTM with projection (Sak et al. 2014), computed with the sweep of the LSTM without projection.

    h = W_hr m with m = o tanh(c), so W_hh h = (W_hh W_hr) m: the sweep runs on m, with W_hh W_hr as its recurrent weights, and one
    product projects all steps afterwards. h_0 need not be a projection, so W_hh h_0 is added to the pre-activations of the first
    step of each sample, and m starts at zero.
    """
    (h0, c0), w_hh, T = states, w.w_hh, x.shape[0]
    gx = input_side(x, w.w_ih, w.b_ih, len(w_hh))
    first = torch.einsum("dbp,dnp->bdn", h0, w_hh)
    gx = gx + torch.stack([at_first_step(first[:, d], T, lengths, d) for d in range(len(w_hh))], 2)
    tensors = (gx.flatten(2), torch.zeros_like(c0), c0, None, w_hh @ w_hr, None, w.b_hh, lengths)
    arguments = Sweep(engine, "lstm", *tensors, keep, *NONE, *rows)
    m, m_n, cells, c_n, *_ = sweep(*arguments)
    output = torch.stack([linear(m[:, :, d], w_hr[d]) for d in range(len(w_hr))], 2)
    h_n = m_n @ w_hr.transpose(1, 2)
    if lengths is not None:
        h_n = torch.where((lengths > 0).unsqueeze(-1), h_n, h0)
    return (output, cells), (h_n, c_n)


def at_first_step(values: Tensor, T: int, lengths: Tensor | None, d: int) -> Tensor:
    """(T, B, N): `values` (B, N) at the first step of direction d, zero at all other steps."""
    times = torch.arange(T, device=values.device).unsqueeze(-1)  # (T, 1)
    if d == 0:
        at = times == 0
    elif lengths is None:
        at = times == T - 1
    else:
        at = times == lengths - 1
    return torch.where(at.unsqueeze(-1), values, 0)
