"""The sweeps as torch operators: schemas, shapes for tracing, derivatives of first and second order.

`fusedrnn::sweep` is one layer, all its directions: input product, forward sweep. `fusedrnn::sweep_backward` is its derivative:
backward sweep, then the products over all steps. The second derivative differentiates the reference, whose formulas are the
same. The Triton kernels are imported when they first run, so that importing fusedrnn needs no Triton.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fusedrnn.operators import dropout as dropout_ops
from fusedrnn.operators import unrolled
from fusedrnn.operators.results import SAVED, Dropout
from fusedrnn.operators.time_parallel import (
    bias_gradients,
    input_gates,
    input_gradients,
    input_side,
    previous_states,
    recomputed_gates,
    recurrent_gradient,
)
from fusedrnn.reference import counter_dropout as plain
from fusedrnn.reference import sweep as reference


def _engine(name: str) -> Any:
    """The module whose `forward` and `backward` run the sweeps: Triton kernels, or plain torch operators."""
    if name == "triton":
        from fusedrnn.kernels import sweeps

        return sweeps
    return unrolled


@torch.library.custom_op("fusedrnn::sweep", mutates_args=(), device_types=("cpu", "cuda"))
def sweep(
    engine: str,
    cell: str,
    x: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    w_ih: Tensor | None,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    lengths: Tensor | None,
    keep_gates: bool,
    seed: Tensor | None = None,
    p: float = 0.0,
    shared: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run one layer.

    Args:
        engine: "triton" or "unrolled".
        cell: "gru", "gru_before" (reset before the recurrent product) or "lstm".
        x: (T, B, I), token ids (T, B) int64, or pre-activations (T, B, D*G*H) if `w_ih` is None.
        h0: (D, B, H).
        c0: (D, B, H) of the LSTM, else None.
        w_ih: (D, G*H, I) or None.
        w_hh: (D, G*H, H).
        b_ih: (D, G*H) or None.
        b_hh: (D, G*H) or None.
        lengths: (B,) integers or None.
        keep_gates: keep what the backward needs; otherwise it recomputes that.
        seed: of the dropout of the output, (1,) int64, or None for none.
        p: probability of dropping, strictly between 0 and 1.
        shared: whether all time steps share a mask.

    Returns:
        output (T, B, D, H), h_n (D, B, H), every c_t (T, B, D, H), c_n (D, B, H), gates (T, B, D, S*H), the output after dropout
        (T, B, D, H); the last four are empty where there is no c, the gates are not kept, nothing is dropped.
    """
    gx = input_side(x, w_ih, b_ih, len(w_hh))
    steps = None if lengths is None else lengths.to(torch.int32)
    fused = {"drop": Dropout(seed, p, shared)} if engine == "triton" and seed is not None else {}
    done = _engine(engine).forward(cell, gx, h0, c0, w_hh, b_hh, steps, save=keep_gates, **fused)
    dropped = done.dropped
    if dropped is None and seed is not None:
        dropped = dropout_ops.dropout("plain", done.output, p, seed, int(shared))
    return (
        done.output,
        done.h_n,
        h0.new_empty(0) if done.cells is None else done.cells,
        h0.new_empty(0) if done.c_n is None else done.c_n,
        h0.new_empty(0) if done.gates is None else done.gates,
        h0.new_empty(0) if dropped is None else dropped,
    )


@sweep.register_fake
def _(
    engine: str,
    cell: str,
    x: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    w_ih: Tensor | None,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    lengths: Tensor | None,
    keep_gates: bool,
    seed: Tensor | None = None,
    p: float = 0.0,
    shared: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    (T, B), (D, _, H) = x.shape[:2], h0.shape
    lstm = cell == "lstm"
    return (
        h0.new_empty((T, B, D, H)),
        h0.new_empty((D, B, H)),
        h0.new_empty((T, B, D, H) if lstm else (0,)),
        h0.new_empty((D, B, H) if lstm else (0,)),
        h0.new_empty((T, B, D, SAVED[cell] * H) if keep_gates else (0,)),
        h0.new_empty((T, B, D, H) if seed is not None else (0,)),
    )


@torch.library.custom_op("fusedrnn::sweep_backward", mutates_args=(), device_types=("cpu", "cuda"))
def sweep_backward(
    engine: str,
    cell: str,
    x: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    w_ih: Tensor | None,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    lengths: Tensor | None,
    output: Tensor,
    cells: Tensor,
    gates: Tensor,
    d_output: Tensor | None,
    d_h_n: Tensor | None,
    d_cells: Tensor | None,
    d_c_n: Tensor | None,
    need_x: bool,
    d_dropped: Tensor | None = None,
    seed: Tensor | None = None,
    p: float = 0.0,
    shared: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, h0, c0, w_ih, w_hh, b_ih and b_hh, empty where there is none; absent gradients of results are None."""
    empty = h0.new_empty
    steps = None if lengths is None else lengths.to(torch.int32)
    lstm = cell == "lstm"
    fused = {}
    if d_dropped is not None and seed is not None:
        if engine == "triton" and d_output is None:
            d_output, fused = d_dropped, {"drop": Dropout(seed, p, shared)}
        else:
            through = dropout_ops.dropout("triton" if engine == "triton" else "plain", d_dropped, p, seed, int(shared))
            d_output = through if d_output is None else d_output + through
    previous = previous_states(output, h0, lengths)
    if gates.numel() == 0:
        gates = recomputed_gates(cell, input_side(x, w_ih, b_ih, len(w_hh)), previous, w_hh, b_hh)
    swept = _engine(engine).backward(
        cell,
        gates,
        output,
        cells if lstm else None,
        h0,
        c0,
        w_hh,
        steps,
        torch.zeros_like(output) if d_output is None else d_output,
        d_h_n,
        d_cells,
        d_c_n,
        **fused,
    )
    dgx = input_gates(cell, swept.dgates)
    dx: Tensor | None = None
    dw_ih: Tensor | None = None
    if w_ih is None:
        dx = dgx.flatten(2)
    else:
        dx, dw_ih = input_gradients(x, w_ih, dgx, need_x=need_x)
    biased = b_ih is not None or b_hh is not None
    db_ih, db_hh = bias_gradients(cell, swept.dgates) if biased else (None, None)
    return (
        empty(0) if dx is None else dx,
        swept.dh0,
        empty(0) if swept.dc0 is None else swept.dc0,
        empty(0) if dw_ih is None else dw_ih,
        recurrent_gradient(cell, swept.dgates, previous, gates),
        empty(0) if b_ih is None or db_ih is None else db_ih,
        empty(0) if b_hh is None or db_hh is None else db_hh,
    )


@sweep_backward.register_fake
def _(
    engine: str,
    cell: str,
    x: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    w_ih: Tensor | None,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    lengths: Tensor | None,
    output: Tensor,
    cells: Tensor,
    gates: Tensor,
    d_output: Tensor | None,
    d_h_n: Tensor | None,
    d_cells: Tensor | None,
    d_c_n: Tensor | None,
    need_x: bool,
    d_dropped: Tensor | None = None,
    seed: Tensor | None = None,
    p: float = 0.0,
    shared: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    def like(tensor: Tensor | None, wanted: bool = True) -> Tensor:
        return h0.new_empty(tensor.shape if tensor is not None and wanted else (0,))

    with_x = x.is_floating_point() and (need_x or w_ih is None)
    return like(x, with_x), like(h0), like(c0), like(w_ih), like(w_hh), like(b_ih), like(b_hh)


def _reference(
    cell: str,
    x: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    w_ih: Tensor | None,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    lengths: Tensor | None,
) -> tuple[Tensor, ...]:
    """The differentiable decomposition: output, h_n and, for the LSTM, every c_t and c_n."""
    gx = input_side(x, w_ih, b_ih, len(w_hh))
    if cell == "lstm":
        assert c0 is not None
        output, cells, h_n, c_n = reference.lstm_sweep(gx, h0, c0, w_hh, b_hh, None, lengths)
        return output, h_n, cells, c_n
    return reference.gru_sweep(gx, h0, w_hh, b_hh, lengths, reset_after=cell == "gru")


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.engine, ctx.cell, x, h0, c0, w_ih, w_hh, b_ih, b_hh, lengths, _, seed, ctx.p, ctx.shared = inputs
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[4])
    ctx.save_for_backward(x, h0, c0, w_ih, w_hh, b_ih, b_hh, lengths, output[0], output[2], output[4], seed)


def _backward(
    ctx: Any,
    d_output: Tensor | None,
    d_h_n: Tensor | None,
    d_cells: Tensor | None,
    d_c_n: Tensor | None,
    _: None,
    d_dropped: Tensor | None,
) -> tuple[Tensor | None, ...]:
    x, h0, c0, w_ih, w_hh, b_ih, b_hh, lengths, output, cells, gates, seed = ctx.saved_tensors
    lstm = ctx.cell == "lstm"
    gradients = sweep_backward(
        ctx.engine, ctx.cell, x, h0, c0, w_ih, w_hh, b_ih, b_hh, lengths, output, cells, gates,
        d_output, d_h_n, d_cells if lstm else None, d_c_n if lstm else None, ctx.needs_input_grad[2],
        d_dropped, seed, ctx.p, ctx.shared,
    )  # fmt: skip
    wanted = zip(gradients, (x, h0, c0, w_ih, w_hh, b_ih, b_hh), ctx.needs_input_grad[2:9], strict=True)
    return (None, None, *(g if need and of is not None else None for g, of, need in wanted), *[None] * 5)


def _setup_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.cell, (ctx.p, ctx.shared) = inputs[1], inputs[20:]
    ctx.set_materialize_grads(False)
    tensors = (*inputs[2:10], inputs[19], *inputs[13:17], inputs[18])
    ctx.save_for_backward(*tensors)


def _second_backward(ctx: Any, *seconds: Tensor | None) -> tuple[Tensor | None, ...]:
    """Differentiate the reference's gradient, its inputs and the gradients of its results being the variables.

    Where a still higher derivative is asked for, grad mode is on, and the graph stays attached.
    """
    further = torch.is_grad_enabled()
    x, h0, c0, w_ih, w_hh, b_ih, b_hh, lengths, seed, *d_results, d_dropped = ctx.saved_tensors
    with torch.enable_grad():
        inputs = [_variable(t, further) for t in (x, h0, c0, w_ih, w_hh, b_ih, b_hh)]
        given = [_variable(d, further) for d in (*d_results, d_dropped)]
        results = _reference(ctx.cell, *inputs, lengths)  # type: ignore[arg-type, call-arg]
        pairs = [(r, d) for r, d in zip(results, given[:4], strict=False) if d is not None]
        if given[4] is not None:
            pairs.append((plain.counter_dropout(results[0], ctx.p, seed, int(ctx.shared)), given[4]))
        leaves = [t for t in inputs if t is not None and t.is_floating_point()]
        gradients = torch.autograd.grad(
            [r for r, _ in pairs], leaves, [d for _, d in pairs], create_graph=True, materialize_grads=True
        )
    first = iter(gradients)
    by_input = [None if t is None or not t.is_floating_point() else next(first) for t in inputs]
    used = [
        (g, s) for g, s in zip(by_input, seconds, strict=True) if g is not None and s is not None and g.requires_grad
    ]
    variables = [t for t in (*inputs, *given) if t is not None and t.is_floating_point()]
    found: list[Tensor | None] = [None] * len(variables)
    if used:
        outer, weights = [g for g, _ in used], [s.reshape(g.shape) for g, s in used]
        found = list(torch.autograd.grad(outer, variables, weights, allow_unused=True, create_graph=further))
    left = iter(found)
    per_variable = [None if t is None or not t.is_floating_point() else next(left) for t in (*inputs, *given)]
    return (None, None, *per_variable[:7], *[None] * 4, *per_variable[7:11], None, per_variable[11], None, None, None)


def _variable(tensor: Tensor | None, attached: bool) -> Tensor | None:
    """What the gradient is taken by: a leaf, or a view of `tensor` that stays part of its graph."""
    if tensor is None or not tensor.is_floating_point():
        return tensor
    if attached and tensor.requires_grad:
        return tensor.view_as(tensor)
    return tensor.detach().requires_grad_()


sweep.register_autograd(_backward, setup_context=_setup)
sweep_backward.register_autograd(_second_backward, setup_context=_setup_backward)
