"""The sweeps of a layer as torch operators: schemas, implementations, shapes for tracing.

`fusedrnn::sweep` is one layer with all its directions: input product, then forward sweep. `fusedrnn::sweep_backward` is its
derivative: backward sweep, then the products over all steps. The Triton kernels are imported on first use, so that importing
fusedrnn needs no Triton.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.operators import derivatives, flops, unrolled
from fusedrnn.operators import dropout as dropout_ops
from fusedrnn.operators.arguments import DIFFERENTIABLE, Gradients, Packed, Sweep, schema, split
from fusedrnn.operators.cells import CELLS
from fusedrnn.operators.cells.cell import one_product
from fusedrnn.operators.normalised import Normalised
from fusedrnn.operators.results import Dropout
from fusedrnn.operators.time_parallel import (
    input_gradients,
    input_side,
    previous_states,
    recurrent_gradient,
    recurrent_side,
)
from fusedrnn.reference.loop import begins

Results = tuple[Tensor, ...]


def _engine(name: str) -> Any:
    """The module whose `forward` and `backward` run the sweeps: Triton kernels, or plain torch operators."""
    if name == "triton":
        from fusedrnn.kernels import sweeps

        return sweeps
    return unrolled


@torch.library.custom_op("fusedrnn::sweep", mutates_args=(), schema=schema(Packed, results=6))
def sweep(*arguments: Any) -> Results:
    """Run one layer; the arguments are those of `Packed`.

    Returns:
        output (T, B, D, H), h_n (D, B, H), every c_t (T, B, D, H), c_n (D, B, H), gates (T, B, D, S*H), the output after dropout
        (T, B, D, H). Without c, c_t and c_n are empty; so are gates that are not saved, and the last one without dropout.
    """
    a = Packed(*arguments).by_name()
    gx = input_side(a.x, a.w_ih, a.b_ih, len(a.w_hh))
    steps = None if a.lengths is None else a.lengths.to(torch.int32)
    drop = None if a.seed is None else Dropout(a.seed, a.p, a.shared)
    options: dict[str, Any] = {"resets": a.resets, "noise": a.noise, "heads": a.heads, "gains": a.gains}
    options |= {"row": _row(a.forward_row), "drop": drop} if a.engine == "triton" else {}
    done = _engine(a.engine).forward(a.cell, gx, a.h0, a.c0, a.w_hh, a.b_hh, steps, save=a.keep_gates, **options)
    dropped = done.dropped
    if dropped is None and a.seed is not None:
        dropped = dropout_ops.dropout("plain", done.output, a.p, a.seed, int(a.shared))
    return done.output, done.h_n, *_or_empty(a.h0, done.cells, done.c_n, done.gates, dropped)


@sweep.register_fake
def _(*arguments: Any) -> Results:
    a = Packed(*arguments).by_name()
    if torch.onnx.is_in_onnx_export():  # instead of `backends.onnx`
        raise RuntimeError(
            "torch.onnx.export: expected a module, not an ExportedProgram or a strict export, which have our operators, and a call "
            "that ONNX has a node for; after fusedrnn.restore_rnns(model) torch.nn's modules are exported"
        )
    (T, B), (D, _, H), cell = a.x.shape[:2], a.h0.shape, NUMBERS[a.cell]
    state, trace = (D, B, H), (T, B, D, H)
    shapes = (
        trace,
        state,
        trace if cell.has_c else (0,),
        state if cell.has_c else (0,),
        (T, B, D, cell.saved * H) if a.keep_gates else (0,),
        trace if a.seed is not None else (0,),
    )
    return tuple(a.h0.new_empty(shape) for shape in shapes)


@torch.library.custom_op("fusedrnn::sweep_backward", mutates_args=(), schema=schema(Packed, Gradients, results=8))
def sweep_backward(*arguments: Any) -> Results:
    """Gradients of the `DIFFERENTIABLE`, empty if there is none; the arguments: `Packed`, `Gradients`."""
    packed, g = split(arguments)
    a = packed.by_name()
    cell = CELLS[a.cell]
    steps = None if a.lengths is None else a.lengths.to(torch.int32)
    d_output, drop = _through_dropout(a, g)
    anew = begins(a.resets, a.lengths, len(a.w_hh), a.heads)
    previous = previous_states(g.output, a.h0, a.lengths, anew, a.heads)
    gates = g.gates
    if gates.numel() == 0:
        gates = cell.recompute(input_side(a.x, a.w_ih, a.b_ih, len(a.w_hh)), previous, a.w_hh, a.b_hh, a.gain_hh)
    norm = None if a.gains is None else Normalised.of(a.gains, recurrent_side(previous, a.w_hh, None))
    d_output = torch.zeros_like(g.output) if d_output is None else d_output
    cells = g.cells if NUMBERS[a.cell].has_c else None
    gradients = (d_output, g.d_h_n, g.d_cells, g.d_c_n)
    options: dict[str, Any] = {"resets": a.resets, "noise": a.noise, "heads": a.heads, "norm": norm}
    options |= {"row": _row(a.backward_row), "drop": drop} if a.engine == "triton" else {}
    swept = _engine(a.engine).backward(a.cell, gates, g.output, cells, a.h0, a.c0, a.w_hh, steps, *gradients, **options)
    dgx = cell.gradient_of_gx(swept.dgates)
    dx: Tensor | None = None
    dw_ih: Tensor | None = None
    if a.w_ih is None:
        dx = dgx.flatten(2)
    else:
        dx, dw_ih = input_gradients(a.x, a.w_ih, dgx, need_x=g.need_x)
    biased = a.b_ih is not None or a.b_hh is not None
    db_ih, db_hh = cell.gradients_of_biases(swept.dgates) if biased else (None, None)
    d_recurrent, d_norm = swept.dgates, None
    if norm is not None:
        d_recurrent, d_gain = norm.backward(cell.products(swept.dgates))
        d_norm = torch.cat([d for d in (d_gain, swept.d_gain_c, swept.d_bias_c) if d is not None], 1)
    return _or_empty(
        a.h0,
        dx,
        swept.dh0,
        swept.dc0,
        dw_ih,
        recurrent_gradient(one_product if norm is not None else cell.gradient_of_weight, d_recurrent, previous, gates),
        None if a.b_ih is None else db_ih,
        None if a.b_hh is None else db_hh,
        d_norm,
    )


def _row(place: int) -> int | None:
    """The row to launch with, or None for the table's choice."""
    return None if place < 0 else place


def _through_dropout(a: Sweep, g: Gradients) -> tuple[Tensor | None, Dropout | None]:
    """The gradient of the output for the backward sweep, and the dropout if the sweep has to apply its derivative."""
    if g.d_dropped is None or a.seed is None:
        return g.d_output, None
    if a.engine == "triton" and g.d_output is None:
        return g.d_dropped, Dropout(a.seed, a.p, a.shared)
    engine = "triton" if a.engine == "triton" else "plain"
    through: Tensor = dropout_ops.dropout(engine, g.d_dropped, a.p, a.seed, int(a.shared))
    return through if g.d_output is None else g.d_output + through, None


@sweep_backward.register_fake
def _(*arguments: Any) -> Results:
    a, g = split(arguments)
    with_x = a.x.is_floating_point() and (g.need_x or a.w_ih is None)
    of = (a.x if with_x else None, *(getattr(a, name) for name in DIFFERENTIABLE[1:]))
    return tuple(a.h0.new_empty((0,) if tensor is None else tensor.shape) for tensor in of)


def _or_empty(like: Tensor, *tensors: Tensor | None) -> Results:
    """Replace None by an empty tensor, since an operator returns only tensors."""
    return tuple(like.new_empty(0) if tensor is None else tensor for tensor in tensors)


sweep.register_autograd(derivatives.backward, setup_context=derivatives.setup)
sweep_backward.register_autograd(derivatives.second_backward, setup_context=derivatives.setup_second)
flops.register_when_imported()
